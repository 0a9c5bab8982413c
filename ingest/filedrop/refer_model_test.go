package filedrop

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// TestReferModel: what comes of a file does not depend on whether the stream refers to it, whatever is in it.
func TestReferModel(t *testing.T) {
	far, near := newSite(t, 2).referring(1), newSite(t, 2).referring(math.MaxInt64)
	for _, s := range []*site{far, near} {
		s.door.o.Limits = record.Limits{RecordBytes: 400}
		s.door.chunk = 700
	}
	far.door.chunkRefers = 100
	files, referred := 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		files++
		name := fmt.Sprintf("%d.%s", files, rapid.SampledFrom([]string{"csv", "ndjson", "txt"}).Draw(rt, "format"))
		text := drawHardFile(rt, name, files)
		push := func(s *site) (out Outcome, all []string, shapes [][]record.ShapeRef) {
			from, err := s.door.o.Stream.Cursors(t.Context())
			if err != nil {
				rt.Fatal(err)
			}
			if out, err = s.door.Push(t.Context(), name, strings.NewReader(text), PushOptions{}); err != nil {
				rt.Log(err)
			}
			out.Shards = nil // the chunks are the same, the messages need not be
			for shard, c := range from {
				for _, seg := range s.segments(shard, c, true) {
					if seg.Ref != nil {
						referred++
					}
				}
				for _, seg := range s.segments(shard, c, false) {
					for _, rec := range seg.Records() {
						all = append(all, string(rec))
					}
					shapes = append(shapes, seg.Shapes)
				}
			}
			return out, all, shapes
		}
		wantOut, want, wantShapes := push(near)
		gotOut, got, gotShapes := push(far)
		if d := cmp.Diff(wantOut, gotOut); d != "" {
			rt.Errorf("the outcome differs: %s", d)
		}
		if d := cmp.Diff(want, got); d != "" {
			rt.Errorf("the records differ: %s", d)
		}
		if d := cmp.Diff(wantShapes, gotShapes); d != "" {
			rt.Errorf("the shapes differ: %s", d)
		}
	})
	if referred < files/10 {
		t.Errorf("%d references for %d files", referred, files)
	}
}

// segments returns what is in a shard behind the cursor.
func (s *site) segments(shard int, from stream.Cursor, keep bool) (all []record.Segment) {
	s.t.Helper()
	r, err := s.stream.Reader(s.t.Context(), shard, from)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	if keep {
		r.KeepReferences()
	}
	for {
		e, ok, err := r.Poll(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, e.Batch.Segments...)
	}
}

// drawHardFile draws a file, unlike any before.
func drawHardFile(t *rapid.T, name string, n int) string {
	var b strings.Builder
	if rapid.Bool().Draw(t, "mark") {
		b.WriteString("\xef\xbb\xbf")
	}
	ends := []string{"\n", "\n", "\r\n", "\r\r\n", "\n\n", "\n \n"}
	values := []string{"1", "-1.5e3", "12345678901234567890", "007", "x", "é", "true", " 7 ", "", "a\rb", "\r", "\xff", "2026-01-01", strings.Repeat("y", 150), "\x01", "😀"}
	draw := func(of []string) string { return rapid.SampledFrom(of).Draw(t, "piece") }
	end := func() { b.WriteString(draw(ends)) }
	switch {
	case strings.HasSuffix(name, ".csv"):
		names := []string{"a", "é", "_file", "_line", "_FILE", "x\ty", `"q""q"`, "_file_hash"}[:rapid.IntRange(2, 8).Draw(t, "columns")]
		b.WriteString(strings.Join(names, ","))
		end()
		values := append(values, `"two`+"\n"+`lines"`, `"q""q"`, `""`, `"a`+"\r\n"+`b"`, `"7"`, `un"closed`, `"open`)
		for range rapid.IntRange(1, 60).Draw(t, "rows") {
			for i := range names {
				if i > 0 {
					b.WriteByte(',')
				}
				if i == 0 && rapid.Bool().Draw(t, "number") {
					fmt.Fprint(&b, n)
					continue
				}
				v := draw(values[:rapid.SampledFrom([]int{5, len(values)}).Draw(t, "kind")])
				b.WriteString(v)
			}
			end()
		}
	case strings.HasSuffix(name, ".ndjson"):
		lines := []string{"{}", `{"a":1}`, ` { "a" : [1,2.5,{"b":null}] } `, "{\"a\":\r1}", `{"_file":1,"b":2}`, `{"_FILE":"x","_line":"y"}`, `{"a":1,"a":2}`, "1", "[]", `{"a":`, "", "{\"a\":\"\xff\"}", `{"é":"\u00e9"}`, `{"a":1}{"b":2}`, "{\"a\":1} x"}
		for _, size := range []int{230, 260, 300, 390, 392, 395, 401, 700} { // around the limits
			lines = append(lines, `{"s":"`+strings.Repeat("z", size-8)+`"}`)
		}
		for range rapid.IntRange(1, 60).Draw(t, "lines") {
			fmt.Fprintf(&b, "%s", draw(lines[:rapid.SampledFrom([]int{3, 7, len(lines)}).Draw(t, "kind")]))
			end()
		}
	default:
		for range rapid.IntRange(1, 60).Draw(t, "lines") {
			b.WriteString(draw(values))
			end()
		}
	}
	fmt.Fprintf(&b, `{"n":%d}`, n) // without a line break
	return b.String()
}
