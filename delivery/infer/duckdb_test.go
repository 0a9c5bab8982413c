package infer_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
)

func TestDuckDBReadsWhatFits(t *testing.T) {
	r := newReader(t)
	fitting, failing := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var lines, from [][]byte
		s := infer.New(nil, infer.Options{CanWiden: func(infer.Path) bool { // as the bounds of the table's files tell
			return !slices.ContainsFunc(lines, longInteger.Match)
		}, MaxColumns: rapid.SampledFrom([]int{3, 500}).Draw(t, "columns"), MaxMembers: rapid.SampledFrom([]int{2, 64}).Draw(t, "members")})
		recs := rapid.SliceOfN(records(), 1, 30).Draw(t, "records")
		sample := rapid.IntRange(0, len(recs)).Draw(t, "sample")
		for _, rec := range recs[:sample] {
			if err := s.Sample(rec); err != nil {
				t.Fatal(err)
			}
		}
		s.Decide()
		for _, rec := range recs {
			l, f, failed := deliver(t, s, [][]byte{rec})
			lines, from = append(lines, l...), append(from, f...)
			fitting, failing = fitting+len(f), failing+len(failed)
		}
		verify(t, r, s, lines, from)
	})
	t.Logf("%d records fitted, %d did not", fitting, failing)
}

// TestSampleFits: a record that was sampled is never a misfit of what was decided from it.
func TestSampleFits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := infer.New(nil, infer.Options{})
		recs := rapid.SliceOfN(records(), 1, 30).Draw(t, "records")
		for _, rec := range recs {
			if err := s.Sample(rec); err != nil {
				t.Fatal(err)
			}
		}
		s.Decide()
		for _, rec := range recs {
			if e, err := s.Observe(rec); err != nil || e.Misfit != nil || len(e.Added)+len(e.Widened) > 0 {
				t.Fatalf("%s: %+v %v %v", rec, e, e.Misfit, err)
			}
		}
	})
}

// TestDuckDBTimes: what is inferred to be a time DuckDB reads as that instant, and what Check calls
// a misfit of a time column DuckDB refuses.
func TestDuckDBTimes(t *testing.T) {
	r := newReader(t)
	rng := rand.New(rand.NewPCG(1, 2))
	seeds := []string{"2026-11-20", "2026-11-20T03:00:00Z", "2026-11-20 03:00:00.123456+02:00", "2024-02-29T23:59:59-0330", "0001-01-01T00:00:00+14",
		"9999-12-31T23:59:59.999999Z", "epoch", "infinity", "-infinity", "", "n/a", "1700000000", "2026/11/20 03:00", "03:00:00", "2026-11-20T03:00:00 UTC"}
	for _, typ := range []string{"TIMESTAMP", "DATE"} {
		ct, err := tarn.ParseType(typ)
		if err != nil {
			t.Fatal(err)
		}
		declared := infer.New(&tarn.Schema{Fields: []tarn.Field{{Name: "v", Type: ct}}}, infer.Options{})
		for range 400 {
			rec := []byte(`{"v":` + quote(mutate(rng, seeds[rng.IntN(len(seeds))])) + `}`)
			m, err := declared.Check(rec)
			if err != nil {
				t.Fatal(err)
			}
			rows, err := r.rows(declared.Input(), [][]byte{rec})
			if m != nil && err == nil {
				t.Errorf("%s: DuckDB reads %v into %s, Check says %v", rec, rows, typ, m.Err())
			}
			fresh := infer.New(nil, infer.Options{})
			if err := fresh.Sample(rec); err != nil {
				t.Fatal(err)
			}
			fresh.Decide()
			verify(t, r, fresh, [][]byte{rec}, [][]byte{rec})
			if fresh.Schema().Fields[0].Type.Equal(ct) && (m != nil || err != nil) {
				t.Errorf("%s: inferred as %s, but %v %v", rec, typ, m, err)
			}
		}
	}
}

func mutate(rng *rand.Rand, s string) string {
	const alphabet = "0123456789-:TZ +./ntxi"
	b := []byte(s)
	for range rng.IntN(3) {
		at, c := rng.IntN(len(b)+1), alphabet[rng.IntN(len(alphabet))]
		switch rng.IntN(3) {
		case 0:
			b = slices.Insert(b, at, c)
		case 1:
			if at < len(b) {
				b[at] = c
			}
		default:
			if at < len(b) {
				b = slices.Delete(b, at, at+1)
			}
		}
	}
	return string(b)
}

// split cuts a list of JSON values at the blanks between them.
func split(list string) []string {
	var out []string
	quoted, start := false, 0
	for i := 0; i <= len(list); i++ {
		if i == len(list) || list[i] == ' ' && !quoted {
			if i > start {
				out = append(out, list[start:i])
			}
			start = i + 1
		} else if list[i] == '"' && (i == 0 || list[i-1] != '\\') {
			quoted = !quoted
		}
	}
	return out
}

func jsonText(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

// TestDuckDBDeclared compares every declared type with every kind of value: what fits is read, and
// what does not is either refused by DuckDB or stored altered, which the last column says.
func TestDuckDBDeclared(t *testing.T) {
	r := newReader(t)
	for _, c := range []struct {
		typ     string
		fits    string // values with what DuckDB makes of them, as JSON
		misfits string
		altered string // misfits that DuckDB would take
	}{
		{"BOOLEAN", `true→true "TRUE"→true "no"→false`, `"x" "1" [] {}`, `1 0 1.5`},
		{"INTEGER", `5→5 -2147483648→-2147483648 "5"→5 5.0→5 1e3→1000 " 7 "→7`, `2147483648 "x" "1.5" "" 3e9 [] {}`, `5.5 true 1.00000000000000000001`},
		{"BIGINT", `5→5 9223372036854775807→9223372036854775807 "-5"→-5 5.0→5`, `9223372036854775808 "x" "1e3" 1e19 {}`, `5.5 false 9007199254740993.0`},
		{"FLOAT", `1.5→1.5 1→1.0 "1.5"→1.5`, `1e39 "x" [] `, `true`},
		{"DOUBLE", `1.5→1.5 1→1.0 "1e3"→1000.0 18446744073709551616→1.8446744073709552e19`, `"x" "" {}`, `true 1e400 "1e400"`},
		{"DECIMAL(10,2)", `1.25→1.25 "1.25"→1.25 1→1.00 "1e2"→100.00 99999999.994→99999999.99 -99999999.994→-99999999.99`, `12345678901 "x" 123456789.12 99999999.996 "-99999999.996" 100000000 []`, `true`},
		{"DECIMAL(38,2)", `"999999999999999999999999999999999999.99"→999999999999999999999999999999999999.99`, `1e37 "1e37"`, ``},
		{"DECIMAL(38,3)", `12345678901234.567→12345678901234.567 "12345678901234567890.123"→12345678901234567890.123 12345678901234567890→12345678901234567890.000 0.1→0.100`, `"x" {}`, ``},
		{"DATE", `"2026-11-20"→"2026-11-20"`, `"2026-11-20T03:00:00Z" "2026-11-20x" "x" "" 5 "2026/11/20" "infinity" true`, ``},
		{"TIME", `"03:00:00.5"→"03:00:00.5"`, `"03:00:00+02:00" "x" 5 "2026-11-20T03:00:00" "03:00:00.1234567"`, ``},
		{"TIMESTAMP", `"2026-11-20T03:00:00+02:00"→"2026-11-20 01:00:00" "2026-11-20"→"2026-11-20 00:00:00" "2026-11-20 03:00:00.5"→"2026-11-20 03:00:00.5"`, `"x" "" 1700000000 "infinity" true {}`, ``},
		{"TIMESTAMPTZ", `"2026-11-20T03:00:00+02:00"→"2026-11-20 01:00:00+00"`, `"x" 1700000000`, ``},
		{"UUID", `"550e8400-e29b-41d4-a716-446655440000"→"550e8400-e29b-41d4-a716-446655440000"`, `"x" 5 "550e8400-e29b-41d4-a716-44665544000"`, ``},
		{"BLOB", `"abc"→"abc"`, ``, `5 {} true`},
		{"VARCHAR", `"x"→"x" 5→"5" 1.10→"1.1" true→"true" {"a":1}→"{\"a\":1}" [1,2]→"[1,2]"`, ``, ``},
		{"JSON", `"x"→"x" 123456789012345678901234567890→123456789012345678901234567890 {"a":[1,null]}→{"a":[1,null]}`, ``, ``},
		{"BIGINT[]", `[1,2,null]→[1,2,null] []→[] ["5"]→[5]`, `5 {"a":1} ["x"]`, `[1.5] [true]`},
		{"MAP(VARCHAR, BIGINT)", `{"a":1,"b":2}→{"a":1,"b":2}`, `5 [] {"a":"x"}`, `{"a":1.5}`},
		{"STRUCT(a BIGINT, t TIMESTAMP)", `{"a":1,"t":"2026-11-20T03:00:00+02:00"}→{"a":1,"t":"2026-11-20 01:00:00"} {}→{"a":null,"t":null}`, `5 [] "x" {"a":"x"}`, `{"a":1.5}`},
		{"STRUCT(t DATE)[]", `[{"t":"2026-11-20"},null]→[{"t":"2026-11-20"},null]`, `[5] [{"t":"2026-11-20T03:00:00Z"}]`, ``},
		{"MAP(VARCHAR, TIMESTAMP)", `{"a":"2026-11-20T03:00:00+02:00"}→{"a":"2026-11-20 01:00:00"}`, `{"a":"x"} {"a":5}`, ``},
	} {
		ct, err := tarn.ParseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		s := infer.New(&tarn.Schema{Fields: []tarn.Field{{Name: "v", Type: ct}, {Name: "n", Type: tarn.Type{Kind: tarn.Long}}}}, infer.Options{Policy: infer.Ignore})
		if !s.Schema().Fields[0].Type.Equal(ct) {
			t.Errorf("%s became %s", c.typ, s.Schema().Fields[0].Type)
		}
		read := func(v string) (string, error) {
			line, err := s.Rewrite(nil, []byte(`{"v":`+v+`}`))
			if err != nil {
				return "", err
			}
			rows, err := r.rows(s.Input(), [][]byte{line})
			if err != nil {
				return "", err
			}
			b, err := jsonText(rows[0]["v"])
			return b, err
		}
		for _, pair := range split(c.fits) {
			v, want, _ := strings.Cut(pair, "→")
			if m, err := s.Check([]byte(`{"v":` + v + `}`)); m != nil || err != nil {
				t.Errorf("%s: %s: %v %v", c.typ, v, m, err)
			}
			if got, err := read(v); err != nil || fmt.Sprint(canonical(parseJSON(got))) != fmt.Sprint(canonical(parseJSON(want))) {
				t.Errorf("%s: %s reads as %s %v, want %s", c.typ, v, got, err, want)
			}
		}
		for i, list := range []string{c.misfits, c.altered} {
			for _, v := range split(list) {
				if m, err := s.Check([]byte(`{"v":` + v + `}`)); m == nil || err != nil {
					t.Errorf("%s: %s: no misfit, %v", c.typ, v, err)
				}
				if got, err := read(v); err == nil != (i == 1) {
					t.Errorf("%s: DuckDB reads %s as %s, %v", c.typ, v, got, err)
				}
			}
		}
	}
}

var (
	keys    = rapid.SampledFrom([]string{"a", "b", "c", "A", "", "a.b", `q"x`, "it's", "select", "_rest", "ünï", "new\nline", "d", "e", "1001", "2002", "_REST", strings.Repeat("k", 300)})
	strs    = rapid.SampledFrom([]string{"", "x", "2026-11-20", "2026-11-20T03:00:00Z", "2026-11-20T03:00:00.5+02:00", "2026-11-20 03:00:00", "2026-11-20T03:00:00.123456789Z", "5", "1.5", "true", "naïve \"q\" \\ \n\t😀", "null"})
	numbers = rapid.SampledFrom([]string{"0", "1", "-7", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616", "123456789012345678901234567890", "1.5", "-0.25", "1e3", "0.1", "1e300", "1e400", "5.0", "-0"})
)

var longInteger = regexp.MustCompile(`\d{16}`)

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// values draws JSON text; blanks and repeated keys included.
func values(depth int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		kind := rapid.IntRange(0, 11).Draw(t, "kind")
		if depth == 0 && kind > 9 {
			kind = 0
		}
		switch kind {
		case 0:
			return "null"
		case 1:
			return rapid.SampledFrom([]string{"true", "false"}).Draw(t, "bool")
		case 2, 3, 4, 5:
			return numbers.Draw(t, "number")
		case 10:
			return "[" + strings.Join(rapid.SliceOfN(values(depth-1), 0, 4).Draw(t, "elements"), ", ") + "]"
		case 11:
			return objects(depth-1, 4).Draw(t, "object")
		}
		return quote(strs.Draw(t, "string"))
	})
}

func objects(depth, most int) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var parts []string
		for range rapid.IntRange(0, most).Draw(t, "members") {
			parts = append(parts, quote(keys.Draw(t, "key"))+" : "+values(depth).Draw(t, "value"))
		}
		return "{" + strings.Join(parts, ",") + "}"
	})
}

func records() *rapid.Generator[[]byte] {
	return rapid.Map(objects(3, 6), func(s string) []byte { return []byte(s) })
}
