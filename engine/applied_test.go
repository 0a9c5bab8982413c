package engine_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/project"
)

// TestForgottenTables: a lake whose metadata database is gone is not begun anew by itself. Put back, it goes
// on; with the folders moved away, everything in the stream is delivered again, as was said.
func TestForgottenTables(t *testing.T) {
	dir, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": events,
		"pipelines/empty.yaml": "pipeline: empty\nsource: {http: {}}\nschema: {id: BIGINT}\ndeliver: [{table: curated.empty}]\n"}), t.TempDir()
	l := start(t, dir, data)
	l.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	meta, kept := filepath.Join(data, "meta"), filepath.Join(t.TempDir(), "meta")
	if err := os.Rename(meta, kept); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(data, "lake", "curated", "events")
	for range 2 { // a refusal changes nothing
		err := refused(t, dir, data)
		var e *tarn.Error
		if !errors.As(err, &e) || e.Code != tarn.CodeConflict || !strings.Contains(e.Detail, "curated.events") ||
			strings.Contains(e.Detail, "curated.empty") || !strings.Contains(e.Hint, folder) || !strings.Contains(e.Hint, "tarn.db") {
			t.Fatalf("%v", err)
		}
	}
	if err := os.RemoveAll(meta); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(meta, os.DirFS(kept)); err != nil {
		t.Fatal(err)
	}
	l = start(t, dir, data)
	l.verify()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	if err := os.RemoveAll(meta); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(folder, filepath.Join(t.TempDir(), "events")); err != nil {
		t.Fatal(err)
	}
	l = start(t, dir, data)
	l.eventually("SELECT id, count(*) FROM curated.events GROUP BY id", "1,1")
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	l.verify()
}

// refused returns why an engine does not start.
func refused(t *testing.T, dir, data string) error {
	t.Helper()
	e, err := engine.New(engine.Options{Project: dir, Data: data, Listen: "127.0.0.1:0", Maintenance: -1, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if err = e.Start(t.Context()); err == nil {
		e.Close()
		t.Fatal("the engine started")
	}
	return err
}

// TestPlanShowsPartition: as long as a table is divided otherwise than the project asks for, a plan says so,
// from the server and from the data folder, also after a restart.
func TestPlanShowsPartition(t *testing.T) {
	l := newEvents(t)
	l.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	plan := func(applied []byte) string {
		t.Helper()
		var last project.Project
		if err := json.Unmarshal(applied, &last); err != nil {
			t.Fatal(err)
		}
		next, faults := project.LoadDir(l.project, project.Options{})
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		return fmt.Sprint(project.Plan(&last, next).Unsafe())
	}
	both := func(want bool) {
		t.Helper()
		running, err := l.Project(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stored, err := fs.ReadFile(os.DirFS(l.data), engine.Applied)
		if err != nil {
			t.Fatal(err)
		}
		for where, applied := range map[string][]byte{"server": running, "data folder": stored} {
			if got := plan(applied); strings.Contains(got, "partition_by") != want || want && !strings.Contains(got, "day(ts)") {
				t.Errorf("%s: %s", where, got)
			}
		}
	}
	both(false)
	l.edit("pipelines/events.yaml", strings.Replace(events, "hour(ts)", "day(ts)", 1))
	both(true)
	for range 2 {
		if _, err := l.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		both(true)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = start(t, l.project, l.data)
	both(true)
	l.edit("pipelines/events.yaml", events)
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	both(false)
}

// TestVerifyNotes: undelivered records that expired are a warning; a stream that never held a record and
// has no pipeline any more is not worth one.
func TestVerifyNotes(t *testing.T) {
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile,
		"pipelines/events.yaml": strings.Replace(events, "deliver:", "stream: {max_bytes: 64MiB}\ndeliver:", 1),
		"pipelines/idle.yaml":   "pipeline: idle\nsource: {http: {}}\ndeliver: [{table: curated.idle}]\n",
		"pipelines/full.yaml":   "pipeline: full\nsource: {http: {}}\ndeliver: [{table: curated.full}]\n"}), t.TempDir())
	notes := func() string {
		t.Helper()
		v, err := l.Verify(t.Context())
		if err != nil || !v.OK {
			t.Fatalf("%+v %v", v, err)
		}
		return fmt.Sprint(v.Notes)
	}
	if got := notes(); got != "[]" {
		t.Error(got)
	}
	if err := l.Pause("events", true); err != nil {
		t.Fatal(err)
	}
	large := strings.Repeat(fmt.Sprintf("{\"id\":1,\"text\":%q}\n", strings.Repeat("x", 500<<10)), 30)
	for range 6 { // 88 MiB
		l.post("events", large)
	}
	l.post("full", `{"id":1}`)
	for _, name := range []string{"idle", "full"} {
		if err := os.Remove(filepath.Join(l.project, "pipelines", name+".yaml")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := notes()
	if !strings.Contains(got, "events shard 0 → curated.events warning: ") || !strings.Contains(got, "records expired before they were delivered") {
		t.Errorf("no warning: %s", got)
	}
	if strings.Contains(got, "idle") || !strings.Contains(got, "full the stream holds records") {
		t.Error(got)
	}
}
