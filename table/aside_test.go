package table_test

import (
	"context"
	"errors"
	"math"
	"reflect"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/table"
)

// TestAside: what is collected beside a table is kept as it was given, takes the place of a part of the
// table in one commit, and is dropped without a trace.
func TestAside(t *testing.T) {
	r := newRig(t)
	st := r.ensure()
	failed := func(offset uint64, stage string) table.FailedRecord {
		return table.FailedRecord{Pipeline: "p", Stream: "s", Offset: offset, Stage: stage, Reason: "bad", Arrival: r.clock.Now(), FailedAt: r.clock.Now(), Record: []byte("{}")}
	}
	old := r.file(st, 6)
	st, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{old}, SchemaID: st.SchemaID,
		Progress: []table.Progress{{Stream: "s", Next: 10, RecordsIn: 10, RowsOut: 6, Failed: 4}},
		Failed:   []table.FailedRecord{failed(1, "sql"), failed(2, "sql"), failed(3, "sql"), failed(8, "sql")}, Documents: map[string][]byte{"d": []byte("table")}})
	must(t, err)
	a := r.Aside("job", name)
	docs, err := a.Documents(t.Context())
	must(t, err)
	if string(docs["d"]) != "table" {
		t.Errorf("documents %q", docs)
	}
	used, spare := r.file(st, 7), r.file(st, 1)
	used.Columns = map[int]table.ColumnStats{1: {Values: 7, NaNs: -1, Lower: int64(-3), Upper: int64(math.MaxInt64)}, 2: {Lower: "é\xff", Upper: []byte{}}, 3: {Lower: math.Inf(-1), Upper: 0.1},
		4: {Lower: time.Date(2026, 11, 20, 3, 0, 0, 123456000, time.UTC), Upper: time.Hour}, 5: {Lower: false, Upper: uuid.New()}}
	used.Partition = []any{}
	used.SplitOffsets = []int64{4}
	part := table.Commit{Add: []table.DataFile{used}, SchemaID: st.SchemaID, Progress: []table.Progress{{Stream: "s", Next: 5, NextSeq: 2, RecordsIn: 5, RowsOut: 4, Failed: 1}},
		Failed: []table.FailedRecord{failed(2, "sql")}, Documents: map[string][]byte{"d": []byte("aside")}}
	must(t, a.Commit(t.Context(), "range", part))
	wantCode(t, a.Commit(t.Context(), "range", table.Commit{Progress: part.Progress}), tarn.CodeConflict)
	must(t, a.Commit(t.Context(), "rest", table.Commit{Add: []table.DataFile{spare}, SchemaID: st.SchemaID, Progress: []table.Progress{{Stream: "s", Next: 10, RecordsIn: 4, RowsOut: 3, Failed: 1}},
		Failed: []table.FailedRecord{failed(7, "convert")}}))
	files, err := a.Files(t.Context())
	must(t, err)
	if len(files) != 2 {
		t.Fatalf("%d files", len(files))
	}
	for _, f := range files {
		if f.Part == "range" {
			f.Partition, used.Path = []any{}, f.Path
			if !reflect.DeepEqual(f.DataFile, used) {
				t.Errorf("kept %+v, given %+v", f.DataFile, used)
			}
		}
	}
	if res, err := r.RemoveOrphans(t.Context(), name, -time.Hour); err != nil || res.Files != 0 {
		t.Errorf("orphans %+v, %v: files built aside are none", res, err)
	}
	if ids, err := r.Asides(t.Context()); err != nil || !reflect.DeepEqual(ids, map[string]string{"job": name}) {
		t.Errorf("asides %v, %v", ids, err)
	}

	var add []table.AsideFile
	for _, f := range files {
		if f.Part == "range" {
			f.Columns = nil
			add = append(add, f)
		}
	}
	now, err := r.State(t.Context(), name)
	must(t, err)
	have := r.files(now)
	also := errors.New("not yet")
	replace := table.Replacement{Snapshot: now.SnapshotID, Remove: have, Add: add,
		Shards: []table.Account{{Stream: "s", Next: 10, RecordsIn: 10, RowsOut: 7, Failed: 3, From: 0, To: 5}},
		Also:   func(context.Context, *metadb.Tx) error { return also }}
	if _, err := a.Replace(t.Context(), replace); !errors.Is(err, also) {
		t.Fatal(err)
	}
	if again, err := r.State(t.Context(), name); err != nil || again != now {
		t.Error("a replacement that was rolled back moved the table")
	}
	also = nil
	stale := replace
	stale.Snapshot--
	_, err = a.Replace(t.Context(), stale)
	wantCode(t, err, tarn.CodeConflict)
	behind := replace
	behind.Shards = []table.Account{{Stream: "s", Next: 9}}
	_, err = a.Replace(t.Context(), behind)
	wantCode(t, err, tarn.CodeConflict)
	now, err = a.Replace(t.Context(), replace)
	must(t, err)
	if now.Rows != 7 || now.Files != 1 {
		t.Errorf("%d rows in %d files", now.Rows, now.Files)
	}
	left, err := r.FailedRecords(t.Context(), table.FailedFilter{})
	must(t, err)
	got := map[uint64]int{}
	for _, f := range left {
		got[f.Offset] = f.Attempts
	}
	if !reflect.DeepEqual(got, map[uint64]int{2: 2, 7: 1, 8: 1}) { // 2 failed again, 7 is new, 8 lies outside
		t.Errorf("failed records and attempts: %v", got)
	}
	p, err := r.Progress(t.Context(), name)
	must(t, err)
	if p[0].RowsOut != 7 || p[0].Failed != 3 || p[0].Next != 10 {
		t.Errorf("%+v", p[0])
	}
	must(t, a.Drop(t.Context()))
	must(t, a.Drop(t.Context()))
	if key, ok := r.bucket.Key(spare.Path); ok {
		spare.Path = key
	}
	if _, err := r.bucket.Stat(t.Context(), spare.Path); err == nil {
		t.Error("a file that was not used is still there")
	}
	if ids, err := r.Asides(t.Context()); err != nil || len(ids) != 0 {
		t.Errorf("left: %v, %v", ids, err)
	}
	must(t, r.Drop(t.Context(), name))
	must(t, r.Drop(t.Context(), name))
	if n := len(keys(t, r.bucket, st.Prefix+"/")); n != 0 {
		t.Errorf("%d files of a table that was dropped", n)
	}
	_, err = r.State(t.Context(), name)
	wantCode(t, err, tarn.CodeNotFound)
}
