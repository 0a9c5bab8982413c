package duck

import (
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
)

func open(t testing.TB, o Options) *DB {
	t.Helper()
	if o.Threads == 0 {
		o.Threads = 2
	}
	d, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func values(t testing.TB, d *DB, sql string, args ...any) [][]any {
	t.Helper()
	v, err := d.Values(context.Background(), sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func TestValues(t *testing.T) {
	d := open(t, Options{})
	for _, v := range []struct {
		sql, sqlType, want string
	}{
		{"NULL::INTEGER", "INTEGER", "<nil>"},
		{"true", "BOOLEAN", "bool true"},
		{"-5::TINYINT", "TINYINT", "int64 -5"},
		{"9223372036854775807", "BIGINT", "int64 9223372036854775807"},
		{"18446744073709551615::UBIGINT", "UBIGINT", "uint64 18446744073709551615"},
		{"170141183460469231731687303715884105727::HUGEINT", "HUGEINT", "string 170141183460469231731687303715884105727"},
		{"1.25::FLOAT", "FLOAT", "float64 1.25"},
		{"-0.05::DECIMAL(4,2)", "DECIMAL(4,2)", "string -0.05"},
		{"1.5::DECIMAL(38,10)", "DECIMAL(38,10)", "string 1.5000000000"},
		{"'é'", "VARCHAR", "string é"},
		{"'ab'::BLOB", "BLOB", "[]uint8 [97 98]"},
		{"DATE '2026-01-02'", "DATE", "time.Time 2026-01-02 00:00:00 +0000 UTC"},
		{"TIMESTAMP '2026-01-02 03:04:05.000006'", "TIMESTAMP", "time.Time 2026-01-02 03:04:05.000006 +0000 UTC"},
		{"TIMESTAMPTZ '2026-01-02 03:04:05+01'", "TIMESTAMP WITH TIME ZONE", "time.Time 2026-01-02 02:04:05 +0000 UTC"},
		{"TIME '01:02:03.5'", "TIME", "string 01:02:03.5"},
		{"INTERVAL '1 month 2 days 3.5 seconds'", "INTERVAL", "string P1M2DT3.5S"},
		{"[1, NULL]", "INTEGER[]", "[]interface {} [1 <nil>]"},
		{"{'a': 1, 'b': ['x']}", `STRUCT("a" INTEGER, "b" VARCHAR[])`, "map[string]interface {} map[a:1 b:[x]]"},
		{"MAP {'k': 1}", "MAP(VARCHAR, INTEGER)", "map[string]interface {} map[k:1]"},
		{"'b'::ENUM('a','b')", "ENUM", "string b"},
		{"'{}'::JSON", "JSON", "string {}"},
		{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::UUID", "UUID", "string a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"},
		{"array_value(1, 2)", "INTEGER[2]", "[]interface {} [1 2]"},
	} {
		got := values(t, d, "SELECT "+v.sql)[0][0]
		text := fmt.Sprintf("%T %v", got, got)
		if got == nil {
			text = "<nil>"
		}
		cols, err := d.Columns(context.Background(), "SELECT "+v.sql+" AS x")
		if text != v.want || err != nil || cols[0].SQL != v.sqlType {
			t.Errorf("%s: %s of type %s, want %s of %s; %v", v.sql, text, cols[0].SQL, v.want, v.sqlType, err)
		}
	}
}

func TestArguments(t *testing.T) {
	d := open(t, Options{})
	at := time.Date(2026, 11, 20, 3, 0, 0, 6000, time.FixedZone("", 3600))
	for _, a := range []struct {
		arg  any
		want string
	}{
		{true, "BOOLEAN true"}, {7, "BIGINT 7"}, {int32(7), "INTEGER 7"}, {int64(-7), "BIGINT -7"}, {uint32(7), "UINTEGER 7"},
		{uint64(1 << 63), "UBIGINT 9223372036854775808"}, {float32(1.5), "FLOAT 1.5"}, {1.5, "DOUBLE 1.5"}, {"it's", "VARCHAR it's"}, {[]byte("ab"), "BLOB [97 98]"},
		{at, "TIMESTAMP 2026-11-20 02:00:00.000006 +0000 UTC"}, {json.Number("12"), "BIGINT 12"}, {json.Number("1e2"), "DOUBLE 100"}, {big.NewInt(5), "VARCHAR 5"},
		{[]string{"a", "b"}, "VARCHAR[] [a b]"}, {[]int64{1, 2}, "BIGINT[] [1 2]"}, {[]any{1, 2.5, nil}, "DOUBLE[] [1 2.5 <nil>]"},
		{[]any{json.Number("1"), json.Number("2.5")}, "DOUBLE[] [1 2.5]"}, {[]any{"a", 1, true}, "VARCHAR[] [a 1 true]"}, {[]any{}, "VARCHAR[] []"},
		{json.RawMessage(`{"a":1}`), `VARCHAR {"a":1}`}, {map[string]any{"a": 1}, `VARCHAR {"a":1}`},
	} {
		rows, err := d.Query(context.Background(), "SELECT $1 AS x", a.arg)
		if err != nil {
			t.Errorf("%T %v: %v", a.arg, a.arg, err)
			continue
		}
		typ := rows.Columns()[0].SQL
		all, err := rows.All(context.Background())
		if got := fmt.Sprint(typ, " ", all[0][0]); err != nil || got != a.want {
			t.Errorf("%T %v: %v, want %s", a.arg, a.arg, got, a.want)
		}
	}
	if got := values(t, d, "SELECT $1", nil)[0][0]; got != nil {
		t.Errorf("nil is %v", got)
	}
	for _, bad := range [][]any{{}, {1, 2}, {struct{}{}}, {"\xff"}, {[]any{"\xff"}}, {json.Number("x")}} {
		if _, err := d.Values(context.Background(), "SELECT $1", bad...); tarn.CodeOf(err) != tarn.CodeInvalid {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestDescribe(t *testing.T) {
	d := open(t, Options{})
	fields, err := d.Describe(context.Background(), `SELECT 1 AS a, NULL AS b, [NULL] AS c, {'x y': 1::HUGEINT} AS d, '{}'::JSON AS e, $1::VARCHAR AS f, 1::UTINYINT AS g`)
	got := fmt.Sprint(fields, err)
	want := `[{0 a INTEGER false } {0 b INTEGER false } {0 c INTEGER[] false } {0 d STRUCT("x y" DOUBLE) false } {0 e JSON false } {0 f VARCHAR false } {0 g INTEGER false }] <nil>`
	if got != want {
		t.Errorf("got %s", got)
	}
	for _, sql := range []string{"SELECT INTERVAL 1 DAY AS i", "SELECT '1'::BIT AS i", "SELECT ['1'::BIT] AS i", "SELECT '01:02:03+01'::TIMETZ AS i", "SELECT union_value(a := 1) AS i"} {
		if _, err := d.Describe(context.Background(), sql); tarn.CodeOf(err) != tarn.CodeSchema {
			t.Errorf("%s: %v", sql, err)
		}
	}
	if _, err := d.Describe(context.Background(), "SELECT nosuch"); tarn.CodeOf(err) != tarn.CodeInvalid {
		t.Error(err)
	}
}
