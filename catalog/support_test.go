package catalog_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/metadb"
)

// fixture is a catalog over a database of its own, and a folder of files to crawl.
type fixture struct {
	t     testing.TB
	c     *catalog.Catalog
	db    *metadb.DB
	dir   string // what is crawled
	cache string
	data  string
	now   time.Time
	sql   *duck.DB
}

func newFixture(t testing.TB) *fixture {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return openFixture(t, filepath.Join(base, "meta.db"), base)
}

func openFixture(t testing.TB, url, base string) *fixture {
	t.Helper()
	db, err := metadb.Open(t.Context(), url, metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	f := &fixture{t: t, db: db, dir: filepath.Join(base, "files"), cache: filepath.Join(base, "cache"), data: filepath.Join(base, "data"), now: time.Now()}
	if err := os.MkdirAll(f.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if f.sql, err = duck.Open(duck.Options{AllowedDirs: []string{f.dir, f.cache}, Threads: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.sql.Close() })
	f.reopen(nil)
	return f
}

// reopen makes another catalog over the same stores, as another process would.
func (f *fixture) reopen(onStep func(string, int, int)) {
	f.t.Helper()
	c, err := catalog.Open(catalog.Options{DB: f.db, Cache: f.cache, Data: f.data, Lake: filepath.Join(f.data, "lake"), Threads: 2, MemoryBytes: 128 << 20,
		Clock: func() time.Time { return f.now }, OnStep: onStep})
	if err != nil {
		f.t.Fatal(err)
	}
	f.c = c
}

// put writes a file that has not changed for an hour.
func (f *fixture) put(name, content string) {
	f.t.Helper()
	full := filepath.Join(f.dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
	f.age(name, f.now.Add(-time.Hour))
}

func (f *fixture) age(name string, at time.Time) {
	f.t.Helper()
	if err := os.Chtimes(filepath.Join(f.dir, filepath.FromSlash(name)), at, at); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) remove(name string) {
	f.t.Helper()
	if err := os.RemoveAll(filepath.Join(f.dir, filepath.FromSlash(name))); err != nil {
		f.t.Fatal(err)
	}
}

// parquet writes the result of a statement as a Parquet file.
func (f *fixture) parquet(name, sql string) {
	f.t.Helper()
	f.put(name, "")
	full := filepath.Join(f.dir, filepath.FromSlash(name))
	if err := f.sql.Exec(f.t.Context(), fmt.Sprintf("COPY (%s) TO '%s' (FORMAT parquet)", sql, full)); err != nil {
		f.t.Fatal(err)
	}
	f.age(name, f.now.Add(-time.Hour))
}

// spec is a crawler over the folder; change may set more of it.
func (f *fixture) spec(change ...func(*catalog.Crawler)) catalog.Crawler {
	s := catalog.Crawler{Name: "test", Path: f.dir}
	for _, c := range change {
		c(&s)
	}
	return s
}

func (f *fixture) crawl(change ...func(*catalog.Crawler)) *catalog.Report {
	f.t.Helper()
	r, err := f.c.Crawl(context.Background(), f.spec(change...), false)
	if err != nil {
		f.t.Fatalf("crawl: %+v", err)
	}
	return r
}

// rows reads a table as text, one line a row, in order.
func (f *fixture) rows(table, columns string) []string { return f.rowsAt(table, columns, 0) }

func (f *fixture) rowsAt(table, columns string, version int) []string {
	f.t.Helper()
	tb, err := f.c.Table(f.t.Context(), table)
	if err != nil {
		f.t.Fatal(err)
	}
	v, err := tb.View(version)
	if err != nil {
		f.t.Fatal(err)
	}
	from, err := v.Relation(f.t.Context(), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return f.query("SELECT " + columns + " FROM " + from)
}

// query returns the rows of a statement as sorted text.
func (f *fixture) query(sql string) []string {
	f.t.Helper()
	v, err := f.sql.Values(f.t.Context(), sql)
	if err != nil {
		f.t.Fatalf("%s: %v", sql, err)
	}
	out := make([]string, len(v))
	for i, row := range v {
		cells := make([]string, len(row))
		for j, v := range row {
			cells[j] = fmt.Sprint(v)
		}
		out[i] = strings.Join(cells, "|")
	}
	slices.Sort(out)
	return out
}

// summary is what a report says of its tables, one line each.
func summary(r *catalog.Report) string {
	var b strings.Builder
	for _, t := range r.Tables {
		fmt.Fprintf(&b, "%s %s %s %d", t.Action, t.Name, t.Format, t.Files)
		if t.Missing > 0 {
			fmt.Fprintf(&b, " missing %d", t.Missing)
		}
		if len(t.PartitionBy) > 0 {
			fmt.Fprintf(&b, " by %s", strings.Join(t.PartitionBy, ","))
		}
		fmt.Fprintf(&b, " v%d:", t.SchemaVersion)
		for _, c := range t.Columns {
			fmt.Fprintf(&b, " %s %s,", c.Name, c.Type)
		}
		b.WriteByte('\n')
	}
	return strings.ReplaceAll(b.String(), ",\n", "\n")
}

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte(s))
	_ = w.Close()
	return b.String()
}

func zst(s string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(s), nil))
}

func equal(t testing.TB, got, want string) {
	t.Helper()
	if strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
