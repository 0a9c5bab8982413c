package engine_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/server"
)

// TestReplayedTableIsKept: a table that a replay made is compacted in the background and by hand, and
// verify looks at its files, although no pipeline delivers to it.
func TestReplayedTableIsKept(t *testing.T) {
	l := newHours(t, "sql: SELECT * FROM records")
	l.postHours(1, 2, 40)
	for from, into := range map[string]string{"0:0": "curated.first", "1:0": "curated.second"} {
		if d := l.replay(server.ReplayRequest{From: from, Into: into}); d.State != "done" || d.Rows != 40 {
			t.Fatalf("%+v", d)
		}
	}
	v, err := l.Verify(t.Context())
	if err != nil || !v.OK || strings.Join(v.Kept, " ") != "curated.first curated.second" {
		t.Fatalf("%+v %v", v, err)
	}
	docs, err := l.Maintain(t.Context(), "curated.first", []string{"compact", "expire", "manifests", "orphans"})
	if err != nil || len(docs) != 4 {
		t.Fatalf("%+v %v", docs, err)
	}
	if _, err := l.Maintain(t.Context(), "curated.nowhere", []string{"compact"}); err == nil {
		t.Error("a table that is not there is compacted")
	}

	files, err := filepath.Glob(filepath.Join(l.data, "lake/curated/second*/*/*/*/*/*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v %v", files, err)
	}
	if err := os.Remove(files[0]); err != nil {
		t.Fatal(err)
	}
	v, err = l.Verify(t.Context())
	if err != nil || v.OK || len(v.Problems) == 0 || v.Problems[0].Subject != "curated.second" {
		t.Errorf("a file of it is gone: %+v %v", v, err)
	}
}

// TestReplayedTableIsMaintained: the background finds it, and merges its small files.
func TestReplayedTableIsMaintained(t *testing.T) {
	small := "pipeline: events\nschema: {id: BIGINT, pad: VARCHAR}\ndeliver: [{table: curated.events, buffer: {size: 1MiB}, maintenance: {compact: true}}]\n"
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": small}), t.TempDir())
	pad := strings.Repeat("x", 500_000)
	for i := range 12 {
		l.post("events", fmt.Sprintf(`{"id":%d,"pad":"%s"}`, i, pad))
	}
	if d := l.replay(server.ReplayRequest{From: "earliest", Into: "curated.again"}); d.State != "done" {
		t.Fatalf("%+v", d)
	}
	const merged = "SELECT count(*) FROM system.snapshots WHERE table_name = 'curated.again' AND operation = 'replace'"
	if got := l.sql(merged); got != "0" {
		t.Fatalf("%s rewrites by the replay", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Options{Project: l.project, Data: l.data, Listen: "127.0.0.1:0", Maintenance: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	l = &lake{Engine: e, t: t, project: l.project, data: l.data}
	l.eventually(merged, "1")
	if got := l.sql("SELECT count(*), count(DISTINCT id) FROM curated.again"); got != "12,12" {
		t.Errorf("rows: %s", got)
	}
	l.verify()
}
