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
	const nested = "invalid_json: invalid JSON at byte 10 of the record: nested deeper than the limit"
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
