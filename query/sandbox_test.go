package query

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
)

// hostile is what the sandbox must refuse, and how. FILE stands for a file that exists outside the
// lake, LAKE for a Parquet file inside it: not even that may be named.
var hostile = []struct {
	sql  string
	code tarn.Code
}{
	// Files, by function.
	{"SELECT * FROM read_csv('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM read_csv_auto('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM read_text('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM read_blob('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM read_json('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM read_json_objects('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM read_ndjson('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM read_parquet('LAKE')", tarn.CodeForbidden},
	{"SELECT * FROM parquet_scan(['LAKE'])", tarn.CodeForbidden},
	{"SELECT * FROM parquet_metadata('LAKE')", tarn.CodeForbidden},
	{"SELECT * FROM parquet_schema('LAKE')", tarn.CodeForbidden},
	{"SELECT * FROM parquet_kv_metadata('LAKE')", tarn.CodeForbidden},
	{"SELECT * FROM parquet_file_metadata('LAKE')", tarn.CodeForbidden},
	{"SELECT * FROM parquet_bloom_probe('LAKE', 'a', 1)", tarn.CodeForbidden},
	{"SELECT * FROM read_duckdb('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM glob('/*')", tarn.CodeForbidden},
	{"SELECT * FROM sniff_csv('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM arrow_scan(1, 2, 3)", tarn.CodeForbidden},
	{"SELECT * FROM seq_scan('x')", tarn.CodeForbidden},
	{"SELECT * FROM sqlite_scan('FILE', 't')", tarn.CodeInvalid},
	{"SELECT * FROM \"read_csv\"('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM READ_CSV('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM main.read_csv('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM system.main.read_csv('FILE')", tarn.CodeForbidden},
	{"FROM read_text('FILE')", tarn.CodeForbidden},
	// Files, by name.
	{"SELECT * FROM 'FILE'", tarn.CodeForbidden},
	{"SELECT * FROM \"FILE\"", tarn.CodeForbidden},
	{"FROM 'LAKE'", tarn.CodeForbidden},
	{"SELECT * FROM 'FILE' AS telemetry", tarn.CodeForbidden},
	{"SELECT * FROM curated.'FILE'", tarn.CodeInvalid},
	{"SELECT * FROM curated.\"FILE\"", tarn.CodeForbidden},
	{"SELECT * FROM \"FILE\".x", tarn.CodeForbidden},
	{"TABLE 'FILE'", tarn.CodeForbidden},
	{"DESCRIBE 'FILE'", tarn.CodeForbidden},
	{"SUMMARIZE 'LAKE'", tarn.CodeForbidden},
	{"SHOW 'FILE'", tarn.CodeForbidden},
	{"SELECT * FROM 'https://example.com/x.parquet'", tarn.CodeForbidden},
	{"SELECT * FROM 's3://bucket/x.parquet'", tarn.CodeForbidden},
	{"SELECT * FROM 'file:FILE'", tarn.CodeForbidden},
	// A CTE may not lend its name to a file.
	{"WITH \"LAKE\" AS (SELECT 1) SELECT * FROM \"LAKE\"", tarn.CodeForbidden},
	{"WITH \"x.parquet\" AS (SELECT 1) SELECT * FROM (SELECT * FROM \"x.parquet\")", tarn.CodeForbidden},
	{"SELECT * FROM (WITH \"a.csv\" AS (SELECT 1) SELECT 1), \"a.csv\"", tarn.CodeForbidden},
	{"SELECT (WITH x AS (SELECT 1) SELECT * FROM x), (SELECT * FROM x)", tarn.CodeNotFound},
	// The same, nested wherever a query can stand.
	{"WITH a AS (SELECT * FROM read_csv('FILE')) SELECT 1", tarn.CodeForbidden},
	{"WITH RECURSIVE a AS (SELECT 1 UNION ALL SELECT * FROM read_csv('FILE')) SELECT * FROM a", tarn.CodeForbidden},
	{"SELECT (SELECT content FROM read_text('FILE'))", tarn.CodeForbidden},
	{"SELECT * FROM (SELECT * FROM read_text('FILE'))", tarn.CodeForbidden},
	{"SELECT * FROM curated.telemetry, LATERAL (SELECT * FROM read_text(device_id))", tarn.CodeForbidden},
	{"SELECT 1 UNION ALL SELECT 2 FROM read_text('FILE')", tarn.CodeForbidden},
	{"SELECT 1 EXCEPT SELECT 2 FROM 'FILE'", tarn.CodeForbidden},
	{"SELECT 1 WHERE EXISTS (FROM read_text('FILE'))", tarn.CodeForbidden},
	{"SELECT 1 WHERE 'x' IN (SELECT content FROM read_text('FILE'))", tarn.CodeForbidden},
	{"SELECT 1 ORDER BY (SELECT content FROM read_text('FILE'))", tarn.CodeForbidden},
	{"SELECT 1 LIMIT (SELECT count(*) FROM read_text('FILE'))", tarn.CodeForbidden},
	{"SELECT count(*) FILTER (WHERE EXISTS (FROM 'FILE')) FROM telemetry", tarn.CodeForbidden},
	{"SELECT sum(id) OVER (PARTITION BY (SELECT content FROM read_text('FILE'))) FROM telemetry", tarn.CodeForbidden},
	{"SELECT id FROM telemetry GROUP BY id HAVING EXISTS (FROM 'FILE')", tarn.CodeForbidden},
	{"SELECT id FROM telemetry QUALIFY EXISTS (FROM 'FILE')", tarn.CodeForbidden},
	{"SELECT * FROM telemetry a JOIN telemetry b ON EXISTS (FROM 'FILE')", tarn.CodeForbidden},
	{"SELECT CASE WHEN true THEN (SELECT content FROM read_text('FILE')) END", tarn.CodeForbidden},
	{"SELECT list_transform([1], x -> (SELECT content FROM read_text('FILE')))", tarn.CodeForbidden},
	{"SELECT [(SELECT content FROM read_text('FILE')) for x in [1]]", tarn.CodeForbidden},
	{"SELECT {'a': (SELECT content FROM read_text('FILE'))}", tarn.CodeForbidden},
	{"SELECT * REPLACE ((SELECT content FROM read_text('FILE')) AS id) FROM telemetry", tarn.CodeForbidden},
	{"SELECT COLUMNS(c -> EXISTS (FROM 'FILE')) FROM telemetry", tarn.CodeForbidden},
	{"VALUES ((SELECT content FROM read_text('FILE')))", tarn.CodeForbidden},
	{"DESCRIBE SELECT * FROM read_text('FILE')", tarn.CodeForbidden},
	{"SUMMARIZE FROM 'LAKE'", tarn.CodeForbidden},
	{"EXPLAIN SELECT * FROM read_text('FILE')", tarn.CodeForbidden},
	{"EXPLAIN ANALYZE SELECT * FROM 'FILE'", tarn.CodeForbidden},
	{"SELECT * FROM (FROM 'LAKE') PIVOT (count(*) FOR id IN (1, 2))", tarn.CodeForbidden},
	{"FROM telemetry AT (TIMESTAMP => (SELECT content FROM read_text('FILE')))", tarn.CodeForbidden},
	{"FROM telemetry AT (TIMESTAMP => (SELECT max(ts) FROM telemetry))", tarn.CodeInvalid},
	{"SELECT * FROM range((SELECT count(*) FROM read_text('FILE')))", tarn.CodeForbidden},
	{"SELECT * FROM telemetry TABLESAMPLE (SELECT 1 FROM 'FILE') ROWS", tarn.CodeInvalid},
	// SQL made at run time.
	{"SELECT * FROM query('SELECT 1')", tarn.CodeForbidden},
	{"SELECT * FROM query_table('telemetry')", tarn.CodeForbidden},
	{"SELECT * FROM query_table(['FILE'])", tarn.CodeForbidden},
	{"SELECT json_serialize_plan('SELECT * FROM read_text(''FILE'')')", tarn.CodeForbidden},
	{"SELECT json_serialize_sql('SELECT 1')", tarn.CodeForbidden},
	{"SELECT json_deserialize_sql('{}')", tarn.CodeForbidden},
	{"SELECT * FROM json_execute_serialized_sql('{}')", tarn.CodeForbidden},
	{"SELECT * FROM histogram_values(telemetry, id)", tarn.CodeForbidden},
	{"SELECT * FROM histogram('FILE', x)", tarn.CodeForbidden},
	// Settings, secrets, the process, the catalog.
	{"SELECT current_setting('temp_directory')", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_settings()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_secrets()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_tables()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_extensions()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_databases()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_temporary_files()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_external_file_cache()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_logs()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_memory()", tarn.CodeForbidden},
	{"SELECT * FROM duckdb_variables()", tarn.CodeForbidden},
	{"SELECT * FROM pragma_table_info('telemetry')", tarn.CodeForbidden},
	{"SELECT * FROM pragma_database_size()", tarn.CodeForbidden},
	{"SELECT * FROM pragma_user_agent()", tarn.CodeForbidden},
	{"SELECT * FROM which_secret('s3://x', 's3')", tarn.CodeForbidden},
	{"SELECT * FROM sql_auto_complete('SEL')", tarn.CodeForbidden},
	{"SELECT * FROM enable_logging()", tarn.CodeForbidden},
	{"SELECT * FROM enable_profiling()", tarn.CodeForbidden},
	{"SELECT * FROM checkpoint()", tarn.CodeForbidden},
	{"SELECT getenv('HOME')", tarn.CodeInvalid},
	{"SELECT getvariable('x')", tarn.CodeForbidden},
	{"SELECT nextval('s')", tarn.CodeForbidden},
	{"SELECT current_query()", tarn.CodeForbidden},
	{"SELECT write_log('x')", tarn.CodeForbidden},
	{"SELECT pg_sleep(100)", tarn.CodeForbidden},
	{"SELECT sleep_ms(100000)", tarn.CodeForbidden},
	{"SELECT setseed(0.5)", tarn.CodeForbidden},
	{"SELECT stats(1)", tarn.CodeForbidden},
	{"SELECT finalize(x)", tarn.CodeForbidden},
	{"SELECT pg_get_viewdef(1)", tarn.CodeForbidden},
	{"SELECT * FROM information_schema.tables", tarn.CodeNotFound},
	{"SELECT * FROM sqlite_master", tarn.CodeNotFound},
	{"SELECT * FROM pg_catalog.pg_class", tarn.CodeNotFound},
	{"SELECT * FROM main.stub_0", tarn.CodeNotFound},
	{"SELECT * FROM temp.system_0", tarn.CodeNotFound},
	{"SELECT * FROM memory.main.x", tarn.CodeNotFound},
	{"SELECT * FROM system.information_schema.tables", tarn.CodeNotFound},
	{"SELECT x::other.thing FROM telemetry", tarn.CodeForbidden},
	{"SHOW DATABASES", tarn.CodeForbidden},
	{"SHOW VARIABLES", tarn.CodeForbidden},
	{"SELECT * FROM (SHOW TABLES)", tarn.CodeForbidden},
	{"SELECT * FROM (SHOW ALL TABLES)", tarn.CodeForbidden},
	// Other statements.
	{"COPY (SELECT 1) TO '/tmp/tarn-stolen.csv'", tarn.CodeForbidden},
	{"COPY telemetry FROM 'FILE'", tarn.CodeForbidden},
	{"ATTACH 'FILE' AS x", tarn.CodeForbidden},
	{"ATTACH ':memory:' AS x", tarn.CodeForbidden},
	{"DETACH memory", tarn.CodeForbidden},
	{"USE system", tarn.CodeForbidden},
	{"INSTALL httpfs", tarn.CodeForbidden},
	{"LOAD httpfs", tarn.CodeForbidden},
	{"LOAD 'FILE'", tarn.CodeForbidden},
	{"SET enable_external_access=true", tarn.CodeForbidden},
	{"SET VARIABLE x = 1", tarn.CodeForbidden},
	{"RESET ALL", tarn.CodeForbidden},
	{"PRAGMA database_list", tarn.CodeForbidden},
	{"PRAGMA table_info('telemetry')", tarn.CodeForbidden},
	{"CALL pragma_version()", tarn.CodeForbidden},
	{"EXPORT DATABASE '/tmp/tarn-stolen'", tarn.CodeForbidden},
	{"IMPORT DATABASE '/tmp'", tarn.CodeForbidden},
	{"CREATE TABLE x AS SELECT 1", tarn.CodeForbidden},
	{"CREATE TEMP VIEW v AS FROM 'FILE'", tarn.CodeForbidden},
	{"CREATE MACRO m() AS TABLE FROM 'FILE'", tarn.CodeForbidden},
	{"CREATE SECRET s (TYPE s3)", tarn.CodeForbidden},
	{"INSERT INTO telemetry SELECT 1", tarn.CodeForbidden},
	{"UPDATE telemetry SET id = 1", tarn.CodeForbidden},
	{"DELETE FROM telemetry", tarn.CodeForbidden},
	{"TRUNCATE telemetry", tarn.CodeForbidden},
	{"DROP TABLE curated.telemetry", tarn.CodeForbidden},
	{"ALTER TABLE telemetry ADD COLUMN x INT", tarn.CodeForbidden},
	{"BEGIN", tarn.CodeForbidden},
	{"PREPARE p AS SELECT * FROM read_text('FILE')", tarn.CodeForbidden},
	{"EXECUTE p", tarn.CodeForbidden},
	{"VACUUM", tarn.CodeForbidden},
	{"CHECKPOINT", tarn.CodeForbidden},
	{"ANALYZE", tarn.CodeForbidden},
	{"EXPLAIN INSERT INTO x SELECT 1", tarn.CodeForbidden},
	{"EXPLAIN EXPLAIN SELECT 1", tarn.CodeForbidden},
	{"EXPLAIN (FORMAT json) SELECT 1", tarn.CodeInvalid},
	{"SELECT 1; DROP TABLE x", tarn.CodeForbidden},
	{"SELECT 1; SELECT * FROM read_text('FILE')", tarn.CodeForbidden},
	{"SELECT 1 INTO x", tarn.CodeInvalid},
	{"WITH x AS (INSERT INTO y SELECT 1) SELECT 1", tarn.CodeInvalid},
	{"PIVOT telemetry ON (SELECT content FROM read_text('FILE')) USING sum(v)", tarn.CodeInvalid},
	// Tricks with the text.
	{"SELECT/**/*/**/FROM/**/read_csv/**/('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM\nread_csv\t('FILE')", tarn.CodeForbidden},
	{"SELECT * FROM r\u0435ad_csv('FILE')", tarn.CodeInvalid},
	{"SELECT * FROM read\u00ad_csv('FILE')", tarn.CodeInvalid},
	{"SELECT * FROM \uff52\uff45\uff41\uff44_csv('FILE')", tarn.CodeInvalid},
	{"\ufeffSELECT * FROM read_csv('FILE')", tarn.CodeForbidden},
	{"SELECT\u00a0* FROM read_csv('FILE')", tarn.CodeForbidden},
	{"SELECT 1\x00; SELECT * FROM read_csv('FILE')", tarn.CodeInvalid},
	{"SELECT * FROM U&\"read_csv\"('FILE')", tarn.CodeInvalid},
	{"SELECT 1 -- \n UNION ALL SELECT content FROM read_text('FILE')", tarn.CodeForbidden},
	{"SELECT $$a$$ FROM read_text($$FILE$$)", tarn.CodeForbidden},
	{"SELECT 'FILE'.read_text()", tarn.CodeInvalid},
	{"SELECT device_id.read_text() FROM telemetry", tarn.CodeForbidden},
	{"SELECT * FROM telemetry WHERE tarn_p1_ = 1", tarn.CodeInvalid},
	{"SELECT \xff\xfe", tarn.CodeInvalid},
	// More than there may be.
	{"SELECT repeat('x', 1000000000)", tarn.CodeTooLarge},
	{"SELECT sum(length(repeat('x', 100000000 + i::INT))) FROM range(10) t(i)", tarn.CodeInvalid},
	{"SELECT lpad('x', 2000000000, 'y')", tarn.CodeTooLarge},
	{"SELECT printf('%1000000000d', 1)", tarn.CodeTooLarge},
	{"SELECT format('{:>1000000000}', 'a')", tarn.CodeTooLarge},
	{"SELECT range(1000000000)", tarn.CodeTooLarge},
	{"SELECT generate_series(1, 1000000000)", tarn.CodeTooLarge},
	{"SELECT list_resize([1], 1000000000)", tarn.CodeTooLarge},
	{"SELECT list(i) FROM range(1000000000) t(i)", tarn.CodeTooLarge},
	{"SELECT string_agg(i::VARCHAR, '') FROM range(1000000000) t(i)", tarn.CodeTooLarge},
	{"WITH RECURSIVE r AS (SELECT 'a' AS s UNION ALL SELECT s || s FROM r) SELECT max(length(s)) FROM r", tarn.CodeTooLarge},
	{"WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r) SELECT max(i) FROM r", tarn.CodeTimeout},
	{"SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range * b.range % 7 = 3", tarn.CodeTimeout},
	{"SELECT * FROM generate_series(1, 100000000000)", tarn.CodeTooLarge}, // rows
	{"SELECT " + strings.Repeat("(SELECT ", 2000) + "1" + strings.Repeat(")", 2000), tarn.CodeInvalid},
	{"SELECT " + strings.Repeat("[", 3000) + "1" + strings.Repeat("]", 3000), tarn.CodeInvalid},
	{"SELECT " + strings.Repeat("1+", 50000) + "1", tarn.CodeInvalid},
	{"SELECT 1 FROM telemetry" + strings.Repeat(", telemetry", 8000), tarn.CodeInvalid},
	{strings.Repeat("SELECT 1 UNION ALL ", 20000) + "SELECT 1", tarn.CodeTooLarge},
}

func TestSandbox(t *testing.T) {
	l := newLake(t)
	l.hours(2, 5)
	file := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(file, []byte("stolen\n1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := newService(t, l, func(o *Options) {
		o.System, o.MemoryBytes, o.Timeout, o.MaxRows = systemTables{}, 64<<20, 700*time.Millisecond, 200_000
	})
	for _, h := range hostile {
		sql := strings.NewReplacer("FILE", file, "LAKE", l.tabs["curated.telemetry"].files[0].URL).Replace(h.sql)
		begin := time.Now()
		out, _, err := ask(t, s, Request{SQL: sql})
		if code := tarn.CodeOf(err); err == nil || code != h.code && !(h.code == tarn.CodeTooLarge && code == tarn.CodeTimeout) {
			t.Errorf("%.150s\n  code %s, want %s: %v", h.sql, code, h.code, err)
		}
		if strings.Contains(out, "stolen") {
			t.Errorf("%s: read the file", h.sql)
		}
		if took := time.Since(begin); took > 6*time.Second {
			t.Errorf("%.150s: took %s", h.sql, took)
		}
	}
	for _, p := range []string{"/tmp/tarn-stolen.csv", "/tmp/tarn-stolen"} {
		if _, err := os.Stat(p); err == nil {
			t.Errorf("%s was written", p)
		}
	}
	if got := must(t, s, "SELECT count(*) AS n FROM telemetry"); got != "{\"n\":10}\n" {
		t.Errorf("afterwards: %s", got)
	}
}

// FuzzSandbox: whatever the text, the service neither panics nor shows a file outside the lake.
func FuzzSandbox(f *testing.F) {
	l := newLake(f)
	l.hours(2, 5)
	file := filepath.Join(f.TempDir(), "secret.csv")
	if err := os.WriteFile(file, []byte("stolen\n1\n"), 0o644); err != nil {
		f.Fatal(err)
	}
	s := newService(f, l, func(o *Options) {
		o.System, o.MemoryBytes, o.Timeout, o.MaxRows = systemTables{}, 64<<20, 200*time.Millisecond, 10_000
	})
	for _, h := range hostile {
		if len(h.sql) < 300 && h.code != tarn.CodeTimeout && h.code != tarn.CodeTooLarge {
			f.Add(strings.ReplaceAll(h.sql, "FILE", file))
		}
	}
	for _, q := range features {
		f.Add(q.sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		res, err := s.Run(context.Background(), Request{SQL: sql, Format: CSV})
		if err != nil {
			return
		}
		defer res.Close()
		var b strings.Builder
		_ = res.Write(io.Writer(&b)) // how it ends does not matter here
		if strings.Contains(b.String(), "stolen") && !strings.Contains(sql, "stolen") {
			t.Errorf("%q read a file", sql)
		}
	})
}
