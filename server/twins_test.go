package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/twin"
)

// twinFixture is a server with a twin that holds one component.
func twinFixture(t *testing.T, o twin.Options) (*fixture, *twin.Twin) {
	t.Helper()
	db, err := metadb.Open(t.Context(), filepath.Join(t.TempDir(), "twins.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store := twin.Open(db, o)
	if err := store.Configure(t.Context(), []twin.Spec{{Name: "fleet"}}); err != nil {
		t.Fatal(err)
	}
	tw, err := store.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	reg := telemetry.NewRegistry()
	h, err := server.New(server.Options{Version: "test", Logger: slog.New(slog.DiscardHandler), Metrics: telemetry.New(reg), Gatherer: reg, Ingest: http.NotFoundHandler(), Twins: store})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	write(t, tw, "wagon-7", "speed", 83.5)
	return &fixture{url: srv.URL, handler: h}, tw
}

func write(t *testing.T, tw *twin.Twin, component, metric string, v float64) {
	t.Helper()
	u := twin.Update{Component: component, Type: "wagon", Metric: metric, Value: twin.NumberValue(v), Unit: "km/h", At: time.Now(), Pipeline: "telemetry"}
	if res, err := tw.Apply(t.Context(), twin.Batch{Updates: []twin.Update{u}}); err != nil || res.Applied != 1 {
		t.Fatal(res, err)
	}
}

const speed = "/v1/twins/fleet/components/wagon-7/metrics/speed"

// TestMetricDocument holds that what the fast path writes is what the interface describes.
func TestMetricDocument(t *testing.T) {
	f, tw := twinFixture(t, twin.Options{})
	u := twin.Update{Component: "a\"\u2028ü", Metric: "m", Type: "t", Value: twin.JSONValue([]byte(`{"a": [1e3]}`)), At: time.Now(), Source: "s"}
	u.Position.Stream, u.Position.Shard, u.Position.Offset = "telemetry", 3, 1842
	if _, err := tw.Apply(t.Context(), twin.Batch{Updates: []twin.Update{u}}); err != nil {
		t.Fatal(err)
	}
	_, fast := f.call(t, "GET", "/v1/twins/fleet/components/"+url.PathEscape(u.Component)+"/metrics/m", "")
	_, slow := f.call(t, "POST", "/v1/twins/fleet/read", `{"keys": [{"component": "a\"\u2028ü", "metric": "m"}]}`, "Content-Type", "application/json")
	var one map[string]any
	var many struct{ Values []map[string]any }
	if json.Unmarshal([]byte(fast), &one) != nil || json.Unmarshal([]byte(slow), &many) != nil || len(many.Values) != 1 {
		t.Fatal(fast, slow)
	}
	delete(one, "age_seconds")
	delete(many.Values[0], "age_seconds")
	a, _ := json.Marshal(one)
	b, _ := json.Marshal(many.Values[0])
	if string(a) != string(b) {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestConditionalGet(t *testing.T) {
	f, tw := twinFixture(t, twin.Options{})
	for _, path := range []string{speed, "/v1/twins/fleet/components/wagon-7"} {
		resp, _ := f.call(t, "GET", path, "")
		tag := resp.Header.Get("ETag")
		for match, want := range map[string]int{tag: 304, `"x", ` + tag: 304, "*": 304, `W/"0"`: 200} {
			resp, body := f.call(t, "GET", path, "", "If-None-Match", match)
			if resp.StatusCode != want || want == 304 && body != "" || resp.Header.Get("ETag") != tag {
				t.Errorf("%s with %s: %d %s", path, match, resp.StatusCode, body)
			}
		}
		write(t, tw, "wagon-7", "speed", 84)
		if resp, _ := f.call(t, "GET", path, "", "If-None-Match", tag); resp.StatusCode != 200 || resp.Header.Get("ETag") == tag {
			t.Error("a changed value has its old tag")
		}
	}
}

// TestTwinPaths holds that ids are only ever names, whatever they look like.
func TestTwinPaths(t *testing.T) {
	f, _ := twinFixture(t, twin.Options{})
	for _, id := range []string{"..", ".", "../../etc/passwd", "a/b//c", "ü/☃", "a%2Fb", "a b+c?d#e", "'; DROP TABLE twins --", strings.Repeat("x", twin.MaxComponentBytes)} {
		escaped := strings.ReplaceAll(url.PathEscape(id), ".", "%2E")
		path := "/v1/twins/fleet/components/" + escaped + "/metrics/" + escaped[:min(len(escaped), 200)]
		if resp, body := f.call(t, "PUT", path, `{"value": 1}`, "Content-Type", "application/json"); resp.StatusCode != 200 {
			if len(id) < 200 {
				t.Errorf("%s: %d %s", id, resp.StatusCode, body)
			}
			continue
		}
		var doc struct{ Component string }
		if _, body := f.call(t, "GET", path, ""); json.Unmarshal([]byte(body), &doc) != nil || doc.Component != id {
			t.Errorf("%s is read as %s", id, body)
		}
	}
	for path, want := range map[string]int{
		"/v1/twins/none/components/a": 404, "/v1/twins/fleet/components/none": 404, speed + "?at=yesterday": 400, speed + "?when=now": 400, speed + "?at=2026-11-20T03:00:00Z": 415,
		"/v1/twins/fleet/components?min=NaN": 400, "/v1/twins/fleet/components?limit=0": 400, "/v1/twins/fleet/components?after=%21": 400, "/v1/twins/fleet/components?older_than=-1s": 400, "/v1/twins/fleet/components?mni=80": 400,
		"/v1/twins/fleet/changes?after=x": 400, "/v1/twins/fleet/changes?who=x": 400, "/v1/twins/%2E%2E%2Ffleet/components/a": 404, speed + "/history?step=0s": 400, speed + "/history?from=x": 400,
	} {
		if status, p := f.problem(t, "GET", path, ""); status != want {
			t.Errorf("%s: %d %v, want %d", path, status, p, want)
		}
	}
	for body, want := range map[string]int{`{"value": null}`: 400, `{"value": }`: 400, `{"value": 1e999}`: 400, `{}`: 400, `{"value": 1, "at": "x"}`: 400, `{"value": "` + strings.Repeat("x", 70<<10) + `"}`: 413} {
		if status, p := f.problem(t, "PUT", speed, body, "Content-Type", "application/json"); status != want {
			t.Errorf("%.40s: %d %v, want %d", body, status, p, want)
		}
	}
}

// TestReadMany reads as many keys as may be read at once, and says what is to be sent when it is not JSON.
func TestReadMany(t *testing.T) {
	f, _ := twinFixture(t, twin.Options{})
	var body struct {
		Keys []twin.Key `json:"keys"`
	}
	for i := range 1000 {
		body.Keys = append(body.Keys, twin.Key{Component: strings.Repeat("x", 500) + strconv.Itoa(i), Metric: "speed"})
	}
	body.Keys[7].Component = "wagon-7"
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	var doc server.ReadDoc
	if _, answer := f.call(t, "POST", "/v1/twins/fleet/read", string(text), "Content-Type", "application/json"); json.Unmarshal([]byte(answer), &doc) != nil || len(doc.Values) != 1 || len(doc.Missing) != 999 {
		t.Errorf("%.200s", answer)
	}
	if status, p := f.problem(t, "POST", "/v1/twins/fleet/read", "{}", "Content-Type", "application/x-www-form-urlencoded"); status != 415 || !strings.Contains(p["hint"].(string), "Content-Type: application/json") {
		t.Errorf("%d %v", status, p)
	}
}

// TestWriteKeepsType holds that a direct write without a type is one of the component's type.
func TestWriteKeepsType(t *testing.T) {
	f, tw := twinFixture(t, twin.Options{})
	if _, body := f.call(t, "PUT", "/v1/twins/fleet/components/wagon-7/metrics/load", `{"value": 4}`, "Content-Type", "application/json"); !strings.Contains(body, `"applied":true`) {
		t.Fatal(body)
	}
	if m, err := tw.Get(t.Context(), twin.Key{Component: "wagon-7", Metric: "load"}); err != nil || m.Type != "wagon" {
		t.Errorf("%+v %v", m, err)
	}
}

// event is one server-sent event.
type event struct{ id, name, data string }

// events opens a stream of changes.
func (f *fixture) events(t *testing.T, query string, header ...string) (next func() event, closeIt func()) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", f.url+"/v1/twins/fleet/changes"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(resp, err)
	}
	r := bufio.NewReader(resp.Body)
	return func() (e event) {
		t.Helper()
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
			switch name {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				return e
			}
		}
	}, func() { resp.Body.Close() }
}

func TestServerSentEvents(t *testing.T) {
	f, tw := twinFixture(t, twin.Options{Events: 5})
	next, closeIt := f.events(t, "?prefix=wagon&metric=speed")
	ready := next()
	if ready.name != "ready" || ready.id == "" {
		t.Fatal(ready)
	}
	write(t, tw, "gate", "speed", 1)
	write(t, tw, "wagon-7", "load", 2)
	write(t, tw, "wagon-8", "speed", 3)
	first := next()
	if first.name != "change" || !strings.Contains(first.data, `"wagon-8"`) || first.id == "" {
		t.Error(first)
	}
	f.call(t, "DELETE", strings.Replace(speed, "-7", "-8", 1), "")
	if e := next(); e.name != "removed" || !strings.Contains(e.data, `"kind":"removed"`) {
		t.Error(e)
	}
	closeIt()

	next, closeIt = f.events(t, "?metric=speed", "Last-Event-ID", first.id)
	if e := next(); e.name != "ready" {
		t.Error(e)
	}
	if e := next(); e.name != "removed" {
		t.Error("resumed elsewhere:", e)
	}
	closeIt()
	for i := range 9 {
		write(t, tw, "wagon-7", "speed", float64(i))
	}
	next, closeIt = f.events(t, "?after="+first.id)
	defer closeIt()
	if e := next(); e.name != "ready" {
		t.Error(e)
	}
	if e := next(); e.name != "gap" {
		t.Error(e)
	}
	if e := next(); e.name != "change" {
		t.Error(e)
	}
}

func TestWebSocket(t *testing.T) {
	f, tw := twinFixture(t, twin.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(f.url, "http")+"/v1/twins/fleet/changes?component=wagon-7", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.CloseNow()
	read := func() (doc server.TwinChangeDoc) {
		t.Helper()
		_, b, err := conn.Read(ctx)
		if err != nil || json.Unmarshal(b, &doc) != nil {
			t.Fatal(string(b), err)
		}
		return doc
	}
	if d := read(); d.Event != "ready" {
		t.Error(d)
	}
	for i := range 3 {
		write(t, tw, "gate", "speed", 1)
		write(t, tw, "wagon-7", "speed", float64(i))
		if d := read(); d.Event != "change" || d.ID == 0 || string(d.Metric.Value) != strconv.Itoa(i) {
			t.Error(d)
		}
	}
	if _, resp, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(f.url, "http")+"/v1/twins/fleet/changes", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"http://evil.example"}}}); err == nil || resp.StatusCode != http.StatusForbidden {
		t.Error("a page of another site may watch", resp, err)
	}
}
