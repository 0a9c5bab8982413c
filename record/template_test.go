package record

import (
	"fmt"
	"strings"
	"testing"
)

// TestTemplate checks that records of one shape are checked by the template, with values of every
// class, and that one that differs in anything else is not.
func TestTemplate(t *testing.T) {
	first := `{"s":"text","i":1,"w":1700000000000000000,"d":1.5,"b":123456789012345678901,"t":true,"n":null,"o":{"l":[1,2],"e":{}}}`
	same := []string{
		`{"s":"","i":-99,"w":-9223372036854775808,"d":2e-9,"b":1e400,"t":false,"n":null,"o":{"l":[3,44],"e":{}}}`,
		`{"s":"much longer than eight bytes","i":0,"w":1234567890123456,"d":-0.0,"b":9223372036854775808,"t":true,"n":null,"o":{"l":[0,0],"e":{}}}`,
		`{"s":"\"\u00e4 ä €","i":123456789012345,"w":9223372036854775807,"d":1.0,"b":-1E+100,"t":true,"n":null,"o":{"l":[1,2],"e":{}}}`,
	}
	other := []string{
		strings.Replace(first, `"i":1`, `"i":1.5`, 1), strings.Replace(first, `"i":1`, `"i":01`, 1), strings.Replace(first, `"i":1`, `"j":1`, 1),
		strings.Replace(first, `"text"`, `null`, 1), strings.Replace(first, `"text"`, "\"te\nxt\"", 1), strings.Replace(first, `"text"`, `"\x"`, 1),
		strings.Replace(first, `true`, `truf`, 1), strings.Replace(first, `true`, `"x"`, 1), strings.Replace(first, `null`, `nul`, 1),
		strings.Replace(first, `[1,2]`, `[1,2,3]`, 1), strings.Replace(first, `1.5`, `1.`, 1), strings.Replace(first, `1.5`, `1`, 1),
		strings.Replace(first, `{}}}`, `{}}`, 1), strings.Replace(first, `:{}`, `:[]`, 1), strings.Replace(first, `,"t"`, ` ,"t"`, 1),
	}
	shape, err := Shape([]byte(first))
	if err != nil {
		t.Fatal(err)
	}
	var tm template
	tm.learn([]byte(first), shape)
	s := scanner{depth: DefaultDepth}
	pad := strings.Repeat(" ", 16)
	for _, rec := range append(same, first) {
		if end := tm.match(&s, []byte(rec+pad), 0); end != len(rec) || s.soft != "" {
			t.Errorf("%s: matched to %d of %d", rec, end, len(rec))
		}
		if got, err := Shape([]byte(rec)); err != nil || got != shape {
			t.Errorf("%s: shape %#x %v", rec, got, err)
		}
	}
	for _, rec := range other {
		if end := tm.match(&s, []byte(rec+pad), 0); end >= 0 {
			t.Errorf("%s: matched to %d", rec, end)
		}
	}
	for i := range len(first) {
		if end := tm.match(&s, []byte(first[:i]+pad), 0); end >= 0 {
			t.Errorf("%s: matched to %d", first[:i], end)
		}
	}
}

// TestTemplateIsUsed: a body of like records is checked by a template, one of unlike ones not for
// long.
func TestTemplateIsUsed(t *testing.T) {
	count := func(record func(i int) string) (hits int) {
		var body strings.Builder
		for i := range 500 {
			body.WriteString(record(i) + "\n")
		}
		f := newFramer([]byte(body.String()), FrameOptions{Limits: Limits{}.withDefaults()})
		f.json(true)
		if out := f.finish(); out.Accepted != 500 {
			t.Fatal(out)
		}
		return f.known.hits
	}
	if n := count(func(i int) string { return fmt.Sprintf(`{"id":%d,"at":%d}`, i, 1700000000000000000+i) }); n < 490 {
		t.Errorf("%d of 500 like records matched", n)
	}
	if n := count(func(i int) string { return fmt.Sprintf(`{"id%d":%d}`, i, i) }); n != 0 {
		t.Errorf("%d unlike records matched", n)
	}
}
