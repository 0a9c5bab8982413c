package record

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite golden files")

// sample has one of everything the encoding knows.
func sample() []Segment {
	at := time.Date(2026, 11, 20, 3, 0, 0, 123456000, time.UTC)
	return []Segment{
		{Arrival: at, Count: 2, Lines: true, Payload: []byte("{\"a\":1}\n{\"a\":2}\n"),
			Shapes: []ShapeRef{{Hash: 0x0123456789abcdef}}},
		{Arrival: at.Add(time.Second), Key: "wagon-17", Request: RequestID{1, 2, 3, 15: 16}, Count: 1,
			Payload: []byte("\x0a{\n\"a\": 1\n}"), Shapes: []ShapeRef{{Hash: 1}}},
		{Format: Opaque, Arrival: at, Count: 3, Payload: []byte("\x00\x01x\x02yz")},
		{Arrival: time.Unix(-1, 0).UTC(), Count: 1, Lines: true, Payload: []byte("\n"), ShapesOverflow: true},
	}
}

// routed has what version 2 adds to version 1.
func routed() []Segment {
	s := sample()
	s[0].Routes = []string{"curated.users", "database.crm"}
	s[2].Routes = []string{}
	return s
}

// referring has what version 3 adds to version 2.
func referring() []Segment {
	s := routed()
	s[0].Payload, s[0].Ref, s[0].Routes = nil, []byte(`{"object":"raw/files/p/h/n"}`), []string{"curated.users"}
	return s
}

// TestGolden holds the encoding fixed: streams written by older versions must stay readable.
func TestGolden(t *testing.T) {
	for version, segments := range map[string][]Segment{"v1": sample(), "v2": routed(), "v3": referring()} {
		t.Run(version, func(t *testing.T) { golden(t, filepath.Join("testdata", "batch_"+version+".hex"), segments) })
	}
}

func golden(t *testing.T, path string, segments []Segment) {
	got := AppendBatch(nil, 1<<40+7, segments)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(hex.Dump(got)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), hex.Dump(got)); d != "" {
		t.Fatalf("the encoding has changed; a new one needs a new version byte:\n%s", d)
	}
	b, err := DecodeBatch(got)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(Batch{Base: 1<<40 + 7, Segments: segments}, b); d != "" {
		t.Fatal(d)
	}
	if b.Count() != 7 {
		t.Fatalf("count %d", b.Count())
	}
}

// TestGoldenShapes holds the shape hash fixed: shapes are stored in streams.
func TestGoldenShapes(t *testing.T) {
	for rec, want := range map[string]uint64{
		`{}`: 0xe7037ed1a0b428db,
		`{"a":1,"device_id":"x","nested":{"list":[1,2.5,null,true,{"b":[]}]}}`: 0x2c9b16641f382657,
	} {
		if got, err := Shape([]byte(rec)); err != nil || got != want {
			t.Errorf("%s: got %#x %v, want %#x", rec, got, err, want)
		}
	}
}

func TestShapeWith(t *testing.T) {
	for _, rec := range []string{`{}`, `{"a":1,"b":{"c":[1]}}`} {
		for _, name := range []string{"_line", "_file", "_file_hash", "eightlng"} {
			shape, err := Shape([]byte(rec))
			if err != nil {
				t.Fatal(err)
			}
			more := strings.TrimSuffix(rec, "}") + `,"` + name + `":`
			more = strings.Replace(more, "{,", "{", 1)
			for value, class := range map[string]Scalar{"123456789012345": ScalarInt, `"x"`: ScalarString, "null": ScalarNull, "true": ScalarBool, "1e999": 0, "-1.5": 0, "99999999999999999999": 0} {
				if n, ok := ScalarOfNumber([]byte(value)); ok {
					class = n
				}
				if want, _ := Shape([]byte(more + value + "}")); ShapeWith(shape, name, class) != want {
					t.Errorf("%s with %s: %s", rec, name, value)
				}
			}
		}
	}
}

func TestScalarOfNumber(t *testing.T) {
	for _, s := range []string{"", "-", "01", "1.", "1e", "x", "1 ", " 1", "+1", "nan"} {
		if _, ok := ScalarOfNumber([]byte(s)); ok {
			t.Errorf("%q is a number", s)
		}
	}
}

func TestBuilder(t *testing.T) {
	t.Run("v1", func(t *testing.T) { build(t, sample()) })
	t.Run("v2", func(t *testing.T) { build(t, routed()) })
	t.Run("v3", func(t *testing.T) { build(t, referring()) })
}

func build(t *testing.T, segments []Segment) {
	var b Builder
	for _, s := range segments {
		b.Add(&s)
	}
	got := b.Seal(1<<40+7, 0)
	if !bytes.Equal(got, AppendBatch(nil, 1<<40+7, segments)) {
		t.Fatal("builder and AppendBatch differ")
	}
	if b.Count() != 7 || b.Segments() != 4 || !b.HasRequests() || b.Size() != len(got) {
		t.Fatal(b.Count(), b.Segments(), b.HasRequests(), b.Size())
	}
	msg := b.Seal(9, 77)
	batch, err := DecodeBatch(msg)
	if err != nil || batch.Base != 9 || batch.Writer != 77 {
		t.Fatal(batch.Base, batch.Writer, err)
	}
	for _, s := range segments {
		var one Builder
		one.Add(&s)
		if one.Size() > SegmentSize(&s) {
			t.Fatalf("a message of %d bytes is larger than %d", one.Size(), SegmentSize(&s))
		}
	}
}

// TestDecodeDamage flips every bit of a message: each must be noticed.
func TestDecodeDamage(t *testing.T) {
	msg := AppendBatch(nil, 5, referring())
	for i := range len(msg) * 8 {
		bad := bytes.Clone(msg)
		bad[i/8] ^= 1 << (i % 8)
		if _, err := DecodeBatch(bad); err == nil {
			t.Fatalf("bit %d flipped and not noticed", i)
		}
	}
	for i := range msg {
		if _, err := DecodeBatch(msg[:i]); err == nil {
			t.Fatalf("cut to %d bytes and not noticed", i)
		}
	}
}

func FuzzDecodeBatch(f *testing.F) {
	f.Add(AppendBatch(nil, 3, referring())[headerSize:])
	f.Add([]byte("\x02\x00\x00\x01\x00\x01\n"))
	f.Fuzz(func(t *testing.T, segments []byte) {
		// The checksum is made right so that the fuzzer gets past it.
		msg := append(make([]byte, headerSize), segments...)
		seal(msg, crcOf(segments), version3, 0, 42, 0)
		b, err := DecodeBatch(msg)
		if err != nil {
			return
		}
		n := 0
		for i := range b.Segments {
			if b.Segments[i].Ref != nil {
				n += b.Segments[i].Count
			}
			for j, rec := range b.Segments[i].Records() {
				if j >= b.Segments[i].Count || b.Segments[i].Lines && bytes.IndexByte(rec, '\n') >= 0 {
					t.Fatal("a segment yields what it does not hold")
				}
				n++
			}
		}
		if n != b.Count() {
			t.Fatalf("%d records, count %d", n, b.Count())
		}
		again, err := DecodeBatch(AppendBatch(nil, b.Base, b.Segments))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(b, again); d != "" {
			t.Fatal(d)
		}
	})
}

func TestAppendNDJSON(t *testing.T) {
	for rec, want := range map[string]string{
		"{\"a\":1}":                  "{\"a\":1}\n",
		"{\r\n  \"a\": 1\n}":         "{    \"a\": 1 }\n",
		"{\"a\":\"b\\n\",\n\"c\":0}": "{\"a\":\"b\\n\", \"c\":0}\n",
	} {
		if got := string(AppendNDJSON([]byte("x"), []byte(rec))); got != "x"+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestComplete(t *testing.T) {
	s := Segment{Lines: true, Count: 2, Payload: []byte("{\"_line\":1}\n{\"_line\":2,\"a\":\"}\"}\n"),
		Common: []Member{{"_file", "a \"b\".csv"}, {"_file_hash", "00ff"}}}
	s.Complete()
	want := `{"_line":1,"_file":"a \"b\".csv","_file_hash":"00ff"}` + "\n" + `{"_line":2,"a":"}","_file":"a \"b\".csv","_file_hash":"00ff"}` + "\n"
	if string(s.Payload) != want || s.Common != nil || s.Check() != nil {
		t.Fatalf("%s\n%v", s.Payload, s.Check())
	}
	before := &s.Payload[0]
	if s.Complete(); &s.Payload[0] != before {
		t.Fatal("a complete segment was copied")
	}
}

func TestSplit(t *testing.T) {
	body := strings.Repeat(`{"a":1}`+"\n", 50) + strings.Repeat(`{"b":"`+strings.Repeat("x", 50)+`"}`+"\n", 50)
	f, err := Frame([]byte(body), KindAuto, FrameOptions{Key: "k", Arrival: time.Unix(9, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	seg := f.Parts[0].Segment
	pieces, err := seg.Split(1400)
	if err != nil {
		t.Fatal(err)
	}
	var joined []byte
	for _, p := range pieces {
		msg := AppendBatch(nil, 0, []Segment{p})
		if len(msg) > 1400 {
			t.Fatalf("a piece takes %d bytes", len(msg))
		}
		if _, err := DecodeBatch(msg); err != nil {
			t.Fatal(err)
		}
		for i, rec := range p.Records() {
			hash, _ := Shape(rec)
			found := false
			for _, r := range p.Shapes {
				found = found || r.Hash == hash && int(r.First) <= i
			}
			if !found {
				t.Fatalf("shape of %s is not listed", rec)
			}
		}
		joined = append(joined, p.Payload...)
	}
	if string(joined) != body || len(pieces) < 4 {
		t.Fatalf("%d pieces of %d bytes, want %d", len(pieces), len(joined), len(body))
	}
	if _, err := seg.Split(900); err == nil {
		t.Fatal("a record larger than a message was split")
	}
}
