package engine_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
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
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(l.sql("SELECT count(*) FROM system.tables WHERE name = 'curated.wagons'"), "1"); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the table that is joined is not made")
		}
	}
	var b strings.Builder // while the table has no snapshot yet
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

// TestWindows brings windows of each kind to each kind of place.
func TestWindows(t *testing.T) {
	dir := writeProject(t, map[string]string{
		"tarn.yaml":                projectFile,
		"pipelines/telemetry.yaml": "pipeline: telemetry\nstream: {shards: 2, partition_key: device}\ndeliver: []\n",
		"twins/fleet.yaml":         "twin: fleet\n",
		"extracts/minute.yaml": "extract: minute\nfrom: telemetry\nsql: SELECT window_start, window_end, device, count(*) AS n, avg(speed) AS speed FROM records GROUP BY window_start, window_end, device\n" +
			"to: {table: curated.minutes}\nwindow: {tumbling: 1m, time: ts, lateness: 10s, late: failed}\n",
		"extracts/hop.yaml": "extract: hop\nfrom: telemetry\nsql: SELECT window_start, window_end, count(*) AS n FROM records GROUP BY ALL\n" +
			"to: {stream: hops}\nwindow: {hopping: {size: 3m, every: 1m}, time: ts, lateness: 10s}\n",
		"extracts/trip.yaml": "extract: trip\nfrom: telemetry\nsql: SELECT device AS component, 'trip' AS metric, count(*) AS value, window_end AS at FROM records GROUP BY window_start, window_end, device\n" +
			"to: {twin: fleet}\nwindow: {session: {gap: 30s}, key: device, time: ts, lateness: 10s}\n",
		"extracts/hops.yaml": "extract: hops\nfrom: hops\nsql: SELECT * FROM records\nto: {table: curated.hops}\n",
	})
	l := start(t, dir, t.TempDir())
	var b strings.Builder
	add := func(device, second int) {
		fmt.Fprintf(&b, `{"device":"d%d","speed":%d,"ts":"2026-11-20T03:%02d:%02dZ"}`+"\n", device, second%7, second/60, second%60)
	}
	for s := 0; s < 600; s += 5 {
		if s/100%2 == 1 {
			continue // a pause of 100 seconds ends a trip
		}
		for d := range 4 {
			add(d, s)
		}
		if s == 200 {
			add(0, 30) // late
		}
		if b.Len() > 5000 {
			l.post("telemetry", b.String())
			b.Reset()
		}
	}
	add(0, 2000)
	add(1, 2000)
	add(2, 2000)
	add(3, 2000)
	l.post("telemetry", b.String())
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context(), ""); err != nil { // what the windows of the first have written
		t.Fatal(err)
	}
	for q, want := range map[string]string{
		"SELECT count(*), sum(n), min(window_start) FROM curated.minutes": "28,240,2026-11-20T03:00:00Z",
		"SELECT count(*), sum(n), max(window_end) FROM curated.hops":      "11,720,2026-11-20T03:11:00Z",
		"SELECT count(*), sum(value_number) FROM twin.fleet":              "4,80",
		"SELECT delivery, stage FROM system.failed_records":               "extract,late",
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

// BenchmarkEventToTwin measures how long after its request was begun a record's value is in the twin.
func BenchmarkEventToTwin(b *testing.B) {
	dir := b.TempDir()
	for name, text := range extractProject {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	e, err := engine.New(engine.Options{Project: dir, Data: b.TempDir(), Listen: "127.0.0.1:0", Maintenance: -1})
	if err != nil {
		b.Fatal(err)
	}
	if err := e.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	tw, err := e.Twin("fleet")
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for n := range 200 {
		posted := time.Now()
		body := fmt.Sprintf(`{"device":"d","speed":%d,"load":1.5,"ts":"%s"}`, n, posted.UTC().Format("2006-01-02T15:04:05.000000Z"))
		resp, err := http.Post(e.Address()+"/v1/streams/telemetry/records", "application/json", strings.NewReader(body))
		if err != nil {
			b.Fatal(err)
		}
		_ = resp.Body.Close()
		for {
			m, err := tw.Get(b.Context(), twin.Key{Component: "d", Metric: "speed"})
			if err == nil && m.Value.Number() == float64(n) {
				break
			}
			time.Sleep(time.Millisecond)
		}
		took = append(took, time.Since(posted))
	}
	took = took[10:] // the first decide the columns
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "p50-ms")
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
}
