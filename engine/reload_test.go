package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/server"
)

func newEvents(t *testing.T) *lake {
	t.Helper()
	return start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": events}), t.TempDir())
}

func (l *lake) edit(file, text string) {
	l.t.Helper()
	path := filepath.Join(l.project, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

func TestReload(t *testing.T) {
	l := newEvents(t)
	l.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)

	t.Run("a broken edit changes nothing", func(t *testing.T) {
		l.edit("pipelines/events.yaml", strings.Replace(events, "table:", "tabel:", 1))
		_, err := l.Reload(t.Context())
		if err == nil || !strings.Contains(err.Error(), "pipelines/events.yaml:4:5") || !strings.Contains(err.Error(), "table") {
			t.Fatalf("reload: %v", err)
		}
		l.post("events", `{"id":2,"ts":"2026-11-20T03:00:00Z"}`)
		l.eventually("SELECT count(*) FROM curated.events", "2")
	})
	t.Run("a changed transform takes effect", func(t *testing.T) {
		l.edit("pipelines/events.yaml", events+"transform:\n  - sql: SELECT *, id * 10 AS tenfold FROM records\n")
		if _, err := l.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.post("events", `{"id":3,"ts":"2026-11-20T03:00:00Z"}`)
		l.eventually("SELECT count(*), sum(tenfold) FROM curated.events", "3,30")
	})
	t.Run("pipelines come and go", func(t *testing.T) {
		l.edit("pipelines/other.yaml", "pipeline: other\nsource: {http: {}}\ndeliver: [{table: curated.other}]\n")
		if _, err := l.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.post("other", `{"a":1}`)
		l.eventually("SELECT a FROM curated.other", "1")
		if err := os.Remove(filepath.Join(l.project, "pipelines/other.yaml")); err != nil {
			t.Fatal(err)
		}
		if _, err := l.Reload(t.Context()); err != nil {
			t.Fatal(err)
		}
		if status, _ := l.do(http.MethodPost, "/v1/streams/other/records", "application/json", "", []byte(`{}`)); status != http.StatusNotFound {
			t.Errorf("a removed pipeline answers %d", status)
		}
		l.eventually("SELECT a FROM curated.other", "1") // its data stays
		v, err := l.Verify(t.Context())
		if err != nil || !v.OK || len(v.Notes) != 1 || v.Notes[0].Subject != "other" {
			t.Errorf("verify says of a stream without a pipeline: %+v %v", v, err)
		}
	})
	l.verify()
}

func TestOneEngineForOneFolder(t *testing.T) {
	l := newEvents(t)
	e, err := engine.New(engine.Options{Project: l.project, Data: l.data, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); tarn.CodeOf(err) != tarn.CodeConflict || !strings.Contains(err.Error(), "in use by process") {
		t.Fatalf("second engine: %v", err)
	}
	l.post("events", `{"id":1}`) // the first one goes on
}

func TestPauseKeepsRecordsInTheStream(t *testing.T) {
	l := newEvents(t)
	if err := l.Pause("events", true); err != nil {
		t.Fatal(err)
	}
	l.post("events", `{"id":1}`)
	if err := l.Flush(t.Context(), "events"); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("flush while paused: %v", err)
	}
	v, err := l.Verify(t.Context())
	if err != nil || !v.OK || v.Totals.Pending != 1 {
		t.Fatalf("verify: %+v %v", v, err)
	}
	if err := l.Pause("events", false); err != nil {
		t.Fatal(err)
	}
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	l.verify()
}

// TestVerifyFindsDamage: the proof fails when the stores do not hold what they should (I3).
func TestVerifyFindsDamage(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"missing":   os.Remove,
		"truncated": func(path string) error { return os.Truncate(path, 10) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newEvents(t)
			l.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)
			if err := l.Flush(t.Context(), "events"); err != nil {
				t.Fatal(err)
			}
			l.verify()
			err := filepath.WalkDir(filepath.Join(l.data, "lake"), func(path string, d fs.DirEntry, err error) error {
				if strings.HasSuffix(path, ".parquet") {
					return errors.Join(err, damage(path))
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			v, err := l.Verify(t.Context())
			if err != nil || v.OK || len(v.Problems) != 1 || v.Problems[0].Subject != "curated.events" {
				t.Fatalf("verify: %+v %v", v, err)
			}
		})
	}
}

// TestQueriesSeeEachRecordOnce asks while records arrive, are merged within the tail, committed and
// compacted: ids below the highest one seen are all there, and none twice.
func TestQueriesSeeEachRecordOnce(t *testing.T) {
	l := newEvents(t)
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second)
	defer cancel()
	l.post("events", `{"id":0,"ts":"2026-11-20T03:00:00Z"}`)
	l.eventually("SELECT count(*) FROM curated.events", "1")
	var wg sync.WaitGroup
	wg.Go(func() {
		for id := 1; ctx.Err() == nil; id += 20 {
			var b strings.Builder
			for i := range 20 {
				fmt.Fprintf(&b, `{"id":%d,"ts":"2026-11-20T%02d:00:00Z"}`+"\n", id+i, i)
			}
			l.post("events", b.String())
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			if err := l.Flush(ctx, "events"); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
	wg.Go(func() {
		for ctx.Err() == nil {
			if _, err := l.Maintain(ctx, "curated.events", []string{"compact", "expire", "manifests"}); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
	})
	asked := 0
	for ctx.Err() == nil {
		if got := l.sql("SELECT count(*) = count(DISTINCT id) AND count(*) = max(id) + 1 FROM curated.events"); got != "true" {
			t.Errorf("a query saw %s", l.sql("SELECT count(*), count(DISTINCT id), max(id) FROM curated.events"))
			break
		}
		asked++
	}
	cancel()
	wg.Wait()
	if asked < 20 {
		t.Errorf("only %d queries", asked)
	}
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	l.verify()
}

// TestFirstQuery: what has been acknowledged is there for the first query, also when the table gets
// its columns only now.
func TestFirstQuery(t *testing.T) {
	l := newEvents(t)
	l.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)
	if got := l.sql("SELECT id FROM curated.events"); got != "1" {
		t.Errorf("the first query saw %q", got)
	}
}

// TestVerifyFindsLostStream: a stream that comes back shorter than it was is told of (I3).
func TestVerifyFindsLostStream(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": events}), t.TempDir()
	first := start(t, project, data)
	first.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)
	if err := first.Pause("events", true); err != nil {
		t.Fatal(err)
	}
	first.post("events", `{"id":2,"ts":"2026-11-20T03:00:00Z"}`)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(data, "streams")); err != nil {
		t.Fatal(err)
	}
	second := start(t, project, data)
	v, err := second.Verify(t.Context())
	if err != nil || v.OK || len(v.Problems) == 0 || !strings.Contains(v.Problems[0].Detail, "0:0 to 0:1 were acknowledged") {
		t.Fatalf("verify: %+v %v", v, err)
	}

	// Accepted, it is named and does not fail any more, after a restart too; records that are there cannot be
	// accepted as lost.
	second.post("events", `{"id":3,"ts":"2026-11-20T03:00:00Z"}`)
	req := server.AcceptLosses{Losses: []server.LossRef{v.Losses[0].LossRef}, Reason: "a test", By: "a tester"}
	more := req
	more.Losses = []server.LossRef{{Stream: "events", First: tarn.Position{}, Last: tarn.Position{Offset: 2}}}
	if err := second.AcceptLosses(t.Context(), more); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Errorf("what is there is accepted as lost: %v", err)
	}
	for range 2 { // again is no error
		if err := second.AcceptLosses(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
	third := start(t, project, data)
	third.verify()
	if v, err = third.Verify(t.Context()); err != nil || len(v.Losses) != 1 || v.Losses[0].Accepted == nil || v.Losses[0].Accepted.By != "a tester" || v.Totals.Lost == 0 || !strings.Contains(fmt.Sprint(v.Notes), "a tester accepted that on ") {
		t.Errorf("%+v", v)
	}
}
