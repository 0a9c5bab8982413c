package table_test

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/table"
)

func TestCommitAddsRows(t *testing.T) {
	r := newRig(t)
	st := r.ensure()
	if st.SnapshotID != 0 || st.Rows != 0 || len(r.files(st)) != 0 || st.Version != 1 || st.SchemaID == 0 {
		t.Errorf("a new table is %+v", st)
	}
	r.add(10)
	st = r.add(32)
	for range 2 { // from memory, then from the lake
		files := r.files(st)
		if st.Rows != 42 || st.Files != 2 || rowsOf(files) != 42 || len(files) != 2 || st.Bytes != files[0].Bytes+files[1].Bytes {
			t.Fatalf("%d rows in %d files, listed %v", st.Rows, st.Files, files)
		}
		for _, f := range files {
			if !filepath.IsAbs(f.Path) || !strings.HasPrefix(f.Path, st.Location+"/") {
				t.Errorf("file %s", f.Path)
			}
			if _, err := os.Stat(f.Path); err != nil {
				t.Error(err)
			}
			want := table.ColumnStats{Values: f.Rows, NaNs: -1, Bytes: 8 * f.Rows, Lower: int64(0), Upper: f.Rows}
			if got := f.Columns[1]; !reflect.DeepEqual(got, want) {
				t.Errorf("statistics %+v, want %+v", got, want)
			}
		}
		again, err := r.State(t.Context(), name)
		must(t, err)
		if again.SnapshotID != st.SnapshotID {
			t.Error("State is not the committed one")
		}
		r.reopen()
		st, err = r.State(t.Context(), name)
		must(t, err)
	}
	snaps := st.Snapshots()
	if len(snaps) != 2 || snaps[1].ParentID != snaps[0].ID || snaps[0].ParentID != 0 || snaps[1].Operation != "append" ||
		snaps[1].Summary["added-records"] != "32" || snaps[1].Summary["total-records"] != "42" || !snaps[0].Time.Before(snaps[1].Time) {
		t.Errorf("snapshots %+v", snaps)
	}
}

func TestCommitRefuses(t *testing.T) {
	r := newRig(t)
	st := r.ensure()
	good := r.file(st, 5)
	elsewhere := good
	elsewhere.Path = "curated/other/x.parquet"
	inMetadata := good
	inMetadata.Path = st.Prefix + "/metadata/x.parquet"
	gone := good
	gone.Path = st.Prefix + "/gone.parquet"
	short := good
	short.Bytes++
	parted := good
	parted.Partition = []any{int64(1)}
	for what, c := range map[string]struct {
		commit table.Commit
		code   tarn.Code
	}{
		"no schema id":            {table.Commit{Add: []table.DataFile{good}}, tarn.CodeInvalid},
		"unknown schema id":       {table.Commit{Add: []table.DataFile{good}, SchemaID: 77}, tarn.CodeInvalid},
		"a file twice":            {table.Commit{Add: []table.DataFile{good, good}, SchemaID: 1}, tarn.CodeInvalid},
		"outside the table":       {table.Commit{Add: []table.DataFile{elsewhere}, SchemaID: 1}, tarn.CodeInvalid},
		"among the metadata":      {table.Commit{Add: []table.DataFile{inMetadata}, SchemaID: 1}, tarn.CodeInvalid},
		"another size":            {table.Commit{Add: []table.DataFile{short}, SchemaID: 1}, tarn.CodeInvalid},
		"partition of a flat one": {table.Commit{Add: []table.DataFile{parted}, SchemaID: 1}, tarn.CodeInvalid},
		"backwards progress":      {table.Commit{Progress: []table.Progress{{Stream: "s", From: 5, Next: 4}}}, tarn.CodeInvalid},
		"removing what is not in": {table.Commit{Remove: []table.DataFile{good}}, tarn.CodeConflict},
		"another snapshot":        {table.Commit{Add: []table.DataFile{good}, SchemaID: 1, ExpectSnapshot: 7}, tarn.CodeConflict},
		"no failed record":        {table.Commit{Resolve: []int64{7}}, tarn.CodeConflict},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := r.Commit(t.Context(), name, c.commit)
			wantCode(t, err, c.code)
		})
	}
	if _, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{gone}, SchemaID: 1}); !errors.Is(err, lake.ErrNotFound) {
		t.Errorf("a missing file gives %v", err)
	}
	_, err := r.Commit(t.Context(), "curated.none", table.Commit{})
	wantCode(t, err, tarn.CodeNotFound)
	now, err := r.State(t.Context(), name)
	must(t, err)
	if now != st {
		t.Errorf("a refused commit changed the table to %+v", now)
	}
}

// Two deliverers that read the same position: one commits, the other is fenced off (I2).
func TestProgressFencesASecondDeliverer(t *testing.T) {
	r := newRig(t)
	st := r.ensure()
	deliver := func(from, next uint64) error {
		_, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{r.file(st, int64(next-from))}, SchemaID: st.SchemaID,
			Progress: []table.Progress{{Stream: "telemetry", Shard: 1, From: from, Next: next, NextSeq: next / 10, RecordsIn: next - from, RowsOut: next - from}}})
		return err
	}
	must(t, deliver(100, 110)) // the first commit says where the table begins
	wantCode(t, deliver(100, 120), tarn.CodeConflict)
	wantCode(t, deliver(90, 110), tarn.CodeConflict)
	wantCode(t, deliver(111, 120), tarn.CodeConflict)
	must(t, deliver(110, 125))
	st, err := r.State(t.Context(), name)
	must(t, err)
	if st.Rows != 25 {
		t.Errorf("%d rows", st.Rows)
	}
	got, err := r.Progress(t.Context(), name)
	must(t, err)
	want := table.ProgressRow{Table: name, Stream: "telemetry", Shard: 1, Next: 125, NextSeq: 12, RecordsIn: 25, RowsOut: 25, UpdatedAt: r.clock.Now()}
	if len(got) != 1 || got[0] != want {
		t.Errorf("progress %+v, want %+v", got, want)
	}
	if n := len(keys(t, r.bucket, st.Prefix+"/metadata/")); n != 2*2+3 { // two lists and manifests, three metadata files
		t.Errorf("%d metadata files: refused commits left some", n)
	}
}

func TestFailedRecordsCommitWithTheTable(t *testing.T) {
	r := newRig(t)
	st := r.ensure()
	at := time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC)
	failed := func(offset uint64, reason string) table.FailedRecord {
		return table.FailedRecord{Pipeline: "telemetry", Stream: "s", Offset: offset, Stage: "convert", Reason: reason, Code: tarn.CodeSchema, Arrival: at, Record: fmt.Appendf(nil, `{"n":%d}`, offset)}
	}
	_, err := r.Commit(t.Context(), name, table.Commit{
		Progress:  []table.Progress{{Stream: "s", Next: 4, RecordsIn: 4, RowsOut: 1, Failed: 3}},
		Failed:    []table.FailedRecord{failed(1, "bad\x00 \xff number"), failed(2, "b"), failed(3, "c")},
		Documents: map[string][]byte{"shape": []byte("v1"), "note": []byte("n")},
	})
	must(t, err)
	now, err := r.State(t.Context(), name)
	must(t, err)
	if now != st {
		t.Error("a commit without files moved the pointer")
	}
	list, err := r.FailedRecords(t.Context(), table.FailedFilter{Pipeline: "telemetry", Limit: 2})
	must(t, err)
	if len(list) != 2 || list[0].Reason != "bad \uFFFD number" || list[0].Attempts != 1 || list[0].Table != name || !list[0].FailedAt.Equal(r.clock.Now()) ||
		list[1].Offset != 2 || string(list[1].Record) != `{"n":2}` || !list[1].Arrival.Equal(at) || list[1].Code != tarn.CodeSchema {
		t.Fatalf("failed records %+v", list)
	}
	rest, err := r.FailedRecords(t.Context(), table.FailedFilter{Stream: "s", After: list[1].ID})
	must(t, err)
	if len(rest) != 1 || rest[0].Offset != 3 {
		t.Errorf("the next page is %+v", rest)
	}
	// A replay: one settles, one fails again, one is dropped. Each id works once.
	replay := table.Commit{Add: []table.DataFile{r.file(st, 1)}, SchemaID: 1, Resolve: []int64{list[0].ID},
		Failed: []table.FailedRecord{failed(2, "still")}, Documents: map[string][]byte{"shape": []byte("v2"), "note": nil}}
	_, err = r.Commit(t.Context(), name, replay)
	must(t, err)
	_, err = r.Commit(t.Context(), name, replay)
	wantCode(t, err, tarn.CodeConflict)
	n, err := r.DropFailed(t.Context(), []int64{rest[0].ID})
	must(t, err)
	_, err = r.DropFailed(t.Context(), []int64{list[1].ID, rest[0].ID})
	wantCode(t, err, tarn.CodeConflict)
	left, err := r.FailedRecords(t.Context(), table.FailedFilter{IDs: []int64{list[0].ID, list[1].ID, rest[0].ID}})
	must(t, err)
	if n != 1 || len(left) != 1 || left[0].Attempts != 2 || left[0].Reason != "still" || left[0].ID != list[1].ID {
		t.Errorf("left %+v", left)
	}
	p, err := r.Progress(t.Context(), "")
	must(t, err)
	count, err := r.CountFailed(t.Context(), table.FailedFilter{Table: name})
	must(t, err)
	if p[0].Failed != 1 || p[0].Dropped != 1 || count != 1 { // I3: progress counts what the store holds
		t.Errorf("progress %+v, %d failed records", p[0], count)
	}
	docs, err := r.Documents(t.Context(), name)
	must(t, err)
	if len(docs) != 1 || string(docs["shape"]) != "v2" {
		t.Errorf("documents %q", docs)
	}
}

func TestRemoveFiles(t *testing.T) {
	r := newRig(t)
	r.ensure()
	for i := range 40 {
		r.add(int64(i + 1))
	}
	st, err := r.State(t.Context(), name)
	must(t, err)
	files := r.files(st)
	st, err = r.Commit(t.Context(), name, table.Commit{Remove: files[:39]})
	must(t, err)
	if st.Files != 1 || st.Rows != files[39].Rows || st.Snapshots()[40].Operation != "delete" {
		t.Errorf("%d files, %d rows", st.Files, st.Rows)
	}
	_, err = r.Commit(t.Context(), name, table.Commit{Remove: files[39:], Add: []table.DataFile{r.file(st, 7)}, SchemaID: 1})
	must(t, err)
	r.reopen()
	st, err = r.State(t.Context(), name)
	must(t, err)
	if got := r.files(st); len(got) != 1 || got[0].Rows != 7 || st.Rows != 7 {
		t.Errorf("files %v", got)
	}
	_, err = r.Commit(t.Context(), name, table.Commit{Remove: files[:1]})
	wantCode(t, err, tarn.CodeConflict)
}

// Manifests are merged by size class: few of them, whatever the number of commits and files.
func TestManifestsStayFew(t *testing.T) {
	if raceEnabled {
		t.Skip("nothing is concurrent here, and it is slow")
	}
	r := newRig(t)
	st := r.ensure()
	for i := range 300 {
		st = r.add(int64(i))
	}
	list := st.Snapshots()[299].ManifestList
	info, err := os.Stat(list)
	must(t, err)
	if info.Size() > 16<<10 {
		t.Errorf("the manifest list has %d bytes", info.Size())
	}
	if got := len(r.files(st)); got != 300 {
		t.Errorf("%d files", got)
	}
	next, err := r.RewriteManifests(t.Context(), name)
	must(t, err)
	if next.Rows != st.Rows || next.SnapshotID == st.SnapshotID || !reflect.DeepEqual(paths(r.files(next)), paths(r.files(st))) {
		t.Error("rewriting the manifests changed the files")
	}
	same, err := r.RewriteManifests(t.Context(), name)
	must(t, err)
	if same != next {
		t.Error("one manifest was rewritten")
	}
	r.reopen()
	st, err = r.State(t.Context(), name)
	must(t, err)
	if !reflect.DeepEqual(paths(r.files(st)), paths(r.files(next))) {
		t.Error("after reopening the files are others")
	}
}

func TestMetadataFilesAreRetired(t *testing.T) {
	r := newRig(t)
	r.Store = table.Open(r.db, r.bucket, table.Options{PreviousMetadata: 3})
	st := r.ensure()
	for range 10 {
		st = r.add(1)
	}
	n := 0
	for _, k := range keys(t, r.bucket, st.Prefix+"/metadata/") {
		if strings.HasSuffix(k, ".metadata.json") {
			n++
		}
	}
	if n != 4 {
		t.Errorf("%d metadata files, want the current one and 3 before it", n)
	}
}

// What Files hands out is the same from memory and from the lake, long and empty bounds included.
func TestStatisticsAreStoredAsHandedOut(t *testing.T) {
	r := newRig(t)
	st := r.define(table.Definition{Name: name, Schema: schema("s", "VARCHAR", "b", "BLOB", "l", "BIGINT[]", "x", "DOUBLE", "e", "VARCHAR")})
	f := r.file(st, 3)
	f.SplitOffsets = []int64{4, 100}
	f.Columns = map[int]table.ColumnStats{
		1:  {Values: 3, Lower: strings.Repeat("é", 20), Upper: strings.Repeat("é", 21)},
		2:  {Values: -1, Nulls: -1, NaNs: -1, Bytes: 3, Lower: []byte{}, Upper: []byte(strings.Repeat("z", 17))},
		4:  {Values: 3, Lower: int64(1), Upper: int64(2)}, // an element: no bounds
		5:  {Values: 3, NaNs: 2, Lower: math.Inf(-1), Upper: math.NaN()},
		6:  {Values: 3, Lower: "", Upper: ""},
		99: {Values: 3}, // no such column
	}
	st, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{f}, SchemaID: 1})
	must(t, err)
	memory := r.files(st)
	r.reopen()
	st, err = r.State(t.Context(), name)
	must(t, err)
	stored := r.files(st)
	if !reflect.DeepEqual(memory, stored) {
		t.Errorf("memory %+v\nstored %+v", memory, stored)
	}
	cols := stored[0].Columns
	if cols[1].Lower != strings.Repeat("é", 16) || cols[1].Upper != strings.Repeat("é", 15)+"ê" || cols[2].Upper != nil || cols[4].Lower != nil ||
		cols[5].Lower != math.Inf(-1) || cols[5].Upper != nil || cols[6].Lower != "" || cols[6].Upper != "" || len(cols) != 5 || len(stored[0].SplitOffsets) != 2 {
		t.Errorf("columns %+v", cols)
	}
}

// A bound on the file descriptions in memory changes nothing but the I/O (I8).
func TestSmallCache(t *testing.T) {
	r := newRig(t)
	r.Store = table.Open(r.db, r.bucket, table.Options{CachedFiles: 2})
	r.ensure()
	var st *table.State
	for i := range 50 {
		st = r.add(int64(i))
	}
	if got := r.files(st); len(got) != 50 || rowsOf(got) != 49*50/2 {
		t.Errorf("%d files, %d rows", len(got), rowsOf(got))
	}
}
