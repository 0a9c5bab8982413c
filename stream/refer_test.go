package stream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// elsewhere holds records that segments refer to. It fails now and then.
type elsewhere struct {
	lines   map[string]string // by reference; those that are missing are gone
	expired map[string]bool
	fails   int
	common  []record.Member
}

// Records that are not there.
const (
	gone    = "gone"
	expired = "expired"
)

var errBusyDisk = errors.New("the disk is busy")

func (e *elsewhere) fetch(_ context.Context, q stream.FetchRequest) (stream.Fetched, error) {
	if e.fails++; e.fails%3 == 1 {
		return stream.Fetched{}, errBusyDisk
	}
	if e.expired[string(q.Ref)] {
		return stream.Fetched{}, stream.ErrExpired
	}
	lines, ok := e.lines[string(q.Ref)]
	if !ok {
		return stream.Fetched{}, fmt.Errorf("%w: %s is gone", record.ErrCorrupt, q.Ref)
	}
	return stream.Fetched{Lines: append(q.Buf[:0], lines...), Common: e.common}, nil
}

// TestReferences: records that lie elsewhere are read in their places, from every offset; those that are
// gone are reported with their offsets and take no others with them.
func TestReferences(t *testing.T) {
	e := embedded(t, t.TempDir())
	defer e.Close()
	world := 0
	rapid.Check(t, func(rt *rapid.T) {
		world++
		far := &elsewhere{lines: map[string]string{}, expired: map[string]bool{}, common: []record.Member{{Name: "_file", Value: "a.csv"}}}
		s := open(t, e, stream.Config{Name: fmt.Sprint("w", world), Fetch: far.fetch, TailBytes: rapid.SampledFrom([]int{1, 1 << 20}).Draw(rt, "tail")})
		defer s.Close()
		var want []string // by offset; gone and expired for those that are not there
		var waits []func(context.Context) (stream.Ack, error)
		for i := range rapid.IntRange(1, 12).Draw(rt, "segments") {
			seg := lines(fmt.Sprint("p", i), rapid.IntRange(1, 4).Draw(rt, "count"))
			all := slices.Collect(func(yield func(string) bool) {
				for _, rec := range seg.Records() {
					if !yield(string(rec)) {
						return
					}
				}
			})
			if kind := rapid.SampledFrom([]string{"plain", "reference", gone, expired}).Draw(rt, "kind"); kind != "plain" {
				seg.Ref, seg.Payload = []byte(fmt.Sprint("ref-", i)), nil
				for k := range all {
					all[k] = fmt.Sprintf(`{"_line":%d,"_file":"a.csv"}`, k)
					if kind != "reference" {
						all[k] = kind
					}
				}
				switch kind {
				case expired:
					far.expired[string(seg.Ref)] = true
				case "reference":
					far.lines[string(seg.Ref)] = strings.ReplaceAll(strings.Join(all, "\n"), `,"_file":"a.csv"`, "") + "\n"
				}
			}
			want = append(want, all...)
			wait, err := s.Begin(context.Background(), 0, seg)
			if err != nil {
				rt.Fatal(err)
			}
			waits = append(waits, wait)
			if rapid.Bool().Draw(rt, "wait") { // what follows is another message
				if _, err := wait(context.Background()); err != nil {
					rt.Fatal(err)
				}
			}
		}
		for _, wait := range waits {
			if _, err := wait(context.Background()); err != nil {
				rt.Fatal(err)
			}
		}
		compact := rapid.Bool().Draw(rt, "compact")
		for from := range want {
			checkReferences(rt, s, uint64(from), want, compact)
		}
	})
}

// checkReferences reads from an offset to the end.
func checkReferences(rt *rapid.T, s *stream.Stream, from uint64, want []string, compact bool) {
	r, err := s.Reader(context.Background(), 0, stream.Cursor{Offset: from})
	if err != nil {
		rt.Fatal(err)
	}
	defer r.Close()
	if compact {
		r.Compact(nil)
	}
	for at := from; at < uint64(len(want)); {
		e, ok, err := r.Poll(context.Background())
		var d *stream.DamagedError
		switch {
		case errors.As(err, &d):
			if d.From != at || d.Lost || slices.ContainsFunc(want[d.From:d.Next], func(w string) bool { return w != gone }) {
				rt.Fatalf("from %d, at %d: %v", from, at, d)
			}
			at = d.Next
		case errors.Is(err, errBusyDisk):
			continue
		case err != nil || !ok:
			rt.Fatal(at, ok, err)
		default:
			offset := e.Batch.Base
			for ; at < offset; at++ {
				if want[at] != expired {
					rt.Fatalf("record %d was passed over: %s", at, want[at])
				}
			}
			for i := range e.Batch.Segments {
				seg := &e.Batch.Segments[i]
				seg.Complete()
				for _, rec := range seg.Records() {
					if offset >= at && string(rec) != want[offset] {
						rt.Fatalf("record %d is %s, want %s", offset, rec, want[offset])
					}
					offset++
				}
			}
			at = offset
		}
		if c := r.Cursor(); c.Offset != at {
			rt.Fatalf("the cursor is at %d, the reader at %d", c.Offset, at)
		}
	}
	if _, ok, err := r.Poll(context.Background()); ok || err != nil {
		rt.Fatal("behind the end:", ok, err)
	}
}
