package infer_test

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/delivery/infer"
	"github.com/tarn-data/tarn/internal/fleet"
)

// run samples the first 1,000 records, delivers all and compares what DuckDB reads. It returns the
// state and the misfits.
func run(t *testing.T, recs [][]byte) (*infer.State, []*infer.Misfit) {
	t.Helper()
	s := infer.New(nil, infer.Options{})
	for _, rec := range recs[:min(1000, len(recs))] {
		if err := s.Sample(rec); err != nil {
			t.Fatal(err)
		}
	}
	s.Decide()
	lines, from, failed := deliver(t, s, recs)
	verify(t, newReader(t), s, lines, from)
	return s, failed
}

func typeOf(s *infer.State, path string) string {
	for _, n := range s.Explain() {
		if n.Path == path {
			return n.Type
		}
	}
	return "none"
}

func TestSampleEarthquakes(t *testing.T) {
	b, err := os.ReadFile("../../examples/earthquakes/earthquakes.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	s, failed := run(t, bytes.Split(bytes.TrimSpace(b), []byte("\n")))
	if len(failed) > 0 {
		t.Errorf("%d records fail, the first: %v", len(failed), failed[0].Err())
	}
	for path, want := range map[string]string{
		"type": "VARCHAR", "id": "VARCHAR", "properties.mag": "DOUBLE", "properties.place": "VARCHAR", "properties.time": "BIGINT",
		"properties.felt": "BIGINT", "geometry.coordinates": "DOUBLE[]", "_rest": "none",
	} {
		if got := typeOf(s, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func TestSampleFleet(t *testing.T) {
	g, err := fleet.New(fleet.Options{Start: time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	var recs [][]byte
	for i := range int64(3000) {
		recs = append(recs, g.AppendEvent(nil, i))
	}
	s, failed := run(t, recs)
	if len(failed) > 0 {
		t.Errorf("%d records fail, the first: %v", len(failed), failed[0].Err())
	}
	for path, want := range map[string]string{"event_id": "VARCHAR", "device_id": "VARCHAR", "ts": "TIMESTAMP", "position.lat": "DOUBLE", "metrics.load_kg": "BIGINT", "metrics.axle_1_c": "DOUBLE"} {
		if got := typeOf(s, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// hooks are webhook payloads of several kinds, shaped as GitHub's are.
var hooks = []string{
	`{"ref":"refs/heads/main","before":"6113728f27ae82c7b1a177c8d03f9e96e0adf246","after":"0000000000000000000000000000000000000000","created":false,"repository":{"id":186853002,"node_id":"MDEw","name":"Hello-World","private":false,"owner":{"login":"Codertocat","id":21031067},"created_at":1557933565,"pushed_at":"2019-05-15T15:20:41Z","license":null,"topics":[]},"pusher":{"name":"Codertocat","email":"a@example.com"},"commits":[],"head_commit":null,"sender":{"login":"Codertocat","id":21031067,"site_admin":false}}`,
	`{"ref":"refs/heads/main","commits":[{"id":"a1","timestamp":"2026-11-20T03:00:00+02:00","author":{"name":"x"},"added":["a.go"],"removed":[]}],"head_commit":{"id":"a1","timestamp":"2026-11-20T03:00:00+02:00"},"repository":{"id":186853002,"name":"Hello-World","created_at":"2019-05-15T15:19:25Z","pushed_at":1557933657,"license":{"key":"mit"},"topics":["go"]},"sender":{"login":"x","id":2,"site_admin":true}}`,
	`{"action":"opened","issue":{"id":444500041,"number":1,"title":"Spelling","user":{"login":"x","id":1},"labels":[{"id":1362934389,"name":"bug","default":true}],"state":"open","assignee":null,"closed_at":null,"body":"It looks like \"commit\" was spelled wrong.\r\n","reactions":{"+1":3,"-1":0}},"repository":{"id":186853002,"name":"Hello-World","topics":[]},"sender":{"login":"x","id":1}}`,
	`{"action":"closed","issue":{"id":444500041,"number":1,"labels":[],"state":"closed","assignee":{"login":"y"},"closed_at":"2026-11-20T03:00:00Z","body":null},"changes":{"body":{"from":"x"}},"sender":{"login":"y","id":3}}`,
	`{"zen":"Keep it logically awesome.","hook_id":109948940,"hook":{"type":"Repository","id":109948940,"events":["push"],"config":{"content_type":"json","insecure_ssl":"0"}},"sender":{"login":"x","id":1}}`,
	`{"action":"created","alert":{"number":10,"created_at":"2026-11-20T03:00:00Z","fixed_at":null,"rule":{"id":"rb/x","severity":"error"},"most_recent_instance":{"location":{"start_line":1}},"tool":{"version":null}},"client_payload":{"anything":1}}`,
	`{"action":"created","client_payload":["x",1]}`,
}

func TestSampleWebhooks(t *testing.T) {
	var recs [][]byte
	for range 40 {
		for _, h := range hooks {
			recs = append(recs, []byte(h))
		}
	}
	s, failed := run(t, recs)
	if len(failed) > 0 {
		t.Errorf("%d records fail, the first: %v", len(failed), failed[0].Err())
	}
	for path, want := range map[string]string{"action": "VARCHAR", "client_payload": "JSON", "sender": `STRUCT("login" VARCHAR, "id" BIGINT, "site_admin" BOOLEAN)`, "repository.created_at": "JSON", "hook_id": "BIGINT"} {
		if got := typeOf(s, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	// One event of each kind, unsampled: what comes later may not fail either.
	s = infer.New(nil, infer.Options{})
	var lines, from [][]byte
	for _, h := range hooks {
		l, f, failed := deliver(t, s, [][]byte{[]byte(h)})
		if lines, from = append(lines, l...), append(from, f...); len(failed) > 0 {
			t.Logf("from single events: %v", failed[0].Err())
		}
	}
	verify(t, newReader(t), s, lines, from)
}

func TestSampleLogLines(t *testing.T) {
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	var recs [][]byte
	for i := range 1200 {
		at = at.Add(37 * time.Millisecond)
		line := `{"time":"` + at.Format("2006-01-02T15:04:05.000Z07:00") + `","level":"INFO","msg":"request","status":200,"ms":1.25,"attrs":{"path":"/x","user":17}}`
		switch i % 5 {
		case 1:
			line = `{"time":"` + at.Format("2006-01-02T15:04:05.000Z07:00") + `","level":"ERROR","msg":"failed","error":{"code":"E7","stack":["a","b"]},"attrs":{"path":["x"],"user":"anna","q":{"z":1}}}`
		case 2:
			line = `{"time":"` + at.Format("2006-01-02T15:04:05.000Z07:00") + `","level":"WARN","msg":"slow","ms":12,"attrs":{"` + strings.Repeat("x", i%90+1) + `":true}}`
		}
		recs = append(recs, []byte(line))
	}
	s, failed := run(t, recs)
	if len(failed) > 0 {
		t.Errorf("%d records fail, the first: %v", len(failed), failed[0].Err())
	}
	for path, want := range map[string]string{"time": "TIMESTAMP", "level": "VARCHAR", "status": "BIGINT", "ms": "DOUBLE", "attrs": "JSON", "error": `STRUCT("code" VARCHAR, "stack" VARCHAR[])`} {
		if got := typeOf(s, path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}
