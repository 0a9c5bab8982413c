package duck

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-data/tarn"
)

func schema(t testing.TB, cols ...any) tarn.Schema {
	t.Helper()
	var fields []tarn.Field
	for i := 0; i < len(cols); i += 3 {
		ty, err := tarn.ParseType(cols[i+2].(string))
		if err != nil {
			t.Fatal(err)
		}
		fields = append(fields, tarn.Field{ID: cols[i].(int), Name: cols[i+1].(string), Type: ty})
	}
	return tarn.Schema{Fields: fields}
}

// TestReadParquetEvolved reads one file as schemas of later ages.
func TestReadParquetEvolved(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{AllowedDirs: []string{dir}})
	old := schema(t, 1, "id", "INTEGER", 2, "name", "VARCHAR", 3, "st", "STRUCT(a INTEGER)")
	path := filepath.Join(dir, "it's.parquet")
	if _, err := d.Copy(context.Background(), `SELECT 1::INTEGER AS id, 'x' AS name, {'a': 5::INTEGER} AS st`, CopyOptions{Path: path, FieldIDs: old}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		schema tarn.Schema
		want   string
	}{
		{schema(t, 1, "id", "BIGINT"), "[1]"},
		{schema(t, 2, "renamed \"q\"", "VARCHAR", 9, "added", "DOUBLE"), "[x <nil>]"},
		{schema(t, 9, "name", "VARCHAR"), "[<nil>]"}, // the id counts, not the name
		{schema(t, 3, "st", "STRUCT(a BIGINT, b VARCHAR)", 1, "id", "DOUBLE"), "[map[a:5 b:<nil>] 1]"},
	} {
		got := values(t, d, "SELECT * FROM "+ReadParquet([]string{path}, c.schema)+" AS x")
		if fmt.Sprint(got[0]) != c.want {
			t.Errorf("%v: %v, want %s", c.schema, got, c.want)
		}
		none := values(t, d, "SELECT * FROM "+ReadParquet(nil, c.schema)+" AS x")
		if len(none) != 0 {
			t.Errorf("no files, but %v", none)
		}
		a, err1 := d.Describe(context.Background(), "SELECT * FROM "+ReadParquet([]string{path}, c.schema)+" AS x")
		b, err2 := d.Describe(context.Background(), "SELECT * FROM "+ReadParquet(nil, c.schema)+" AS x")
		if fmt.Sprint(a, err1) != fmt.Sprint(b, err2) {
			t.Errorf("with files %v, without %v", a, b)
		}
	}
}

func TestReadNDJSON(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{AllowedDirs: []string{dir}})
	cols := schema(t, 1, "id", "BIGINT", 2, "ts", "TIMESTAMP", 3, "st", "STRUCT(a DOUBLE)", 4, "raw", "JSON", 5, "l", "VARCHAR[]")
	for _, c := range []struct{ in, want string }{
		{`{"id":1,"ts":"2026-11-20T03:00:00.5Z","st":{"a":1,"more":2},"raw":{"x": [1,2]},"l":["a",null],"extra":true}`,
			`[1 2026-11-20 03:00:00.5 +0000 UTC map[a:1] {"x":[1,2]} [a <nil>]]`},
		{`{}`, `[<nil> <nil> <nil> <nil> <nil>]`},
		{`{"id":1,"id":2}`, `line 2: Object {"id":1,"id":2} has duplicate key "id"`},
		{`{"ts":"2026-11-20T04:00:00+01:00","raw":"text"}`, `[<nil> 2026-11-20 04:00:00 +0000 UTC <nil> "text" <nil>]`},
		{`{"id":3.7}`, `[4 <nil> <nil> <nil> <nil>]`}, // rounded: shapes keep such records away
		{`{"id":"7"}`, `[7 <nil> <nil> <nil> <nil>]`},
		{`{"id":"x"}`, `line 2: Failed to cast value to numerical: "x"`},
		{`{"id":99999999999999999999}`, `line 2: Failed to cast value to numerical: 99999999999999999999`},
		{`{"id":true}`, `[1 <nil> <nil> <nil> <nil>]`},
		{`{"ts":"yesterday"}`, `line 1: invalid timestamp`},
		{`{"st":7}`, `line 2: Expected OBJECT, but got UBIGINT: 7`},
		{`{"l":{"a":1}}`, `line 2: Expected ARRAY, but got OBJECT: {"a":1}`},
	} {
		path := filepath.Join(dir, "in.ndjson")
		if err := os.WriteFile(path, []byte(`{"id":0}`+"\n"+c.in+"\n"+`{"id":9}`+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		rows, err := d.Values(context.Background(), "SELECT * FROM "+ReadNDJSON([]string{path}, cols, 1<<20)+" AS records")
		got := ""
		if f, ok := AsJSONFault(err); ok && f.File == path {
			got = fmt.Sprintf("line %d: %s", f.Line, f.Reason)
		} else if err != nil {
			got = err.Error()
		} else {
			got = fmt.Sprint(rows[1])
		}
		if got != c.want && !(strings.HasPrefix(c.want, "line") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
		}
	}
}

// Many statements that read NDJSON at once do not run out of memory for the buffers of their readers: those
// for which there is no memory wait.
func TestReadersShareMemory(t *testing.T) {
	dir := t.TempDir()
	d, err := Open(Options{MemoryBytes: 64 << 20, Threads: 1, TempDir: dir, AllowedDirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	lines := filepath.Join(dir, "lines.ndjson")
	if err := os.WriteFile(lines, []byte(strings.Repeat(`{"a":1}`+"\n", 1000)), 0o644); err != nil {
		t.Fatal(err)
	}
	schema := tarn.Schema{Fields: []tarn.Field{{Name: "a", Type: tarn.Type{Kind: tarn.Long}}}}
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			for range 10 {
				path := filepath.Join(dir, strconv.Itoa(i)+".parquet")
				if _, err := d.Copy(t.Context(), "SELECT * FROM "+ReadNDJSON([]string{lines}, schema, 1<<20), CopyOptions{Path: path, FieldIDs: schema}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// TestReadNDJSONInFolders: names of folders that look like partitions give no columns and change none.
func TestReadNDJSONInFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "env=prod")
	d := open(t, Options{MemoryBytes: 256 << 20, AllowedDirs: []string{filepath.Dir(dir)}})
	path := filepath.Join(dir, "day=20", "x.ndjson")
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(`{"env":"test","day":"monday"}`+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	text := tarn.Type{Kind: tarn.String}
	schema := tarn.Schema{Fields: []tarn.Field{{Name: "day", Type: text}, {Name: "env", Type: text}}}
	if got := values(t, d, "SELECT * FROM "+ReadNDJSON([]string{path}, schema, 1<<16)); fmt.Sprint(got) != "[[monday test]]" {
		t.Error(got)
	}
}
