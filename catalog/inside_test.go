package catalog

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
)

func TestDetect(t *testing.T) {
	for _, c := range []struct{ name, head, want string }{
		{"a.csv", "id,name\n", "csv"}, {"a", "id,name\n", "csv weak"}, {"a.txt", "x\ty\n", "tsv weak"}, {"a.tsv", "x y\n", "tsv"},
		{"a.csv", "{\"a\":1}\n{\"a\":2}\n", "ndjson"}, {"a", "{\n \"a\": 1\n}", "json"}, {"a", " [ {\"a\": 1}]", "json array"}, {"a", "[]", "json array"},
		{"a.log", "[INFO] hello, you\n", "csv weak"}, {"a", "PAR1....", "parquet"}, {"a.csv", "Obj\x01..", "avro"}, {"a", "\xff\xfea\x00", "csv utf-16"},
		{"a.csv", "id,n\xe4me\n", "csv latin-1"}, {"a.csv", "\xef\xbb\xbfid,name\n", "csv"},
		{"a.csv", "", "empty"}, {"a.csv", "\n \n", "empty"}, {"a", "\xfe\xff\x00a", "encoding"}, {"a.json", "{\"a\":\"\xff\"}", "encoding"},
		{"a", "PK\x03\x04", "unsupported"}, {"a.csv", "a\x00b", "unsupported"}, {"a.gz", "\x1f\x8b", "malformed"}, {"a", "\x28\xb5\x2f\xfdxx", "malformed"},
	} {
		s, err := Detect(c.name, []byte(c.head), true)
		got := string(s.Format)
		for _, more := range []struct {
			on   bool
			word string
		}{{s.Array, "array"}, {s.Encoding != "", s.Encoding}, {s.Weak, "weak"}} {
			if more.on {
				got += " " + more.word
			}
		}
		var why *refusal
		if errors.As(err, &why) {
			got = string(why.reason)
		}
		if got != c.want {
			t.Errorf("%s %q: %s, want %s", c.name, c.head, got, c.want)
		}
	}
}

// FuzzDetect: whatever the bytes, the answer is a known format or a refusal with a reason, and the
// same with and without a name for binary formats.
func FuzzDetect(f *testing.F) {
	for _, s := range []string{"id,name\n1,a\n", "{\"a\":1}", "[{\"a\":1}]", "PAR1", "Obj\x01", "\x1f\x8b\x08", "\x28\xb5\x2f\xfd\x04\x00", "\xff\xfea\x00", "\xef\xbb\xbfx", "PK\x03\x04"} {
		f.Add("a.csv", []byte(s), true)
		f.Add("b", []byte(s), false)
	}
	f.Fuzz(func(t *testing.T, name string, head []byte, whole bool) {
		s, err := Detect(name, head[:min(len(head), headBytes)], whole)
		var why *refusal
		switch {
		case err == nil && s.Format == "":
			t.Error("neither a format nor a reason")
		case err != nil && (!errors.As(err, &why) || why.reason == "" || why.detail == ""):
			t.Errorf("no reason: %v", err)
		case err == nil && (s.Format == Parquet || s.Format == Avro) && s.Compression != "":
			t.Error("compressed as a whole:", s)
		}
	})
}

// drawType draws a type that files can have.
func drawType(t *rapid.T, depth int) tarn.Type {
	kinds := []tarn.Kind{tarn.Invalid, tarn.Boolean, tarn.Int, tarn.Long, tarn.Float, tarn.Double, tarn.Decimal, tarn.Date, tarn.Time, tarn.Timestamp,
		tarn.TimestampTZ, tarn.String, tarn.JSON, tarn.UUID, tarn.Binary}
	if depth > 0 {
		kinds = append(kinds, tarn.List, tarn.Map, tarn.Struct)
	}
	typ := tarn.Type{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch typ.Kind {
	case tarn.Decimal:
		typ.Precision = rapid.IntRange(1, 38).Draw(t, "precision")
		typ.Scale = rapid.IntRange(0, typ.Precision).Draw(t, "scale")
	case tarn.List:
		typ.Elem = &tarn.Field{Name: "element", Type: drawType(t, depth-1)}
	case tarn.Map:
		typ.Key, typ.Elem = &tarn.Field{Name: "key", Type: tarn.Type{Kind: tarn.String}}, &tarn.Field{Name: "value", Type: drawType(t, depth-1)}
	case tarn.Struct:
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c"}), 1, 3, rapid.ID).Draw(t, "members") {
			typ.Fields = append(typ.Fields, tarn.Field{Name: name, Type: drawType(t, depth-1)})
		}
	}
	return typ
}

// sorted puts the members of structs in order: which came first is the only thing that may differ.
func sorted(t tarn.Type) string {
	var parts []string
	for _, f := range t.Fields {
		parts = append(parts, f.Name+" "+sorted(f.Type))
	}
	for i := range parts {
		for j := i + 1; j < len(parts); j++ {
			if parts[j] < parts[i] {
				parts[i], parts[j] = parts[j], parts[i]
			}
		}
	}
	switch t.Kind {
	case tarn.Struct:
		return "{" + strings.Join(parts, ",") + "}"
	case tarn.List:
		return sorted(t.Elem.Type) + "[]"
	case tarn.Map:
		return "map " + sorted(t.Elem.Type)
	}
	return t.SQL()
}

// TestWidenIsOrderless: the type of a column does not depend on the order in which its files come.
func TestWidenIsOrderless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := drawType(t, 2), drawType(t, 2), drawType(t, 2)
		w := func(x, y tarn.Type) tarn.Type { z, _ := widen(x, y); return z }
		if x, y := sorted(w(a, b)), sorted(w(b, a)); x != y {
			t.Fatalf("%s and %s: %s, %s", a, b, x, y)
		}
		if x, y := sorted(w(w(a, b), c)), sorted(w(a, w(b, c))); x != y {
			t.Fatalf("%s, %s, %s: %s, %s", a, b, c, x, y)
		}
		if x := w(a, a); sorted(x) != sorted(a) {
			t.Fatalf("%s with itself is %s", a, x)
		}
	})
}

func TestPartitions(t *testing.T) {
	for path, want := range map[string]string{
		"a/b.csv": "", "y=1/b.csv": "y:1:BIGINT", "a/y=2026/m=01/f=x.csv": "y:2026:BIGINT m:01:BIGINT", "d=2026-01-02/x": "d:2026-01-02:DATE",
		"s=a%20b%2Fc/x": "s:a b/c:VARCHAR", "s=/x": "s::VARCHAR", "id=007/x": "id:007:VARCHAR", "n=" + hiveNull + "/x": "n:NULL", "=a/x": "", "a=b=c/x": "",
		"big=99999999999999999999/x": "big:99999999999999999999:VARCHAR", "m=+1/x": "m:+1:VARCHAR", "m=00/x": "m:00:BIGINT",
	} {
		var got []string
		for _, p := range partitions(path) {
			if p.null {
				got = append(got, p.key+":NULL")
				continue
			}
			got = append(got, p.key+":"+p.value+":"+valueType(p.value).SQL())
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%s: %q, want %q", path, s, want)
		}
	}
}

func TestTableName(t *testing.T) {
	for in, want := range map[string]string{"Users": "users", "my-data 2026": "my_data_2026", "2026": "t_2026", "": "t", "äöü": "t", "a..b": "a_b", strings.Repeat("x", 99): strings.Repeat("x", 63)} {
		if got := tableName(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
