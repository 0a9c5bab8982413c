package engine_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
)

// chainProject has extracts one behind the other, of which the last one reads results of windows and
// another one writes into the stream of a pipeline.
var chainProject = map[string]string{
	"tarn.yaml":                projectFile,
	"pipelines/telemetry.yaml": "pipeline: telemetry\ndeliver: []\n",
	"pipelines/alarms.yaml":    "pipeline: alarms\ndeliver:\n  - {table: curated.alarms, buffer: {interval: 1h}}\n",
	"extracts/fast.yaml":       "extract: fast\nfrom: telemetry\nsql: SELECT device, speed, ts FROM records WHERE speed >= 50\nto: {stream: speeders}\n",
	"extracts/alarm.yaml":      "extract: alarm\nfrom: speeders\nsql: SELECT * FROM records WHERE speed >= 90\nto: {stream: alarms}\n",
	"extracts/count.yaml": "extract: count\nfrom: speeders\nsql: SELECT window_start, window_end, count(*) AS n FROM records GROUP BY ALL\n" +
		"to: {table: curated.counts}\nwindow: {tumbling: 1m, time: ts}\n",
	"extracts/all.yaml": "extract: all\nfrom: telemetry\nsql: SELECT * FROM records\nto: {table: curated.everything}\n",
}

// speeds are records of ten minutes, 100 of each.
func speeds() string {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, `{"device":"d%d","speed":%d,"ts":"2026-11-20T03:%02d:00Z"}`+"\n", i%5, i%100, i/100)
	}
	return b.String()
}

// TestStopCatchesUp: what was accepted before a stop is behind the last extract and in the last table when
// it ends. The project of the next start delivers nothing, so that it cannot be what is seen.
func TestStopCatchesUp(t *testing.T) {
	data, dir := t.TempDir(), writeProject(t, chainProject)
	l := start(t, dir, data)
	l.post("telemetry", speeds())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name := range maps.Keys(chainProject) {
		if strings.HasPrefix(name, "extracts/") || name == "pipelines/alarms.yaml" {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	l = start(t, dir, data)
	for query, want := range map[string]string{
		"SELECT count(*) FROM curated.everything":      "1000",
		"SELECT count(*), sum(n) FROM curated.counts":  "9,450", // the tenth window is open
		"SELECT count(*) FROM curated.alarms":          "100",
		"SELECT min(speed::INT) FROM curated.alarms":   "90",
		"SELECT count(*) FROM system.snapshots":        "3",
		"SELECT count(*) FROM system.failed_records":   "0",
		"SELECT max(device) FROM curated.everything":   "d4",
		"SELECT max(window_start) FROM curated.counts": "2026-11-20T03:08:00Z",
	} {
		if got := l.sql(query); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", query, got, want)
		}
	}
}

// TestStopDoesNotWait: deliveries that cannot go on do not hold up a stop.
func TestStopDoesNotWait(t *testing.T) {
	project := maps.Clone(chainProject)
	project["extracts/joined.yaml"] = "extract: joined\nfrom: telemetry\nsql: SELECT r.device, w.name FROM records r JOIN curated.alarms w ON r.device = w.device\nto: {table: curated.joined}\n"
	l := start(t, writeProject(t, project), t.TempDir())
	if err := l.Pause("alarms", true); err != nil {
		t.Fatal(err)
	}
	l.post("telemetry", speeds())
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		docs, err := l.Extracts(context.Background())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%+v %v", docs, err)
		}
		if len(docs) == 5 && docs[4].Name == "joined" && docs[4].LastError != "" {
			break
		}
	}
	began := time.Now()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("it took %v", took)
	}
}

// TestFlushExtract: the rows of an extract, and what those in front of it give to it, are committed.
func TestFlushExtract(t *testing.T) {
	l := start(t, writeProject(t, chainProject), t.TempDir())
	l.post("telemetry", speeds())
	status, answer := l.do(http.MethodPost, "/v1/extracts/count/flush", "", "", nil)
	if status != http.StatusOK || !strings.Contains(string(answer), `"name":"count"`) || !strings.Contains(string(answer), `"lag_records":0`) {
		t.Fatalf("%d %s", status, answer)
	}
	for query, want := range map[string]string{
		"SELECT count(*), sum(n) FROM curated.counts":                                                        "9,450",
		"SELECT count(*) FROM system.snapshots WHERE table_name = 'curated.counts'":                          "1",
		"SELECT count(*) FROM system.snapshots WHERE table_name IN ('curated.everything', 'curated.alarms')": "0", // nobody asked
	} {
		if got := l.sql(query); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", query, got, want)
		}
	}
	if err := l.FlushExtract(t.Context(), "nobody"); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error(err)
	}
	if err := l.Flush(t.Context(), "nobody"); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error(err)
	}
}
