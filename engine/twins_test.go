package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/twin"
)

// call returns the JSON answer of a request that must have that status.
func (l *lake) call(method, path, body string, status int) map[string]any {
	l.t.Helper()
	got, answer := l.do(method, path, "application/json", "", []byte(body))
	if got != status {
		l.t.Fatalf("%s %s: %d %s", method, path, got, answer)
	}
	var doc map[string]any
	if len(answer) > 0 {
		if err := json.Unmarshal(answer, &doc); err != nil {
			l.t.Fatalf("%s %s: %s", method, path, answer)
		}
	}
	return doc
}

// TestTwin reads a twin and its past through every door of a running lake.
func TestTwin(t *testing.T) {
	dir := writeProject(t, map[string]string{"tarn.yaml": projectFile, "twins/fleet.yaml": "twin: fleet\nhistory: curated.fleet_history\n",
		"pipelines/history.yaml": "pipeline: history\nschema: {component: VARCHAR, metric: VARCHAR, value_number: DOUBLE, value_text: VARCHAR, unit: VARCHAR, at: TIMESTAMP}\ndeliver:\n  - table: curated.fleet_history\n"})
	l := start(t, dir, t.TempDir())
	tw, err := l.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	var updates []twin.Update
	var history strings.Builder
	for i := range 10 {
		for _, id := range []string{"wagon/7", "wagon/8", "../gate ü"} {
			u := twin.Update{Component: id, Type: "wagon", Metric: "speed", Value: twin.NumberValue(float64(10 * i)), Unit: "km/h", At: at.Add(time.Duration(i) * time.Minute),
				Pipeline: "history", Position: twin.Position{Stream: "history", Position: tarn.Position{Offset: uint64(i)}}}
			updates = append(updates, u)
			fmt.Fprintf(&history, `{"component":%q,"metric":"speed","value_number":%d,"unit":"km/h","at":%q}`+"\n", id, 10*i, u.At.Format("2006-01-02T15:04:05Z"))
		}
	}
	updates = append(updates, twin.Update{Component: "wagon/7", Type: "wagon", Metric: "state", Value: twin.JSONValue([]byte(`{"doors": [1, 2]}`)), At: at})
	for i, hostile := range []string{`{"a":"\u0000","a":1,"a":2}`, strings.Repeat("[", 900) + strings.Repeat("]", 900), `"\ud800"`, `{"":1e400}`} {
		updates = append(updates, twin.Update{Component: "hostile", Metric: fmt.Sprint(i), Value: twin.JSONValue([]byte(hostile)), At: at})
	}
	updates = append(updates, twin.Update{Component: "hostile", Metric: "' OR 1=1 --", Value: twin.StringValue("a\nb\"\u2028'"), At: at})
	if res, err := tw.Apply(t.Context(), twin.Batch{Updates: updates}); err != nil || res.Applied != 9 {
		t.Fatalf("%+v %v", res, err)
	}
	l.post("history", history.String())
	if err := l.Flush(t.Context(), "history"); err != nil {
		t.Fatal(err)
	}

	id := url.PathEscape("wagon/7")
	if m := l.call("GET", "/v1/twins/fleet/components/"+id+"/metrics/speed", "", 200); m["value"] != 90.0 || m["unit"] != "km/h" || m["lineage"].(map[string]any)["position"] != "0:9" {
		t.Error(m)
	}
	if m := l.call("GET", "/v1/twins/fleet/components/"+id+"/metrics/speed?at=2026-11-20T03:04:30Z", "", 200); m["value"] != 40.0 || m["age_seconds"] != 30.0 || m["lineage"].(map[string]any)["source"] != "curated.fleet_history" {
		t.Error(m)
	}
	l.call("GET", "/v1/twins/fleet/components/"+id+"/metrics/speed?at=2026-11-20T02:00:00Z", "", 404)
	if c := l.call("GET", "/v1/twins/fleet/components/"+id, "", 200); len(c["metrics"].([]any)) != 2 {
		t.Error(c)
	}
	if c := l.call("GET", "/v1/twins/fleet/components/"+id+"?at=2026-11-20T03:02:00Z", "", 200); c["metrics"].([]any)[0].(map[string]any)["value"] != 20.0 {
		t.Error(c)
	}
	if c := l.call("GET", "/v1/twins/fleet/components/%2E%2E%2Fgate%20%C3%BC/metrics/speed", "", 200); c["component"] != "../gate ü" {
		t.Error(c)
	}
	if p := l.call("GET", "/v1/twins/fleet/components?prefix=wagon/&metric=speed&min=90", "", 200); len(p["components"].([]any)) != 2 {
		t.Error(p)
	}
	if p := l.call("GET", "/v1/twins/fleet/components?prefix=wagon/&limit=1&at=2026-11-20T03:02:00Z", "", 200); len(p["components"].([]any)) != 1 || p["next"] == nil {
		t.Error(p)
	}
	if h := l.call("GET", "/v1/twins/fleet/components/"+id+"/metrics/speed/history?from=2026-11-20T03:02:00Z&to=2026-11-20T03:05:00Z", "", 200); len(h["values"].([]any)) != 3 {
		t.Error(h)
	}
	h := l.call("GET", "/v1/twins/fleet/components/"+id+"/metrics/speed/history?from=2026-11-20T03:00:00Z&to=2026-11-20T04:00:00Z&step=5m", "", 200)
	if b := h["buckets"].([]any); len(b) != 2 || b[0].(map[string]any)["mean"] != 20.0 || b[1].(map[string]any)["last"] != 90.0 || b[1].(map[string]any)["unit"] != "km/h" {
		t.Error(h)
	}
	l.call("GET", "/v1/twins/fleet/components/hostile/metrics/"+url.PathEscape("' OR 1=1 --"), "", 200)
	l.call("GET", "/v1/twins/fleet/components/hostile/metrics/"+url.PathEscape("' OR 1=1 --")+"?at=2026-11-20T03:04:30Z", "", 404)
	r := l.call("POST", "/v1/twins/fleet/read", `{"keys": [{"component": "wagon/7", "metric": "speed"}, {"component": "wagon/7", "metric": "none"}]}`, 200)
	if len(r["values"].([]any)) != 1 || len(r["missing"].([]any)) != 1 {
		t.Error(r)
	}
	if w := l.call("PUT", "/v1/twins/fleet/components/"+id+"/metrics/speed", `{"value": 12, "at": "2026-11-20T03:00:00Z"}`, 200); w["applied"] != false {
		t.Error(w)
	}
	if w := l.call("PUT", "/v1/twins/fleet/components/"+id+"/metrics/door", `{"value": true}`, 200); w["applied"] != true {
		t.Error(w)
	}
	if w := l.call("DELETE", "/v1/twins/fleet/components/"+id+"/metrics/door", "", 200); w["applied"] != true {
		t.Error(w)
	}
	l.call("GET", "/v1/twins/fleet/components/"+id+"/metrics/door", "", 404)
	l.call("GET", "/v1/twins/none/components/"+id+"/metrics/door", "", 404)
	l.call("GET", "/v1/twins/fleet/components?min=x", "", 400)

	got := l.call("POST", "/v1/sql", `{"sql": "SELECT t.component, t.value_number, h.n, t.age_seconds > 0 AS old, s.value_json->>'doors' AS doors FROM twin.fleet t JOIN (SELECT component, count(*) AS n FROM curated.fleet_history GROUP BY 1) h USING (component) LEFT JOIN twin.fleet s ON s.component = t.component AND s.metric = 'state' WHERE t.metric = 'speed' ORDER BY 1"}`, http.StatusOK)
	if b, _ := json.Marshal(got["rows"]); string(b) != `[{"component":"../gate ü","doors":null,"n":10,"old":true,"value_number":90},`+
		`{"component":"wagon/7","doors":"[1,2]","n":10,"old":true,"value_number":90},{"component":"wagon/8","doors":null,"n":10,"old":true,"value_number":90}]` {
		t.Errorf("%s", b)
	}
}
