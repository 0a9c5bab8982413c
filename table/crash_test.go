package table_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/lake/laketest"
	"github.com/tarn-data/tarn/table"
)

// outcome is everything that must change together (I2).
type outcome struct {
	Rows, Files int64
	Next        uint64
	Failed      int64
	Document    string
	Schema      string
}

func (r *rig) outcome() outcome {
	r.t.Helper()
	ctx := r.t.Context()
	st, err := r.State(ctx, name)
	must(r.t, err)
	files := r.files(st)
	if rowsOf(files) != st.Rows || len(files) != int(st.Files) {
		r.t.Errorf("the summary says %d rows in %d files, the manifests %d in %d", st.Rows, st.Files, rowsOf(files), len(files))
	}
	o := outcome{Rows: st.Rows, Files: st.Files, Schema: fmt.Sprint(st.Schema)}
	p, err := r.Progress(ctx, name)
	must(r.t, err)
	if len(p) == 1 {
		o.Next = p[0].Next
	}
	o.Failed, err = r.CountFailed(ctx, table.FailedFilter{Table: name})
	must(r.t, err)
	docs, err := r.Documents(ctx, name)
	must(r.t, err)
	o.Document = string(docs["shape"])
	for _, f := range files {
		key, _ := r.bucket.Key(f.Path)
		if info, err := r.bucket.Stat(ctx, key); err != nil || info.Size != f.Bytes {
			r.t.Errorf("%s: %v", key, err)
		}
	}
	return o
}

// step is one change of a table that is interrupted at every moment of its I/O.
type step struct {
	name string
	run  func(ctx context.Context, r *rig, b lake.Bucket) error
}

// delivery commits a file, progress, a failed record and a document.
func delivery(ctx context.Context, r *rig, b lake.Bucket) error {
	st, err := r.State(ctx, name)
	if err != nil {
		return err
	}
	f, err := putFile(ctx, b, st, 10)
	if err != nil {
		return err
	}
	_, err = r.Commit(ctx, name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID,
		Progress:  []table.Progress{{Stream: "s", From: 160, Next: 171, RecordsIn: 11, RowsOut: 10, Failed: 1}},
		Failed:    []table.FailedRecord{{Pipeline: "p", Stream: "s", Offset: 170, Stage: "convert", Reason: "bad", Record: []byte("x")}},
		Documents: map[string][]byte{"shape": []byte("v2"), "new": []byte("n")}})
	return err
}

func (s step) rewriter(b lake.Bucket) table.Rewriter {
	return func(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
		f, err := putFile(ctx, b, o.Table, rowsOf(o.Files))
		return []table.DataFile{f}, err
	}
}

var steps = []step{
	{"deliver", delivery},
	{"compact", func(ctx context.Context, r *rig, b lake.Bucket) error {
		_, err := r.Compact(ctx, name, step{}.rewriter(b), table.CompactOptions{})
		return err
	}},
	{"evolve", func(ctx context.Context, r *rig, b lake.Bucket) error {
		_, err := r.Evolve(ctx, name, table.Change{Add: []table.AddColumn{{Field: field("n", "BIGINT")}}}, nil)
		return err
	}},
	{"widen", func(ctx context.Context, r *rig, b lake.Bucket) error {
		_, err := r.Evolve(ctx, name, table.Change{Widen: []table.Widen{{Path: []string{"id"}, Type: field("", "DOUBLE").Type}}}, step{}.rewriter(b))
		return err
	}},
	{"expire", func(ctx context.Context, r *rig, b lake.Bucket) error {
		_, err := r.ExpireSnapshots(ctx, name, 0, 2)
		return err
	}},
	{"manifests", func(ctx context.Context, r *rig, b lake.Bucket) error {
		_, err := r.RewriteManifests(ctx, name)
		return err
	}},
}

// template makes a folder with a table of 16 files, so that the next commit merges manifests.
func template(t *testing.T) string {
	dir := memoryDir(t)
	r := openRig(t, filepath.Join(dir, "live"))
	st := r.ensure()
	for i := range 16 {
		f := r.file(st, 10)
		_, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID, Documents: map[string][]byte{"shape": []byte("v1")},
			Progress: []table.Progress{{Stream: "s", From: uint64(i * 10), Next: uint64(i*10 + 10), RecordsIn: 10, RowsOut: 10}}})
		must(t, err)
	}
	r.close()
	must(t, os.CopyFS(filepath.Join(dir, "kept"), os.DirFS(filepath.Join(dir, "live"))))
	return dir
}

// prepared brings the template back and opens it. Metadata names absolute paths, so it always lies
// in the same place.
func prepared(t *testing.T, dir string) *rig {
	live := filepath.Join(dir, "live")
	must(t, os.RemoveAll(live))
	must(t, os.CopyFS(live, os.DirFS(filepath.Join(dir, "kept"))))
	r := openRig(t, live)
	r.clock.Advance(time.Hour)
	return r
}

// memoryDir is a folder in memory where the system has one: the faults here are injected, no disk
// is needed for them.
func memoryDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "tarn-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (r *rig) on(b lake.Bucket) {
	r.Store = table.Open(r.db, b, table.Options{Clock: r.clock.Now, PreviousMetadata: 2})
}

// moments yields, one after the other, matches of every moment of the writes of a step and of its
// first reads, until next says that the step ended before its moment.
func moments(yield func(laketest.Match) (reached bool)) {
	writes := laketest.Kinds(laketest.Put, laketest.PutFile, laketest.Delete)
	for n := 1; yield(laketest.Nth(n, writes)); n++ {
	}
	reads := laketest.Kinds(laketest.Open, laketest.Stat, laketest.List)
	for n := 1; n <= 3 && yield(laketest.Nth(n, reads)); n++ {
	}
}

// Killed at any moment of its I/O, a change has happened as a whole or not at all, every file that
// the table names is there, and what was left over can be swept up.
func TestStopAtEveryMoment(t *testing.T) {
	if raceEnabled {
		t.Skip("nothing is concurrent here, and it is slow")
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			stops := 0
			dir := template(t)
			moments(func(m laketest.Match) bool {
				r := prepared(t, dir)
				defer r.close()
				before := r.outcome()
				real := r.bucket
				faulty := laketest.Wrap(real, nil, m)
				r.on(faulty)
				err := s.run(t.Context(), r, faulty)
				r.on(real)
				if err == nil && !faulty.Stopped() { // the end of the change was reached
					return false
				}
				stops++
				after := r.outcome()
				if after != before {
					must(t, s.check(after, before))
				}
				// Run again by a new process it goes through, unless it had gone through.
				if err := s.run(t.Context(), r, real); err != nil && after == before {
					t.Fatalf("stop %d: again: %v", stops, err)
				}
				must(t, r.sweepAll())
				return true
			})
			if stops < 4 {
				t.Errorf("only %d moments", stops)
			}
		})
	}
}

// check says what a finished step looks like.
func (s step) check(after, before outcome) error {
	want := before
	switch s.name {
	case "deliver":
		want.Rows, want.Files, want.Next, want.Failed, want.Document = before.Rows+10, before.Files+1, 171, 1, "v2"
	case "compact":
		want.Files = 1
	case "evolve":
		want.Schema = after.Schema
	case "widen":
		want.Files, want.Schema = 1, after.Schema
	}
	if after != want {
		return fmt.Errorf("half a change: %+v, before %+v", after, before)
	}
	return nil
}

// sweepAll expires everything and removes orphans; then the folder holds what the table names.
func (r *rig) sweepAll() error {
	ctx := r.t.Context()
	r.clock.Advance(time.Hour)
	if _, err := r.ExpireSnapshots(ctx, name, 0, 1); err != nil {
		return err
	}
	if _, err := r.RemoveOrphans(ctx, name, -100*365*24*time.Hour); err != nil {
		return err
	}
	st, err := r.State(ctx, name)
	if err == nil {
		r.present(st)
		r.clean(st)
	}
	return err
}

// One failing operation fails the change as a whole, or is survived.
func TestErrorAtEveryMoment(t *testing.T) {
	if raceEnabled {
		t.Skip("nothing is concurrent here, and it is slow")
	}
	for _, s := range steps {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			dir := template(t)
			moments(func(m laketest.Match) bool {
				r := prepared(t, dir)
				defer r.close()
				before := r.outcome()
				real := r.bucket
				reached := false
				faulty := laketest.Wrap(real, func(o laketest.Op) bool { hit := m(o); reached = reached || hit; return hit }, nil)
				r.on(faulty)
				err := s.run(t.Context(), r, faulty)
				faulty.Heal()
				same := r.outcome() // the same Store must not remember what did not happen
				r.on(real)
				after := r.outcome()
				if same != after {
					t.Fatalf("the store remembers %+v, the lake holds %+v", same, after)
				}
				if err != nil && after != before && s.name != "expire" { // expiry commits, then deletes
					t.Fatalf("an error and yet a change: %v", err)
				}
				if after != before {
					must(t, s.check(after, before))
				}
				return reached
			})
		})
	}
}

// A statement of the transaction that fails takes the pointer and everything else back with it.
func TestDatabaseFault(t *testing.T) {
	dir := template(t)
	for _, trigger := range []string{
		"BEFORE UPDATE ON tables", "AFTER UPDATE ON tables", "BEFORE INSERT ON removed_files", "BEFORE UPDATE ON progress", "AFTER UPDATE ON progress",
		"BEFORE INSERT ON failed_records", "AFTER INSERT ON failed_records", "AFTER INSERT ON table_state", "AFTER UPDATE ON table_state",
	} {
		t.Run(trigger, func(t *testing.T) {
			r := prepared(t, dir)
			defer r.close()
			before := r.outcome()
			objects := len(keys(t, r.bucket, ""))
			if _, err := r.db.Exec(t.Context(), "CREATE TRIGGER fault "+trigger+" BEGIN SELECT RAISE(ABORT, 'fault'); END"); err != nil {
				t.Fatal(err)
			}
			err := delivery(t.Context(), r, r.bucket)
			if _, derr := r.db.Exec(t.Context(), "DROP TRIGGER fault"); derr != nil {
				t.Fatal(derr)
			}
			if err == nil {
				t.Fatal("no error")
			}
			if after := r.outcome(); after != before {
				t.Fatalf("half a change: %+v, before %+v", after, before)
			}
			if n := len(keys(t, r.bucket, "")); n != objects+1 { // the data file belongs to the caller
				t.Errorf("%d objects more", n-objects)
			}
			must(t, delivery(t.Context(), r, r.bucket))
		})
	}
}

// On a file system that forgets what was not fsynced the table comes back at its last committed
// pointer with all its files, wherever the power goes off (I4).
func TestPowerCut(t *testing.T) {
	lost := powerCuts(t, true)
	if lost != nil {
		t.Fatal(lost)
	}
	if powerCuts(t, false) == nil {
		t.Error("a file system that lies about fsync loses nothing: the test has no teeth")
	}
}

func powerCuts(t *testing.T, careful bool) error {
	ctx := t.Context()
	dir := memoryDir(t)
	random := rand.New(rand.NewPCG(1, 2))
	var cut *laketest.PowerCut
	open := func() lake.Bucket {
		sys, err := laketest.NewPowerCut(dir)
		must(t, err)
		sys.Careful = careful
		b, err := fs.OpenSystem(dir, sys)
		must(t, err)
		cut = sys
		return b
	}
	r := newRigOn(t, filepath.Join(memoryDir(t), "m.db"), open())
	r.ensure()
	for round := range 12 {
		// The process dies at some moment of a change, then the power goes off.
		faulty := laketest.Wrap(r.bucket, nil, laketest.Nth(1+random.IntN(40), laketest.Any()))
		r.on(faulty)
		for !faulty.Stopped() {
			st, err := r.State(ctx, name)
			if err == nil {
				var f table.DataFile
				if f, err = putFile(ctx, faulty, st, 10); err == nil {
					_, err = r.Commit(ctx, name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID})
				}
			}
			if err == nil && random.IntN(4) == 0 {
				_, err = r.Compact(ctx, name, step{}.rewriter(faulty), table.CompactOptions{MinFiles: 2})
			}
			if err != nil && !faulty.Stopped() {
				return err
			}
		}
		must(t, cut.Cut())
		r.bucket = open()
		r.on(r.bucket)
		st, err := r.State(ctx, name)
		if err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		for _, snap := range st.Snapshots() {
			old, err := r.StateAt(ctx, name, table.AsOf{Snapshot: snap.ID})
			if err != nil {
				return err
			}
			files, err := r.Files(ctx, old)
			if err != nil {
				return fmt.Errorf("round %d: %w", round, err)
			}
			for _, f := range files {
				key, _ := r.bucket.Key(f.Path)
				if info, err := r.bucket.Stat(ctx, key); err != nil || info.Size != f.Bytes {
					return fmt.Errorf("round %d: %s: %w", round, key, err)
				}
			}
		}
	}
	return nil
}
