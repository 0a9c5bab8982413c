package record

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	tarn "github.com/tarn-data/tarn"
)

// framed is what a test case compares: records by shard and rejections.
type framed struct {
	Records  []string
	Index    []int32
	Lines    bool
	Rejected []string
}

func run(t *testing.T, body string, kind Kind, o FrameOptions) framed {
	t.Helper()
	f, err := Frame([]byte(body), kind, o)
	if err != nil {
		t.Fatal(err)
	}
	var out framed
	for _, p := range f.Parts {
		out.Lines = p.Segment.Lines
		out.Index = p.Index
		if err := p.Segment.check(); err != nil {
			t.Fatal(err)
		}
		for _, rec := range p.Segment.Records() {
			out.Records = append(out.Records, string(rec))
		}
	}
	for _, r := range f.Rejected {
		out.Rejected = append(out.Rejected, fmt.Sprintf("%d %s: %s", r.Index, r.Code, r.Detail))
	}
	if f.Accepted != len(out.Records) || f.RejectedTotal != len(f.Rejected) {
		t.Fatalf("accepted %d of %d records, rejected %d of %d", f.Accepted, len(out.Records), f.RejectedTotal, len(f.Rejected))
	}
	return out
}

func TestFrame(t *testing.T) {
	const nested = "invalid_json: invalid JSON at byte 10 of the record: nested deeper than the limit of 2 levels"
	for _, c := range []struct {
		name, body string
		kind       Kind
		want       framed
	}{
		{"empty", "", KindAuto, framed{}},
		{"blank", " \r\n\n", KindAuto, framed{}},
		{"lines", "{\"a\":1}\n{\"b\":2}\n", KindAuto, framed{Records: []string{`{"a":1}`, `{"b":2}`}, Lines: true}},
		{"no final newline", "{\"a\":1}\n{\"b\":2}", KindAuto, framed{Records: []string{`{"a":1}`, `{"b":2}`}, Lines: true}},
		{"CRLF", "{\"a\":1}\r\n{\"b\":2}\r\n", KindNDJSON, framed{Records: []string{`{"a":1}`, `{"b":2}`}, Lines: true}},
		{"empty lines", "\n\n{\"a\":1}\n  \n{\"b\":2}\n\n", KindNDJSON, framed{Records: []string{`{"a":1}`, `{"b":2}`}, Lines: true}},
		{"byte order mark", "\xef\xbb\xbf{\"a\":1}\n", KindAuto, framed{Records: []string{`{"a":1}`}, Lines: true}},
		{"blanks around", "  {\"a\": 1}\t\n", KindNDJSON, framed{Records: []string{`{"a": 1}`}, Lines: true}},
		{"pretty", "{\n  \"a\": 1\n}", KindAuto, framed{Records: []string{"{\n  \"a\": 1\n}"}}},
		{"two pretty", "{\n  \"a\": 1\n}\n{\n  \"b\": 1\n}\n", KindAuto, framed{Records: []string{"{\n  \"a\": 1\n}", "{\n  \"b\": 1\n}"}}},
		{"carriage return inside", "{\"a\":\r1}\n", KindNDJSON, framed{Records: []string{"{\"a\":\r1}"}}},
		{"concatenated", `{"a":1}{"b":2} {"c":3}`, KindAuto, framed{Records: []string{`{"a":1}`, `{"b":2}`, `{"c":3}`}, Lines: true}},
		{"array", `[{"a":1}, {"b":[1,2]}]`, KindAuto, framed{Records: []string{`{"a":1}`, `{"b":[1,2]}`}, Lines: true}},
		{"empty array", ` [ ] `, KindAuto, framed{}},
		{"array of scalars", `[1,{"a":1},"x"]`, KindAuto, framed{Records: []string{`{"a":1}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 invalid_json: a record must be a JSON object", "2 invalid_json: a record must be a JSON object"}}},
		{"array not closed", `[{"a":1}`, KindAuto, framed{Records: []string{`{"a":1}`}, Lines: true, Rejected: []string{
			"1 invalid_json: invalid JSON at byte 0 of the record: it ends too early; nothing after it was read"}}},
		{"array with a comma too many", `[{"a":1},]`, KindAuto, framed{Records: []string{`{"a":1}`}, Lines: true, Rejected: []string{
			"1 invalid_json: invalid JSON at byte 0 of the record: a value is expected; nothing after it was read"}}},
		{"broken array", `[{"a":1},{"a":},{"b":1}]`, KindAuto, framed{Records: []string{`{"a":1}`}, Lines: true, Rejected: []string{
			"1 invalid_json: invalid JSON at byte 5 of the record: a value is expected; nothing after it was read"}}},
		{"after the array", `[{"a":1}] x`, KindAuto, framed{Records: []string{`{"a":1}`}, Lines: true, Rejected: []string{
			"1 invalid_json: invalid JSON at byte 0 of the record: unexpected text after the array; nothing after it was read"}}},
		{"scalar lines", "1\n{\"a\":1}\nnull\n\"x\"\n", KindAuto, framed{Records: []string{`{"a":1}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 invalid_json: a record must be a JSON object", "2 invalid_json: a record must be a JSON object", "3 invalid_json: a record must be a JSON object"}}},
		{"malformed line", "{\"a\":1}\n{\"a\":1,}\n{\"b\":2}\n", KindAuto, framed{Records: []string{`{"a":1}`, `{"b":2}`}, Index: []int32{0, 2}, Lines: true, Rejected: []string{
			"1 invalid_json: invalid JSON at byte 7 of the record: a quoted key is expected"}}},
		{"line cut short", "{\"a\":1,\n{\"b\":2}\n", KindAuto, framed{Records: []string{`{"b":2}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 invalid_json: invalid JSON at byte 8 of the record: a quoted key is expected"}}},
		{"line cut short, strict", "{\"a\":\n{\"b\":2}\n", KindNDJSON, framed{Records: []string{`{"b":2}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 invalid_json: invalid JSON at byte 5 of the record: a value is expected"}}},
		{"broken pretty record", "{\n  \"a\": x,\n  \"b\":\n    {\"c\":1}\n}\n{\"d\":1}\n", KindAuto, framed{Records: []string{`{"d":1}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 invalid_json: invalid JSON at byte 9 of the record: a value is expected"}}},
		{"text after a record", "{\"a\":1} x\n{\"b\":1}", KindAuto, framed{Records: []string{`{"b":1}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 invalid_json: invalid JSON at byte 8 of the record: unexpected text after the record"}}},
		{"two records in a line, strict", "{\"a\":1}{\"b\":1}\n", KindNDJSON, framed{Rejected: []string{
			"0 invalid_json: invalid JSON at byte 7 of the record: unexpected text after the record"}}},
		{"keys repeat", `{"a":1,"a":2}`, KindAuto, framed{Records: []string{`{"a":1,"a":2}`}, Lines: true}},
		{"huge numbers", `{"a":123456789012345678901234567890,"b":1e999,"c":-0.0E-9}`, KindAuto,
			framed{Records: []string{`{"a":123456789012345678901234567890,"b":1e999,"c":-0.0E-9}`}, Lines: true}},
		{"invalid UTF-8", "{\"a\":\"\xff\"}\n{\"b\":\"ä€😀\"}\n", KindAuto, framed{Records: []string{`{"b":"ä€😀"}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 invalid_json: invalid JSON at byte 6 of the record: a string is not valid UTF-8"}}},
		{"half surrogate", `{"a":"\ud800"}` + "\n" + `{"a":"\ud83d\ude00"}`, KindAuto, framed{Records: []string{`{"a":"\ud83d\ude00"}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 invalid_json: invalid JSON at byte 6 of the record: a \\u escape is half of a surrogate pair"}}},
		{"nested too deep in an array", `[{"a":{"b":{"c":1}}},{"d":1}]`, KindAuto, framed{Records: []string{`{"d":1}`}, Index: []int32{1}, Lines: true, Rejected: []string{"0 " + nested}}},
		{"record too large", `{"a":"` + strings.Repeat("x", 100) + `"}` + "\n{}", KindAuto, framed{Records: []string{`{}`}, Index: []int32{1}, Lines: true, Rejected: []string{
			"0 record_too_large: the record has 108 bytes, the limit is 64 (record)"}}},
		{"opaque", "\x00\n\r\xff", KindOpaque, framed{Records: []string{"\x00\n\r\xff"}}},
		{"opaque empty", "", KindOpaque, framed{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := run(t, c.body, c.kind, FrameOptions{Limits: Limits{RecordBytes: 64, Depth: 2}})
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestFrameBodyLimit(t *testing.T) {
	_, err := Frame(make([]byte, 11), KindAuto, FrameOptions{Limits: Limits{BodyBytes: 10}})
	if tarn.CodeOf(err) != tarn.CodeTooLarge {
		t.Fatal(err)
	}
}

// TestShards checks that records go to the shard of their key, and back to their index.
func TestShards(t *testing.T) {
	const shards = 3
	keys := []string{"wagon-1", "wagon-2", "wagon-3", "wagon-4", "é", "7", "true", ""}
	body := `{"d":{"id":"wagon-1"}}` + "\n" + `{"d":{"id":"wagon-2"}}` + "\nbroken\n" + `{"d":{"id":"wagon-3"}}` + "\n" +
		`{"d":{"id":"wagon-4","id":"x"}}` + "\n" + `{"d":{"id":"\u00e9"}}` + "\n" + `{"d":{"id":7}}` + "\n" + `{"d":{"id":true}}` + "\n" + `{"d":{"id":null}}` + "\n"
	f, err := Frame([]byte(body), KindAuto, FrameOptions{Shards: shards, Shard: 2, KeyPath: "d.id"})
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]int{}
	for i, key := range keys {
		index := int32(i)
		if i >= 2 {
			index++
		}
		want[index] = ShardOf(key, shards)
		if key == "" {
			want[index] = 2
		}
	}
	got := map[int32]int{}
	for _, p := range f.Parts {
		for i := range p.Segment.Records() {
			index := int32(i)
			if p.Index != nil {
				index = p.Index[i]
			}
			got[index] = p.Shard
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatal(d)
	}
	f, err = Frame([]byte(body), KindAuto, FrameOptions{Shards: shards, Shard: 1, Key: "all"})
	if err != nil || len(f.Parts) != 1 || f.Parts[0].Shard != ShardOf("all", shards) || f.Parts[0].Segment.Key != "all" {
		t.Fatal(f.Parts, err)
	}
}

// TestShardOf holds the hash fixed: records of a key must stay in their shard.
func TestShardOf(t *testing.T) {
	for key, want := range map[string]int{"": 5, "a": 12, "wagon-0001": 9} {
		if got := ShardOf(key, 16); got != want {
			t.Errorf("%q is in shard %d, want %d", key, got, want)
		}
	}
}

func TestShapes(t *testing.T) {
	same := [][]string{
		{`{"a":1,"b":"x"}`, `{"a": -999999999999999 ,"b":"\u0000"}`, "{\"a\":0,\n\"b\":\"\"}"},
		{`{"a":1000000000000000,"b":"x"}`, `{"a": -9223372036854775808 ,"b":"x"}`, `{"a":9223372036854775807,"b":"x"}`},
		{`{"a":1.0,"b":"x"}`, `{"a":1e3,"b":"x"}`, `{"a":-1.5E+99,"b":"x"}`},
		{`{"a":9223372036854775808,"b":"x"}`, `{"a":-9223372036854775809,"b":"x"}`, `{"a":1e400,"b":"x"}`},
		{`{"b":"x","a":1}`}, {`{"a":true,"b":"x"}`, `{"a":false,"b":"x"}`}, {`{"a":null,"b":"x"}`},
		{`{"a":[]}`}, {`{"a":[1]}`, `{"a":[1,2,3]}`}, {`{"a":[1,2.5]}`, `{"a":[1,1,2.5,3.5]}`}, {`{"a":[1,2.5,1]}`},
		{`{"a":[[1]]}`}, {`{"a":{}}`}, {`{"a":[{}]}`}, {`{}`}, {`{"a":{"b":1},"c":1}`}, {`{"a":{"b":1,"c":1}}`},
		{`{"abcdefgh":1}`}, {`{"abcdefghi":1}`}, {`{"abcdefgh\u0069":1}`}, {`{"abcdefghijklmnop":1}`}, {`{"":1}`},
	}
	seen := map[uint64]int{}
	for i, group := range same {
		for _, rec := range group {
			h, err := Shape([]byte(rec))
			if err != nil {
				t.Fatal(rec, err)
			}
			if j, ok := seen[h]; ok && j != i {
				t.Errorf("%s has the shape of %s", rec, same[j][0])
			}
			if seen[h] = i; rec != group[0] {
				if first, _ := Shape([]byte(group[0])); first != h {
					t.Errorf("%s has not the shape of %s", rec, group[0])
				}
			}
		}
	}
}

func TestShapesOverflow(t *testing.T) {
	var body strings.Builder
	for i := range MaxShapes {
		fmt.Fprintf(&body, "{\"k%d\":1}\n{\"k%d\":1}\n", i, i)
	}
	f, _ := Frame([]byte(body.String()), KindAuto, FrameOptions{})
	s := f.Parts[0].Segment
	if len(s.Shapes) != MaxShapes || s.ShapesOverflow || s.Shapes[5].First != 10 {
		t.Fatal(s.Shapes, s.ShapesOverflow)
	}
	f, _ = Frame([]byte(body.String()+"{}"), KindAuto, FrameOptions{})
	if s = f.Parts[0].Segment; s.Shapes != nil || !s.ShapesOverflow {
		t.Fatal(s.Shapes, s.ShapesOverflow)
	}
}

// TestAlias checks that a clean body is not copied, and that it is not written to.
func TestAlias(t *testing.T) {
	body := []byte("{\"a\":1}\n{\"a\":2}\n")
	f, _ := Frame(body, KindAuto, FrameOptions{})
	p := f.Parts[0].Segment.Payload
	if &p[0] != &body[0] || cap(p) != len(body) {
		t.Fatal("the payload is a copy")
	}
}

func TestInspect(t *testing.T) {
	n, err := Inspect([]byte(`{"a":{"b":[1,2,"x",2.5]},"t":"2026-11-20T03:00:00Z","a":{"b":[null]}}`))
	if err != nil {
		t.Fatal(err)
	}
	if !n.Repeats || len(n.Keys) != 2 || n.Keys[0] != "t" || n.Member("t").Text != "2026-11-20T03:00:00Z" {
		t.Fatalf("%+v", n)
	}
	list := n.Member("a").Member("b")
	if list.Class != Array || len(list.Children) != 1 || list.Children[0].Class != Null || n.Member("x").Member("y") != nil {
		t.Fatalf("%+v", list)
	}
	if _, err := Inspect([]byte(`[1]`)); tarn.CodeOf(err) != tarn.CodeInvalidJSON {
		t.Fatal(err)
	}
}
