package table_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

// model is what a table must look like, kept in the plainest way.
type model struct {
	rows    map[string]int64 // live files by path
	next    uint64
	columns int
	history []past
}

type past struct {
	snapshot int64
	paths    []string
	columns  int
}

// machine runs random changes against a table and the model.
type machine struct {
	*rig
	m      model
	leased []lease
}

type lease struct {
	files   []table.DataFile
	release func()
}

func (x *machine) state(t *rapid.T) *table.State {
	st, err := x.State(x.t.Context(), name)
	must(t2(t), err)
	return st
}

// t2 makes a rapid.T of a testing.TB for must.
func t2(t *rapid.T) testing.TB { return rapidTB{t: t} }

type rapidTB struct {
	testing.TB
	t *rapid.T
}

func (r rapidTB) Helper()           {}
func (r rapidTB) Fatal(args ...any) { r.t.Fatal(args...) }

func (x *machine) committed(st *table.State) {
	var paths []string
	for p := range x.m.rows {
		paths = append(paths, p)
	}
	slices.Sort(paths)
	x.m.history = append(x.m.history, past{st.SnapshotID, paths, x.m.columns})
}

// Deliver commits 0 to 3 files with the progress of their rows.
func (x *machine) Deliver(t *rapid.T) {
	st := x.state(t)
	c := table.Commit{SchemaID: st.SchemaID}
	rows := int64(0)
	for range rapid.IntRange(0, 3).Draw(t, "files") {
		n := rapid.Int64Range(1, 50).Draw(t, "rows")
		var part any
		if hour := rapid.IntRange(-1, 2).Draw(t, "hour"); hour >= 0 {
			part = int64(hour)
		}
		c.Add = append(c.Add, x.file(st, n, part))
		rows += n
	}
	c.Progress = []table.Progress{{Stream: "s", From: x.m.next, Next: x.m.next + uint64(rows), RecordsIn: uint64(rows), RowsOut: uint64(rows)}}
	stale := rapid.IntRange(0, 4).Draw(t, "stale") == 0 && x.m.next > 0
	if stale {
		c.Progress[0].From--
	}
	next, err := x.Commit(x.t.Context(), name, c)
	if stale {
		if tarn.CodeOf(err) != tarn.CodeConflict {
			t.Fatalf("a stale deliverer was let in: %v", err)
		}
		for _, f := range c.Add {
			must(t2(t), x.bucket.Delete(x.t.Context(), f.Path))
		}
		return
	}
	must(t2(t), err)
	x.m.next += uint64(rows)
	for _, f := range c.Add {
		x.m.rows[x.bucket.URL(f.Path)] = f.Rows
	}
	if len(c.Add) > 0 {
		x.committed(next)
	}
}

// Remove takes one live file out.
func (x *machine) Remove(t *rapid.T) {
	files := x.files(x.state(t))
	if len(files) == 0 {
		t.Skip("nothing to remove")
	}
	f := rapid.SampledFrom(files).Draw(t, "file")
	next, err := x.Commit(x.t.Context(), name, table.Commit{Remove: []table.DataFile{f}})
	must(t2(t), err)
	delete(x.m.rows, f.Path)
	x.committed(next)
}

// Compact merges small files; their rows stay.
func (x *machine) Compact(t *rapid.T) {
	res, err := x.Store.Compact(x.t.Context(), name, x.merge, table.CompactOptions{MinFiles: rapid.IntRange(2, 6).Draw(t, "min")})
	must(t2(t), err)
	if res.Groups == 0 {
		return
	}
	st := x.state(t)
	x.m.rows = map[string]int64{}
	for _, f := range x.files(st) {
		x.m.rows[f.Path] = f.Rows
	}
	x.committed(st)
}

// Expire drops history but the last few snapshots.
func (x *machine) Expire(t *rapid.T) {
	x.clock.Advance(time.Hour)
	keep := rapid.IntRange(1, 4).Draw(t, "keep")
	_, err := x.ExpireSnapshots(x.t.Context(), name, 0, keep)
	must(t2(t), err)
	x.m.history = x.m.history[max(0, len(x.m.history)-keep):]
}

// Manifests merges them.
func (x *machine) Manifests(t *rapid.T) {
	before := x.state(t)
	st, err := x.RewriteManifests(x.t.Context(), name)
	must(t2(t), err)
	if st.SnapshotID != before.SnapshotID {
		x.committed(st)
	}
}

// Evolve adds a column.
func (x *machine) Evolve(t *rapid.T) {
	x.m.columns++
	_, err := x.Store.Evolve(x.t.Context(), name, table.Change{Add: []table.AddColumn{{Field: field(fmt.Sprintf("c%d", x.m.columns), "BIGINT")}}}, nil)
	must(t2(t), err)
}

// Orphans removes what nothing names: here what nothing ever named.
func (x *machine) Orphans(t *rapid.T) {
	st := x.state(t)
	x.file(st, 1, nil)
	res, err := x.RemoveOrphans(x.t.Context(), name, -100*365*24*time.Hour)
	must(t2(t), err)
	if res.Files != 1 {
		t.Fatalf("%d orphans, want the one just made", res.Files)
	}
}

// Reopen forgets everything in memory, as a restart does.
func (x *machine) Reopen(t *rapid.T) {
	for _, l := range x.leased {
		l.release()
	}
	x.leased = nil
	x.reopen()
}

// Lease takes a lease, or ends one.
func (x *machine) Lease(t *rapid.T) {
	if len(x.leased) > 0 && rapid.Bool().Draw(t, "release") {
		x.leased[0].release()
		x.leased = x.leased[1:]
		return
	}
	var at *table.AsOf
	if len(x.m.history) > 0 && rapid.Bool().Draw(t, "old") {
		at = &table.AsOf{Snapshot: rapid.SampledFrom(x.m.history).Draw(t, "snapshot").snapshot}
	}
	st, release, err := x.Acquire(x.t.Context(), name, at)
	must(t2(t), err)
	x.leased = append(x.leased, lease{x.files(st), release})
}

// check compares the table with the model after every step.
func (x *machine) check(t *rapid.T) {
	st := x.state(t)
	var want []string
	var rows int64
	for p, n := range x.m.rows {
		want, rows = append(want, p), rows+n
	}
	slices.Sort(want)
	files := x.files(st)
	if st.Rows != rows || rowsOf(files) != rows || !slices.Equal(paths(files), want) {
		t.Fatalf("the table has %d rows in %d files, the model %d in %d", st.Rows, len(files), rows, len(want))
	}
	if len(st.Schema.Fields) != 2+x.m.columns {
		t.Fatalf("%d columns, want %d", len(st.Schema.Fields), 2+x.m.columns)
	}
	p, err := x.Progress(x.t.Context(), name)
	must(t2(t), err)
	if len(p) == 1 && (p[0].Next != x.m.next || p[0].RowsOut != x.m.next) || len(p) == 0 && x.m.next > 0 {
		t.Fatalf("progress %+v, want %d", p, x.m.next)
	}
	if snaps := st.Snapshots(); len(snaps) != len(x.m.history) {
		t.Fatalf("%d snapshots, want %d", len(snaps), len(x.m.history))
	}
	for _, h := range x.m.history {
		old, err := x.StateAt(x.t.Context(), name, table.AsOf{Snapshot: h.snapshot})
		must(t2(t), err)
		got := x.files(old)
		if !slices.Equal(paths(got), h.paths) {
			t.Fatalf("snapshot %d has the files %v, want %v", h.snapshot, paths(got), h.paths)
		}
		x.there(t, got)
	}
	for _, l := range x.leased { // I4
		x.there(t, l.files)
	}
}

func (x *machine) there(t *rapid.T, files []table.DataFile) {
	for _, f := range files {
		key, _ := x.bucket.Key(f.Path)
		if info, err := x.bucket.Stat(x.t.Context(), key); err != nil || info.Size != f.Bytes {
			t.Fatalf("%s: %v", key, err)
		}
	}
}

// Whatever happens in whatever order: the rows are the sum of what was added and not removed, every
// retained snapshot and every lease finds its files, and nothing else stays behind.
func TestModel(t *testing.T) {
	dir := memoryDir(t)
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		r := newRigIn(t, fmt.Sprintf("%s/%d", dir, n))
		def := partitioned(schema("id", "BIGINT", "ts", "TIMESTAMP"), "hour(ts)")
		def.Name = name
		r.define(def)
		x := &machine{rig: r, m: model{rows: map[string]int64{}}}
		rt.Repeat(map[string]func(*rapid.T){
			"deliver": x.Deliver, "deliver more": x.Deliver, "deliver again": x.Deliver, "remove": x.Remove, "compact": x.Compact, "expire": x.Expire,
			"manifests": x.Manifests, "evolve": x.Evolve, "orphans": x.Orphans, "reopen": x.Reopen, "lease": x.Lease,
			"": x.check,
		})
		x.Reopen(rt)
		x.clock.Advance(time.Hour)
		if len(x.m.history) > 0 {
			_, err := x.ExpireSnapshots(t.Context(), name, 0, 1)
			must(t, err)
			x.clean(x.state(rt))
		}
	})
}
