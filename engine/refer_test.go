package engine_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/server"
)

// large is a file whose records a stream refers to.
func large(records int) []byte {
	var b strings.Builder
	for i := range records {
		fmt.Fprintf(&b, "{\"id\":%d,\"pad\":\"%060d\"}\n", i, i)
	}
	return []byte(b.String())
}

// TestReferredWithoutPipeline: the original of a large file outlives its pipeline, so that one that reads the
// stream again, under another name too, finds the records; but not for ever.
func TestReferredWithoutPipeline(t *testing.T) {
	dir, data := writeProject(t, map[string]string{"tarn.yaml": projectFile + "zones: {raw: {expire_after: 1h}}\n", "pipelines/gone.yaml": "pipeline: gone\ndeliver: []\n"}), t.TempDir()
	open := func() *lake {
		e, err := engine.New(engine.Options{Project: dir, Data: data, Listen: "127.0.0.1:0", Maintenance: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = e.Close() })
		return &lake{Engine: e, t: t}
	}
	// passes closes the lake and lets time pass for its files.
	passes := func(l *lake, d time.Duration) {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		db, err := metadb.Open(t.Context(), filepath.Join(data, "meta/tarn.db"), metadb.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(t.Context(), "UPDATE taken_files SET taken_at = taken_at - ?, finished_at = finished_at - ?", d.Microseconds(), d.Microseconds()); err != nil {
			t.Fatal(err)
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	l := open()
	for _, name := range []string{"small", "large"} {
		body := []byte("{\"id\":-1}\n")
		if name == "large" {
			body = large(20_000)
		}
		if status, answer := l.do(http.MethodPost, "/v1/pipelines/gone/runs?name="+name+".ndjson", "application/x-ndjson", "", body); status/100 != 2 {
			t.Fatalf("%d %s", status, answer)
		}
	}
	passes(l, 2*time.Hour)
	if err := os.Remove(filepath.Join(dir, "pipelines/gone.yaml")); err != nil {
		t.Fatal(err)
	}
	l = open()
	const expired = "SELECT file FROM system.taken_files WHERE original IS NULL ORDER BY file"
	l.eventually(expired, "small.ndjson")
	put(t, filepath.Join(dir, "pipelines/back.yaml"), []byte("pipeline: back\nstream: {name: gone}\ndeliver: [{table: curated.back}]\n"))
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.eventually("SELECT count(*), count(_line) FROM curated.back", "20001,20001")
	passes(l, 8*24*time.Hour)
	if err := os.Remove(filepath.Join(dir, "pipelines/back.yaml")); err != nil {
		t.Fatal(err)
	}
	l = open()
	l.eventually(expired, "large.ndjson\nsmall.ndjson")
}

// TestReferredReplay: while the original of a large file is missing, a replay in place is refused at once and
// says why; when it is back, its records can be run again.
func TestReferredReplay(t *testing.T) {
	data := t.TempDir()
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": "pipeline: events\ndeliver: [{table: curated.events}]\n"}), data)
	if status, answer := l.do(http.MethodPost, "/v1/pipelines/events/runs?name=e.ndjson", "application/x-ndjson", "", large(20_000)); status/100 != 2 {
		t.Fatalf("%d %s", status, answer)
	}
	const counts = "SELECT count(*), count(DISTINCT id), max(_line) FROM curated.events"
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	l.eventually(counts, "20000,20000,20000")
	originals, _ := filepath.Glob(filepath.Join(data, "lake/raw/files/events/*/e.ndjson"))
	if len(originals) != 1 {
		t.Fatal(originals)
	}
	aside := filepath.Join(t.TempDir(), "e.ndjson")
	if err := os.Rename(originals[0], aside); err != nil {
		t.Fatal(err)
	}
	if d := l.replay(server.ReplayRequest{From: "earliest"}); d.State != "failed" || !strings.Contains(d.Error, "the history of events is not complete") {
		t.Errorf("without the original: %+v", d)
	}
	if err := os.Rename(aside, originals[0]); err != nil {
		t.Fatal(err)
	}
	if d := l.replay(server.ReplayRequest{From: "earliest"}); d.State != "done" || d.Rows != 20_000 {
		t.Errorf("with it: %+v", d)
	}
	l.eventually(counts, "20000,20000,20000")
	l.verify()
}
