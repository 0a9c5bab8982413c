package tarn

import (
	"encoding/json"
	"math"
	"testing"
)

func TestPosition(t *testing.T) {
	for in, want := range map[string]Position{
		"0:0":                             {},
		"0:1842":                          {0, 1842},
		"255:7":                           {255, 7},
		"2147483647:18446744073709551615": {math.MaxInt32, math.MaxUint64},
	} {
		got, err := ParsePosition(in)
		if err != nil || got != want || got.String() != in {
			t.Errorf("ParsePosition(%q) = %v, %v", in, got, err)
		}
	}
	for _, in := range []string{"", ":", "0", "0:", ":0", "a:b", "0:1:2", " 0:1", "0:1 ", "-1:5", "+1:5", "-0:5", "0:-5", "0:+5", "0x1:2", "1_0:2",
		"2147483648:0", "0:18446744073709551616", "٣:1", "0:1.5", "0:1e3"} {
		if got, err := ParsePosition(in); err == nil || CodeOf(err) != CodeInvalid {
			t.Errorf("ParsePosition(%q) = %v, %v", in, got, err)
		}
	}
}

func TestPositionJSON(t *testing.T) {
	type doc struct{ First, Last Position }
	in := doc{Position{1, 2}, Position{3, math.MaxUint64}}
	b, err := json.Marshal(in)
	if err != nil || string(b) != `{"First":"1:2","Last":"3:18446744073709551615"}` {
		t.Fatalf("%s, %v", b, err)
	}
	var out doc
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("%v, %v", out, err)
	}
	out = in
	if err := json.Unmarshal([]byte(`{"First":"nonsense"}`), &out); err == nil || out != in {
		t.Errorf("a broken position changed its target: %v, %v", out, err)
	}
}

// What parses is a position whose text reads back as itself.
func FuzzParsePosition(f *testing.F) {
	for _, s := range []string{"0:0", "1:18446744073709551615", "007:01", "-1:2", "+1:2", "1:2:3", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePosition(s)
		if err != nil {
			return
		}
		if p.Shard < 0 {
			t.Fatalf("%q has the shard %d", s, p.Shard)
		}
		if q, err := ParsePosition(p.String()); err != nil || q != p {
			t.Fatalf("%q wrote %q, which reads as %v, %v", s, p, q, err)
		}
	})
}
