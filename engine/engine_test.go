package engine_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
)

// lake is an engine under test.
type lake struct {
	*engine.Engine
	t       *testing.T
	project string
	data    string
}

// write writes project files; names end at a newline's first blank line in the txtar manner.
func writeProject(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const projectFile = "version: 1\nname: test\n"

// start runs an engine until the test ends.
func start(t *testing.T, project, data string) *lake {
	t.Helper()
	var log io.Writer = &testLog{t: t}
	e, err := engine.New(engine.Options{Project: project, Data: data, Listen: "127.0.0.1:0", Version: "test", Maintenance: -1,
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelInfo}))})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return &lake{Engine: e, t: t, project: project, data: data}
}

type testLog struct{ t *testing.T }

func (l *testLog) Write(p []byte) (int, error) {
	fmt.Fprintf(os.Stderr, "%s: %s", l.t.Name(), p)
	return len(p), nil
}

func (l *lake) post(stream, body string) map[string]any {
	l.t.Helper()
	status, answer := l.do(http.MethodPost, "/v1/streams/"+stream+"/records", "application/x-ndjson", "", []byte(body))
	if status != http.StatusOK {
		l.t.Fatalf("post: %d %s", status, answer)
	}
	var doc map[string]any
	if err := json.Unmarshal(answer, &doc); err != nil {
		l.t.Fatal(err)
	}
	return doc
}

func (l *lake) do(method, path, contentType, accept string, body []byte) (int, []byte) {
	l.t.Helper()
	req, err := http.NewRequest(method, l.Address()+path, bytes.NewReader(body))
	if err != nil {
		l.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return resp.StatusCode, answer
}

// sql returns a query's answer as CSV without its header.
func (l *lake) sql(query string) string {
	l.t.Helper()
	body, _ := json.Marshal(map[string]string{"sql": query})
	status, answer := l.do(http.MethodPost, "/v1/sql", "application/json", "text/csv", body)
	if status != http.StatusOK {
		l.t.Fatalf("%s: %d %s", query, status, answer)
	}
	_, rows, _ := strings.Cut(string(answer), "\n")
	return strings.TrimSpace(strings.ReplaceAll(rows, "\r", ""))
}

// eventually waits until a query gives want.
func (l *lake) eventually(query, want string) {
	l.t.Helper()
	var got string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		body, _ := json.Marshal(map[string]string{"sql": query})
		status, answer := l.do(http.MethodPost, "/v1/sql", "application/json", "text/csv", body)
		_, rows, _ := strings.Cut(string(answer), "\n")
		if got = strings.TrimSpace(strings.ReplaceAll(rows, "\r", "")); status == http.StatusOK && got == want {
			return
		}
	}
	l.t.Fatalf("%s\ngot  %s\nwant %s", query, got, want)
}

func (l *lake) verify() {
	l.t.Helper()
	v, err := l.Verify(context.Background())
	if err != nil {
		l.t.Fatal(err)
	}
	if !v.OK {
		l.t.Fatalf("verify: %+v", v.Problems)
	}
}

const events = `pipeline: events
source: {http: {}}
deliver:
  - table: curated.events
    partition_by: [hour(ts)]
`

func TestRecordsAreVisibleThenCommitted(t *testing.T) {
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": events}), t.TempDir())
	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, `{"id":%d,"ts":"2026-11-20T%02d:00:00Z","v":%d.5,"m":{"a":%d}}`+"\n", i, i%24, i, i)
	}
	l.post("events", body.String())
	l.eventually("SELECT count(*), sum(id) FROM curated.events", "1000,499500")
	if got := l.sql("SELECT count(*) FROM system.snapshots"); got != "0" {
		t.Errorf("%s snapshots before the flush", got)
	}
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT count(*), sum(id), sum(m.a) FROM curated.events"); got != "1000,499500,499500" {
		t.Errorf("after the flush: %s", got)
	}
	if got := l.sql("SELECT count(*) FROM system.files"); got != "24" {
		t.Errorf("%s files, want one for each hour", got)
	}
	l.verify()
}

func TestRestart(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": events}), t.TempDir()
	for round := range 3 {
		e, err := engine.New(engine.Options{Project: project, Data: data, Listen: "127.0.0.1:0", Maintenance: -1})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		l := &lake{Engine: e, t: t}
		l.post("events", fmt.Sprintf(`{"id":%d,"ts":"2026-11-20T03:00:00Z"}`, round))
		l.eventually("SELECT count(*), count(DISTINCT id) FROM curated.events", fmt.Sprintf("%d,%d", round+1, round+1))
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
