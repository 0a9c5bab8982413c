package query

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// kinds of columns the random tables have, with literals that may stand in them and in predicates.
var randomColumns = []struct {
	name, typ string
	values    []string
}{
	{"i", "BIGINT", []string{"NULL", "-3", "0", "1", "2", "7", "9007199254740993", "'-9223372036854775808'"}},
	{"n", "INTEGER", []string{"NULL", "-1", "0", "5", "2147483647"}},
	{"d", "DOUBLE", []string{"NULL", "'nan'", "'inf'", "'-inf'", "-0.0", "0.0", "1.5", "2.25", "1e300"}},
	{"f", "FLOAT", []string{"NULL", "'nan'", "0.1", "0.25", "-7"}},
	{"s", "VARCHAR", []string{"NULL", "''", "'a'", "'ab'", "'abc'", "'b'", "'B'", "'é'", "'it''s'", "'\U0001F600'"}},
	{"ts", "TIMESTAMP", []string{"NULL", "'2026-11-20 00:00:00'", "'2026-11-20 03:30:00.000001'", "'2026-11-21'", "'1969-12-31 23:59:59.999999'"}},
	{"tz", "TIMESTAMPTZ", []string{"NULL", "'2026-11-20 00:00:00+02'", "'2026-11-20 03:30:00Z'", "'2026-11-21 00:00:00Z'"}},
	{"da", "DATE", []string{"NULL", "'2026-11-20'", "'2026-11-21'", "'1969-12-31'", "'2026-12-01'"}},
	{"de", "DECIMAL(10,2)", []string{"NULL", "-1.50", "0", "1.50", "99.99"}},
	{"b", "BOOLEAN", []string{"NULL", "true", "false"}},
}

var randomOps = []string{"=", "<", "<=", ">", ">=", "<>", "IS DISTINCT FROM"}

func randomPredicate(t *rapid.T, depth int) string {
	if depth < 3 && rapid.IntRange(0, 2).Draw(t, "nest") == 0 {
		l, r := randomPredicate(t, depth+1), randomPredicate(t, depth+1)
		return rapid.SampledFrom([]string{"(" + l + " AND " + r + ")", "(" + l + " OR " + r + ")", "NOT (" + l + ")"}).Draw(t, "joint")
	}
	c := rapid.SampledFrom(randomColumns).Draw(t, "column")
	lit := func(label string) string {
		return rapid.SampledFrom(c.values).Draw(t, label) + "::" + c.typ
	}
	name := c.name
	if c.name == "i" && rapid.Bool().Draw(t, "inside") {
		name = "st.i"
	}
	forms := []string{
		name + " " + rapid.SampledFrom(randomOps).Draw(t, "op") + " " + lit("v"),
		lit("v") + " " + rapid.SampledFrom(randomOps).Draw(t, "op") + " " + name,
		name + " BETWEEN " + lit("lo") + " AND " + lit("hi"),
		name + " IN (" + lit("a") + ", " + lit("b") + ", " + lit("c") + ")",
		name + " NOT IN (" + lit("a") + ", " + lit("b") + ")",
		name + " IS NULL", name + " IS NOT NULL",
	}
	switch c.name {
	case "s":
		forms = append(forms, "s LIKE 'a%'", "s LIKE 'ab_'", "starts_with(s, 'ab')", "s ~ '^b.*'", "s ILIKE 'b%'", "prefix(s, 'é')", "s COLLATE nocase = 'b'")
	case "ts":
		forms = append(forms, "date_trunc('hour', ts) = '2026-11-20 03:00:00'", "ts::DATE = '2026-11-20'", "ts::DATE >= '2026-11-21'",
			"year(ts) = 2026", "ts > DATE '2026-11-20'", "ts < TIMESTAMPTZ '2026-11-20 05:00:00+02'", "ts > now() - INTERVAL 1000000 DAY", "ts + INTERVAL 1 DAY > '2026-11-21'")
	case "tz":
		forms = append(forms, "tz::DATE = '2026-11-20'", "tz::TIMESTAMP > '2026-11-20 03:00:00'", "date_trunc('day', tz) = '2026-11-20'")
	case "i", "n":
		forms = append(forms, name+" > 1.5", name+"::DOUBLE >= 2", name+" + 1 = 2", "abs("+name+") < 3", name+" % 2 = 1", name+" = 9007199254740992::DOUBLE", name+"::VARCHAR > '5'")
	case "d", "f":
		forms = append(forms, name+" > 1", name+" = 'nan'", "isnan("+name+")", name+" < 'inf'", name+"::FLOAT > 0.1", name+" > 0.1")
	case "da":
		forms = append(forms, "da > TIMESTAMP '2026-11-20 01:00:00'", "da::TIMESTAMP = '2026-11-20'", "da + 1 = DATE '2026-11-21'")
	case "b":
		forms = append(forms, "b", "NOT b", "b IS TRUE", "b IS NOT FALSE")
	case "de":
		forms = append(forms, "de > 1", "de = 1.5", "de < 99.991", "de::DOUBLE > 1.4")
	}
	return rapid.SampledFrom(forms).Draw(t, "form")
}

// TestPruningKeepsEveryRow: over random files and predicates a pruned statement returns what DuckDB
// returns over all files. It fails if a file that holds a wanted row is left out.
func TestPruningKeepsEveryRow(t *testing.T) {
	l := newLake(t)
	s := newService(t, l, nil)
	tables, pruned := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if tables%10 == 0 { // files are costly: ten predicates over each set
			randomTable(rt, l)
		}
		tables++
		tab := l.tabs["curated.r"]
		var urls []string
		for _, f := range tab.files {
			urls = append(urls, f.URL)
		}
		pred := randomPredicate(rt, 0)
		shape := rapid.SampledFrom([]string{
			"SELECT count(*), coalesce(sum(x), 0)::BIGINT FROM @T WHERE @P",
			"SELECT count(*), coalesce(sum(x), 0)::BIGINT FROM (SELECT * FROM @T) q WHERE @P",
			"WITH c AS (SELECT * FROM @T) SELECT count(*), coalesce(sum(x), 0)::BIGINT FROM c WHERE @P",
			"WITH c AS MATERIALIZED (SELECT * FROM @T WHERE @P) SELECT (SELECT count(*) FROM c), (SELECT coalesce(sum(x), 0)::BIGINT FROM c WHERE x > 3)",
			"SELECT count(*), coalesce(sum(a.x), 0)::BIGINT FROM @T a JOIN @T b ON a.x = b.x WHERE EXISTS (SELECT 1 FROM @T WHERE x = a.x AND @P)",
			"SELECT count(*), coalesce(sum(l.x), 0)::BIGINT FROM @T l LEFT JOIN (SELECT * FROM @T WHERE @P) r ON l.x = r.x + 1 WHERE r.x IS NULL",
			"SELECT count(*), coalesce(sum(x), 0)::BIGINT FROM (SELECT x FROM @T WHERE @P UNION ALL SELECT x FROM @T WHERE x = 2)",
			"SELECT count(*), coalesce(sum(x), 0)::BIGINT FROM (SELECT *, row_number() OVER (ORDER BY x) AS rn FROM @T) WHERE @P AND rn > 2",
			"SELECT count(*), coalesce(sum(x), 0)::BIGINT FROM @T WHERE x NOT IN (SELECT x FROM @T WHERE @P)",
			"SELECT count(*), max(x)::BIGINT FROM (SELECT * FROM @T WHERE @P ORDER BY x LIMIT 3)",
			"SELECT count(*) FILTER (WHERE @P), count(*) FROM @T",
		}).Draw(rt, "shape")
		sql := strings.ReplaceAll(shape, "@P", pred)
		want, err := l.db.Values(context.Background(), strings.ReplaceAll(sql, "@T", duck.ReadParquet(urls, tab.schema)))
		if err != nil {
			rt.Skip(err) // a cast of a random value may fail
		}
		got, st, err := runValues(s, strings.ReplaceAll(sql, "@T", "curated.r"))
		if err != nil {
			rt.Fatalf("%s: %v", sql, err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("%s\n got %v with %d of %d files\nwant %v", sql, got, st.FilesOpened, st.FilesTotal, want)
		}
		if st.FilesOpened < st.FilesTotal {
			pruned++
		}
	})
	if pruned*20 < tables {
		t.Errorf("only %d of %d statements were pruned: the test shows little", pruned, tables)
	}
}

func randomTable(rt *rapid.T, l *lake) {
	fields := []tarn.Field{field(1, "x", "BIGINT"), field(50, "st", "STRUCT(i BIGINT, d DOUBLE)")}
	for i, c := range randomColumns {
		fields = append(fields, field(i+2, c.name, c.typ))
	}
	l.create("curated.r", fields...)
	l.tabs["curated.r"].plain = rapid.Bool().Draw(rt, "plain")
	for f := range rapid.IntRange(1, 5).Draw(rt, "files") {
		var rows []string
		for r := range rapid.IntRange(1, 4).Draw(rt, "rows") {
			row := []string{fmt.Sprintf("%d::BIGINT AS x", f*10+r)}
			var inner string
			for _, c := range randomColumns {
				v := rapid.SampledFrom(c.values).Draw(rt, c.name) + "::" + c.typ
				row = append(row, v+" AS "+c.name)
				if c.name == "i" {
					inner = v
				}
			}
			st := fmt.Sprintf("{'i': %s, 'd': 1::DOUBLE} AS st", inner)
			if rapid.IntRange(0, 5).Draw(rt, "nullst") == 0 {
				st = "NULL::STRUCT(i BIGINT, d DOUBLE) AS st"
			}
			rows = append(rows, "SELECT "+strings.Join(append(row, st), ", "))
		}
		l.add("curated.r", strings.Join(rows, " UNION ALL "), false)
	}
}

func runValues(s *Service, sql string) (rows [][]any, st Stats, err error) {
	res, err := s.Run(context.Background(), Request{SQL: sql})
	if err != nil {
		return nil, st, err
	}
	defer res.Close()
	for res.Next() {
		b := res.Batch()
		for i := range int(b.NumRows()) {
			var row []any
			for _, c := range b.Columns() {
				row = append(row, duck.Value(c, i))
			}
			rows = append(rows, row)
		}
	}
	return rows, res.Stats(), res.Err()
}

// TestPruningIsDone: filters that must reach the files, over 72 hours with one file each.
func TestPruningIsDone(t *testing.T) {
	_, s := fleet(t, 5)
	for _, p := range []struct {
		where  string
		params []any
		opened int
	}{
		{"ts >= '2026-11-21 03:00:00' AND ts < '2026-11-21 04:00:00'", nil, 1},
		{"ts >= $1 AND ts < $2", []any{"2026-11-21T03:00:00Z", "2026-11-21T05:00:00Z"}, 2},
		{"ts BETWEEN $1 AND $2", []any{time.Date(2026, 11, 21, 3, 0, 0, 0, time.UTC), time.Date(2026, 11, 21, 3, 59, 59, 0, time.UTC)}, 1},
		{"date_trunc('hour', ts) = TIMESTAMP '2026-11-21 03:00:00'", nil, 1},
		{"date_trunc('day', ts) = '2026-11-21'", nil, 24},
		{"ts::DATE = '2026-11-21'", nil, 24},
		{"ts::DATE IN ('2026-11-20', '2026-11-22')", nil, 48},
		{"ts < TIMESTAMPTZ '2026-11-20 02:00:00+01'", nil, 1},
		{"ts > TIMESTAMP '2026-11-22 22:30:00' - INTERVAL 1 HOUR", nil, 2}, // rows lie in the first seconds of an hour
		{"ts > now() + INTERVAL 100000 DAY", nil, 0},
		{"id = 12", nil, 1},
		{"id IN (1, 100, 300)", nil, 3},
		{"id = 1 OR id = 355", nil, 2},
		{"id < 10 AND v >= 0", nil, 2},
		{"position.lat = 50", nil, 1},
		{"position.lat BETWEEN 50 AND 51.5", nil, 2},
		{"position.lat < 48 OR ts > '2026-11-22 23:00:00'", nil, 2},
		{"device_id = 'nobody'", nil, 0},
		{"device_id LIKE 'x%'", nil, 0},
		{"device_id IS NULL", nil, 0},
		{"v > 1000", nil, 0},
		{"id = 1 AND id = 2", nil, 0},
		{"length(device_id) = 3", nil, 72},
		{"random() < 2", nil, 72},
		{"true", nil, 72},
	} {
		_, st, err := ask(t, s, Request{SQL: "SELECT count(*), max(v) FROM curated.telemetry WHERE " + p.where, Params: p.params})
		if err != nil || st.FilesOpened != p.opened || st.FilesTotal != 72 {
			t.Errorf("%s: opened %d of %d, want %d; %v", p.where, st.FilesOpened, st.FilesTotal, p.opened, err)
		}
	}
}
