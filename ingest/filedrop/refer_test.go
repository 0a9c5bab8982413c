package filedrop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// large is a file that gives some chunks, some with records that are refused.
func large(csv bool) string {
	var b strings.Builder
	if csv {
		b.WriteString("\xef\xbb\xbfa,b,c\r\n")
	}
	for i := range 3000 {
		switch {
		case i == 1234:
			b.WriteString("{\"a\":1,\n")
		case i == 2345 && csv:
			b.WriteString("1,\xff,\n")
		case i == 2345:
			b.WriteString("{\"a\":\"\xff\"}\n")
		case csv && i%7 == 0:
			fmt.Fprintf(&b, "%d,\"two\nlines, \"\"%d\"\"\",\n\n", i, i)
		case csv:
			fmt.Fprintf(&b, "%d,%s,x\r\n", i, strings.Repeat("é", i%40))
		case i%11 == 0:
			b.WriteString("{}\n \n")
		default:
			fmt.Fprintf(&b, "{\"a\":%d,\"b\":{\"c\":[%q]}} \r\n", i, strings.Repeat("é", i%40))
		}
	}
	return b.String()
}

// referring opens a door whose files are referred to from so many bytes on.
func (s *site) referring(bytes int64) *site {
	s.open()
	s.door.chunk, s.door.refers, s.door.chunkRefers = 3000, bytes, 1
	return s
}

// references lists the segments of the stream as they lie in the log.
func (s *site) references() (refs []record.Segment, others int) {
	s.t.Helper()
	r, err := s.stream.Reader(s.t.Context(), 0, stream.Cursor{})
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Close()
	r.KeepReferences()
	for {
		e, ok, err := r.Poll(s.t.Context())
		if err != nil {
			s.t.Fatal(err)
		}
		if !ok {
			return refs, others
		}
		for _, seg := range e.Batch.Segments {
			if seg.Ref == nil {
				others++
				continue
			}
			refs = append(refs, seg)
		}
	}
}

// TestRefer: the records of a file are the same to the byte, whether the stream holds them or refers to
// them, and so are their shapes.
func TestRefer(t *testing.T) {
	for _, csv := range []bool{false, true} {
		name := map[bool]string{false: "f.ndjson", true: "f.csv"}[csv]
		text := large(csv)
		push := func(s *site) (out Outcome, all []string) {
			out, err := s.door.Push(t.Context(), name, strings.NewReader(text), PushOptions{})
			if err != nil {
				t.Fatal(err)
			}
			out.Shards = nil // the chunks are the same, the messages need not be
			all, _ = s.records()
			return out, all
		}
		far, near := newSite(t, 1).referring(1), newSite(t, 1).referring(math.MaxInt64)
		gotOut, got := push(far)
		if last := gotOut.Rejects[len(gotOut.Rejects)-1]; !strings.Contains(last.Detail, "latin-1") {
			t.Errorf("%s: %+v", name, last)
		}
		wantOut, want := push(near)
		if d := cmp.Diff(wantOut, gotOut); d != "" || gotOut.Rejected == 0 {
			t.Errorf("%s: the outcome differs: %s", name, d)
		}
		if d := cmp.Diff(want, got); d != "" || len(got) != int(gotOut.Accepted) {
			t.Fatalf("%s: the records differ: %s", name, d)
		}
		refs, others := far.references()
		if len(refs) < 10 || others == 0 {
			t.Fatalf("%s: %d references, %d other segments", name, len(refs), others)
		}
		if refs, _ := near.references(); len(refs) > 0 {
			t.Fatalf("%s: %d references", name, len(refs))
		}
		for _, seg := range refs {
			got, err := far.door.o.Originals.Fetch(t.Context(), stream.FetchRequest{Ref: seg.Ref})
			if err != nil {
				t.Fatal(err)
			}
			seg.Payload, seg.Common, seg.Ref = got.Lines, got.Common, nil
			seg.Complete()
			framed, err := record.Frame(seg.Payload, record.KindNDJSON, record.FrameOptions{})
			if err != nil || framed.Accepted != seg.Count {
				t.Fatalf("%s: %d records, want %d: %v", name, framed.Accepted, seg.Count, err)
			}
			if d := cmp.Diff(framed.Parts[0].Segment.Shapes, seg.Shapes); d != "" {
				t.Fatalf("%s: the shapes differ: %s", name, d)
			}
		}
	}
}

// TestReferLost: an original that is damaged or lost takes its records with it, and no others, and says so;
// one that its lifecycle removed has expired.
func TestReferLost(t *testing.T) {
	for _, what := range []string{"damaged", "cut", "lost", "expired"} {
		s := newSite(t, 1).referring(1)
		push := func(name, text string) Outcome {
			out, err := s.door.Push(t.Context(), name, strings.NewReader(text), PushOptions{})
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		out := push("f.ndjson", strings.Repeat("{\"a\":1}\n", 100))
		push("g.ndjson", "{\"a\":2}\n")
		path := s.bucket.URL(original{pipeline: "users", hash: out.Hash, name: "f.ndjson"}.key())
		switch what {
		case "damaged":
			text := []byte(strings.Repeat("{\"a\":1}\n", 100))
			text[400]++
			if err := os.WriteFile(path, text, 0o644); err != nil {
				t.Fatal(err)
			}
		case "cut":
			if err := os.Truncate(path, 500); err != nil {
				t.Fatal(err)
			}
		case "lost":
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		case "expired":
			if _, err := s.door.o.Originals.Expire(t.Context(), time.Now().Add(time.Hour), 0); err != nil {
				t.Fatal(err)
			}
			push("g.ndjson", "{\"a\":3}\n") // it has an original
		}
		r, err := s.stream.Reader(t.Context(), 0, stream.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		lost, read := 0, 0
		for {
			e, ok, err := r.Poll(t.Context())
			var d *stream.DamagedError
			if errors.As(err, &d) {
				lost += int(d.Next - d.From)
				if d.Lost || !strings.Contains(d.Error(), "f.ndjson") {
					t.Error(d)
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			read += e.Batch.Count()
		}
		var good bool
		switch what {
		case "expired":
			good = r.Expired() == 101 && lost == 0 && read == 1
		case "lost":
			good = r.Expired() == 0 && lost == 100 && read == 1
		default: // one piece, or some
			good = r.Expired() == 0 && lost > 0 && lost < 100 && lost+read == 101
		}
		if !good {
			t.Errorf("%s: %d lost, %d read, %d expired", what, lost, read, r.Expired())
		}
	}
}

// TestReferHolds: an original stays while a stream refers to it, whatever its lifecycle says, and does not
// keep others from going.
func TestReferHolds(t *testing.T) {
	s := newSite(t, 1).referring(20)
	held := map[tarn.Position]bool{}
	s.door.o.Originals.Held = func(_ context.Context, pipeline string, at tarn.Position, taken time.Time) (bool, error) {
		if pipeline != "users" || time.Since(taken) > time.Minute {
			t.Errorf("%s %s", pipeline, taken)
		}
		return held[at], nil
	}
	for _, text := range []string{strings.Repeat("{\"a\":1}\n", 10), strings.Repeat("{\"a\":2}\n", 10), "{\"a\":3}\n"} {
		if _, err := s.door.Push(t.Context(), "f.ndjson", strings.NewReader(text), PushOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	held[tarn.Position{Offset: 9}] = true  // the last of the first file
	held[tarn.Position{Offset: 20}] = true // of the third, whose records are in the stream itself
	expire := func(want int) {
		t.Helper()
		done, err := s.door.o.Originals.Expire(t.Context(), time.Now().Add(time.Hour), 0)
		if err != nil || done.Objects != want {
			t.Fatalf("%d removed, want %d: %v", done.Objects, want, err)
		}
	}
	expire(2)
	if all, _ := s.records(); len(all) != 11 {
		t.Errorf("%d records are left", len(all))
	}
	clear(held)
	expire(1)
}

// TestReferLate: the records of a file may come into the stream long after the file was taken. Its original
// is kept for as long as they are.
func TestReferLate(t *testing.T) {
	s := newSite(t, 1)
	now := time.Now()
	s.o.Clock = func() time.Time { return now }
	s.referring(1)
	asked := 0
	s.door.o.Admit = func() error { // the disk is full for a week from when the file was taken on
		if asked++; asked == 2 {
			now = now.Add(7 * 24 * time.Hour)
			return errors.New("full")
		}
		return nil
	}
	taken := now
	if _, err := s.door.Push(t.Context(), "f.ndjson", strings.NewReader("{\"a\":1}\n"), PushOptions{}); err != nil {
		t.Fatal(err)
	}
	s.door.o.Originals.Held = func(_ context.Context, _ string, _ tarn.Position, appended time.Time) (bool, error) {
		return now.Sub(appended) < time.Hour, nil
	}
	if done, err := s.door.o.Originals.Expire(t.Context(), taken.Add(time.Hour), 0); err != nil || done.Objects > 0 {
		t.Fatal(done, err)
	}
	if all, _ := s.records(); len(all) != 1 {
		t.Errorf("%d records", len(all))
	}
}

// TestReferGoneAgain: an original that its lifecycle removed, and that came again, is missed.
func TestReferGoneAgain(t *testing.T) {
	s := newSite(t, 1).referring(1)
	push := func(o PushOptions) (out Outcome) {
		out, err := s.door.Push(t.Context(), "f.ndjson", strings.NewReader("{\"a\":1}\n"), o)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	push(PushOptions{})
	if done, err := s.door.o.Originals.Expire(t.Context(), time.Now().Add(time.Hour), 0); err != nil || done.Objects != 1 {
		t.Fatal(done, err)
	}
	out := push(PushOptions{Again: true})
	if err := s.bucket.Delete(t.Context(), original{pipeline: "users", hash: out.Hash, name: "f.ndjson"}.key()); err != nil {
		t.Fatal(err)
	}
	r, err := s.stream.Reader(t.Context(), 0, stream.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err = r.Poll(t.Context()); !errors.As(err, new(*stream.DamagedError)) {
		t.Error(err)
	}
}

func FuzzFetch(f *testing.F) {
	s := newSite(f, 1).referring(1)
	if _, err := s.door.Push(context.Background(), "f.csv", strings.NewReader(large(true)), PushOptions{}); err != nil {
		f.Fatal(err)
	}
	r, err := s.stream.Reader(context.Background(), 0, stream.Cursor{})
	if err != nil {
		f.Fatal(err)
	}
	r.KeepReferences()
	e, _, err := r.Poll(context.Background())
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(e.Batch.Segments[0].Ref))
	f.Add([]byte(`{"object":"../../etc/passwd","piece":{"bytes":1}}`))
	r.Close()
	f.Fuzz(func(t *testing.T, ref []byte) {
		got, err := s.door.o.Originals.Fetch(context.Background(), stream.FetchRequest{Ref: ref})
		if err == nil && (len(got.Lines) == 0 || got.Lines[len(got.Lines)-1] != '\n') {
			t.Errorf("%s gives %q", ref, got.Lines)
		}
		if got, err = s.door.o.Originals.Fetch(context.Background(), stream.FetchRequest{Ref: ref, Later: true}); err == nil && got.Later != nil {
			_, _ = got.Later.Load(context.Background(), nil) // no panic
		}
	})
}
