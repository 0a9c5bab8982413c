package table_test

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/table"
)

func TestTimeTravel(t *testing.T) {
	r := newRig(t)
	r.ensure()
	_, err := r.StateAt(t.Context(), name, table.AsOf{Time: r.clock.Now()})
	wantCode(t, err, tarn.CodeNotFound)
	var states []*table.State
	for i := range 5 {
		r.clock.Advance(time.Hour)
		if i == 3 {
			if _, err = r.Evolve(t.Context(), name, table.Change{Add: []table.AddColumn{{Field: field("speed", "DOUBLE")}}}, nil); err != nil {
				t.Fatal(err)
			}
			r.clock.Advance(time.Minute)
		}
		states = append(states, r.add(int64(i+1)))
	}
	for range 2 {
		for i, want := range states {
			snap := want.Snapshots()[i]
			for _, at := range []table.AsOf{{Time: snap.Time}, {Time: snap.Time.Add(59 * time.Minute)}, {Snapshot: snap.ID}} {
				got, err := r.StateAt(t.Context(), name, at)
				must(t, err)
				if got.SnapshotID != want.SnapshotID || got.Rows != want.Rows || !got.Schema.Equal(want.Schema) || got.SchemaID != want.SchemaID ||
					!reflect.DeepEqual(paths(r.files(got)), paths(r.files(want))) {
					t.Errorf("%+v gives %d rows of snapshot %d, want %d", at, got.Rows, got.SnapshotID, want.Rows)
				}
			}
		}
		r.reopen()
	}
	if got, err := r.StateAt(t.Context(), name, table.AsOf{Time: states[2].UpdatedAt}); err != nil || got.Schema.Lookup("speed") != nil {
		t.Errorf("the old state has the new column: %v", err)
	}
	first := states[0].Snapshots()[0].Time
	_, err = r.StateAt(t.Context(), name, table.AsOf{Time: first.Add(-time.Millisecond)})
	wantCode(t, err, tarn.CodeNotFound)
	if !strings.Contains(err.Error(), first.Format("2006-01-02T15:04:05.000Z")) {
		t.Errorf("the error does not name the first available time: %v", err)
	}
	_, err = r.StateAt(t.Context(), name, table.AsOf{Snapshot: 1})
	wantCode(t, err, tarn.CodeNotFound)
}

// Snapshot times grow even when the clock stands still or goes back a little, so that a time names one.
func TestSnapshotTimesGrow(t *testing.T) {
	r := newRig(t)
	r.ensure()
	var st *table.State
	for range 5 {
		st = r.add(1)
		r.clock.Advance(-10 * time.Second)
	}
	snaps := st.Snapshots()
	for i := 1; i < len(snaps); i++ {
		if !snaps[i-1].Time.Before(snaps[i].Time) {
			t.Errorf("snapshot %d is of %s, the next of %s", i-1, snaps[i-1].Time, snaps[i].Time)
		}
	}
}

// TestClockSetBack: the clock runs a year ahead for a while. What is committed afterwards has true times,
// is found by them, and expires by age together with what was committed in the future.
func TestClockSetBack(t *testing.T) {
	const year = 365 * 24 * time.Hour
	r := newRig(t)
	r.ensure()
	before := r.add(1)
	r.clock.Advance(year)
	ahead := r.add(2)
	r.add(3)
	r.clock.Advance(-year + time.Hour)
	for range 2 {
		r.clock.Advance(time.Minute)
		r.add(4)
	}
	r.reopen()
	st, err := r.State(t.Context(), name)
	must(t, err)
	snaps := st.Snapshots()
	for i := range snaps {
		if want := int64(i + 1); snaps[i].Sequence != want {
			t.Errorf("snapshot %d has sequence number %d", i, snaps[i].Sequence)
		}
	}
	if got := snaps[4].Time; !got.Equal(r.clock.Now()) {
		t.Errorf("the last snapshot is of %s at %s", got, r.clock.Now())
	}
	for _, c := range []struct {
		at   time.Time
		want int // index of the snapshot
	}{
		{r.clock.Now(), 4}, {r.clock.Now().Add(-time.Minute), 3}, {r.clock.Now().Add(-30 * time.Minute), 0}, {before.UpdatedAt, 0},
		{ahead.UpdatedAt, 4}, {ahead.UpdatedAt.Add(year), 4}, // the last by sequence
	} {
		if got, err := r.StateAt(t.Context(), name, table.AsOf{Time: c.at}); err != nil || got.SnapshotID != snaps[c.want].ID {
			t.Errorf("at %s: %v, want snapshot %d", c.at, err, c.want)
		}
	}
	// A change without a snapshot is a version like any other.
	_, err = r.Ensure(t.Context(), table.Definition{Name: name, Schema: st.Schema, Partition: st.Partition, Properties: map[string]string{"owner": "fleet"}})
	must(t, err)

	r.clock.Advance(time.Hour)
	res, err := r.ExpireSnapshots(t.Context(), name, time.Hour+30*time.Second, 1)
	must(t, err)
	if st, err = r.State(t.Context(), name); err != nil || res.Snapshots != 4 || len(st.Snapshots()) != 1 || st.Snapshots()[0].ID != snaps[4].ID {
		t.Errorf("%+v expired, left %v, %v", res, st.Snapshots(), err)
	}
	r.present(st)
}

// present checks that every file of every retained snapshot is there.
func (r *rig) present(st *table.State) {
	r.t.Helper()
	for _, snap := range st.Snapshots() {
		old, err := r.StateAt(r.t.Context(), st.Name, table.AsOf{Snapshot: snap.ID})
		must(r.t, err)
		for _, f := range r.files(old) {
			key, _ := r.bucket.Key(f.Path)
			if info, err := r.bucket.Stat(r.t.Context(), key); err != nil || info.Size != f.Bytes {
				r.t.Errorf("a file of snapshot %d: %v", snap.Sequence, err)
			}
		}
	}
}

func TestExpireDeletesWhatNothingNames(t *testing.T) {
	r := newRig(t)
	r.ensure()
	for range 20 {
		r.clock.Advance(time.Minute)
		r.add(10)
	}
	before, err := r.State(t.Context(), name)
	must(t, err)
	res, err := r.Compact(t.Context(), name, r.merge, table.CompactOptions{})
	must(t, err)
	if res.Groups != 1 || res.FilesIn != 20 || res.FilesOut != 1 || res.Rows != 200 {
		t.Errorf("compaction %+v", res)
	}
	for _, f := range r.files(before) { // still named by older snapshots
		if key, _ := r.bucket.Key(f.Path); !exists(t, r.bucket, key) {
			t.Errorf("%s is gone", key)
		}
	}
	r.clock.Advance(time.Minute)
	exp, err := r.ExpireSnapshots(t.Context(), name, 10*time.Minute+time.Second, 1)
	must(t, err)
	st, err := r.State(t.Context(), name)
	must(t, err)
	if exp.Snapshots != 10 || len(st.Snapshots()) != 11 {
		t.Errorf("expired %+v, %d left", exp, len(st.Snapshots()))
	}
	r.present(st)
	exp, err = r.ExpireSnapshots(t.Context(), name, 0, 3)
	must(t, err)
	st, err = r.State(t.Context(), name)
	must(t, err)
	if len(st.Snapshots()) != 3 {
		t.Errorf("%d snapshots left", len(st.Snapshots()))
	}
	r.present(st)
	exp, err = r.ExpireSnapshots(t.Context(), name, 0, 0) // the current one always stays
	must(t, err)
	st, err = r.State(t.Context(), name)
	must(t, err)
	if len(st.Snapshots()) != 1 || st.Rows != 200 || exp.Snapshots != 2 {
		t.Errorf("%d snapshots, %d rows", len(st.Snapshots()), st.Rows)
	}
	r.clean(st)
}

// clean checks that the folder holds exactly what the table names.
func (r *rig) clean(st *table.State) {
	r.t.Helper()
	var data, other int
	for _, k := range keys(r.t, r.bucket, st.Prefix+"/") {
		switch {
		case strings.HasSuffix(k, ".parquet"):
			data++
		case strings.HasSuffix(k, ".avro"):
			other++
		}
	}
	if data != int(st.Files) {
		r.t.Errorf("%d data files in the folder, %d in the table", data, st.Files)
	}
	if max := 40 * len(st.Snapshots()); other > max {
		r.t.Errorf("%d manifests and lists for %d snapshots", other, len(st.Snapshots()))
	}
	res, err := r.RemoveOrphans(r.t.Context(), st.Name, -time.Hour)
	must(r.t, err)
	if res.Files != 0 {
		r.t.Errorf("%d orphans", res.Files)
	}
}

func exists(t testing.TB, b lake.Bucket, key string) bool {
	t.Helper()
	_, err := b.Stat(t.Context(), key)
	return err == nil
}

// A leased state keeps its files through compaction and expiry; after release they go (I4).
func TestLeasesDelayDeletion(t *testing.T) {
	r := newRig(t)
	r.ensure()
	for range 10 {
		r.clock.Advance(time.Minute)
		r.add(10)
	}
	mid := table.AsOf{Time: r.clock.Now().Add(-5 * time.Minute)}
	old, releaseOld, err := r.Acquire(t.Context(), name, &mid)
	must(t, err)
	st, release, err := r.Acquire(t.Context(), name, nil)
	must(t, err)
	again := r.Lease(st)
	_, err = r.Compact(t.Context(), name, r.merge, table.CompactOptions{})
	must(t, err)
	r.clock.Advance(time.Minute)
	expire := func() int {
		t.Helper()
		res, err := r.ExpireSnapshots(t.Context(), name, 0, 1)
		must(t, err)
		return res.Files
	}
	check := func(st *table.State, want int) {
		t.Helper()
		there := 0
		for _, f := range r.files(st) {
			if key, _ := r.bucket.Key(f.Path); exists(t, r.bucket, key) {
				there++
			}
		}
		if there != want {
			t.Errorf("%d of %d files are there, want %d", there, st.Files, want)
		}
	}
	expire()
	check(st, 10)
	check(old, 5)
	releaseOld()
	releaseOld() // once more does no harm
	expire()
	check(st, 10)
	release()
	expire()
	check(st, 10)
	again()
	if n := expire(); n < 10 {
		t.Errorf("%d files deleted after the last release", n)
	}
	check(st, 0)
	st, err = r.State(t.Context(), name)
	must(t, err)
	r.present(st)
	r.clean(st)
}

func TestOrphans(t *testing.T) {
	r := newRig(t)
	r.ensure()
	st := r.add(5)
	orphan := r.file(st, 99)
	r.add(6)
	res, err := r.RemoveOrphans(t.Context(), name, 100*365*24*time.Hour)
	must(t, err)
	if res.Files != 0 {
		t.Errorf("young files are taken for orphans: %+v", res)
	}
	r.Store = table.Open(r.db, r.bucket, table.Options{Clock: func() time.Time { return time.Now().Add(48 * time.Hour) }})
	res, err = r.RemoveOrphans(t.Context(), name, 24*time.Hour)
	must(t, err)
	if res.Files != 1 || res.Bytes != orphan.Bytes || exists(t, r.bucket, orphan.Path) {
		t.Errorf("orphans %+v", res)
	}
	st, err = r.State(t.Context(), name)
	must(t, err)
	r.present(st)
	_, err = r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{orphan}, SchemaID: 1}) // a writer that was too slow
	if err == nil {
		t.Error("a deleted file was committed")
	}
}

func TestCompactionPlan(t *testing.T) {
	r := newRig(t)
	def := partitioned(schema("id", "BIGINT", "ts", "TIMESTAMP"), "hour(ts)")
	def.Name = name
	st := r.define(def)
	c := table.Commit{SchemaID: 1}
	for hour := range 3 {
		for range []int{7, 4, 1}[hour] {
			c.Add = append(c.Add, r.file(st, 10, int64(hour)))
		}
	}
	c.Add = append(c.Add, r.file(st, 10, nil))
	st, err := r.Commit(t.Context(), name, c)
	must(t, err)
	seen := 0
	res, err := r.Compact(t.Context(), name, func(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
		seen++
		if len(o.Files) != 7 || o.Partition[0] != int64(0) || !o.Read.Equal(o.Write) || o.SchemaID != st.SchemaID {
			t.Errorf("order %+v", o)
		}
		return r.merge(ctx, o)
	}, table.CompactOptions{})
	must(t, err)
	if seen != 1 || res.Groups != 1 || res.FilesIn != 7 {
		t.Errorf("%+v in %d orders", res, seen)
	}
	st, err = r.State(t.Context(), name)
	must(t, err)
	if st.Files != 13-6 || st.Rows != 130 || st.Snapshots()[1].Operation != "replace" {
		t.Errorf("%d files, %d rows", st.Files, st.Rows)
	}
	res, err = r.Compact(t.Context(), name, r.merge, table.CompactOptions{MinFiles: 2, TargetBytes: 8 * 3}) // three files fill one
	must(t, err)
	if res.FilesIn != 3 {
		t.Errorf("%+v", res)
	}
}

// A rewrite that loses rows, or fails, changes nothing.
func TestBadRewrites(t *testing.T) {
	r := newRig(t)
	r.ensure()
	for range 6 {
		r.add(10)
	}
	before, err := r.State(t.Context(), name)
	must(t, err)
	for what, rewrite := range map[string]table.Rewriter{
		"loses a row": func(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
			f, err := putFile(ctx, r.bucket, o.Table, 59)
			return []table.DataFile{f}, err
		},
		"writes nothing": func(context.Context, table.Rewrite) ([]table.DataFile, error) { return nil, nil },
		"fails": func(context.Context, table.Rewrite) ([]table.DataFile, error) {
			return nil, fmt.Errorf("out of memory")
		},
	} {
		if _, err := r.Compact(t.Context(), name, rewrite, table.CompactOptions{}); err == nil {
			t.Errorf("%s: no error", what)
		}
		if st, err := r.State(t.Context(), name); err != nil || st != before {
			t.Errorf("%s: the table changed", what)
		}
	}
}

// A compaction overtaken by a commit that removes one of its files gives that group up.
func TestCompactionConflict(t *testing.T) {
	r := newRig(t)
	st := r.ensure()
	for range 6 {
		st = r.add(10)
	}
	files := r.files(st)
	res, err := r.Compact(t.Context(), name, func(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
		if _, err := r.Commit(ctx, name, table.Commit{Remove: files[:1]}); err != nil {
			return nil, err
		}
		r.add(3) // additions do not conflict
		return r.merge(ctx, o)
	}, table.CompactOptions{})
	must(t, err)
	if res.Conflicts != 1 || res.Groups != 0 {
		t.Errorf("%+v", res)
	}
	st, err = r.State(t.Context(), name)
	must(t, err)
	if st.Rows != 53 {
		t.Errorf("%d rows", st.Rows)
	}
	r.clock.Advance(time.Hour)
	_, err = r.ExpireSnapshots(t.Context(), name, 0, 1)
	must(t, err)
	st, err = r.State(t.Context(), name)
	must(t, err)
	r.clean(st)
}
