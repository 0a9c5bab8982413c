package icebergtest

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	icebergio "github.com/apache/iceberg-go/io"
	iceberg "github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/table"
)

const name = "curated.telemetry"

// rig writes with DuckDB, commits with table and reads with iceberg-go.
type rig struct {
	*table.Store
	t      *testing.T
	dir    string
	bucket *fs.Bucket
	duck   *duck.DB
	db     *metadb.DB
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, dir: t.TempDir()}
	for _, d := range []string{"lake", "stage"} {
		must(t, os.Mkdir(filepath.Join(r.dir, d), 0o755))
	}
	var err error
	r.bucket, err = fs.Open(filepath.Join(r.dir, "lake"))
	must(t, err)
	db, err := metadb.Open(t.Context(), filepath.Join(r.dir, "meta.db"), metadb.Options{})
	must(t, err)
	r.duck, err = duck.Open(duck.Options{AllowedDirs: []string{r.dir}, Threads: 2})
	must(t, err)
	t.Cleanup(func() {
		r.duck.Close()
		db.Close()
		r.bucket.Close()
	})
	r.db = db
	r.Store = table.Open(db, r.bucket, table.Options{})
	return r
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func schema(cols ...string) tarn.Schema {
	var s tarn.Schema
	for i := 0; i < len(cols); i += 2 {
		typ, err := tarn.ParseType(cols[i+1])
		if err != nil {
			panic(err)
		}
		s.Fields = append(s.Fields, tarn.Field{Name: cols[i], Type: typ})
	}
	return s
}

func spec(fields ...string) []tarn.PartitionField {
	var out []tarn.PartitionField
	for _, f := range fields {
		p, err := tarn.ParsePartitionField(f)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return out
}

// write copies a SELECT into one Parquet file of one partition below the table's folder.
func (r *rig) write(ctx context.Context, st *table.State, s tarn.Schema, partition []any, query string) (table.DataFile, error) {
	id := uuid.NewString()
	local := filepath.Join(r.dir, "stage", id+".parquet")
	out, err := r.duck.Copy(ctx, query, duck.CopyOptions{Path: local, FieldIDs: s})
	if err != nil {
		return table.DataFile{}, err
	}
	f := table.DataFile{Path: path.Join(st.Prefix, table.PartitionPath(st.Partition, partition), id+".parquet"),
		Rows: out[0].Rows, Bytes: out[0].Bytes, Partition: partition, Columns: map[int]table.ColumnStats{}}
	for _, c := range out[0].Columns {
		s := table.ColumnStats{Values: c.Values, Nulls: c.Nulls, NaNs: -1, Bytes: c.Bytes}
		if !c.HasNaN {
			s.NaNs, s.Lower, s.Upper = 0, c.Lower, c.Upper
		}
		f.Columns[c.ID] = s
	}
	return f, r.bucket.PutFile(ctx, f.Path, local)
}

// commit writes a SELECT per partition and commits them together.
func (r *rig) commit(parts map[any]string) *table.State {
	r.t.Helper()
	ctx := r.t.Context()
	st, err := r.State(ctx, name)
	must(r.t, err)
	c := table.Commit{SchemaID: st.SchemaID}
	for v, query := range parts {
		var partition []any
		if len(st.Partition) > 0 {
			partition = []any{v}
		}
		f, err := r.write(ctx, st, st.Schema, partition, query)
		must(r.t, err)
		c.Add = append(c.Add, f)
	}
	st, err = r.Commit(ctx, name, c)
	must(r.t, err)
	return st
}

// rewrite is a table.Rewriter by DuckDB.
func (r *rig) rewrite(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
	var cols, urls []string
	for _, f := range o.Write.Fields {
		cols = append(cols, fmt.Sprintf("CAST(%[1]s AS %[2]s) AS %[1]s", tarn.QuoteIdent(f.Name), f.Type.SQL()))
	}
	for _, f := range o.Files {
		urls = append(urls, f.Path)
	}
	f, err := r.write(ctx, o.Table, o.Write, o.Partition, "SELECT "+strings.Join(cols, ", ")+" FROM "+duck.ReadParquet(urls, o.Read))
	return []table.DataFile{f}, err
}

// relation is SQL that reads a state as Tarn's queries do.
func (r *rig) relation(st *table.State) string {
	r.t.Helper()
	files, err := r.Files(r.t.Context(), st)
	must(r.t, err)
	var urls []string
	for _, f := range files {
		urls = append(urls, f.Path)
	}
	return "SELECT * FROM " + duck.ReadParquet(urls, st.Schema)
}

// iceberg opens the table as a stranger does: from its metadata file alone.
func (r *rig) iceberg(st *table.State) *iceberg.Table {
	r.t.Helper()
	t, err := iceberg.NewFromLocation(r.t.Context(), strings.Split(st.Name, "."), st.MetadataLocation, icebergio.LoadFSFunc(nil, st.MetadataLocation), nil)
	must(r.t, err)
	return t
}

// scanned is SQL over what iceberg-go's scan of a snapshot returns, handed over as Parquet.
func (r *rig) scanned(st *table.State) string {
	r.t.Helper()
	rows, err := r.iceberg(st).Scan(iceberg.WithSnapshotID(st.SnapshotID)).ToArrowTable(r.t.Context())
	must(r.t, err)
	defer rows.Release()
	out, err := os.Create(filepath.Join(r.dir, "stage", uuid.NewString()+".parquet"))
	must(r.t, err)
	must(r.t, pqarrow.WriteTable(rows, out, 1<<20, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps()))
	return "SELECT * FROM read_parquet(" + tarn.QuoteLiteral(out.Name()) + ")"
}

// same compares two relations row by row, as bags.
func (r *rig) same(what, a, b string, rows int64) {
	r.t.Helper()
	q := fmt.Sprintf(`WITH a AS (%s), b AS (%s) SELECT (SELECT count(*) FROM a), (SELECT count(*) FROM b),
		(SELECT count(*) FROM (SELECT * FROM a EXCEPT ALL SELECT * FROM b)), (SELECT count(*) FROM (SELECT * FROM b EXCEPT ALL SELECT * FROM a))`, a, b)
	got, err := r.duck.Values(r.t.Context(), q)
	must(r.t, err)
	want := []any{rows, rows, int64(0), int64(0)}
	if fmt.Sprint(got[0]) != fmt.Sprint(want) {
		r.t.Errorf("%s: rows left, rows right, only left, only right: %v, want %v", what, got[0], want)
		for _, side := range [][2]string{{a, b}, {b, a}} {
			odd, err := r.duck.Values(r.t.Context(), "SELECT * FROM (("+side[0]+") EXCEPT ALL ("+side[1]+")) LIMIT 2")
			r.t.Logf("%v %v", odd, err)
		}
	}
}

// agree checks a state three ways: Tarn's own relation, iceberg-go's scan and the wanted rows.
func (r *rig) agree(what string, st *table.State, want string, rows int64) {
	r.t.Helper()
	r.same(what+": DuckDB by field ids", r.relation(st), want, rows)
	r.same(what+": iceberg-go", r.scanned(st), want, rows)
	if st.Rows != rows {
		r.t.Errorf("%s: the state says %d rows, want %d", what, st.Rows, rows)
	}
}
