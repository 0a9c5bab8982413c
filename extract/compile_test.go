package extract_test

import (
	"strings"
	"testing"

	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/project"
)

func smallDuck(t *testing.T) *duck.DB {
	t.Helper()
	db, err := duck.Open(duck.Options{MemoryBytes: 64 << 20, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestCheck(t *testing.T) {
	db := smallDuck(t)
	plain, windowed := project.ExtractRules{}, project.ExtractRules{Windowed: true}
	session := project.ExtractRules{Windowed: true, Key: []string{"k"}}
	for _, c := range []struct {
		rules project.ExtractRules
		sql   string
		want  string // part of the error; "" for none
	}{
		{plain, "SELECT a FROM records WHERE b > 1", ""},
		{plain, "SELECT a, m, v FROM records UNPIVOT (v FOR m IN (x, y))", ""},
		{plain, "SELECT a FROM records UNION ALL SELECT b FROM records", ""},
		{plain, "SELECT r.a FROM records r JOIN curated.w USING (k)", ""},
		{plain, "SELECT r.a FROM records r LEFT JOIN curated.w w ON r.k = w.k", ""},
		{plain, "SELECT r.a FROM curated.w LEFT JOIN records r USING (k)", "no record of a batch has matched"},
		{plain, "SELECT r.a FROM records r RIGHT JOIN curated.w USING (k)", "no record of a batch has matched"},
		{plain, "SELECT 1 FROM records r FULL JOIN curated.w USING (k)", "no record of a batch has matched"},
		{plain, "SELECT 1 FROM records a JOIN records b USING (k)", "a join of records with records"},
		{plain, "SELECT 1 FROM records, nosuch", "there is no relation nosuch"},
		{plain, "SELECT 1 FROM records JOIN raw.x USING (k)", "cannot be joined"},
		{plain, "SELECT 1 FROM curated.w", "does not read the relation records"},
		{plain, "SELECT count(*) FROM records", "aggregate"},
		{plain, "SELECT a FROM records ORDER BY a", "ORDER BY"},
		{plain, "SELECT now() FROM records", "time of the run"},
		{plain, "SELECT * FROM read_csv('x')", "not allowed"},
		{windowed, "SELECT count(*) FROM records GROUP BY window_start", ""},
		{windowed, "SELECT window_end, count(*) FROM records GROUP BY ALL", ""},
		{windowed, "SELECT * FROM records", ""},
		{windowed, "SELECT count(*) FROM records", "mix windows"},
		{windowed, "SELECT count(*) FROM records GROUP BY a", "mix windows"},
		{windowed, "SELECT DISTINCT a FROM records", "DISTINCT"},
		{windowed, "SELECT a FROM records LIMIT 1", "LIMIT"},
		{windowed, "SELECT random() FROM records GROUP BY window_start", "another value on every run"},
		{session, "SELECT count(*) FROM records GROUP BY window_start, window_end", "sessions of different k"},
		{session, "SELECT count(*) FROM records r GROUP BY window_start, r.k", ""},
	} {
		err := extract.Check(t.Context(), db, c.sql, c.rules)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s\ngot  %v\nwant %q", c.sql, err, c.want)
		}
	}
}

func TestCompile(t *testing.T) {
	db := smallDuck(t)
	for sql, want := range map[string]struct {
		positions, lineage bool
		tables             string
		text               string // part of the SQL
	}{
		"SELECT a FROM records":                                            {true, true, "", "record_offset"},
		"SELECT a FROM (SELECT a FROM records)":                            {false, false, "", "SELECT a"},
		"SELECT a, v FROM records UNPIVOT (v FOR m IN (x, y))":             {true, true, "", "record_offset"},
		"SELECT a, v FROM (UNPIVOT records ON x, y INTO NAME m VALUE v)":   {true, true, "", "record_offset"},
		"SELECT a, v FROM (UNPIVOT records ON COLUMNS(* EXCLUDE (a)))":     {false, false, "", "COLUMNS"},
		"SELECT a, record_arrival AS at FROM records":                      {true, true, "", "record_arrival AS \"at\", record_shard, record_offset"},
		"SELECT wagons.b FROM records JOIN Curated.wagons USING (k)":       {true, true, "curated.wagons", "__joined_0 AS wagons"},
		"SELECT w.b FROM records JOIN curated.w AS w USING (k), curated.w": {true, true, "curated.w", "__joined_0 AS w"},
	} {
		q, err := extract.Compile(t.Context(), db, sql, true)
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		var tables []string
		for _, j := range q.Tables {
			tables = append(tables, j.Table)
		}
		if q.Positions != want.positions || q.Lineage != want.lineage || strings.Join(tables, " ") != want.tables || !strings.Contains(q.SQL, want.text) {
			t.Errorf("%s\ngot  %+v", sql, q)
		}
	}
}
