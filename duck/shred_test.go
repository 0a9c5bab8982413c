package duck_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/record/column"
)

var shredFields = []tarn.Field{
	field("b", tarn.Boolean), field("i", tarn.Int), field("l", tarn.Long), field("d", tarn.Double), field("s", tarn.String), field("t", tarn.TimestampTZ),
	{Name: "o", Type: tarn.Type{Kind: tarn.Struct, Fields: []tarn.Field{field("s", tarn.String), field("d", tarn.Double),
		{Name: "in", Type: tarn.Type{Kind: tarn.Struct, Fields: []tarn.Field{field("l", tarn.Long)}}}}}},
}

// shredValues are values as they come, for each kind of column, most of them plain.
var shredValues = map[tarn.Kind][]string{
	tarn.Boolean: {"true", "false", "null", `"true"`},
	tarn.Int:     {"0", "-0", "7", "-2147483648", "2147483647", "2147483648", "null", "5.0", "1e3"},
	tarn.Long:    {"0", "-0", "12", "-999999999999999", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "null", `"5"`},
	tarn.Double: {"0", "-0", "-0.0", "1.5", "-0.001", "123456789012345", "1234567890123456", "9007199254740993", "0.1", "3.141592653589793", "1e10", "1.5E-7", "1e22", "1e23",
		"4.35", "0.000001", "5e-324", "1.7976931348623157e308", "1e309", "123456789012345678901234567890", "9223372036854775807", "null", "2.2250738585072011e-308"},
	tarn.String: {`""`, `"a"`, `"twelve bytes"`, `"thirteen bytes"`, `"a longer text of more than thirty-two bytes, plainly"`, `"ä€😀"`, `"\u00e4\ud83d\ude00\n\t\"\\\/"`, `"a\u0000b"`, "null", "5", "1.50", "true", `{"a":1}`,
		"-0", "1e5", "0.00001", "-0.00012", "10.00001", "49.640100000000001", "123456789012345678901", "5.00", "[1]"},
	tarn.TimestampTZ: {`"2026-11-20T10:00:00Z"`, `"2026-11-20T10:00:00.123456Z"`, `"2026-11-20T10:00:00.1+02:00"`, `"1969-12-31T23:59:59.999999-08:30"`, `"0001-01-01T00:00:00Z"`,
		`"9999-12-31T23:59:59Z"`, `"2024-02-29T00:00:00Z"`, `"2026-11-20 10:00:00"`, `"2026-11-20T10:00:00"`, `"2026-11-20T10:00:00.1234567Z"`, `"2026-02-30T00:00:00Z"`, `"2026-11-20"`, `"infinity"`,
		`"2026-11-20 10:00:00.25"`, `"2026-11-20 10:00:00Z"`, `"2026-11-20 10:00:00-03:30"`, `"2026-11-20 10:00:00 "`, `"2026-11-20 10:00:00."`, `"2026-11-20 10:00:00+01"`, `"2026-11-20 10:00:00 UTC"`,
		`"2026-11-20  10:00:00"`, `"2026-11-20 10:00"`, `"2026-11-20T24:00:00Z"`, `"2026-11-20T10:00:60Z"`, `"2026-11-20T10:00:00+0200"`, `"2026-11-20T10:00:00+15:59"`, `"2026-11-20T10:00:00z"`, "null", "0"},
}

// plain are those of them that a Shredder takes.
var plain = map[tarn.Kind][]string{
	tarn.Boolean: {"true", "false", "null"},
	tarn.Int:     {"0", "-0", "7", "-2147483648", "2147483647", "null"},
	tarn.Long:    {"0", "-0", "12", "-999999999999999", "9223372036854775807", "-9223372036854775808", "null"},
	tarn.Double: {"0", "-0", "-0.0", "1.5", "-0.001", "123456789012345", "1234567890123456", "9007199254740993", "0.1", "3.141592653589793", "1e10", "1.5E-7", "1e22", "1e23",
		"4.35", "0.000001", "9223372036854775807", "null"},
	tarn.String: {`""`, `"a"`, `"twelve bytes"`, `"thirteen bytes"`, `"a longer text of more than thirty-two bytes, plainly"`, `"ä€😀"`, `"\u00e4\ud83d\ude00\n\t\"\\\/"`, "null",
		"5", "-7", "9223372036854775807", "-9223372036854775808", "1.5", "0.0", "-0.0", "-5.0", "0.0001", "-0.00012", "10.00001", "1234567890.12345", "true", "false"},
	tarn.TimestampTZ: {`"2026-11-20T10:00:00Z"`, `"2026-11-20T10:00:00.123456Z"`, `"2026-11-20T10:00:00.1+02:00"`, `"1969-12-31T23:59:59.999999-08:30"`, `"0001-01-01T00:00:00Z"`,
		`"9999-12-31T23:59:59Z"`, `"2024-02-29T00:00:00Z"`, `"2026-11-20 10:00:00"`, `"2026-11-20T10:00:00"`, `"2026-11-20 10:00:00.25"`, `"2026-11-20 10:00:00-03:30"`, "null"},
}

// object draws an object with some of the fields, in any order and with any blanks.
func object(t *rapid.T, fields []tarn.Field, odd bool) string {
	var members []string
	for _, f := range rapid.Permutation(fields).Draw(t, "order") {
		if rapid.IntRange(0, 9).Draw(t, "missing") == 0 {
			continue
		}
		value := "null"
		switch {
		case f.Type.Kind != tarn.Struct:
			all := shredValues[f.Type.Kind]
			if !odd || rapid.IntRange(0, 7).Draw(t, "plain") > 0 {
				all = plain[f.Type.Kind]
			}
			value = rapid.SampledFrom(all).Draw(t, f.Name)
		case rapid.IntRange(0, 9).Draw(t, "null") > 0:
			value = object(t, f.Type.Fields, odd)
		}
		blank := rapid.SampledFrom([]string{"", "", "", " ", "\t"}).Draw(t, "blank")
		members = append(members, fmt.Sprintf(`%q:%s%s%s`, f.Name, blank, value, blank))
	}
	if rapid.IntRange(0, 4).Draw(t, "more") == 0 {
		members = append(members, rapid.SampledFrom([]string{`"x":[1,{"s":"no"},"]"]`, `"x":{"s":"no"}`, `"S":"no"`, `"x":"no","x":1`, `"d":1`}).Draw(t, "extra"))
	}
	return "{" + strings.Join(members, ",") + "}"
}

// TestShredAsDuckDB compares what the columns of a Shredder hold with what DuckDB's own reader makes of the
// same lines: where both take them, the rows must be the same, and the Shredder must take nothing else.
func TestShredAsDuckDB(t *testing.T) {
	dir := t.TempDir()
	db, err := duck.Open(duck.Options{MemoryBytes: 128 << 20, Threads: 1, AllowedDirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	path := filepath.Join(dir, "lines.ndjson")
	both, asked := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		odd := rapid.Bool().Draw(rt, "odd")
		var text strings.Builder
		for range rapid.IntRange(1, 5).Draw(rt, "records") {
			rec := object(rt, shredFields, odd)
			for range rapid.IntRange(1, 3).Draw(rt, "repeats") { // one form fits several
				text.WriteString(rec + rapid.SampledFrom([]string{"\n", "\n", " \r\n"}).Draw(rt, "end"))
			}
		}
		if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
			rt.Fatal(err)
		}
		from, done := db.Relate(lines{shredFields, text.String()})
		defer done()
		got, err := db.Values(t.Context(), "SELECT *, epoch_us(t), d::VARCHAR FROM "+from)
		if err != nil {
			if !strings.Contains(err.Error(), column.ErrAsk.Error()) {
				rt.Fatal(err)
			}
			asked++
			return
		}
		both++
		want, err := db.Values(t.Context(), "SELECT *, epoch_us(t), d::VARCHAR FROM "+duck.ReadNDJSON([]string{path}, tarn.Schema{Fields: shredFields}, 1<<16))
		if err != nil {
			rt.Fatalf("DuckDB refuses what was shredded: %v\n%s", err, text.String())
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			rt.Fatalf("shredded %v\nDuckDB   %v\n%s", got, want, text.String())
		}
	})
	t.Logf("%d taken, %d asked", both, asked)
	if both == 0 || asked == 0 {
		t.Error("one of the ways was never gone")
	}
}

// TestShredDoubles compares doubles bit by bit.
func TestShredDoubles(t *testing.T) {
	dir := t.TempDir()
	db, err := duck.Open(duck.Options{MemoryBytes: 128 << 20, Threads: 1, AllowedDirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fields := []tarn.Field{field("d", tarn.Double)}
	path := filepath.Join(dir, "lines.ndjson")
	random := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	for i := range 200_000 {
		v := math.Float64frombits(random.Uint64())
		if a := math.Abs(v); !(a < 1e90 && a > 1e-90) || i%2 == 0 { // exponents of three digits are not for a Shredder
			v = random.NormFloat64() * math.Pow10(i%12)
		}
		fmt.Fprintf(&text, "{\"d\":"+[]string{"%g", "%.3f", "%e", "%.15g", "%.17g"}[i%5]+"}\n", v)
	}
	if err := os.WriteFile(path, []byte(text.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	from, done := db.Relate(lines{fields, text.String()})
	defer done()
	got, err := db.Values(t.Context(), "SELECT d FROM "+from)
	if err != nil {
		t.Fatal(err)
	}
	want, err := db.Values(t.Context(), "SELECT d FROM "+duck.ReadNDJSON([]string{path}, tarn.Schema{Fields: fields}, 1<<16))
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if g, w := got[i][0].(float64), want[i][0].(float64); math.Float64bits(g) != math.Float64bits(w) {
			t.Fatalf("line %d: %x, DuckDB reads %x: %s", i, g, w, strings.Split(text.String(), "\n")[i])
		}
	}
}
