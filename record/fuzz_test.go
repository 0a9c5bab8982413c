package record

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

var seeds = []string{
	"", "{}", "{\"a\":1}\n{\"b\":2}\n", "\xef\xbb\xbf{\"a\":null}\r\n\r\n {\"b\":[true,false]} \n", "[{\"a\":1},2,{\"b\":{}}]",
	"{\n \"a\": [1, -0, 1.5e+9, 0.1, 12345678901234567890],\n \"bcdefghijkl\\n\": \"\\u00e4\\ud83d\\ude00\"\n}\n{\"x\":\"ä\"}",
	"{\"a\":\"\\ud800\"}\n{\"a\":\"\xff\"}\n{\"a\":\"\x01\"}\n1\nnull\n", "{\"a\":01}\n{\"a\":1.}\n{\"a\":1e}\n{\"a\":-}\n{\"a\":tru}\n{a:1}\n",
	"{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}\n{\"a\":1}x\n{\"a\":1}{\"b\":1}\n", "{\"a\":1,\"a\":2,\"\\u0061\":[3]}", "{\"a\":1\n,\"b\":2}\n{\"c\":3}",
	strings.Repeat("{\"id\":\"abc\",\"n\":{\"x\":1.5,\"y\":-20},\"ok\":true,\"z\":null,\"l\":[1,2]}\n", 4) + "{\"id\":\"\\n\",\"n\":{\"x\":1e5,\"y\":0},\"ok\":false,\"z\":null,\"l\":[1,2]}\n",
	"{\"a\":1}\n{\"a\":12}\n{\"a\":012}\n{\"a\":1.}\n{\"a\":1}}\n{\"a\":\"\"}\n{\"a\":99999999999999999999}\n{\"a\":-1}",
}

// acceptable says whether a line is a record, by encoding/json and the rules added to it.
func acceptable(line []byte, depth int) bool {
	if !json.Valid(line) || line[0] != '{' || !utf8.Valid(line) {
		return false
	}
	// Nesting and half surrogates, which encoding/json lets pass.
	deep, inString := 0, false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case inString && c == '\\':
			if i++; line[i] == 'u' {
				r := strings.ToLower(string(line[i+1 : i+5]))
				i += 4
				if r[0] != 'd' || r[1] < '8' {
					continue
				}
				next := strings.ToLower(string(line[i+1 : min(len(line), i+7)]))
				if r[1] >= 'c' || len(next) < 6 || next[:2] != `\u` || next[2] != 'd' || next[3] < 'c' {
					return false
				}
				i += 6
			}
		case c == '"':
			inString = !inString
		case !inString && (c == '{' || c == '['):
			if deep++; deep > depth {
				return false
			}
		case !inString && (c == '}' || c == ']'):
			deep--
		}
	}
	return true
}

// FuzzNDJSON compares what Frame takes of every line with encoding/json.
func FuzzNDJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	const depth = 4
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Frame(body, KindNDJSON, FrameOptions{Limits: Limits{Depth: depth}})
		if err != nil {
			t.Skip()
		}
		var want []string
		var index []int32
		n := int32(0)
		for line := range bytes.Lines(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf"))) {
			line = bytes.Trim(line, " \t\r\n")
			if len(line) == 0 {
				continue
			}
			if acceptable(line, depth) {
				want, index = append(want, string(line)), append(index, n)
			}
			n++
		}
		var have []string
		var haveIndex []int32
		for _, p := range got.Parts {
			if err := p.Segment.check(); err != nil {
				t.Fatal(err)
			}
			checkShapes(t, p.Segment)
			for i, rec := range p.Segment.Records() {
				have = append(have, string(rec))
				if p.Index != nil {
					haveIndex = append(haveIndex, p.Index[i])
				} else {
					haveIndex = append(haveIndex, int32(i))
				}
			}
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Fatal(d)
		}
		if d := cmp.Diff(index, haveIndex); d != "" {
			t.Fatal(d)
		}
		if got.Accepted != len(want) || got.RejectedTotal != int(n)-len(want) {
			t.Fatalf("accepted %d, rejected %d, want %d of %d", got.Accepted, got.RejectedTotal, len(want), n)
		}
	})
}

// FuzzAuto holds what Frame takes to be records of the body, each valid, in order, and to agree
// with Inspect and AppendDistinct about them.
func FuzzAuto(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := Frame(body, KindAuto, FrameOptions{})
		if err != nil {
			t.Skip()
		}
		at := 0
		for _, p := range got.Parts {
			if err := p.Segment.check(); err != nil {
				t.Fatal(err)
			}
			for _, rec := range p.Segment.Records() {
				i := bytes.Index(body[at:], rec)
				if i < 0 || !acceptable(rec, DefaultDepth) {
					t.Fatalf("%q is no record of the body", rec)
				}
				at += i + len(rec)
				checkRecord(t, rec, p.Segment.Shapes)
			}
		}
	})
}

// checkShapes compares the shapes of a segment with those of its records one by one.
func checkShapes(t *testing.T, s Segment) {
	var want []ShapeRef
	seen := map[uint64]bool{}
	for i, rec := range s.Records() {
		hash, err := Shape(rec)
		if err != nil {
			t.Fatal(err)
		}
		if !seen[hash] {
			seen[hash] = true
			want = append(want, ShapeRef{Hash: hash, First: uint32(i)})
		}
	}
	if d := cmp.Diff(want, s.Shapes); d != "" && !s.ShapesOverflow {
		t.Fatal(d)
	}
}

func checkRecord(t *testing.T, rec []byte, shapes []ShapeRef) {
	hash, err := Shape(rec)
	if err != nil {
		t.Fatal(err)
	}
	listed := shapes == nil
	for _, s := range shapes {
		listed = listed || s.Hash == hash
	}
	node, err := Inspect(rec)
	if err != nil || node.Shape != hash || !listed {
		t.Fatalf("%q has shape %#x, inspected %#x %v, listed %v", rec, hash, node.Shape, err, listed)
	}
	checkLookup(t, rec, node)
	line := AppendDistinct(nil, rec)
	var want, have any
	if err := json.Unmarshal(rec, &want); err != nil {
		return // a number that no float holds
	}
	if err := json.Unmarshal(line, &have); err != nil || !reflect.DeepEqual(want, have) {
		t.Fatalf("%q became %q: %v", rec, line, err)
	}
	if again, err := Inspect(line[:len(line)-1]); err != nil || again.Repeats {
		t.Fatalf("%q became %q, which still repeats a key: %v", rec, line, err)
	}
	if bytes.IndexByte(line, '\n') != len(line)-1 || bytes.IndexByte(line, '\r') >= 0 {
		t.Fatalf("%q is no line", line)
	}
}

// checkLookup compares lookup with the inspected record for every path of two keys or less.
func checkLookup(t *testing.T, rec []byte, node *Node) {
	if node.Repeats {
		return // of a repeated key lookup takes the first, Inspect the last
	}
	check := func(n *Node, path ...string) {
		got, ok := lookup(rec, path)
		want := n.Class != Object && n.Class != Array && n.Class != Null
		if ok != want || ok && string(got) != n.Text {
			t.Fatalf("%q in %q: got %q %v, want %q %v", path, rec, got, ok, n.Text, want)
		}
	}
	for i, key := range node.Keys {
		check(node.Children[i], key)
		for j, inner := range node.Children[i].Keys {
			check(node.Children[i].Children[j], key, inner)
		}
	}
	if got, ok := lookup(rec, []string{"no such key"}); ok && node.Member("no such key") == nil {
		t.Fatalf("found %q", got)
	}
}

// TestNestedAttack holds the work linear: a body of opened containers is read a bounded number of
// times.
func TestNestedAttack(t *testing.T) {
	for _, kind := range []Kind{KindAuto, KindNDJSON} {
		for _, line := range []string{"{\"a\":[\n", "{\"a\":\n", "[\n", "{\"a\":{\n"} {
			body := []byte(strings.Repeat(line, (8<<20)/len(line)))
			got, err := Frame(body, kind, FrameOptions{})
			if err != nil || got.Accepted != 0 || len(got.Rejected) > MaxRejects || got.RejectedTotal == 0 {
				t.Fatalf("%q: accepted %d, rejected %d, %v", line, got.Accepted, got.RejectedTotal, err)
			}
		}
	}
}

// FuzzUnescape compares with encoding/json what a string says.
func FuzzUnescape(f *testing.F) {
	for _, s := range []string{"", "plain ä", `\"\\\/\b\f\n\r\t`, `\u0000\u00E4\u20ac`, `x\ud83d\uDE00y`, `\uffff`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		rec := []byte(`{"s":"` + string(content) + `"}`)
		var want struct{ S string }
		if _, err := Shape(rec); err != nil || json.Unmarshal(rec, &want) != nil || len(want.S) == 0 {
			return
		}
		n, err := Inspect(rec)
		if err != nil || len(n.Keys) != 1 || n.Keys[0] != "s" { // other members came with the content
			return
		}
		if n.Children[0].Text != want.S || string(AppendUnescaped([]byte("x"), content)) != "x"+want.S {
			t.Fatalf("%q is %q, want %q", content, n.Children[0].Text, want.S)
		}
	})
}
