package replay

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// TestCut: whatever is cut out of a message, the records between are there once and in order, and the
// last entry reaches the end.
func TestCut(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.Uint64Range(0, 50).Draw(t, "base")
		e := stream.Entry{Seq: 7, Batch: record.Batch{Base: base}}
		next := base
		for range rapid.IntRange(1, 4).Draw(t, "segments") {
			seg := record.Segment{Format: record.JSON, Lines: rapid.Bool().Draw(t, "lines"), Shapes: []record.ShapeRef{{Hash: 1}}}
			for range rapid.IntRange(1, 5).Draw(t, "records") {
				seg.Payload = record.AppendRecord(seg.Payload, fmt.Appendf(nil, `{"n":%d}`, next), seg.Lines)
				seg.Count++
				next++
			}
			e.Batch.Segments = append(e.Batch.Segments, seg)
		}
		from := rapid.Uint64Range(base, next-1).Draw(t, "from")
		end := rapid.Uint64Range(from+1, next).Draw(t, "end")
		skip := rapid.SliceOfNDistinct(rapid.Uint64Range(from, end-1), 0, -1, rapid.ID).Draw(t, "skip")
		slices.Sort(skip)
		var want, got []string
		for at := from; at < end; at++ {
			if !slices.Contains(skip, at) {
				want = append(want, fmt.Sprintf(`%d:{"n":%d}`, at, at))
			}
		}
		reached := from
		for _, c := range cut(e, from, end, skip) {
			if c.Batch.Base < reached {
				t.Fatalf("an entry at %d after %d", c.Batch.Base, reached)
			}
			got = append(got, recordsOf(c.Batch)...)
			reached = c.Batch.Base + uint64(c.Batch.Count())
		}
		if !slices.Equal(got, want) || reached != end {
			t.Fatalf("%d..%d without %v: %q up to %d, want %q", from, end, skip, got, reached, want)
		}
	})
}

// recordsOf returns the records of a batch as offset:bytes.
func recordsOf(b record.Batch) (out []string) {
	at := b.Base
	for _, s := range b.Segments {
		for _, rec := range s.Records() {
			out = append(out, fmt.Sprintf("%d:%s", at, rec))
			at++
		}
	}
	return out
}

// TestHistory reads spans of a real stream, from wherever, without those that have failed.
func TestHistory(t *testing.T) {
	eng, err := jetstream.Start(t.Context(), jetstream.ServerOptions{Dir: filepath.Join(t.TempDir(), "streams")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	s, err := stream.Open(t.Context(), eng, stream.Config{Name: "events", Shards: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	total := uint64(0)
	for _, n := range []int{1, 7, 30, 2, 60} {
		seg := record.Segment{Format: record.JSON, Lines: true, Arrival: time.Now().UTC()}
		for range n {
			seg.Payload = fmt.Appendf(seg.Payload, `{"n":%d}`+"\n", total)
			seg.Count++
			total++
		}
		if _, err := s.Append(t.Context(), 0, seg, ""); err != nil {
			t.Fatal(err)
		}
	}
	rapid.Check(t, func(rt *rapid.T) {
		ends := rapid.SliceOfNDistinct(rapid.Uint64Range(0, total), 2, 6, rapid.ID).Draw(rt, "ends")
		slices.Sort(ends)
		h := &history{stream: s, spans: make([][]Span, 1), backed: []uint64{0}, strict: true}
		failed := rapid.SliceOfNDistinct(rapid.Uint64Range(0, total-1), 0, 30, rapid.ID).Draw(rt, "failed")
		slices.Sort(failed)
		h.failed = func(_ context.Context, _ int, from uint64, limit int) ([]uint64, error) {
			i, _ := slices.BinarySearch(failed, from)
			return failed[i:min(i+limit, len(failed))], nil
		}
		from := rapid.Uint64Range(0, total).Draw(rt, "cursor")
		var want, got []string
		for i := 0; i+1 < len(ends); i += 2 {
			h.spans[0] = append(h.spans[0], Span{ends[i], ends[i+1]})
			for at := max(ends[i], from); at < ends[i+1]; at++ {
				if !slices.Contains(failed, at) {
					want = append(want, fmt.Sprintf(`%d:{"n":%d}`, at, at))
				}
			}
		}
		r, err := h.Reader(t.Context(), 0, stream.Cursor{Offset: from})
		if err != nil {
			rt.Fatal(err)
		}
		defer r.Close()
		reached := from
		for {
			e, ok, err := r.Poll(t.Context())
			if err != nil {
				rt.Fatal(err)
			}
			if !ok {
				break
			}
			got = append(got, recordsOf(e.Batch)...)
			reached = e.Batch.Base + uint64(e.Batch.Count())
		}
		st, _ := h.State(t.Context(), 0)
		if !slices.Equal(got, want) || reached < st.Next {
			rt.Fatalf("spans %v from %d without %v: %q up to %d, want %q", h.spans[0], from, failed, got, reached, want)
		}
	})
	// What is not there is an error, or passed over.
	for _, strict := range []bool{true, false} {
		h := &history{stream: s, spans: [][]Span{{{total - 1, total + 5}}}, backed: []uint64{0}, strict: strict}
		r, err := h.Reader(t.Context(), 0, stream.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		_, _, err = r.Poll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		e, ok, err := r.Poll(t.Context())
		if strict != (err != nil) || !strict && (!ok || e.Batch.Base != total+5) {
			t.Errorf("strict %v: %+v, %v, %v", strict, e, ok, err)
		}
		r.Close()
	}
}
