package table

import (
	"math"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
)

func TestParseBound(t *testing.T) {
	at := time.Date(2026, 11, 20, 3, 4, 5, 123456000, time.UTC)
	for _, c := range []struct {
		typ, text string
		want      any // nil: no bound
	}{
		{"BIGINT", "-9223372036854775808", int64(math.MinInt64)}, {"BIGINT", "9223372036854775808", nil}, {"BIGINT", "1.5", nil},
		{"INTEGER", "7", int64(7)}, {"INTEGER", "3000000000", nil},
		{"DOUBLE", "1e300", 1e300}, {"DOUBLE", "-0.5", -0.5}, {"DOUBLE", "nan", nil}, {"DOUBLE", "inf", nil}, {"FLOAT", "0.1", 0.1},
		{"BOOLEAN", "true", true}, {"BOOLEAN", "false", false}, {"BOOLEAN", "maybe", nil},
		{"TIMESTAMP", "2026-11-20 03:04:05.123456", at}, {"TIMESTAMP", "2026-11-20 03:04:05", at.Truncate(time.Second)}, {"TIMESTAMP", "infinity", nil},
		{"TIMESTAMPTZ", "2026-11-20 03:04:05.123456+00", at}, {"TIMESTAMPTZ", "2026-11-20 05:34:05.123456+02:30", at}, {"TIMESTAMP", "0044-03-15 (BC) 00:00:00", nil},
		{"DATE", "2026-11-20", at.Truncate(24 * time.Hour)}, {"DATE", "soon", nil},
		{"TIME", "03:04:05.123456", 3*time.Hour + 4*time.Minute + 5*time.Second + 123456*time.Microsecond}, {"TIME", "24:00:00", nil},
		{"VARCHAR", "", ""}, {"VARCHAR", "x y", "x y"}, {"JSON", "{}", "{}"}, {"VARCHAR", "\xff", nil},
		{"UUID", "f79c3e09-677c-4bbd-a479-3f349cb785e7", uuid.MustParse("f79c3e09-677c-4bbd-a479-3f349cb785e7")}, {"UUID", "x", nil},
		{"BLOB", `\x00ab\xFF`, []byte{0, 'a', 'b', 0xff}}, {"BLOB", `\x0`, nil}, {"BLOB", `\q00`, nil},
		{"DECIMAL(10,2)", "-12.50", "-12.50"}, {"DECIMAL(10,2)", "0.001", nil}, {"DECIMAL(10,2)", "x", nil}, {"DECIMAL(10,2)", "1e999999999", nil}, {"DECIMAL(10,2)", "123456789.00", nil}, {"DECIMAL(10,2)", "12345678.9", "12345678.9"},
		{"BIGINT[]", "[1]", nil}, {"STRUCT(a BIGINT)", "{}", nil},
	} {
		typ, err := tarn.ParseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		got, ok := ParseBound(typ, c.text)
		if ok != (c.want != nil) || ok && !reflect.DeepEqual(got, c.want) {
			t.Errorf("ParseBound(%s, %q) = %#v, %t; want %#v", c.typ, c.text, got, ok, c.want)
		}
	}
}

// value draws a value of a kind that can be a bound.
func value(t *rapid.T) (tarn.Type, any) {
	typ := tarn.Type{Kind: rapid.SampledFrom([]tarn.Kind{tarn.Boolean, tarn.Int, tarn.Long, tarn.Float, tarn.Double, tarn.Date, tarn.Time, tarn.Timestamp, tarn.TimestampTZ, tarn.String, tarn.JSON, tarn.UUID, tarn.Binary}).Draw(t, "kind")}
	switch typ.Kind {
	case tarn.Boolean:
		return typ, rapid.Bool().Draw(t, "v")
	case tarn.Int:
		return typ, int64(rapid.Int32().Draw(t, "v"))
	case tarn.Long:
		return typ, rapid.Int64().Draw(t, "v")
	case tarn.Float:
		return typ, float64(rapid.Float32().Draw(t, "v"))
	case tarn.Double:
		return typ, rapid.Float64().Draw(t, "v")
	case tarn.Date:
		return typ, time.Unix(86400*rapid.Int64Range(-100000, 100000).Draw(t, "v"), 0).UTC()
	case tarn.Time:
		return typ, time.Duration(rapid.Int64Range(0, 86400e6-1).Draw(t, "v")) * time.Microsecond
	case tarn.Timestamp, tarn.TimestampTZ:
		return typ, time.UnixMicro(rapid.Int64Range(-1e16, 1e16).Draw(t, "v")).UTC()
	case tarn.UUID:
		return typ, uuid.UUID(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "v"))
	case tarn.Binary:
		return typ, rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "v")
	}
	return typ, rapid.String().Draw(t, "v")
}

// Bounds survive storage: equal for fixed types, and never cut to the wrong side for long ones.
func TestBoundsRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		typ, v := value(t)
		lo, ok := lowerBytes(typ, v)
		if !ok {
			t.Fatalf("%v has no lower bound", v)
		}
		lower := decodeBound(typ, lo)
		var upper any
		if up, ok := upperBytes(typ, v); ok {
			upper = decodeBound(typ, up)
		}
		switch x := v.(type) {
		case string:
			if lower.(string) > x || upper != nil && upper.(string) < x || utf8.RuneCountInString(lower.(string)) > boundRunes {
				t.Fatalf("%q is bounded by %q and %q", x, lower, upper)
			}
		case []byte:
			if string(lower.([]byte)) > string(x) || upper != nil && string(upper.([]byte)) < string(x) {
				t.Fatalf("%q is bounded by %q and %q", x, lower, upper)
			}
		default:
			if !reflect.DeepEqual(lower, v) || !reflect.DeepEqual(upper, v) {
				t.Fatalf("%s %#v came back as %#v and %#v", typ, v, lower, upper)
			}
		}
	})
}

func TestCutUp(t *testing.T) {
	long := strings.Repeat("a", 20)
	for in, want := range map[string]string{
		"": "", "abc": "abc", long: strings.Repeat("a", 15) + "b",
		strings.Repeat("a", 15) + "\U0010FFFFx": strings.Repeat("a", 14) + "b",
		strings.Repeat("\uD7FF", 17):            strings.Repeat("\uD7FF", 15) + "\uE000",
	} {
		if got, ok := cutUp(in); !ok || got != want {
			t.Errorf("cutUp(%q) = %q, %t; want %q", in, got, ok, want)
		}
	}
	if got, ok := cutUp(strings.Repeat("\U0010FFFF", 17)); ok {
		t.Errorf("the highest string has the bound %q", got)
	}
}

func FuzzParseBound(f *testing.F) {
	for kind := range byte(tarn.Struct) + 1 {
		for _, s := range []string{"", "1", "-1.5", "true", "2026-11-20 03:04:05+00", "03:04:05", `\x00`, "f79c3e09-677c-4bbd-a479-3f349cb785e7"} {
			f.Add(kind, s)
		}
	}
	f.Fuzz(func(t *testing.T, kind byte, s string) {
		typ := tarn.Type{Kind: tarn.Kind(kind), Precision: 10, Scale: 2}
		v, ok := ParseBound(typ, s)
		if !ok {
			return
		}
		if b, ok := lowerBytes(typ, v); ok {
			if decodeBound(typ, b) == nil {
				t.Errorf("%s %q: the bound %v does not come back", typ, s, v)
			}
		}
		upperBytes(typ, v)
	})
}

func FuzzDecodeMetadata(f *testing.F) {
	m, err := newMetadata(Definition{Name: "curated.t", Schema: tarn.Schema{Fields: []tarn.Field{{Name: "id", Type: tarn.Type{Kind: tarn.Long}}}}}, 1)
	if err != nil {
		f.Fatal(err)
	}
	text, err := m.encode(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte(`{"format-version":2,"snapshots":[{}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeMetadata(b)
		if err != nil {
			return
		}
		if _, err := m.encode(nil); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}
