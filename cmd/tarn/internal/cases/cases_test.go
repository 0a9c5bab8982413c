package cases

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func parse(t interface{ Fatal(...any) }, text string, ignore ...string) []Row {
	rows, err := Parse([]byte(text), ignore)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

func TestCanonical(t *testing.T) {
	for in, want := range map[string]string{
		`{"b":1.0,"a":{"z":1e2,"y":null},"c":null}`:                          `{"a":{"y":null,"z":100},"b":1}`,
		`{"n":12345678901234567890,"f":0.10,"m":-0,"x":1.5e300}`:             `{"f":0.1,"m":0,"n":12345678901234567890,"x":1.5e+300}`,
		`{"t":"2026-11-20 03:00:00.500000","u":"2026-11-20T04:00:00+01:00"}`: `{"t":"2026-11-20T03:00:00.5Z","u":"2026-11-20T03:00:00Z"}`,
		`{"s":"<a&b>","d":"2026-11-20","x":"2026-99-99 00:00:00"}`:           `{"d":"2026-11-20","s":"<a&b>","x":"2026-99-99 00:00:00"}`,
	} {
		if got := parse(t, in)[0].String(); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
	for _, bad := range []string{"[1]", `{"a":1} {"b":2}`, "null", `{"a":`} {
		if _, err := Parse([]byte(`{"a":1}`+"\n"+bad), nil); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestCompare(t *testing.T) {
	want := parse(t, `{"id":1,"v":"a"}`+"\n"+`{"id":2,"v":"b","t":1}`+"\n"+`{"id":3,"v":"c"}`+"\n"+`{"id":3,"v":"c"}`, "t")
	if d := Compare(want, parse(t, `{"id":3,"v":"c"}`+"\n\n"+`{"id":2,"v":"b"}`+"\n"+`{"id":3,"v":"c"}`+"\n"+`{"v":"a","id":1}`), false); !d.OK() {
		t.Errorf("%+v", d)
	}
	d := Compare(want, parse(t, `{"id":1,"v":"x"}`+"\n"+`{"id":3,"v":"c"}`+"\n"+`{"k":9}`), false)
	if len(d.Changed) != 1 || d.Changed[0].Row != 1 || d.Changed[0].Columns[0] != (Column{"v", `"a"`, `"x"`}) ||
		len(d.Missing) != 2 || d.Missing[0] != (Numbered{2, `{"id":2,"v":"b"}`}) || d.Missing[1].Row != 4 || len(d.Extra) != 1 || d.Extra[0] != `{"k":9}` {
		t.Errorf("%+v", d)
	}
	d = Compare(want[:2], []Row{want[1], want[0]}, true)
	if len(d.Changed) != 2 {
		t.Errorf("in another order: %+v", d)
	}
}

// TestRoundTrip: what is written reads as the same rows, and rows equal themselves in any order.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Row {
			r := Row{}
			for k, v := range rapid.MapOf(rapid.StringMatching(`[a-c"é]{0,2}`), rapid.SampledFrom([]string{"1", "1.5", `"x"`, `[1,{"a":null}]`, "true"})).Draw(t, "row") {
				r[k] = v
			}
			return r
		}), 0, 20).Draw(t, "rows")
		again := parse(t, string(Format(rows, false)))
		if d := Compare(rows, again, false); !d.OK() {
			t.Fatalf("%+v", d)
		}
		if d := Compare(rows, parse(t, string(Format(rows, true))), true); !d.OK() {
			t.Fatalf("in order: %+v", d)
		}
		shuffled := rapid.Permutation(rows).Draw(t, "shuffled")
		if d := Compare(shuffled, again, false); !d.OK() {
			t.Fatalf("shuffled: %+v", d)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"a":1.0,"b":[{"c":"2026-11-20 03:00:00"}]}` + "\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, err := Parse(b, nil)
		if err != nil {
			return
		}
		again, err := Parse(Format(rows, true), nil)
		if err != nil {
			t.Fatal(err)
		}
		if d := Compare(rows, again, true); !d.OK() {
			t.Fatalf("%+v", d)
		}
	})
}
