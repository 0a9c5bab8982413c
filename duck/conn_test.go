package duck

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
)

const endless = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3"

func TestOptions(t *testing.T) {
	for _, o := range []Options{{MemoryBytes: 1}, {MemoryBytes: -1}, {Threads: -1}, {MaxConns: -1}, {AllowedDirs: []string{"relative"}}} {
		if _, err := Open(o); tarn.CodeOf(err) != tarn.CodeInvalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
	d := open(t, Options{MemoryBytes: 64 << 20, Threads: 1, Unordered: true, CacheMetadata: true, PlanOnly: true, MaxOpenPartitions: 7,
		PartitionFlushRows: 1000, TempDir: t.TempDir() + "/it's", AllowedDirs: []string{"/it's/here", "s3://bucket/x/"}})
	for name, want := range map[string]string{"memory_limit": "64.0 MiB", "threads": "1", "preserve_insertion_order": "false", "parquet_metadata_cache": "true",
		"partitioned_write_max_open_files": "7", "partitioned_write_flush_threshold": "1000", "enable_external_access": "false", "lock_configuration": "true", "TimeZone": "UTC"} {
		if got := values(t, d, "SELECT current_setting($1)::VARCHAR", name)[0][0]; got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
}

// TestWalls: the instance itself refuses, whatever text reaches it.
func TestWalls(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{AllowedDirs: []string{dir}})
	for _, sql := range []string{"SELECT * FROM read_text('/etc/passwd')", "FROM '/etc/passwd'", "COPY (SELECT 1) TO '/tmp/tarn-x.csv'", "SET memory_limit='1TB'",
		"SET enable_external_access=true", "SET allowed_directories=['/']", "RESET lock_configuration", "INSTALL httpfs", "LOAD httpfs", "ATTACH '/tmp/tarn-x.db'",
		"SELECT * FROM read_text('" + dir + "/../x')", "SELECT * FROM glob('/*')", "FROM 'https://example.com/x.parquet'", "CREATE PERSISTENT SECRET s (TYPE s3)", "EXPORT DATABASE '/tmp/tarn-x'"} {
		if v, err := d.Values(context.Background(), sql); err == nil {
			t.Errorf("%s: %v", sql, v)
		}
	}
}

func TestStatements(t *testing.T) {
	d := open(t, Options{})
	ctx := context.Background()
	c, err := d.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Exec(ctx, "CREATE TEMP TABLE x (a INT); INSERT INTO x VALUES (1), (2); INSERT INTO x VALUES ($1)", 40); err != nil {
		t.Fatal(err)
	}
	if v, err := c.Values(ctx, "INSERT INTO x VALUES (7); SELECT sum(a)::INT FROM x"); err != nil || v[0][0] != int64(50) {
		t.Errorf("%v %v", v, err)
	}
	if err := c.Bind(ctx, "SELECT a + $1 FROM x"); err != nil {
		t.Error(err)
	}
	if err := c.Bind(ctx, "SELECT nosuch FROM x"); tarn.CodeOf(err) != tarn.CodeInvalid {
		t.Error(err)
	}
	for _, sql := range []string{"", "  ;", "SELECT 1\x00", "SELECT '\xff'"} {
		if err := c.Exec(ctx, sql); tarn.CodeOf(err) != tarn.CodeInvalid {
			t.Errorf("%q: %v", sql, err)
		}
	}
	c.Close()
	c.Close()
	if err := c.Exec(ctx, "SELECT 1"); tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Error(err)
	}
	if _, err := d.Values(ctx, "SELECT * FROM x"); err == nil {
		t.Error("a temporary table outlives its connection")
	}
}

func TestCancellation(t *testing.T) {
	d := open(t, Options{})
	for name, run := range map[string]func(context.Context) error{
		"exec":   func(ctx context.Context) error { return d.Exec(ctx, endless) },
		"values": func(ctx context.Context) error { _, err := d.Values(ctx, endless); return err },
	} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		begin := time.Now()
		err := run(ctx)
		cancel()
		if tarn.CodeOf(err) != tarn.CodeTimeout || time.Since(begin) > 3*time.Second {
			t.Errorf("%s: %v after %s", name, err, time.Since(begin))
		}
		ctx, cancel = context.WithCancel(context.Background())
		cancel()
		if err := run(ctx); tarn.CodeOf(err) != tarn.CodeCanceled {
			t.Errorf("%s, cancelled before: %v", name, err)
		}
	}
	// A late interrupt must not hit the statement that takes the connection next.
	for i := range 200 {
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(i%20)*50*time.Microsecond, cancel)
		_, _ = d.Values(ctx, "SELECT sum(i) FROM range(20000) t(i)")
		if v, err := d.Values(context.Background(), "SELECT sum(i)::BIGINT FROM range(20000) t(i)"); err != nil || v[0][0] != int64(199990000) {
			t.Fatalf("after a cancelled statement: %v %v", v, err)
		}
		cancel()
	}
}

func TestStreaming(t *testing.T) {
	d := open(t, Options{MemoryBytes: 32 << 20})
	ctx := context.Background()
	rows, err := d.Query(ctx, "SELECT i, md5(i::VARCHAR) AS h FROM range(1000000000000) t(i)")
	if err != nil {
		t.Fatal(err)
	}
	n := int64(0)
	for n < 1_000_000 && rows.Next(ctx) {
		if first := rows.Row(0)[0]; first != n {
			t.Fatalf("batch begins with %v, want %d", first, n)
		}
		n += rows.Batch().NumRows()
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	if m, err := d.Memory(ctx); err != nil || m > 32<<20 {
		t.Errorf("%d bytes: %v", m, err)
	}
	rows.Close()
	rows.Close()
	if rows.Next(ctx) {
		t.Error("a closed result goes on")
	}
	rows, err = d.Query(ctx, "SELECT CASE WHEN i = 500000 THEN error('boom') ELSE i END FROM range(1000000) t(i)")
	if err != nil {
		t.Fatal(err)
	}
	got, err := rows.All(ctx)
	if tarn.CodeOf(err) != tarn.CodeInvalid || err.Error() != "boom" || len(got) == 0 {
		t.Errorf("%d rows, then %v", len(got), err)
	}
}

// TestFailureAmongThreads: a statement that fails in one of DuckDB's threads says why, and not that it was
// cancelled, however its rows are read.
func TestFailureAmongThreads(t *testing.T) {
	d := open(t, Options{MemoryBytes: 64 << 20, Threads: 4})
	ctx := context.Background()
	if err := d.Exec(ctx, "CREATE TABLE t AS SELECT i FROM range(1000000) t(i)"); err != nil {
		t.Fatal(err)
	}
	const failing = "SELECT CASE WHEN i = $1 THEN error('boom') ELSE i END FROM t"
	check := func(how string, err error) {
		t.Helper()
		if tarn.CodeOf(err) != tarn.CodeInvalid || err.Error() != "boom" {
			t.Errorf("%s: %s %v", how, tarn.CodeOf(err), err)
		}
	}
	for range 5 {
		rows, err := d.Query(ctx, failing, 900000)
		if err != nil {
			t.Fatal(err)
		}
		_, err = rows.All(ctx)
		check("query", err)
		_, err = d.Values(ctx, failing, 900000)
		check("values", err)
	}
	t.Run("in a transaction", func(t *testing.T) { // where nothing can run behind the failure
		c, err := d.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Exec(ctx, "BEGIN"); err != nil {
			t.Fatal(err)
		}
		rows, err := c.Query(ctx, failing, 900000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = rows.All(ctx); err == nil || tarn.CodeOf(err) == tarn.CodeCanceled || tarn.CodeOf(err) == tarn.CodeConflict {
			t.Errorf("%s %v", tarn.CodeOf(err), err)
		}
	})
}

func TestErrors(t *testing.T) {
	d := open(t, Options{MemoryBytes: 32 << 20})
	for _, e := range []struct {
		sql  string
		code tarn.Code
		text string
	}{
		{"SELEC", tarn.CodeInvalid, `syntax error at or near "SELEC"`},
		{"SELECT nosuch", tarn.CodeInvalid, `Referenced column "nosuch" was not found`},
		{"SELECT * FROM nosuch", tarn.CodeInvalid, "Table with name nosuch does not exist!"},
		{"SELECT 'x'::INT", tarn.CodeInvalid, "Could not convert string 'x' to INT32"},
		{"SELECT * FROM read_text('/etc/passwd')", tarn.CodeForbidden, "file system operations are disabled"},
		{"SELECT len(list(i)) FROM range(100000000) t(i)", tarn.CodeTooLarge, "filter earlier"},
	} {
		err := d.Exec(context.Background(), e.sql)
		if tarn.CodeOf(err) != e.code || !strings.Contains(err.Error(), e.text) || FaultOf(err) == nil {
			t.Errorf("%s: %s %v", e.sql, tarn.CodeOf(err), err)
		}
	}
}

func TestFault(t *testing.T) {
	for msg, want := range map[string]Fault{
		"Out of Memory Error: too much":                                 {Class: "Out of Memory Error", Message: "Out of Memory Error: too much"},
		"INTERNAL Error: it broke\n\nStack Trace:\nmain":                {Class: "INTERNAL Error", Message: "INTERNAL Error: it broke"},
		"Invalid Input Error: " + repeated + "IO Error: no such file":   {Class: "IO Error", Message: "IO Error: no such file"},
		"Invalid Input Error: " + repeated + "INTERNAL Error: it broke": {Class: "INTERNAL Error", Message: "INTERNAL Error: it broke"},
		"what is this": {Class: "Error", Message: "what is this"},
	} {
		if got := *newFault(msg); got != want {
			t.Errorf("%q: %+v", msg, got)
		}
	}
}

// TestFailedInstanceIsReplaced makes DuckDB break an assertion of its own: the next statement runs
// in a fresh instance, and what still runs in the old one ends in peace.
func TestFailedInstanceIsReplaced(t *testing.T) {
	d := open(t, Options{})
	ctx := context.Background()
	running, err := d.Query(ctx, "SELECT * FROM range(100000)")
	if err != nil {
		t.Fatal(err)
	}
	// A NULL whose type is asked for at run time.
	_, err = d.Values(ctx, "SELECT coalesce(typeof($1), 'NULL') || ' ' || coalesce($1::VARCHAR, 'NULL')", nil)
	if err == nil {
		t.Skip("this DuckDB has mended that assertion")
	}
	if tarn.CodeOf(err) != tarn.CodeInternal {
		t.Fatal(err)
	}
	if v, err := d.Values(ctx, "SELECT 1"); err != nil || d.Starts() != 2 {
		t.Fatalf("%v %v, %d starts", v, err, d.Starts())
	}
	rows, err := running.All(ctx)
	if len(rows) != 100000 && err == nil {
		t.Errorf("%d rows and no error", len(rows))
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	if err := d.Exec(ctx, "SELECT 1"); tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Error(err)
	}
}

func TestConcurrency(t *testing.T) {
	d := open(t, Options{MaxConns: 3})
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			for i := range 30 {
				want := int64(c*1000 + i)
				if v, err := d.Values(context.Background(), "SELECT max(i + $1) FROM range(3000) t(i)", want); err != nil || v[0][0] != want+2999 {
					t.Errorf("%v %v", v, err)
				}
			}
		})
	}
	wg.Wait()
	var held []*Conn
	for range 3 {
		c, err := d.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if _, err := d.Conn(ctx); tarn.CodeOf(err) != tarn.CodeTimeout {
		t.Errorf("a fourth connection: %v", err)
	}
	for _, c := range held {
		c.Release()
	}
}

// TestManyInstances opens and closes instances side by side.
func TestManyInstances(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 5 {
				d, err := Open(Options{MemoryBytes: 32 << 20, Threads: 1})
				if err != nil {
					t.Error(err)
					return
				}
				if err := d.Exec(context.Background(), fmt.Sprintf("CREATE TABLE x AS SELECT %d AS a", i)); err != nil {
					t.Error(err)
				}
				if v, err := d.Values(context.Background(), "SELECT a FROM x"); err != nil || v[0][0] != int64(i) {
					t.Errorf("%v %v", v, err)
				}
				d.Close()
			}
		})
	}
	wg.Wait()
}
