package query

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
)

// features are statements over 72 hours of telemetry, 10 rows each, with their NDJSON.
var features = []struct{ name, sql, want string }{
	{"count", "SELECT count(*) AS n FROM curated.telemetry", `{"n":720}`},
	{"default schema", "SELECT count(*) AS n FROM telemetry", `{"n":720}`},
	{"mixed case", `SELECT max(ID) AS m FROM Curated."TELEMETRY"`, `{"m":719}`},
	{"from first", "FROM telemetry SELECT min(id) AS m", `{"m":0}`},
	{"qualified columns", "SELECT curated.telemetry.id, telemetry.v FROM curated.telemetry WHERE curated.telemetry.id = 3", `{"id":3,"v":0.3}`},
	{"nested column", "SELECT t.position.lat AS lat, curated.telemetry.position.lon AS lon FROM curated.telemetry t, curated.telemetry WHERE t.id = 5 AND telemetry.id = 5", `{"lat":47,"lon":8}`},
	{"alias with columns", "SELECT a FROM telemetry AS t(a, b) WHERE a = 7", `{"a":7}`},
	{"self join", "SELECT count(*) AS n FROM telemetry a JOIN telemetry b USING (id) WHERE a.id < 30", `{"n":30}`},
	{"join of two", "SELECT d.owner, count(*) AS n FROM telemetry t JOIN curated.\"Device List\" d ON d.id = t.device_id GROUP BY ALL ORDER BY 1", `{"owner":"ann","n":144}|{"owner":"bob","n":144}`},
	{"cte", "WITH x AS (SELECT id FROM telemetry WHERE id < 5) SELECT count(*) AS n FROM x, x AS y", `{"n":25}`},
	{"cte shadows a table", "WITH telemetry AS (SELECT 1 AS one) SELECT * FROM telemetry", `{"one":1}`},
	{"cte shadows inside only", "SELECT (WITH telemetry AS (SELECT 41) SELECT * FROM telemetry) AS a, count(*) AS n FROM telemetry", `{"a":41,"n":720}`},
	{"cte over its own name", "WITH telemetry AS (SELECT * FROM telemetry WHERE id < 4) SELECT count(*) AS n FROM telemetry", `{"n":4}`},
	{"cte does not shadow a schema", "WITH telemetry AS (SELECT 1) SELECT count(*) AS n FROM curated.telemetry", `{"n":720}`},
	{"later cte sees earlier", "WITH a AS (SELECT 2 AS x), b AS (SELECT x * 2 AS x FROM a) SELECT x FROM b", `{"x":4}`},
	{"recursive cte", "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r WHERE i < 4) SELECT sum(i)::INT AS s FROM r", `{"s":10}`},
	{"lateral", "SELECT t.id, u.x FROM telemetry t, LATERAL (SELECT unnest(t.tags) AS x) u WHERE t.id = 1 ORDER BY 2", `{"id":1,"x":"a"}|{"id":1,"x":"b"}`},
	{"scalar subquery", "SELECT (SELECT max(id) FROM telemetry) - (SELECT min(id) FROM curated.telemetry) AS d", `{"d":719}`},
	{"exists", "SELECT count(*) AS n FROM telemetry t WHERE EXISTS (SELECT 1 FROM curated.\"Device List\" d WHERE d.id = t.device_id)", `{"n":288}`},
	{"union", "SELECT id FROM telemetry WHERE id = 1 UNION ALL SELECT id FROM telemetry WHERE id = 700 ORDER BY 1", `{"id":1}|{"id":700}`},
	{"values", "VALUES (1, 'a'), (2, NULL)", `{"col0":1,"col1":"a"}|{"col0":2,"col1":null}`},
	{"table", "TABLE curated.\"Device List\" ORDER BY 1 LIMIT 1", `{"id":"wagon-1","owner":"ann"}`},
	{"window", "SELECT id, row_number() OVER (ORDER BY id DESC) AS r FROM telemetry QUALIFY r = 1", `{"id":719,"r":1}`},
	{"sample", "SELECT count(*) <= 720 AS ok FROM telemetry TABLESAMPLE 50 PERCENT (bernoulli)", `{"ok":true}`},
	{"pivot", "SELECT * FROM (SELECT device_id, id FROM telemetry WHERE id < 10) PIVOT (count(*) FOR device_id IN ('wagon-0' AS w0, 'wagon-1' AS w1))", ""},
	{"lambda", "SELECT list_transform(tags, x -> upper(x)) AS t FROM telemetry WHERE id = 0", `{"t":["A","B"]}`},
	{"json", "SELECT doc->>'k' AS k, doc FROM telemetry WHERE id = 2", `{"k":"2","doc":{"k": 2}}`},
	{"method call", "SELECT device_id.upper() AS d FROM telemetry WHERE id = 0", `{"d":"WAGON-0"}`},
	{"describe", "DESCRIBE curated.\"Device List\"", `{"column_name":"id","column_type":"VARCHAR","null":"YES","key":null,"default":null,"extra":null}|{"column_name":"owner","column_type":"VARCHAR","null":"YES","key":null,"default":null,"extra":null}`},
	{"describe a query", "SELECT column_name, column_type FROM (DESCRIBE SELECT id FROM telemetry)", `{"column_name":"id","column_type":"BIGINT"}`},
	{"summarize", "SELECT column_name, min, max, count FROM (SUMMARIZE SELECT id FROM telemetry)", `{"column_name":"id","min":"0","max":"719","count":720}`},
	{"show tables", "SHOW TABLES", `{"schema":"curated","name":"Device List"}|{"schema":"curated","name":"empty"}|{"schema":"curated","name":"telemetry"}|{"schema":"system","name":"query_log"}|{"schema":"system","name":"tables"}`},
	{"show tables of a schema", "SHOW TABLES FROM system", `{"schema":"system","name":"query_log"}|{"schema":"system","name":"tables"}`},
	{"empty table", "SELECT count(*) AS n, max(x) AS m FROM curated.empty", `{"n":0,"m":null}`},
	{"empty table, no rows", "SELECT * FROM curated.empty", ``},
	{"system table", "SELECT name, rows, made FROM system.tables WHERE rows > 1 ORDER BY 1", `{"name":"curated.telemetry","rows":720,"made":"2026-11-20T03:00:00.5Z"}`},
	{"system joined", "SELECT count(*) AS n FROM system.tables s JOIN system.tables t USING (name)", `{"n":2}`},
	{"trailing semicolon", "SELECT 1 AS x ;  -- done", `{"x":1}`},
	{"comments", "/* a */ SELECT -- b\n 2 AS x", `{"x":2}`},
	{"repeat checked", "SELECT repeat('ab', id::INT) AS r FROM telemetry WHERE id = 2", `{"r":"abab"}`},
	{"series in from", "SELECT count(*) AS n FROM range(2000000)", `{"n":2000000}`},
}

type systemTables struct{}

func (systemTables) Names() []string { return []string{"tables"} }
func (systemTables) Rows(ctx context.Context, name string) (tarn.Schema, [][]any, error) {
	return tarn.Schema{Fields: []tarn.Field{field(1, "name", "VARCHAR"), field(2, "rows", "BIGINT"), field(3, "made", "TIMESTAMP"), field(4, "more", "JSON")}},
		[][]any{{"curated.telemetry", 720, time.Date(2026, 11, 20, 3, 0, 0, 5e8, time.UTC), nil}, {"it's \"odd\"", 1, nil, map[string]any{"a": 1}}}, nil
}

func fleet(t testing.TB, rows int) (*lake, *Service) {
	l := newLake(t)
	l.hours(72, rows)
	l.create("curated.Device List", field(1, "id", "VARCHAR"), field(2, "owner", "VARCHAR"))
	l.add("curated.Device List", "SELECT * FROM (VALUES ('wagon-1', 'ann'), ('wagon-2', 'bob')) AS t(id, owner)", false)
	l.create("curated.empty", field(1, "x", "DECIMAL(10,2)"), field(2, "y", "STRUCT(a INT, b VARCHAR[])"))
	return l, newService(t, l, func(o *Options) { o.System = systemTables{} })
}

func TestFeatures(t *testing.T) {
	_, s := fleet(t, 10)
	for _, f := range features {
		t.Run(f.name, func(t *testing.T) {
			got := strings.ReplaceAll(strings.TrimSuffix(must(t, s, f.sql), "\n"), "\n", "|")
			if got != f.want && f.name != "pivot" {
				t.Errorf("%s\n got %s\nwant %s", f.sql, got, f.want)
			}
		})
	}
}

// TestUserFaults: what a user gets wrong is said with its place and, where there is one, the mend.
func TestUserFaults(t *testing.T) {
	_, s := fleet(t, 1)
	for _, f := range []struct {
		sql  string
		code tarn.Code
		want string // parts of the text, in order
	}{
		{"SELEC 1", tarn.CodeInvalid, "line 1, column 1: syntax error"},
		{"SELECT id, at, v FROM telemetry", tarn.CodeInvalid, `syntax error|write a column of that name "at", in quotes`},
		{"SELECT *\nFROM telemetry\nWHER id = 1", tarn.CodeInvalid, "line 3, column 6: syntax error"},
		{"", tarn.CodeInvalid, "no statement"},
		{"SELECT nme FROM telemetry", tarn.CodeInvalid, `line 1, column 8: Referenced column "nme"`},
		{"SELECT\n  devise_id FROM curated.telemetry", tarn.CodeInvalid, `line 2, column 3: Referenced column "devise_id"|device_id`},
		{"SELECT abs(name) FROM system.tables", tarn.CodeInvalid, `explicit type casts|there is abs(TINYINT)`},
		{"SELECT nme FROM system.tables", tarn.CodeInvalid, `line 1, column 8: Referenced column "nme"|"name"`},
		{"SELECT system.tables.rowz FROM system.tables", tarn.CodeInvalid, `line 1, column 8|rowz`},
		{"SELECT 'sys000.', id\n, mad FROM \"System\" . tables s, telemetry", tarn.CodeInvalid, `line 2, column 3: Referenced column "mad"|"made"`},
		{"SELECT t.x FROM telemetry t", tarn.CodeInvalid, `line 1, column 8|"x"`},
		{"SELECT * FROM curated.telemtry", tarn.CodeNotFound, "line 1, column 15: there is no table curated.telemtry|did you mean curated.telemetry?"},
		{"SELECT * FROM nosuch.thing", tarn.CodeNotFound, "there is no table nosuch.thing"},
		{"SELECT * FROM tables", tarn.CodeNotFound, "did you mean system.tables?"},
		{"SELECT * FROM system.tabels", tarn.CodeNotFound, "did you mean system.tables?"},
		{"SELECT lenght('a')", tarn.CodeInvalid, "line 1, column 8: there is no function lenght|did you mean length?"},
		{"SELECT sum(device_id) FROM telemetry", tarn.CodeInvalid, "line 1, column 8: No function matches"},
		{"SELECT 'x'::INT", tarn.CodeInvalid, "Could not convert string 'x' to INT32"},
		{"SELECT device_id::INT FROM telemetry", tarn.CodeInvalid, "Could not convert string"},
		{"SELECT id, count(*) FROM telemetry", tarn.CodeInvalid, `column "id" must appear in the GROUP BY`},
		{"SELECT $1", tarn.CodeInvalid, "takes 1 parameter, not 0"},
		{"SELECT $name", tarn.CodeUnsupported, "$name has a name|number parameters"},
		{"SELECT 1 FROM telemetry AT (TIMESTAMP => 'nonsense')", tarn.CodeInvalid, "AT: "},
		{"SELECT 1 FROM telemetry AT (VERSION => 77)", tarn.CodeNotFound, "no snapshot"},
		{"SELECT 1 FROM system.tables AT (VERSION => 77)", tarn.CodeUnsupported, "no past"},
		{"WITH x AS (SELECT 1) SELECT 1 FROM x AT (VERSION => 1)", tarn.CodeInvalid, "AT is for tables"},
		{"PIVOT telemetry ON device_id USING sum(v)", tarn.CodeForbidden, "only SELECT"},
		{"SELECT 1; SELECT 2", tarn.CodeForbidden, "one statement is allowed, not 2"},
		{"SELECT " + strings.Repeat("1+", 600_000) + "1", tarn.CodeTooLarge, "longer than"},
		{"SELECT error('own words')", tarn.CodeInvalid, "own words"},
	} {
		_, _, err := ask(t, s, Request{SQL: f.sql})
		if tarn.CodeOf(err) != f.code {
			t.Errorf("%.80s: code %s, want %s: %v", f.sql, tarn.CodeOf(err), f.code, err)
			continue
		}
		rest := err.Error()
		for part := range strings.SplitSeq(f.want, "|") {
			_, after, ok := strings.Cut(rest, part)
			if !ok {
				t.Errorf("%.80s: %q does not say %q", f.sql, err, part)
			}
			rest = after
		}
		if strings.Contains(err.Error(), "stub_") || strings.Contains(err.Error(), "tarn_") || strings.Contains(err.Error(), "sys00") || strings.Contains(err.Error(), "/tmp/") {
			t.Errorf("%.80s: shows internals: %v", f.sql, err)
		}
	}
}

func TestParameters(t *testing.T) {
	_, s := fleet(t, 10)
	for _, p := range []struct {
		sql    string
		params []any
		want   string
	}{
		{"SELECT id FROM telemetry WHERE id = ?", []any{7}, `{"id":7}`},
		{"SELECT id FROM telemetry WHERE id IN ($2, $1) ORDER BY 1", []any{int64(700), 1.0}, `{"id":1}|{"id":700}`},
		{"SELECT count(*) AS n FROM telemetry WHERE ts >= $1 AND ts < ?2", nil, "error"},
		{"SELECT count(*) AS n FROM telemetry WHERE ts >= $1 AND ts < $2", []any{"2026-11-20T05:00:00Z", "2026-11-20 06:00:00"}, `{"n":10}`},
		{"SELECT count(*) AS n FROM telemetry WHERE ts >= $1", []any{time.Date(2026, 11, 22, 23, 0, 0, 0, time.UTC)}, `{"n":10}`},
		{"SELECT count(*) AS n FROM telemetry WHERE device_id = ANY($1)", []any{[]any{"wagon-1", "it's"}}, `{"n":144}`},
		{"SELECT id FROM telemetry ORDER BY id LIMIT $1 OFFSET $2", []any{1, 2}, `{"id":2}`},
		{"SELECT $1 AS a, $2 AS b, $3 AS c, $1 AS d", []any{"it's -- $2 /*", nil, true}, `{"a":"it's -- $2 /*","b":null,"c":true,"d":"it's -- $2 /*"}`},
		{"SELECT 1 - $1 AS a, $2::DOUBLE AS b, octet_length($3) AS c", []any{-5, 1e300, []byte{0, 255}}, `{"a":6,"b":1e+300,"c":2}`},
		{"SELECT '$1' AS a, $1 AS b", []any{"x"}, `{"a":"$1","b":"x"}`},
		{"SELECT count(*) AS n FROM telemetry AT (VERSION => $1)", []any{5}, "error"},
		{"SELECT $1", []any{"a\x00b"}, "error"},
		{"SELECT $1", []any{struct{}{}}, "error"},
		{"SELECT 1", []any{1}, "error"},
	} {
		got, _, err := ask(t, s, Request{SQL: p.sql, Params: p.params})
		got = strings.ReplaceAll(strings.TrimSuffix(got, "\n"), "\n", "|")
		if (err != nil) != (p.want == "error") || err == nil && got != p.want {
			t.Errorf("%s: got %s, %v; want %s", p.sql, got, err, p.want)
		}
	}
}

func TestTimeTravel(t *testing.T) {
	l := newLake(t)
	at := func(h int) time.Time { return time.Date(2026, 11, 20, h, 0, 0, 0, time.UTC) }
	l.create("curated.t", field(1, "id", "BIGINT"))
	l.add("curated.t", "SELECT 1::BIGINT AS id", false)
	l.snapshot("curated.t", at(1), 11)
	l.tabs["curated.t"].schema.Fields = append(l.tabs["curated.t"].schema.Fields, field(2, "note", "VARCHAR"))
	l.add("curated.t", "SELECT 2::BIGINT AS id, 'new' AS note", false)
	l.snapshot("curated.t", at(2), 12)
	l.add("curated.t", "SELECT 3::BIGINT AS id, 'tail' AS note", true)
	s := newService(t, l, nil)
	if _, _, err := ask(t, s, Request{SQL: "SELECT nosuch FROM curated.t AT (VERSION => 12)"}); tarn.CodeOf(err) != tarn.CodeInvalid || !strings.Contains(err.Error(), `column "nosuch" not found`) {
		t.Errorf("a column that is not there: %v", err)
	}
	for _, q := range []struct {
		sql  string
		at   *AsOf
		want string
	}{
		{"SELECT * FROM curated.t ORDER BY id", nil, `{"id":1,"note":null}|{"id":2,"note":"new"}|{"id":3,"note":"tail"}`},
		{"SELECT * FROM curated.t AT (TIMESTAMP => TIMESTAMP '2026-11-20 01:30:00')", nil, `{"id":1}`},
		{"SELECT * FROM curated.t AT (TIMESTAMP => '2026-11-20T03:30:00+02:00')", nil, `{"id":1}`},
		{"SELECT x.id FROM curated.t AS x AT (VERSION => 12) ORDER BY 1", nil, `{"id":1}|{"id":2}`},
		{"SELECT x.id FROM t x AT (VERSION => 10 + 1)", nil, `{"id":1}`},
		{"SELECT id FROM curated.t ORDER BY 1", &AsOf{Snapshot: 11}, `{"id":1}`},
		{"SELECT id FROM curated.t ORDER BY 1", &AsOf{Time: at(5)}, `{"id":1}|{"id":2}`},
		{"SELECT a.id FROM curated.t a LEFT JOIN curated.t b AT (VERSION => 11) USING (id) WHERE b.id IS NULL ORDER BY 1", nil, `{"id":2}|{"id":3}`},
		{"SELECT (SELECT count(*) FROM curated.t) AS now, (SELECT count(*) FROM curated.t AT (VERSION => 11)) AS before", nil, `{"now":3,"before":1}`},
	} {
		got, _, err := ask(t, s, Request{SQL: q.sql, At: q.at})
		if got = strings.ReplaceAll(strings.TrimSuffix(got, "\n"), "\n", "|"); err != nil || got != q.want {
			t.Errorf("%s: got %s, %v; want %s", q.sql, got, err, q.want)
		}
	}
}

// TestEvolvedSchema reads files of three ages: a column added, widened, renamed and dropped.
func TestEvolvedSchema(t *testing.T) {
	l := newLake(t)
	l.create("curated.t", field(1, "id", "INTEGER"), field(2, "old", "VARCHAR"), field(3, "gone", "BIGINT"))
	l.add("curated.t", "SELECT 1::INTEGER AS id, 'a' AS old, 9::BIGINT AS gone", false)
	l.tabs["curated.t"].schema = tarn.Schema{Fields: []tarn.Field{field(1, "id", "BIGINT"), field(2, "renamed", "VARCHAR"), field(4, "more", "STRUCT(a BIGINT)")}}
	l.add("curated.t", "SELECT 5000000000::BIGINT AS id, 'b' AS renamed, {'a': 4::BIGINT} AS more", false)
	l.tabs["curated.t"].schema.Fields[2] = tarn.Field{ID: 4, Name: "more", Type: field(4, "more", "STRUCT(a BIGINT, b VARCHAR)").Type}
	l.tabs["curated.t"].schema.Fields = append(l.tabs["curated.t"].schema.Fields, field(5, "gone", "VARCHAR"))
	l.add("curated.t", "SELECT 7::BIGINT AS id, 'c' AS renamed, {'a': 5::BIGINT, 'b': 'x'} AS more, 'back' AS gone", true)
	s := newService(t, l, nil)
	got := must(t, s, "SELECT * FROM curated.t ORDER BY renamed")
	want := `{"id":1,"renamed":"a","more":null,"gone":null}
{"id":5000000000,"renamed":"b","more":{"a":4,"b":null},"gone":null}
{"id":7,"renamed":"c","more":{"a":5,"b":"x"},"gone":"back"}
`
	if got != want {
		t.Errorf("got %s", got)
	}
	for _, q := range []string{"id > 6", "more.a = 4", "gone = 'back'", "gone IS NULL", "more IS NULL", "renamed LIKE 'a%'"} {
		all := must(t, s, "SELECT count(*) FILTER ("+q+") AS n FROM curated.t")
		some := must(t, s, "SELECT count(*) AS n FROM curated.t WHERE "+q)
		if all != some {
			t.Errorf("%s: pruned %s, unpruned %s", q, some, all)
		}
	}
}

func TestExplain(t *testing.T) {
	_, s := fleet(t, 10)
	got := must(t, s, "EXPLAIN SELECT * FROM telemetry WHERE ts < TIMESTAMP '2026-11-20 03:00:00'")
	if !strings.Contains(got, "curated.telemetry: 3 of 72 files, 30 rows") || !strings.Contains(got, "READ_PARQUET") || strings.Contains(got, "/tmp/") {
		t.Error(got)
	}
	got = must(t, s, "  explain\n analyze SELECT count(*) FROM telemetry")
	if !strings.Contains(got, "curated.telemetry: 72 of 72 files") || !strings.Contains(got, "Total Time") {
		t.Error(got)
	}
	log := must(t, s, "SELECT files_total, files_opened FROM system.query_log WHERE sql LIKE 'EXPLAIN%'")
	if log != fmt.Sprintf("{\"files_total\":%d,\"files_opened\":%d}\n", 72, 3) {
		t.Error(log)
	}
}
