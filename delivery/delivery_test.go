package delivery_test

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/table"
)

func events(n int, format string) []string {
	lines := make([]string, n)
	for i := range lines {
		lines[i] = fmt.Sprintf(format, i)
	}
	return lines
}

func TestVisibleBeforeAndAfterTheCommit(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.config())
	for range 3 {
		w.put(0, events(50, `{"id":%d,"name":"x","m":{"a":1.5}}`)...)
	}
	w.want(r, "SELECT count(*), sum(id) FROM t", "150 3675")
	w.flush(r)
	w.want(r, "SELECT count(*), sum(id), sum(m.a) FROM t", "150 3675 225")
	w.balance(0, 150, 150, 0, 0)
	w.put(0, `{"id":7}`)
	w.want(r, "SELECT count(*), sum(id) FROM t", "151 3682")
}

func TestRestartReplaysWhatWasNotCommitted(t *testing.T) {
	w := newWorld(t, 2)
	r := w.run(w.config())
	w.put(0, events(100, `{"id":%d}`)...)
	w.flush(r)
	w.put(1, events(100, `{"id":%d}`)...)
	w.want(r, "SELECT count(*) FROM t", "200")
	r.stop() // drains: commits
	w.balance(1, 100, 100, 0, 0)
	w.put(0, events(10, `{"id":%d}`)...)
	r = w.run(w.config())
	w.want(r, "SELECT count(*), count(DISTINCT id) FROM t", "210 100")
}

func TestSchemaChanges(t *testing.T) {
	const first, newField, fraction, text = `{"id":1,"v":1}`, `{"id":2,"v":2,"w":"x"}`, `{"id":3,"v":3.5}`, `{"id":4,"v":"no"}`
	tests := []struct {
		policy delivery.SchemaPolicy
		rows   []string
		failed []string // stage and the start of the reason
	}{
		{delivery.Evolve, []string{"1 1", "2 2", "3 3.5"}, []string{"convert v takes DOUBLE, the record has string"}},
		{delivery.Fail, []string{"1 1"}, []string{"convert w is a new field", "convert v takes BIGINT", "convert v takes BIGINT"}},
		{delivery.Ignore, []string{"1 1", "2 2"}, []string{"convert v takes BIGINT", "convert v takes BIGINT"}},
	}
	for _, tt := range tests {
		t.Run(string(tt.policy), func(t *testing.T) {
			w := newWorld(t, 1)
			cfg := w.config()
			cfg.Policy = tt.policy
			r := w.run(cfg)
			w.put(0, first)
			w.flush(r)
			w.put(0, newField)
			w.put(0, fraction)
			w.put(0, text)
			w.want(r, "SELECT id, v FROM t", tt.rows...)
			w.flush(r)
			w.want(r, "SELECT id, v FROM t", tt.rows...)
			failed := w.failed()
			if len(failed) != len(tt.failed) {
				t.Fatalf("failed: %+v", failed)
			}
			for i, f := range failed {
				if got := f.Stage + " " + f.Reason; !strings.HasPrefix(got, tt.failed[i]) {
					t.Errorf("failed %d: %s", i, got)
				}
			}
			w.balance(0, 4, uint64(len(tt.rows)), uint64(len(failed)), 0)
			if tt.policy == delivery.Evolve {
				w.want(r, "SELECT id FROM t WHERE w = 'x'", "2")
			}
		})
	}
}

// TestWideningKeepsStagedRows widens a column while rows with the old type wait in the tail.
func TestWideningKeepsStagedRows(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.config())
	w.put(0, events(100, `{"v":%d}`)...)
	w.want(r, "SELECT sum(v) FROM t", "4950")
	w.put(0, `{"v":0.5}`)
	w.want(r, "SELECT sum(v), typeof(any_value(v)) FROM t", "4950.5 DOUBLE")
	w.flush(r)
	w.want(r, "SELECT sum(v), count(v) FROM t", "4950.5 101")
}

func TestTransform(t *testing.T) {
	tests := []struct {
		name, sql     string
		lines         []string
		query         string
		rows          []string
		out, failed   uint64
		dropped       uint64
		failedReasons []string
	}{
		{"projection", "SELECT id * 2 AS twice FROM records", events(3, `{"id":%d}`), "SELECT twice FROM t", []string{"0", "2", "4"}, 3, 0, 0, nil},
		{"filter", "SELECT * FROM records WHERE id % 2 = 0", events(10, `{"id":%d}`), "SELECT count(*) FROM t", []string{"5"}, 5, 0, 5, nil},
		{"unnest", "SELECT id, unnest(l) AS e FROM records", []string{`{"id":1,"l":[1,2,3]}`, `{"id":2,"l":[4]}`}, "SELECT id, e FROM t", []string{"1 1", "1 2", "1 3", "2 4"}, 4, 0, 0, nil},
		{"comment and semicolon", "SELECT id FROM records -- all", events(1, `{"id":%d}`), "SELECT id FROM t", []string{"0"}, 1, 0, 0, nil},
		{"own CTE", "WITH a AS (SELECT id FROM records) SELECT id + 1 AS id FROM a", events(1, `{"id":%d}`), "SELECT id FROM t", []string{"1"}, 1, 0, 0, nil},
		{"some rows fail", "SELECT id, CAST(s AS INTEGER) AS n FROM records", []string{`{"id":1,"s":"1"}`, `{"id":2,"s":"two"}`, `{"id":3,"s":"3"}`, `{"id":4,"s":"four"}`},
			"SELECT id, n FROM t", []string{"1 1", "3 3"}, 2, 2, 0, []string{"two", "four"}},
		{"all rows fail", "SELECT CAST(s AS INTEGER) AS n FROM records", []string{`{"s":"x"}`, `{"s":"y"}`}, "SELECT n FROM t", nil, 0, 2, 0, []string{"x", "y"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, 1)
			cfg := w.config()
			cfg.Transform = sqlSteps(tt.sql)
			r := w.run(cfg)
			w.put(0, tt.lines...)
			w.flush(r)
			w.want(r, tt.query, tt.rows...)
			w.balance(0, uint64(len(tt.lines)), tt.out, tt.failed, tt.dropped)
			for i, f := range w.failed() {
				if f.Stage != "sql" || !strings.Contains(f.Reason, tt.failedReasons[i]) || len(f.Record) == 0 {
					t.Errorf("failed %d: %+v", i, f)
				}
			}
		})
	}
}

// TestDeclaredSchema: what does not fit the declared columns fails alone, with the accepted bytes.
func TestDeclaredSchema(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	ts, _ := tarn.ParseType("TIMESTAMP")
	id, _ := tarn.ParseType("BIGINT")
	cfg.Declared = &tarn.Schema{Fields: []tarn.Field{{Name: "id", Type: id}, {Name: "ts", Type: ts}}}
	cfg.Partition = []tarn.PartitionField{{Source: "ts", Transform: tarn.Hour}}
	r := w.run(cfg)
	w.put(0, `{"id":1,"ts":"2026-11-20T03:00:00+01:00"}`, `{"id":2,"ts":"soon"}`, `{"id":3}`, `{"id":"x","ts":null}`, `{"id":"5"}`)
	w.flush(r)
	w.want(r, "SELECT id, ts::VARCHAR FROM t", "1 2026-11-20 02:00:00", "3 <nil>", "5 <nil>")
	failed := w.failed()
	sort.Slice(failed, func(i, j int) bool { return failed[i].Offset < failed[j].Offset })
	if len(failed) != 2 || string(failed[0].Record) != `{"id":2,"ts":"soon"}` || failed[0].Offset != 1 || failed[1].Offset != 3 {
		t.Fatalf("failed: %+v", failed)
	}
	w.balance(0, 5, 3, 2, 0)
}

func TestBatchOver300Hours(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Partition = []tarn.PartitionField{{Source: "ts", Transform: tarn.Hour}}
	r := w.run(cfg)
	var lines []string
	for i := range 900 {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"ts":"2026-11-%02dT%02d:30:00Z"}`, i, 1+i/3/24, i/3%24))
	}
	w.put(0, append(lines, `{"id":900}`, `{"id":901,"ts":"1969-12-31T23:30:00Z"}`)...)
	w.flush(r)
	w.want(r, "SELECT count(*), count(DISTINCT id), count(ts) FROM t", "902 902 901")
	st, err := w.store.State(t.Context(), tableName)
	if err != nil {
		t.Fatal(err)
	}
	files, err := w.store.Files(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]int64{}
	for _, f := range files {
		parts[table.PartitionPath(st.Partition, f.Partition)] += f.Rows
	}
	if len(parts) != 302 || parts["year=2026/month=11/date=01/hour=00"] != 3 || parts["year=1969/month=12/date=31/hour=23"] != 1 {
		t.Fatalf("%d partitions: %v", len(parts), parts)
	}
}

func TestPartitionTransforms(t *testing.T) {
	tests := []struct {
		spec  string
		paths []string
	}{
		{"name", []string{"name=ab", "name=cd"}},
		{"day(ts)", []string{"year=2026/month=11/date=20", "year=2026/month=12/date=01"}},
		{"month(ts)", []string{"year=2026/month=11", "year=2026/month=12"}},
		{"year(ts)", []string{"year=2026"}},
		{"truncate(10, id)", []string{"id_trunc=-10", "id_trunc=10"}},
		{"truncate(1, name)", []string{"name_trunc=a", "name_trunc=c"}},
		{"bucket(4, id)", nil},
		{"bucket(4, name)", nil},
	}
	for _, tt := range tests {
		t.Run(tt.spec, func(t *testing.T) {
			w := newWorld(t, 1)
			cfg := w.config()
			f, err := tarn.ParsePartitionField(tt.spec)
			if err != nil {
				t.Fatal(err)
			}
			cfg.Partition = []tarn.PartitionField{f}
			r := w.run(cfg)
			w.put(0, `{"id":-3,"name":"ab","ts":"2026-11-20T23:59:59Z"}`, `{"id":17,"name":"cd","ts":"2026-12-01T00:00:00Z"}`)
			w.flush(r)
			w.want(r, "SELECT id, name FROM t", "-3 ab", "17 cd")
			st, _ := w.store.State(t.Context(), tableName)
			files, err := w.store.Files(t.Context(), st)
			if err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for _, file := range files {
				seen[table.PartitionPath(st.Partition, file.Partition)] = true
				col := st.Schema.Lookup(f.Source)
				if f.Transform == tarn.Bucket { // the same value as Iceberg's own hash gives
					want, err := table.Transform(f, col.Type, file.Columns[col.ID].Lower)
					if err != nil || file.Rows == 1 && fmt.Sprint(want) != fmt.Sprint(file.Partition[0]) {
						t.Errorf("bucket %v, want %v (%v)", file.Partition[0], want, err)
					}
				}
			}
			for _, p := range tt.paths {
				if !seen[p] {
					t.Errorf("no %s in %v", p, seen)
				}
			}
		})
	}
}

func TestOpaqueRecords(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Opaque = true
	r := w.run(cfg)
	w.putOpaque(0, "k1", "\x00\xff\n binary", "plain")
	w.flush(r)
	w.want(r, "SELECT hex(record), partition_key, shard, record_offset FROM t", "00FF0A2062696E617279 k1 0 0", "706C61696E k1 0 1")
}

// TestManyFailures: a chunk in which every second record fails is delivered, and quickly enough.
func TestManyFailures(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.config())
	var lines []string
	for i := range 2000 {
		v := "1"
		if i%2 == 1 {
			v = `"x"`
		}
		lines = append(lines, fmt.Sprintf(`{"id":%d,"v":%s}`, i, v))
	}
	w.put(0, `{"id":-1,"v":5}`)
	w.flush(r)
	w.put(0, lines...)
	w.flush(r)
	w.want(r, "SELECT count(*) FROM t", "1001")
	w.balance(0, 2001, 1001, 1000, 0)
}

// TestDeclaredSchemaChanges: a delivery that starts with another declared schema reads records by it.
func TestDeclaredSchemaChanges(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.config())
	w.put(0, `{"id":"1","at":"2026-11-20T03:00:00Z"}`)
	w.flush(r)
	r.stop()
	cfg := w.config()
	at, _ := tarn.ParseType("TIMESTAMP")
	cfg.Declared = &tarn.Schema{Fields: []tarn.Field{{Name: "at", Type: at}, {Name: "late", Type: at}}}
	r = w.run(cfg)
	w.put(0, `{"id":"2","late":"2026-11-20T03:00:00+01:00"}`, `{"id":"3","late":"no time"}`)
	w.flush(r)
	w.want(r, "SELECT id, late::VARCHAR FROM t", "1 <nil>", "2 2026-11-20 02:00:00")
	w.balance(0, 3, 2, 1, 0)
}

func TestTransformOverMembersNotSeenYet(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Transform = rowByRow(sqlSteps("SELECT *, amount > 10 AS large, color AS paint FROM records"))
	r := w.run(cfg)
	w.put(0, `{"id":1}`)
	w.want(r, "SELECT id, large FROM t", "1 <nil>")
	if s := r.Status(); !strings.Contains(s.Warning, "names amount") {
		t.Errorf("warning %q", s.Warning)
	}
	w.put(0, `{"id":2,"amount":11.5}`, `{"id":3,"amount":1,"color":"red"}`)
	w.want(r, "SELECT count(*) FROM t", "3")
	w.want(r, "SELECT id, amount, large, paint FROM t", "1 <nil> <nil> <nil>", "2 11.5 true <nil>", "3 1 false red")
	w.flush(r)
	if s := r.Status(); s.Warning != "" {
		t.Errorf("warning %q", s.Warning)
	}
	w.balance(0, 3, 3, 0, 0)
}

// TestComputedColumnWins: a producer can not change what a computed column means.
func TestComputedColumnWins(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Transform = sqlSteps("SELECT *, id > 1 AS large FROM records", "SELECT *, NOT large AS small FROM records")
	r := w.run(cfg)
	w.put(0, `{"id":1}`, `{"id":2}`)
	w.flush(r)
	w.put(0, `{"id":3,"Large":"mine","small":7}`)
	w.flush(r)
	w.want(r, "SELECT id, large, small FROM t", "1 false true", "2 true false", "3 true false")
	st, _ := w.store.State(t.Context(), tableName)
	if n := len(st.Schema.Fields); n != 3 {
		t.Errorf("%d columns: %v", n, st.Schema)
	}
}

func TestOnlyEmptyObjects(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.config())
	w.put(0, `{}`, `{"a":null}`)
	w.flush(r)
	w.want(r, "SELECT count(*) FROM t", "2")
	w.put(0, `{"a":1}`)
	w.flush(r)
	w.want(r, "SELECT a FROM t", "<nil>", "<nil>", "1")
	w.balance(0, 3, 3, 0, 0)
}

// TestAwkwardPartitionValues: texts that no folder could be named by, and a column that may not widen.
func TestAwkwardPartitionValues(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	cfg.Partition = []tarn.PartitionField{{Source: "u", Transform: tarn.Identity}, {Source: "n", Transform: tarn.Identity}}
	r := w.run(cfg)
	long := strings.Repeat("x", 300)
	w.put(0, `{"u":"`+long+`","n":1}`, `{"u":"__HIVE_DEFAULT_PARTITION__","n":1}`, `{"u":"a/b=c","n":1}`, `{"u":null,"n":1}`, `{"u":"","n":2}`)
	w.flush(r)
	w.put(0, `{"u":"late","n":2}`, `{"u":"late","n":3.5}`)
	w.flush(r)
	w.want(r, "SELECT count(*), count(u) FROM t", "6 5")
	w.balance(0, 7, 6, 1, 0)
	st, _ := w.store.State(t.Context(), tableName)
	files, err := w.store.Files(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[any]bool{}
	for _, f := range files {
		seen[f.Partition[0]] = true
	}
	for _, v := range []any{long, "__HIVE_DEFAULT_PARTITION__", "a/b=c", nil, "", "late"} {
		if !seen[v] {
			t.Errorf("no partition %v", v)
		}
	}
}

// TestMorePartitionsThanMemory merges rows of thousands of partitions with little memory.
func TestMorePartitionsThanMemory(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	small, err := duck.Open(duck.Options{AllowedDirs: []string{w.dir}, Unordered: true, MemoryBytes: 96 << 20, TempDir: w.dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = small.Close() })
	cfg.Duck = small
	cfg.Partition = []tarn.PartitionField{{Source: "u", Transform: tarn.Identity}}
	r := w.run(cfg)
	var lines []string
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf(`{"id":%d,"u":"user-%d"}`, i, i%1000))
	}
	w.put(0, lines...)
	w.flush(r)
	w.want(r, "SELECT count(*), count(DISTINCT id) FROM t", "3000 3000")
	st, _ := w.store.State(t.Context(), tableName)
	if st.Files != 1000 {
		t.Errorf("%d files, want one for each partition", st.Files)
	}
}
