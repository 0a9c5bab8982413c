package duck

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck/ast"
)

func TestCheckSelect(t *testing.T) {
	d := open(t, Options{})
	for _, c := range []struct{ sql, tables, findings string }{
		{"SELECT * FROM records", "records", ""},
		{"FROM records WHERE v > 3", "records", ""},
		{"SELECT id, (SELECT sum(v) FROM unnest(vals) u(v)) AS s, list_sum(vals) FROM records, unnest(x) q(z) WHERE a > 3", "records", ""},
		{"SELECT json_extract(a, '$.b')->>'c', a[1:2], [x for x in y], COLUMNS('a.*'), x COLLATE nocase FROM records", "records", ""},
		{"WITH r AS (SELECT * FROM records) SELECT * FROM r WHERE a", "records", ""},
		{"SELECT a FROM records UNION ALL SELECT b FROM records", "records", ""},
		{"SELECT a FROM Records r, curated.fleet f", "Records,curated.fleet", "join 1:15"},
		{"SELECT\n  a, sum(b)\nFROM records GROUP BY a", "records", "aggregate 3:23,aggregate 2:6"},
		{"SELECT a, count(*) FROM records GROUP BY ALL", "records", "aggregate 0:0,aggregate 1:11"},
		{"SELECT max(a) - min(a) FROM (SELECT * FROM records)", "records", "aggregate 1:8,aggregate 1:17"},
		{"SELECT first(a) FROM records", "records", "aggregate 1:8"},
		{"SELECT row_number() OVER (ORDER BY a) FROM records", "records", "window 1:8"},
		{"SELECT a FROM records QUALIFY lag(a) OVER () = 1", "records", "window 1:31"},
		{"SELECT DISTINCT a FROM records", "records", "distinct 0:0"},
		{"SELECT a FROM records ORDER BY a", "records", "order 1:32"},
		{"SELECT a FROM records LIMIT 3", "records", "limit 1:29"},
		{"SELECT a FROM (SELECT a FROM records LIMIT 3)", "records", "limit 1:44"},
		{"SELECT a FROM records UNION SELECT b FROM records", "records", "set 1:8"},
		{"SELECT a FROM records INTERSECT SELECT b FROM records", "records", "set 1:8"},
		{"SELECT * FROM records TABLESAMPLE 10%", "records", "sample 1:15"},
		{"SELECT * FROM records a JOIN records b USING (id)", "records", "join 1:15"},
		{"WITH r AS (SELECT * FROM records) SELECT * FROM r JOIN r q USING (a)", "records", "join 1:49"},
		{"WITH RECURSIVE r AS (SELECT a FROM records UNION ALL SELECT a FROM r) SELECT * FROM r", "records", "recursive 1:29"},
		{"SELECT now(), random(), current_date, CURRENT_TIMESTAMP, uuid() FROM records", "records", "clock 1:8,random 1:15,clock 1:25,clock 1:39,random 1:58"},
		{"SELECT 1", "", ""},
	} {
		got, err := d.CheckSelect(context.Background(), c.sql)
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		var found []string
		for _, f := range got.Findings {
			p := strings.NewReplacer("line ", "", ", column ", ":").Replace(f.Position.String())
			found = append(found, f.Kind+" "+p)
			if f.Detail == "" || f.Position.Line > 0 && !strings.HasPrefix(f.String(), "line ") {
				t.Errorf("%s: %+v", c.sql, f)
			}
		}
		slices.Sort(found)
		want := strings.Split(c.findings, ",")
		slices.Sort(want)
		if strings.Join(got.Tables, ",") != c.tables || strings.Join(found, ",") != strings.Join(want, ",") {
			t.Errorf("%s\n got %v %v\nwant %s %s", c.sql, got.Tables, found, c.tables, c.findings)
		}
	}
	for sql, want := range map[string]string{
		"SELECT\n *\n FRM x":                "invalid line 3, column 6: syntax error",
		"":                                  "invalid there is no statement",
		"DROP TABLE x":                      "forbidden only SELECT statements",
		"SELECT 1; SELECT 2":                "forbidden one statement is allowed, not 2",
		"SELECT read_text('x')":             "forbidden line 1, column 8: the function read_text is not allowed",
		"FROM read_csv('a')":                "forbidden line 1, column 6: the function read_csv is not allowed",
		"SELECT lenght(x) FROM records":     "invalid line 1, column 8: there is no function lenght; did you mean length?",
		"DESCRIBE records":                  "forbidden DESCRIBE, SUMMARIZE and SHOW",
		"SELECT x::pg.foo FROM records":     "forbidden the type foo is not known",
		"SELECT a FROM records WHERE\x00":   "invalid line 1, column 28: a NUL",
		"SELECT 'é', '\xff'":                "invalid line 1, column 14: the statement is not UTF-8",
		"SELECT range(1) OVER () FROM x":    "invalid line 1, column 8: there is no function range",
		"SELECT 'a\n' || nosuchfunction(1)": "invalid line 2, column 6: there is no function nosuchfunction",
	} {
		_, err := CheckSelect(context.Background(), sql)
		if got := string(tarn.CodeOf(err)) + " "; err == nil || !strings.HasPrefix(got+err.Error(), want) {
			t.Errorf("%q: %s%v, want %s", sql, got, err, want)
		}
	}
	if tables, err := d.Tables(context.Background(), "SELECT * FROM a, b.c, (SELECT * FROM A)"); err != nil || strings.Join(tables, " ") != "a b.c" {
		t.Errorf("%v %v", tables, err)
	}
}

// TestEveryFunctionIsDecided fails when the linked DuckDB has a function nobody has judged.
func TestEveryFunctionIsDecided(t *testing.T) {
	d := open(t, Options{})
	f := loadFunctions()
	there := map[string]bool{"scalar unnest": true} // known to the binder only
	for _, r := range values(t, d, "SELECT DISTINCT function_type, function_name FROM duckdb_functions() WHERE function_type <> 'pragma'") {
		kind, name := r[0].(string), r[1].(string)
		switch kind {
		case "macro":
			kind = "scalar"
		case "table_macro":
			kind = "table"
		}
		key := kind + " " + name
		there[key] = true
		if f.allowed[key] == f.denied[key] {
			t.Errorf("%s is not decided in functions.txt (or twice)", key)
		}
	}
	for key := range f.allowed {
		if !there[key] {
			t.Errorf("functions.txt allows %s, which is not there", key)
		}
	}
	for name := range f.varying {
		if !f.allowed["scalar "+name] {
			t.Errorf("functions.txt says %s varies but not that it is allowed", name)
		}
	}
}

// TestRoundTrip: what is rendered from a tree parses to the same tree.
func TestRoundTrip(t *testing.T) {
	d := open(t, Options{})
	ctx := context.Background()
	for _, sql := range []string{
		"SELECT a, 'it''s' AS b, 1.50, 1e300, -x, x::DECIMAL(10,2), [1,2][1], {'a': 1}.a, $1, ? FROM s.t AS u(c, d) WHERE a IN (1, 2) AND b BETWEEN 1 AND 2 OR NOT c IS NULL",
		"WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT DISTINCT ON (i) * EXCLUDE (x) REPLACE (y AS z) FROM r ORDER BY i DESC NULLS LAST LIMIT 10 OFFSET 2",
		"FROM a ASOF JOIN b ON a.t >= b.t LEFT JOIN c USING (id) POSITIONAL JOIN d, LATERAL (SELECT 1) e",
		"SELECT sum(x) FILTER (WHERE y) OVER (PARTITION BY z ORDER BY w ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM t QUALIFY true",
		"SELECT * FROM t PIVOT (sum(v) FOR k IN ('a', 'b')) GROUP BY GROUPING SETS ((a), ()) HAVING count(*) > 1",
		"DESCRIBE t", "SUMMARIZE SELECT 1",
		"SELECT list_transform(l, lambda x : x + 1), CASE a WHEN 1 THEN 2 ELSE 3 END, EXISTS (SELECT 1), (SELECT 2), INTERVAL 1 DAY, ts AT TIME ZONE 'UTC', \"Mixed \"\"Case\"\"\" FROM t TABLESAMPLE 10 PERCENT",
		"(SELECT 1 EXCEPT ALL SELECT 2) UNION BY NAME SELECT 3 AS x",
	} {
		one, err := d.Parse(ctx, sql)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		text, err := d.Render(ctx, one)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		two, err := d.Parse(ctx, text)
		if err != nil {
			t.Errorf("%s\n became %s\n %v", sql, text, err)
			continue
		}
		if again, err := d.Render(ctx, two); err != nil || again != text {
			t.Errorf("%s\n became %s\n then %s %v", sql, text, again, err)
		}
	}
}

func TestPositions(t *testing.T) {
	text := "SELECT é,\n  x\nFROM t"
	for offset, want := range map[int]Position{0: {1, 1}, 7: {1, 8}, 9: {1, 9}, 11: {2, 1}, 13: {2, 3}, 99: {3, 7}, -4: {1, 1}} {
		if got := PositionOf(text, offset); got != want {
			t.Errorf("%d: %v, want %v", offset, got, want)
		}
	}
	d := open(t, Options{})
	for sql, want := range map[string]Position{
		"SELECT nosuch":              {1, 8},
		"SELECT 1,\n    nosuch,\n 3": {2, 5},
		"SELECT '" + strings.Repeat("é", 200) + "', nosuch, '" + strings.Repeat("x", 200) + "'": {1, 212},
	} {
		_, err := d.Columns(context.Background(), sql)
		if f := FaultOf(err); f == nil {
			t.Errorf("%s: %v", sql, err)
		} else if got, ok := Locate(sql, f); !ok || got != want {
			t.Errorf("%s: %v %v, want %v\n%s", sql, got, ok, want, f.Message)
		}
	}
	if _, ok := Locate("SELECT 1", &Fault{Message: "no place"}); ok {
		t.Error("a place was found in a message without one")
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{"telemtry": "telemetry", "TELEMETRY": "telemetry", "wholly different": "", "": ""} {
		if got := Nearest(name, []string{"fleet", "telemetry"}); got != want {
			t.Errorf("%q: %q", name, got)
		}
	}
}

// FuzzCheckSelect: any text gives a verdict, never a panic, and what passes can be rendered.
func FuzzCheckSelect(f *testing.F) {
	d, err := Open(Options{MemoryBytes: 64 << 20, Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	defer d.Close()
	for _, s := range []string{"SELECT * FROM records", "WITH a AS (SELECT 1) SELECT sum(x) OVER () FROM a, b.c ORDER BY 1", "SELECT 1; SELECT 2", "FROM 'x'", "\x00", "SELECT $1, ?",
		"SELECT [x for x in y], {'a': 1}.a, a[1:2] FROM t AT (VERSION => 1) TABLESAMPLE 1%", "DESCRIBE t", "VALUES (1)", "SELECT x::STRUCT(a INT)[] FROM t PIVOT (sum(v) FOR k IN (1))"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		if len(sql) > 4096 {
			return
		}
		if _, err := d.CheckSelect(context.Background(), sql); err != nil {
			var e *tarn.Error
			if !errors.As(err, &e) || e.Code == tarn.CodeInternal {
				t.Errorf("%q: %v", sql, err)
			}
			return
		}
		tree, err := d.Parse(context.Background(), sql)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Render(context.Background(), tree); err != nil {
			t.Errorf("%q: %v", sql, err)
		}
	})
}

// FuzzTree: the reader of syntax trees takes any JSON without a panic.
func FuzzTree(f *testing.F) {
	f.Add([]byte(`{"error":false,"statements":[{"node":{"type":"SELECT_NODE","cte_map":{"map":[{"key":"a","value":{"query":{"node":{"type":"SELECT_NODE"}}}}]},"select_list":[{"class":"CONSTANT","value":{"value":1}}],"from_table":{"type":"BASE_TABLE"}}}]}`))
	f.Add([]byte(`{"error":true,"error_message":"x","position":"3"}`))
	f.Add([]byte(`{"statements":[null]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		tree, err := ast.Decode(b)
		if err != nil {
			return
		}
		_ = CheckFunctions("", tree)
		_ = tree.Query()
	})
}
