package duck

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
)

// numbered gives every field of a schema, nested ones too, an ID from 1 on.
func numbered(fields []tarn.Field) tarn.Schema {
	next := 0
	var walk func(fs []tarn.Field)
	one := func(f *tarn.Field) {
		next++
		f.ID = next
	}
	var into func(ty *tarn.Type)
	into = func(ty *tarn.Type) {
		walk(ty.Fields)
		for _, e := range []*tarn.Field{ty.Key, ty.Elem} {
			if e != nil {
				one(e)
				into(&e.Type)
			}
		}
	}
	walk = func(fs []tarn.Field) {
		for i := range fs {
			one(&fs[i])
			into(&fs[i].Type)
		}
	}
	walk(fields)
	return tarn.Schema{Fields: fields}
}

func copyOf(t testing.TB, d *DB, sql string, o CopyOptions) ([]WrittenFile, tarn.Schema) {
	t.Helper()
	if o.FieldIDs.Fields == nil {
		fields, err := d.Describe(context.Background(), sql)
		if err != nil {
			t.Fatal(err)
		}
		fields = slices.DeleteFunc(fields, func(f tarn.Field) bool { return slices.Contains(o.PartitionBy, f.Name) })
		o.FieldIDs = numbered(fields)
	}
	files, err := d.Copy(context.Background(), sql, o)
	if err != nil {
		t.Fatal(err)
	}
	return files, o.FieldIDs
}

// TestCopyStatistics compares every statistic of a file with what it holds, and its field ids.
func TestCopyStatistics(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{AllowedDirs: []string{dir}})
	sql := `SELECT i AS id, 'é' || repeat('x', i::INT) AS s, i::DECIMAL(18,3) / 8 AS odd, (i::DECIMAL(18,3) / 8)::DECIMAL(9,3) AS dc, [i, i + 1] AS l,
		MAP {'k': i} AS mp, i % 2 = 0 AS bo, TIME '01:02:03.000004' AS t, TIMESTAMPTZ '2026-11-20 03:00:00.123456+01' AS tz, DATE '2026-01-01' + i::INT AS da,
		CASE WHEN i = 1 THEN 'nan'::DOUBLE ELSE i / 3 END AS f, i::FLOAT / 3 AS ff, [{'a': i}] AS ls, NULL::VARCHAR AS nn, TIMESTAMP '1969-11-20 03:00:00.123456' AS ts,
		'{"a":1}'::JSON AS j, {'a': i, 'x.y"z': {'q': i}} AS st, 'ab'::BLOB AS b FROM range(13) t(i)`
	files, schema := copyOf(t, d, sql, CopyOptions{Path: filepath.Join(dir, "a.parquet"), Compression: "zstd"})
	f := files[0]
	fi, err := os.Stat(f.Path)
	if err != nil || fi.Size() != f.Bytes || f.Rows != 13 || len(files) != 1 || f.Partition != nil || f.FooterBytes <= 0 {
		t.Fatalf("%+v, %v", files, err)
	}
	var got []string
	for _, path := range slices.Sorted(maps.Keys(f.Columns)) {
		c := f.Columns[path]
		if c.ID == 0 || c.Bytes <= 0 {
			t.Errorf("%s has no id or size: %+v", path, c)
		}
		got = append(got, fmt.Sprintf("%s %d/%d %v %v %v", path, c.Values, c.Nulls, c.Lower, c.Upper, c.HasNaN))
	}
	want := []string{
		`"b" 13/0 <nil> <nil> false`, `"bo" 13/0 false true false`, `"da" 13/0 2026-01-01 00:00:00 +0000 UTC 2026-01-13 00:00:00 +0000 UTC false`,
		`"dc" 13/0 0.000 1.500 false`, `"f" 13/0 0 4 true`, `"ff" 13/0 0 4 false`, `"id" 13/0 0 12 false`, `"j" 13/0 {"a":1} {"a":1} false`,
		`"l"."element" 26/0 0 13 false`, `"ls"."element"."a" 13/0 0 12 false`, `"mp"."key" 13/0 k k false`, `"mp"."value" 13/0 0 12 false`,
		`"nn" 13/13 <nil> <nil> false`, `"odd" 13/0 0 1.5 false`, `"s" 13/0 é éxxxxxxxxxxxx false`, `"st"."a" 13/0 0 12 false`, `"st"."x.y""z"."q" 13/0 0 12 false`,
		`"t" 13/0 01:02:03.000004 01:02:03.000004 false`, `"ts" 13/0 1969-11-20 03:00:00.123456 +0000 UTC 1969-11-20 03:00:00.123456 +0000 UTC false`,
		`"tz" 13/0 2026-11-20 02:00:00.123456 +0000 UTC 2026-11-20 02:00:00.123456 +0000 UTC false`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	back := values(t, d, "SELECT * FROM "+ReadParquet([]string{f.Path}, schema)+" AS x ORDER BY id")
	direct := values(t, d, sql)
	if fmt.Sprint(back) != fmt.Sprint(direct) {
		t.Errorf("read back %v", back[1])
	}
	ids := map[string]bool{}
	for _, r := range values(t, d, "SELECT name, field_id FROM parquet_schema("+tarn.QuoteLiteral(f.Path)+") WHERE field_id IS NOT NULL") {
		ids[fmt.Sprint(r[1])] = true
	}
	if len(ids) != 26 {
		t.Errorf("%d field ids are in the file", len(ids))
	}
}

// TestBoundsHold: the bounds of a file bound every value in it, exactly where their text is exact.
func TestBoundsHold(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{AllowedDirs: []string{dir}})
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		doubles := rapid.SliceOfN(rapid.Float64(), 1, 4).Draw(rt, "doubles")
		strs := rapid.SliceOfN(rapid.StringN(0, 40, 400), 1, 4).Draw(rt, "strings")
		micros := rapid.SliceOfN(rapid.Int64Range(-62135596800000000, 253402300799999999), 1, 4).Draw(rt, "micros")
		for i, s := range strs {
			strs[i] = strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "")
		}
		args := []any{doubles[0], strs[0], micros[0]}
		row := "SELECT $1::DOUBLE AS d, $2::VARCHAR AS s, make_timestamp($3::BIGINT) AS t"
		sql := row
		for i := 1; i < 4; i++ {
			args = append(args, doubles[i%len(doubles)], strs[i%len(strs)], micros[i%len(micros)])
			sql += fmt.Sprintf(" UNION ALL SELECT $%d::DOUBLE, $%d::VARCHAR, make_timestamp($%d::BIGINT)", 3*i+1, 3*i+2, 3*i+3)
		}
		schema := numbered([]tarn.Field{{Name: "d", Type: tarn.Type{Kind: tarn.Double}}, {Name: "s", Type: tarn.Type{Kind: tarn.String}}, {Name: "t", Type: tarn.Type{Kind: tarn.Timestamp}}})
		path := filepath.Join(dir, fmt.Sprintf("%d.parquet", n))
		files, err := d.Copy(context.Background(), sql, CopyOptions{Path: path, FieldIDs: schema, Args: args})
		if err != nil {
			rt.Fatal(err)
		}
		c := files[0].Columns
		for col, conv := range map[string]string{"d": "DOUBLE", "s": "VARCHAR", "t": "TIMESTAMP"} {
			st := c[`"`+col+`"`]
			if st.Lower == nil || st.Upper == nil {
				if col == "s" { // long texts have no bounds
					continue
				}
				rt.Fatalf("%s has no bounds: %+v", col, st)
			}
			v, err := d.Values(context.Background(), fmt.Sprintf("SELECT count(*) FROM read_parquet('%s') WHERE NOT (%s BETWEEN $1::%s AND $2::%s)", path, col, conv, conv), st.Lower, st.Upper)
			if err != nil || v[0][0] != int64(0) {
				rt.Fatalf("%s: %v values are outside %v…%v of %v: %v", col, v, st.Lower, st.Upper, args, err)
			}
		}
	})
}

func TestCopyPartitions(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{AllowedDirs: []string{dir}})
	files, _ := copyOf(t, d, "SELECT i AS id, CASE WHEN i % 3 = 0 THEN NULL ELSE i % 5 END AS __p0, 'a/b=c ' || (i % 2) AS __p1 FROM range(30) t(i)",
		CopyOptions{Path: filepath.Join(dir, "p"), PartitionBy: []string{"__p0", "__p1"}})
	rows := int64(0)
	for _, f := range files {
		rows += f.Rows
		p0, p1 := "NULL", *f.Partition["__p1"]
		if f.Partition["__p0"] != nil {
			p0 = *f.Partition["__p0"]
		}
		v := values(t, d, "SELECT count(*), count(*) FILTER (coalesce((CASE WHEN id % 3 = 0 THEN NULL ELSE id % 5 END)::VARCHAR, 'NULL') = $1 AND 'a/b=c ' || (id % 2) = $2) FROM read_parquet($3, hive_partitioning=false)", p0, p1, f.Path)
		if v[0][0] != f.Rows || v[0][1] != f.Rows {
			t.Errorf("%s holds %v, said %d", f.Path, v, f.Rows)
		}
		if cols := values(t, d, "SELECT count(*) FROM parquet_schema($1) WHERE name LIKE '__p%'", f.Path); cols[0][0] != int64(0) {
			t.Errorf("%s holds its partition columns", f.Path)
		}
	}
	if rows != 30 || len(files) != 12 {
		t.Errorf("%d files, %d rows", len(files), rows)
	}
	// A batch that spans more partitions than may be open at once.
	many, _ := copyOf(t, d, "SELECT i AS id, i % 300 AS __p0 FROM range(60000) t(i)", CopyOptions{Path: filepath.Join(dir, "many"), PartitionBy: []string{"__p0"}})
	rows = 0
	for _, f := range many {
		rows += f.Rows
	}
	if rows != 60000 || len(many) < 300 {
		t.Errorf("%d rows in %d files", rows, len(many))
	}
	none, _ := copyOf(t, d, "SELECT i AS id, i AS __p0 FROM range(0) t(i)", CopyOptions{Path: filepath.Join(dir, "none"), PartitionBy: []string{"__p0"}})
	if len(none) != 0 {
		t.Error(none)
	}
	empty, _ := copyOf(t, d, "SELECT i AS id FROM range(0) t(i)", CopyOptions{Path: filepath.Join(dir, "empty.parquet")})
	if len(empty) != 1 || empty[0].Rows != 0 {
		t.Error(empty)
	}
}

func TestCopyFaults(t *testing.T) {
	dir := t.TempDir()
	d := open(t, Options{AllowedDirs: []string{dir}})
	for _, f := range []struct {
		sql  string
		o    CopyOptions
		code tarn.Code
	}{
		{"SELECT 1", CopyOptions{Path: dir + "/x", Compression: "lzma"}, tarn.CodeInvalid},
		{"SELECT 1", CopyOptions{Path: "/nowhere/x.parquet"}, tarn.CodeForbidden},
		{"SELECT 1", CopyOptions{Path: dir + "/../x.parquet"}, tarn.CodeForbidden},
		{"SELECT 1", CopyOptions{Path: dir + "/no/x.parquet"}, tarn.CodeUnavailable},
		{"SELECT 1) TO '/tmp/x' --", CopyOptions{Path: dir + "/y.parquet"}, tarn.CodeInvalid},
		{"SELECT error('x')", CopyOptions{Path: dir + "/z.parquet"}, tarn.CodeInvalid},
	} {
		if _, err := d.Copy(context.Background(), f.sql, f.o); tarn.CodeOf(err) != f.code {
			t.Errorf("%s to %s: %s, want %s: %v", f.sql, f.o.Path, tarn.CodeOf(err), f.code, err)
		}
	}
}
