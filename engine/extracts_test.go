package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/twin"
)

// extractProject has an extract to each kind of place on one stream, one behind another, and one that
// joins a table.
var extractProject = map[string]string{
	"tarn.yaml":                projectFile,
	"pipelines/telemetry.yaml": "pipeline: telemetry\nstream: {shards: 2, partition_key: device}\ndeliver: []\n",
	"pipelines/wagons.yaml":    "pipeline: wagons\ndeliver:\n  - table: curated.wagons\n",
	"twins/fleet.yaml":         "twin: fleet\n",
	"extracts/fast.yaml":       "extract: fast\nfrom: telemetry\nsql: SELECT device, speed, ts FROM records WHERE speed > 50\nto: {stream: speeders, partition_key: device, shards: 2}\n",
	"extracts/faster.yaml":     "extract: faster\nfrom: speeders\nsql: SELECT *, speed / 3.6 AS mps FROM records\nto: {table: curated.faster, partition_by: [day(ts)]}\n",
	"extracts/names.yaml": "extract: names\nfrom: telemetry\nrefresh: 100ms\nsql: SELECT r.device, w.name, r.speed FROM records r LEFT JOIN curated.wagons w ON r.device = w.device\n" +
		"to: {table: curated.names}\n",
	"extracts/latest.yaml": "extract: latest\nfrom: telemetry\nsql: sql/latest.sql\nto: {twin: fleet}\n",
	"sql/latest.sql": `SELECT device AS component, metric, value, ts AS at, 'wagon' AS type
FROM records UNPIVOT (value FOR metric IN (speed, load))`,
}

func TestExtracts(t *testing.T) {
	dir := writeProject(t, extractProject)
	l := start(t, dir, t.TempDir())
	l.post("wagons", `{"device":"d0","name":"Ada"}`+"\n"+`{"device":"d1","name":"Bo"}`)
	if err := l.Flush(t.Context(), "wagons"); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `{"device":"d%d","speed":%d,"load":%d.5,"ts":"2026-11-20T03:%02d:%02dZ"}`+"\n", i%5, i%100, i, i/60, i%60)
	}
	posted := time.Now()
	l.post("telemetry", b.String())
	tw, err := l.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	for {
		m, err := tw.Get(t.Context(), twin.Key{Component: "d4", Metric: "load"})
		if err == nil && m.Value.Number() == 999.5 {
			if m.Pipeline != "latest" || m.Source != "telemetry" || m.Type != "wagon" || m.Position.Stream != "telemetry" {
				t.Errorf("%+v", m)
			}
			break
		}
		if time.Since(posted) > 10*time.Second {
			t.Fatalf("%+v %v", m, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("in the twin after %v", time.Since(posted))
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	for q, want := range map[string]string{
		"SELECT count(*), min(speed), sum(mps * 3.6)::BIGINT FROM curated.faster":                    "490,51,36750",
		"SELECT count(*), count(name), count(DISTINCT name) FROM curated.names":                      "1000,400,2",
		"SELECT count(*), sum(value_number)::BIGINT FROM twin.fleet":                                 "10,5472",
		"SELECT typeof(ts), count(DISTINCT date_trunc('minute', ts)) FROM curated.faster GROUP BY 1": "TIMESTAMP,17",
	} {
		if got := strings.TrimSpace(l.sql(q)); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", q, got, want)
		}
	}
	v, err := l.Verify(t.Context())
	if err != nil || !v.OK {
		t.Errorf("%+v %v", v, err)
	}
}
