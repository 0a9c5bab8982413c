package table_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/table"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// rig is a store over a real folder and a real SQLite file.
type rig struct {
	*table.Store
	t      testing.TB
	db     *metadb.DB
	bucket lake.Bucket
	clock  *clock
	shut   func() error // closes the folder
}

func newRig(t testing.TB) *rig {
	t.Helper()
	return newRigIn(t, t.TempDir())
}

func newRigIn(t testing.TB, dir string) *rig {
	t.Helper()
	r := openRig(t, dir)
	t.Cleanup(r.close)
	return r
}

func newRigOn(t testing.TB, url string, b lake.Bucket) *rig {
	t.Helper()
	db, err := metadb.Open(t.Context(), url, metadb.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	r := &rig{t: t, db: db, bucket: b, clock: newClock()}
	r.reopen()
	return r
}

// openRig is a rig that the caller closes.
func openRig(t testing.TB, dir string) *rig {
	t.Helper()
	b, err := fs.Open(filepath.Join(dir, "lake"))
	must(t, err)
	db, err := metadb.Open(t.Context(), filepath.Join(dir, "meta.db"), metadb.Options{})
	must(t, err)
	r := &rig{t: t, db: db, bucket: b, clock: newClock()}
	r.shut = b.Close
	r.reopen()
	return r
}

func (r *rig) close() {
	r.t.Helper()
	must(r.t, errors.Join(r.db.Close(), r.shut()))
}

// reopen forgets everything in memory.
func (r *rig) reopen() { r.Store = table.Open(r.db, r.bucket, table.Options{Clock: r.clock.Now}) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t testing.TB, err error, code tarn.Code) {
	t.Helper()
	var e *tarn.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("error %v, want code %s", err, code)
	}
}

const name = "curated.telemetry"

func field(name, typ string) tarn.Field {
	t, err := tarn.ParseType(typ)
	if err != nil {
		panic(err)
	}
	return tarn.Field{Name: name, Type: t}
}

func schema(cols ...string) tarn.Schema {
	var s tarn.Schema
	for i := 0; i < len(cols); i += 2 {
		s.Fields = append(s.Fields, field(cols[i], cols[i+1]))
	}
	return s
}

func (r *rig) ensure() *table.State {
	r.t.Helper()
	return r.define(table.Definition{Name: name, Schema: schema("id", "BIGINT", "ts", "TIMESTAMP", "value", "DOUBLE")})
}

func (r *rig) define(def table.Definition) *table.State {
	r.t.Helper()
	st, err := r.Ensure(r.t.Context(), def)
	must(r.t, err)
	return st
}

// file puts an object that stands for a Parquet file of some rows.
func (r *rig) file(st *table.State, rows int64, partition ...any) table.DataFile {
	r.t.Helper()
	f, err := putFile(r.t.Context(), r.bucket, st, rows, partition...)
	must(r.t, err)
	return f
}

func putFile(ctx context.Context, b lake.Bucket, st *table.State, rows int64, partition ...any) (table.DataFile, error) {
	key := st.Prefix + "/" + table.PartitionPath(st.Partition, partition)
	key = strings.TrimSuffix(key, "/") + "/" + uuid.NewString() + ".parquet"
	body := fmt.Appendf(nil, "PAR1 %d", rows)
	err := b.Put(ctx, key, bytes.NewReader(body))
	return table.DataFile{Path: key, Rows: rows, Bytes: int64(len(body)), Partition: partition, Columns: map[int]table.ColumnStats{
		1: {Values: rows, Nulls: 0, NaNs: -1, Bytes: 8 * rows, Lower: int64(0), Upper: rows},
	}}, err
}

// add commits one file of some rows.
func (r *rig) add(rows int64, partition ...any) *table.State {
	r.t.Helper()
	cur, err := r.State(r.t.Context(), name)
	must(r.t, err)
	st, err := r.Commit(r.t.Context(), name, table.Commit{Add: []table.DataFile{r.file(cur, rows, partition...)}, SchemaID: cur.SchemaID})
	must(r.t, err)
	return st
}

// merge is a Rewriter that writes one file for all rows.
func (r *rig) merge(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
	var rows int64
	for _, f := range o.Files {
		rows += f.Rows
	}
	f, err := putFile(ctx, r.bucket, o.Table, rows, o.Partition...)
	return []table.DataFile{f}, err
}

func (r *rig) files(st *table.State) []table.DataFile {
	r.t.Helper()
	files, err := r.Files(r.t.Context(), st)
	must(r.t, err)
	return files
}

func rowsOf(files []table.DataFile) (n int64) {
	for _, f := range files {
		n += f.Rows
	}
	return n
}

func paths(files []table.DataFile) []string {
	out := make([]string, len(files))
	for i, f := range files {
		out[i] = f.Path
	}
	slices.Sort(out)
	return out
}

// keys returns the keys of all objects below prefix.
func keys(t testing.TB, b lake.Bucket, prefix string) []string {
	t.Helper()
	var out []string
	for info, err := range b.List(t.Context(), prefix) {
		must(t, err)
		out = append(out, info.Key)
	}
	return out
}
