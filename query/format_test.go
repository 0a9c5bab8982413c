package query

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/ipc"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// values are SQL expressions with what JSON and CSV make of them.
var values = []struct{ sql, json, csv string }{
	{"NULL", `null`, ``},
	{"true", `true`, `true`},
	{"-7::TINYINT", `-7`, `-7`},
	{"9223372036854775807", `9223372036854775807`, `9223372036854775807`},
	{"18446744073709551615::UBIGINT", `18446744073709551615`, `18446744073709551615`},
	{"170141183460469231731687303715884105727::HUGEINT", `170141183460469231731687303715884105727`, `170141183460469231731687303715884105727`},
	{"340282366920938463463374607431768211455::UHUGEINT", `"340282366920938463463374607431768211455"`, `340282366920938463463374607431768211455`},
	{"sum(i) OVER ()", `6`, `6`}, // a HUGEINT
	{"1.5::DOUBLE", `1.5`, `1.5`},
	{"0.1::FLOAT", `0.1`, `0.1`},
	{"1e300::DOUBLE", `1e+300`, `1e+300`},
	{"-0.0::DOUBLE", `-0`, `-0`},
	{"1e-7::DOUBLE", `1e-07`, `1e-07`},
	{"'nan'::DOUBLE", `null`, `null`},
	{"'-inf'::DOUBLE", `null`, `null`},
	{"1.50", `1.50`, `1.50`},
	{"-0.05::DECIMAL(4,2)", `-0.05`, `-0.05`},
	{"12345678901234567890123456789.123456789::DECIMAL(38,9)", `12345678901234567890123456789.123456789`, `12345678901234567890123456789.123456789`},
	{"'it''s \"q\"' || chr(10) || '\t\\é😀' || chr(1)", `"it's \"q\"\n\t\\é😀\u0001"`, "\"it's \"\"q\"\"\n\t\\é😀\x01\""},
	{"''", `""`, `""`},
	{"'a,b'", `"a,b"`, `"a,b"`},
	{"' a '", `" a "`, `" a "`},
	{"DATE '2026-01-02'", `"2026-01-02"`, `2026-01-02`},
	{"DATE '0001-02-28'", `"0001-02-28"`, `0001-02-28`},
	{"DATE '2000-02-29'", `"2000-02-29"`, `2000-02-29`},
	{"'infinity'::DATE", `"infinity"`, `infinity`},
	{"TIME '01:02:03.5'", `"01:02:03.5"`, `01:02:03.5`},
	{"'01:02:03+05'::TIMETZ", `"01:02:03+05"`, `01:02:03+05`},
	{"TIMESTAMP '2026-11-20 03:04:05'", `"2026-11-20T03:04:05Z"`, `2026-11-20T03:04:05Z`},
	{"TIMESTAMP '2026-11-20 03:04:05.000120'", `"2026-11-20T03:04:05.00012Z"`, `2026-11-20T03:04:05.00012Z`},
	{"TIMESTAMP '1969-12-31 23:59:59.999999'", `"1969-12-31T23:59:59.999999Z"`, `1969-12-31T23:59:59.999999Z`},
	{"TIMESTAMPTZ '2026-11-20 03:00:00+02'", `"2026-11-20T01:00:00Z"`, `2026-11-20T01:00:00Z`},
	{"'2026-11-20 03:00:00.123456789'::TIMESTAMP_NS", `"2026-11-20T03:00:00.123456789Z"`, `2026-11-20T03:00:00.123456789Z`},
	{"'-infinity'::TIMESTAMP", `"-infinity"`, `-infinity`},
	{"INTERVAL '1 year 2 days 3.5 seconds'", `"P12M2DT3.5S"`, `P12M2DT3.5S`},
	{"INTERVAL 0 SECOND", `"PT0S"`, `PT0S`},
	{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`, `a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11`},
	{"unhex('00ff')", `"AP8="`, `AP8=`},
	{"'101'::BIT", `"101"`, `101`},
	{"'b'::ENUM('a', 'b')", `"b"`, `b`},
	{"'{\"a\": [1,\n 2]}'::JSON", `{"a": [1,  2]}`, `"{""a"": [1,  2]}"`},
	{"['x', NULL, 'y,z']", `["x",null,"y,z"]`, `"[""x"",null,""y,z""]"`},
	{"[]::INT[]", `[]`, `[]`},
	{"{'a': 1, 'b c': {'d': [true]}}", `{"a":1,"b c":{"d":[true]}}`, `"{""a"":1,""b c"":{""d"":[true]}}"`},
	{"MAP {'k': 1.5, 'l': NULL}", `{"k":1.5,"l":null}`, `"{""k"":1.5,""l"":null}"`},
	{"MAP {1: 'x'}", `{"1":"x"}`, `"{""1"":""x""}"`},
	{"MAP {DATE '2026-01-02': 1}", `{"2026-01-02":1}`, `"{""2026-01-02"":1}"`},
	{"['{\"j\":1}'::JSON]", `[{"j":1}]`, `"[{""j"":1}]"`},
	{"union_value(n := 5)", `5`, `5`},
	{"array_value(1, 2)", `[1,2]`, `"[1,2]"`},
}

func TestValues(t *testing.T) {
	s := newService(t, newLake(t), nil)
	for _, v := range values {
		sql := "SELECT " + v.sql + " AS x, 1 AS y FROM (VALUES (6)) AS t(i)"
		if got, want := must(t, s, sql), `{"x":`+v.json+`,"y":1}`+"\n"; got != want {
			t.Errorf("%s: NDJSON %s want %s", v.sql, got, want)
		}
		got := writeAs(t, s, sql, CSV)
		if want := "x,y\n" + v.csv + ",1\n"; got != want {
			t.Errorf("%s: CSV %q want %q", v.sql, got, want)
		}
		if _, err := csv.NewReader(strings.NewReader(got)).ReadAll(); err != nil {
			t.Errorf("%s: CSV: %v", v.sql, err)
		}
		var doc struct {
			Columns []Column
			Rows    []map[string]json.RawMessage
			Count   int `json:"row_count"`
		}
		out := writeAs(t, s, sql, JSON)
		if err := json.Unmarshal([]byte(out), &doc); err != nil || doc.Count != 1 || len(doc.Rows) != 1 || string(doc.Rows[0]["x"]) != v.json {
			t.Errorf("%s: JSON %s: %v", v.sql, out, err)
		}
	}
}

func writeAs(t testing.TB, s *Service, sql string, f Format) string {
	t.Helper()
	res, err := s.Run(context.Background(), Request{SQL: sql, Format: f})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer res.Close()
	var b bytes.Buffer
	if err := res.Write(&b); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return b.String()
}

func TestNamesAndEmptyResults(t *testing.T) {
	s := newService(t, newLake(t), nil)
	sql := `SELECT 1 AS a, 2 AS a, 3 AS "a_1", 5 AS "it's ""q""" WHERE true`
	if got := must(t, s, sql); got != `{"a":1,"a_1":2,"a_1_1":3,"it's \"q\"":5}`+"\n" {
		t.Error(got)
	}
	none := strings.Replace(sql, "true", "false", 1)
	if got := writeAs(t, s, none, CSV); got != `a,a_1,a_1_1,"it's ""q"""`+"\n" {
		t.Error(got)
	}
	got := writeAs(t, s, none, JSON)
	if !strings.HasPrefix(got, `{"columns":[{"name":"a","type":"INTEGER"},`) || !strings.Contains(got, `"rows":[],"row_count":0,"elapsed_ms":`) || !json.Valid([]byte(got)) {
		t.Error(got)
	}
}

// TestArrowAndParquet reads both back with their own readers.
func TestArrowAndParquet(t *testing.T) {
	_, s := fleet(t, 100)
	sql := "SELECT id, ts, position, tags, doc FROM telemetry ORDER BY id"
	r, err := ipc.NewReader(strings.NewReader(writeAs(t, s, sql, Arrow)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	rows := int64(0)
	for r.Next() {
		rows += r.RecordBatch().NumRows()
	}
	if r.Err() != nil || rows != 7200 || r.Schema().Field(1).Name != "ts" {
		t.Errorf("arrow: %d rows, %v", rows, r.Err())
	}
	dir := t.TempDir()
	d, err := duck.Open(duck.Options{AllowedDirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for q, want := range map[string]string{sql: "7200", "DESCRIBE telemetry": "7", "SHOW TABLES": "5", "EXPLAIN SELECT 1": "1",
		"SELECT * FROM curated.empty": "0", "SUMMARIZE telemetry": "7", "SELECT * FROM system.tables": "2"} {
		path := filepath.Join(dir, "out.parquet")
		if err := os.WriteFile(path, []byte(writeAs(t, s, q, Parquet)), 0o644); err != nil {
			t.Fatal(err)
		}
		v, err := d.Values(context.Background(), "SELECT count(*)::VARCHAR FROM read_parquet('"+path+"')")
		if err != nil || v[0][0] != want {
			t.Errorf("%s: %v rows, want %s; %v", q, v, want, err)
		}
	}
	if left, _ := os.ReadDir(s.exports); len(left) != 0 {
		t.Errorf("%d exports are left", len(left))
	}
}

// TestErrorInMidStream: a fault after the first rows is told in every format that can.
func TestErrorInMidStream(t *testing.T) {
	s := newService(t, newLake(t), nil)
	sql := "SELECT CASE WHEN i = 300000 THEN error('no more') ELSE i END AS i FROM range(1000000) t(i)"
	for f := JSON; f <= Parquet; f++ {
		res, err := s.Run(context.Background(), Request{SQL: sql, Format: f})
		if f == Parquet {
			if tarn.CodeOf(err) != tarn.CodeInvalid {
				t.Errorf("parquet: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		var b bytes.Buffer
		err = res.Write(&b)
		res.Close()
		if tarn.CodeOf(err) != tarn.CodeInvalid || !strings.Contains(err.Error(), "no more") {
			t.Errorf("%s: %v", f, err)
		}
		out := b.String()
		tail := out[max(0, len(out)-200):]
		switch f {
		case JSON:
			if !json.Valid(b.Bytes()) || !strings.Contains(tail, `"error":{"code":"invalid","detail":"no more"}`) {
				t.Errorf("json ends with %s", tail)
			}
		case NDJSON:
			if !strings.HasSuffix(tail, "\n"+`{"error":{"code":"invalid","detail":"no more"}}`+"\n") {
				t.Errorf("ndjson ends with %s", tail)
			}
		case Arrow:
			r, err := ipc.NewReader(&b)
			if err != nil {
				t.Fatal(err)
			}
			for r.Next() {
			}
			if strings.HasSuffix(out, "\xff\xff\xff\xff\x00\x00\x00\x00") {
				t.Error("the Arrow stream claims to be whole")
			}
			r.Release()
		}
	}
}

func TestFormats(t *testing.T) {
	for accept, want := range map[string]string{"": "json", "*/*": "json", "application/x-ndjson": "ndjson", "text/csv;q=0.9, application/json": "csv",
		"application/vnd.apache.parquet": "parquet", "image/png, application/vnd.apache.arrow.stream": "arrow", "application/ndjson": "ndjson"} {
		if f, err := FormatOf(accept); err != nil || f.String() != want {
			t.Errorf("%q: %v %v", accept, f, err)
		}
	}
	if _, err := FormatOf("image/png"); tarn.CodeOf(err) != tarn.CodeUnsupported {
		t.Error(err)
	}
	if _, err := ParseFormat("xml"); tarn.CodeOf(err) != tarn.CodeUnsupported {
		t.Error(err)
	}
	if f, err := ParseFormat("Arrow"); err != nil || f.ContentType() != "application/vnd.apache.arrow.stream" {
		t.Error(f, err)
	}
}
