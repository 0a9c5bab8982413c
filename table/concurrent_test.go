package table_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/metadb/metadbtest"
	"github.com/tarn-data/tarn/table"
)

// Sixteen writers, each a Store of its own as in another process, commit at once: all succeed, and
// nothing is lost or doubled.
func TestSixteenWriters(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) { sixteenWriters(t, newRigIn(t, memoryDir(t))) })
	t.Run("postgres", func(t *testing.T) {
		url := metadbtest.Postgres(t).Database(t)
		b, err := fs.Open(filepath.Join(memoryDir(t), "lake"))
		must(t, err)
		sixteenWriters(t, newRigOn(t, url, b))
	})
}

func sixteenWriters(t *testing.T, r *rig) {
	st := r.ensure()
	const writers, commits = 16, 6
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			s := table.Open(r.db, r.bucket, table.Options{})
			for i := range commits {
				f, err := putFile(t.Context(), r.bucket, st, int64(w+1))
				if err == nil {
					_, err = s.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID,
						Progress: []table.Progress{{Stream: "s", Shard: w, From: uint64(i), Next: uint64(i + 1), RowsOut: uint64(w + 1)}}})
				}
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	wg.Wait()
	st, err := r.State(t.Context(), name)
	must(t, err)
	if want := int64(commits * writers * (writers + 1) / 2); st.Rows != want || rowsOf(r.files(st)) != want || st.Files != writers*commits {
		t.Errorf("%d rows in %d files, want %d in %d", st.Rows, st.Files, want, writers*commits)
	}
	progress, err := r.Progress(t.Context(), name)
	must(t, err)
	for _, p := range progress {
		if p.Next != commits {
			t.Errorf("progress %+v", p)
		}
	}
	if len(st.Snapshots()) != writers*commits {
		t.Errorf("%d snapshots", len(st.Snapshots()))
	}
	r.clock.Advance(365 * 24 * time.Hour)
	_, err = r.ExpireSnapshots(t.Context(), name, 0, 1)
	must(t, err)
	st, err = r.State(t.Context(), name)
	must(t, err)
	r.clean(st) // overtaken attempts left nothing
}

// Of two deliverers of one shard exactly one commits each position, whatever the interleaving.
func TestTwoDeliverers(t *testing.T) {
	r := newRigIn(t, memoryDir(t))
	st := r.ensure()
	var won atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s := table.Open(r.db, r.bucket, table.Options{})
			for next := uint64(0); next < 20; {
				f, err := putFile(t.Context(), r.bucket, st, 1)
				if err == nil {
					_, err = s.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID,
						Progress: []table.Progress{{Stream: "s", From: next, Next: next + 1, RecordsIn: 1, RowsOut: 1}}})
				}
				if err == nil {
					won.Add(1)
				} else if tarn.CodeOf(err) != tarn.CodeConflict {
					t.Error(err)
					return
				}
				p, err := s.Progress(t.Context(), name)
				if err != nil {
					t.Error(err)
					return
				}
				next = p[0].Next
			}
		})
	}
	wg.Wait()
	st, err := r.State(t.Context(), name)
	must(t, err)
	if st.Rows != 20 || won.Load() != 20 {
		t.Errorf("%d rows, %d commits", st.Rows, won.Load())
	}
}

// Deliveries, compaction, expiry, evolution and readers at once: every reader sees a whole state
// with all its files there, rows never go back, and in the end all are there once.
func TestEverythingAtOnce(t *testing.T) {
	r := newRigIn(t, memoryDir(t))
	r.Store = table.Open(r.db, r.bucket, table.Options{}) // the real clock: expiry follows
	r.ensure()
	const writers, commits = 3, 40
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	done := make(chan struct{})
	var work, rest sync.WaitGroup
	for w := range writers {
		work.Go(func() {
			for i := range commits {
				st, err := r.State(ctx, name)
				if err == nil {
					var f table.DataFile
					if f, err = putFile(ctx, r.bucket, st, 5); err == nil {
						_, err = r.Commit(ctx, name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID,
							Progress: []table.Progress{{Stream: "s", Shard: w, From: uint64(5 * i), Next: uint64(5*i + 5), RowsOut: 5}}})
					}
				}
				if err != nil {
					t.Errorf("writer: %v", err)
					return
				}
			}
		})
	}
	background := func(what string, fn func() error) {
		rest.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := fn(); err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
			}
		})
	}
	background("compact", func() error {
		_, err := r.Compact(ctx, name, r.merge, table.CompactOptions{MinFiles: 4})
		return errors.Join(err, pause(ctx, 2*time.Millisecond))
	})
	background("expire", func() error {
		_, err := r.ExpireSnapshots(ctx, name, 0, 1)
		return errors.Join(err, pause(ctx, 5*time.Millisecond))
	})
	columns := 0
	background("evolve", func() error {
		columns++
		_, err := r.Evolve(ctx, name, table.Change{Add: []table.AddColumn{{Field: field(fmt.Sprintf("c%d", columns), "BIGINT")}}}, nil)
		return errors.Join(err, pause(ctx, 20*time.Millisecond))
	})
	background("manifests", func() error {
		_, err := r.RewriteManifests(ctx, name)
		return errors.Join(err, pause(ctx, 20*time.Millisecond))
	})
	for range 2 {
		seen := int64(0)
		background("read", func() error {
			st, release, err := r.Acquire(ctx, name, nil)
			if err != nil {
				return err
			}
			defer release()
			files, err := r.Files(ctx, st)
			if err != nil {
				return err
			}
			if rowsOf(files) != st.Rows || st.Rows < seen {
				return fmt.Errorf("%d rows in the files of a state of %d rows, after one of %d", rowsOf(files), st.Rows, seen)
			}
			seen = st.Rows
			for _, f := range files {
				key, _ := r.bucket.Key(f.Path)
				if _, err := r.bucket.Stat(ctx, key); err != nil {
					return err
				}
			}
			return nil
		})
	}
	work.Wait()
	close(done)
	rest.Wait()
	r.reopen()
	st, err := r.State(ctx, name)
	must(t, err)
	if want := int64(writers * commits * 5); st.Rows != want || rowsOf(r.files(st)) != want {
		t.Errorf("%d rows, want %d", st.Rows, want)
	}
	r.Store = table.Open(r.db, r.bucket, table.Options{Clock: func() time.Time { return time.Now().Add(time.Hour) }})
	_, err = r.ExpireSnapshots(ctx, name, 0, 1)
	must(t, err)
	st, err = r.State(ctx, name)
	must(t, err)
	r.clean(st)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// The same table behaviours on PostgreSQL: commits, fences, failed records, maintenance.
func TestOnPostgres(t *testing.T) {
	url := metadbtest.Postgres(t).Database(t)
	b, err := fs.Open(filepath.Join(memoryDir(t), "lake"))
	must(t, err)
	r := newRigOn(t, url, b)
	st := r.ensure()
	for i := range 18 {
		_, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{r.file(st, 10)}, SchemaID: 1, Documents: map[string][]byte{"shape": {byte(i)}, "none": nil},
			Progress: []table.Progress{{Stream: "s", From: uint64(i), Next: uint64(i + 1), RecordsIn: 2, RowsOut: 1, Failed: 1}},
			Failed:   []table.FailedRecord{{Pipeline: "p", Stream: "s", Offset: uint64(i), Stage: "convert", Reason: "bad\x00\xff", Record: []byte{0, 0xff}}}})
		must(t, err)
	}
	_, err = r.Commit(t.Context(), name, table.Commit{Progress: []table.Progress{{Stream: "s", From: 3, Next: 4}}})
	wantCode(t, err, tarn.CodeConflict)
	failed, err := r.FailedRecords(t.Context(), table.FailedFilter{Pipeline: "p", Limit: 5})
	must(t, err)
	_, err = r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{r.file(st, 1)}, SchemaID: 1, Resolve: []int64{failed[0].ID}})
	must(t, err)
	_, err = r.DropFailed(t.Context(), []int64{failed[1].ID, failed[2].ID})
	must(t, err)
	p, err := r.Progress(t.Context(), name)
	must(t, err)
	n, err := r.CountFailed(t.Context(), table.FailedFilter{})
	must(t, err)
	if p[0].Failed != 15 || p[0].Dropped != 2 || n != 15 || p[0].Next != 18 {
		t.Errorf("progress %+v, %d failed records", p[0], n)
	}
	_, err = r.Compact(t.Context(), name, r.merge, table.CompactOptions{})
	must(t, err)
	r.clock.Advance(time.Hour)
	_, err = r.ExpireSnapshots(t.Context(), name, 0, 1)
	must(t, err)
	r.evolve(table.Change{Add: []table.AddColumn{{Field: field("x", "BIGINT")}}}, nil)
	r.reopen()
	st, err = r.State(t.Context(), name)
	must(t, err)
	if st.Rows != 181 || st.Files != 1 || rowsOf(r.files(st)) != 181 {
		t.Errorf("%d rows in %d files", st.Rows, st.Files)
	}
	r.clean(st)
	_, err = r.Ensure(t.Context(), table.Definition{Name: "curated.TELEMETRY", Schema: schema("a", "BIGINT")})
	wantCode(t, err, tarn.CodeConflict)
}

// A COMMIT that fails leaves the outcome to be found out: the pointer tells that it did not go
// through, nothing stays behind, and the same commit works the next time.
func TestFailingCommit(t *testing.T) {
	server := metadbtest.Postgres(t)
	for what, body := range map[string]string{
		"refused":         "RAISE EXCEPTION 'fault'",
		"connection lost": "PERFORM pg_terminate_backend(pg_backend_pid())",
	} {
		t.Run(what, func(t *testing.T) {
			b, err := fs.Open(filepath.Join(memoryDir(t), "lake"))
			must(t, err)
			r := newRigOn(t, server.Database(t), b)
			st := r.ensure()
			for _, q := range []string{"CREATE FUNCTION fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN " + body + "; RETURN NULL; END $$",
				"CREATE CONSTRAINT TRIGGER fault AFTER UPDATE ON tables DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION fault()"} {
				if _, err := r.db.Exec(t.Context(), q); err != nil {
					t.Fatal(err)
				}
			}
			objects := len(keys(t, b, ""))
			c := table.Commit{Add: []table.DataFile{r.file(st, 10)}, SchemaID: 1, Progress: []table.Progress{{Stream: "s", Next: 10, RowsOut: 10}}}
			_, err = r.Commit(t.Context(), name, c)
			wantCode(t, err, tarn.CodeUnavailable)
			if errors.Is(err, metadb.ErrCommitUnknown) {
				t.Errorf("the outcome is known: %v", err)
			}
			if n := len(keys(t, b, "")); n != objects+1 {
				t.Errorf("%d objects more", n-objects)
			}
			if now, err := r.State(t.Context(), name); err != nil || now.Rows != 0 {
				t.Errorf("%d rows, %v", now.Rows, err)
			}
			if _, err := r.db.Exec(t.Context(), "DROP TRIGGER fault ON tables"); err != nil {
				t.Fatal(err)
			}
			st, err = r.Commit(t.Context(), name, c)
			must(t, err)
			if st.Rows != 10 {
				t.Errorf("%d rows", st.Rows)
			}
		})
	}
}
