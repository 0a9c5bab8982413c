package engine_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/twin"
)

// TestMetricsOfExtractsAndTwins: what the endpoint for Prometheus says of an extract with windows and of a twin.
func TestMetricsOfExtractsAndTwins(t *testing.T) {
	l := start(t, writeProject(t, map[string]string{
		"tarn.yaml":             projectFile,
		"pipelines/events.yaml": "pipeline: events\nschema: {device: VARCHAR, n: BIGINT, ts: TIMESTAMP}\ndeliver: []\n",
		"twins/fleet.yaml":      "twin: fleet\n",
		"extracts/latest.yaml":  "extract: latest\nfrom: events\nsql: SELECT device AS component, 'n' AS metric, n AS value, ts AS at FROM records\nto: {twin: fleet}\n",
		"extracts/minutes.yaml": "extract: minutes\nfrom: events\nsql: SELECT window_start, count(*) AS c FROM records GROUP BY window_start\nto: {table: curated.minutes}\nwindow: {tumbling: 1m, time: ts, late: drop}\n",
		"extracts/strict.yaml":  "extract: strict\nfrom: events\nsql: SELECT window_start, count(*) AS c FROM records GROUP BY window_start\nto: {table: curated.strict}\nwindow: {tumbling: 1m, time: ts, late: failed}\n",
	}), t.TempDir())
	tw, err := l.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	w, err := tw.Watch(twin.WatchFilter{}, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var body strings.Builder
	for i, second := range []int{0, 10, 70, 80, 5} { // the last comes late
		fmt.Fprintf(&body, `{"device":"d%d","n":%d,"ts":"2026-11-20T03:%02d:%02dZ"}`+"\n", i%2, i, second/60, second%60)
	}
	l.post("events", body.String())
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	l.call("PUT", "/v1/twins/fleet/components/d0/metrics/n", `{"value": 1, "at": "2026-11-20T02:00:00Z"}`, 200)
	for _, want := range []string{
		`tarn_twin_values{twin="fleet"} 2`, `tarn_twin_watchers{twin="fleet"} 1`, `tarn_twin_updates_total{outcome="applied",twin="fleet"} 2`, `tarn_twin_updates_total{outcome="old",twin="fleet"} 4`,
		`tarn_twin_memory_bytes `, `tarn_extract_late_records_total{extract="minutes",outcome="left_out"} 1`, `tarn_extract_late_records_total{extract="strict",outcome="failed"} 1`,
		`tarn_extract_window_records{extract="minutes"} 4`, `tarn_extract_window_bytes{extract="minutes"} `, `tarn_delivery_lag_records{stream="events",table="windows.minutes"} 0`,
		`tarn_delivery_lag_seconds{stream="minutes-windows",table="curated.minutes"} 0`, `tarn_delivery_lag_seconds{stream="events",table="extract.latest"} 0`,
	} {
		var got []byte
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			if _, got = l.do(http.MethodGet, "/metrics", "", "", nil); strings.Contains(string(got), "\n"+want) {
				break
			}
			if time.Now().After(deadline) {
				name, _, _ := strings.Cut(want, "{")
				for line := range strings.Lines(string(got)) {
					if strings.HasPrefix(line, name) {
						t.Log(line)
					}
				}
				t.Fatalf("there is no %s", want)
			}
		}
	}
}
