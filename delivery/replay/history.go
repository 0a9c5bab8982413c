package replay

import (
	"context"
	"errors"

	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/stream"
)

// Span is a run of the offsets of a shard: from From on and before Next.
type Span struct {
	From uint64 `json:"from"`
	Next uint64 `json:"next"`
}

// history is a part of what a stream has ever held, as a source.
type history struct {
	stream  *stream.Stream
	archive *raw.Archive // read as far as it goes, before the stream; nil reads the stream alone
	backed  []uint64     // by shard: how far the archive goes
	opaque  bool
	spans   [][]Span // by shard, in order
	// failed returns the offsets from one on of records that are passed over because they have failed
	// before; nil passes none over.
	failed func(ctx context.Context, shard int, from uint64, limit int) ([]uint64, error)
	strict bool // what is missing in a span is an error
}

// Name implements delivery.Source.
func (h *history) Name() string { return h.stream.Name() }

// Shards implements delivery.Source.
func (h *history) Shards() int { return len(h.spans) }

// State implements delivery.Source.
func (h *history) State(_ context.Context, shard int) (stream.ShardState, error) {
	st := stream.ShardState{Shard: shard}
	if spans := h.spans[shard]; len(spans) > 0 {
		st.First, st.Next = spans[0].From, spans[len(spans)-1].Next
	}
	return st, nil
}

// Reader implements delivery.Source.
func (h *history) Reader(_ context.Context, shard int, c stream.Cursor) (delivery.Reader, error) {
	return &historyReader{h: h, shard: shard, at: c.Offset, seq: c.Seq}, nil
}

// historyReader reads the spans of one shard.
type historyReader struct {
	h     *history
	shard int
	at    uint64 // next offset
	seq   uint64 // a hint where that is
	inner delivery.Reader
	queue []stream.Entry
	skip  skipper
}

// Poll implements delivery.Reader.
func (r *historyReader) Poll(ctx context.Context) (stream.Entry, bool, error) {
	for len(r.queue) == 0 {
		span, ok := r.span()
		if !ok {
			return stream.Entry{}, false, nil
		}
		if err := r.read(ctx, span); err != nil {
			return stream.Entry{}, false, err
		}
	}
	e := r.queue[0]
	r.queue = r.queue[1:]
	return e, true, nil
}

// Close implements delivery.Reader.
func (r *historyReader) Close() {
	if r.inner != nil {
		r.inner.Close()
		r.inner = nil
	}
}

// span returns the span to read on in.
func (r *historyReader) span() (Span, bool) {
	for _, s := range r.h.spans[r.shard] {
		if r.at < s.Next {
			return s, true
		}
	}
	return Span{}, false
}

// read queues the next records of a span.
func (r *historyReader) read(ctx context.Context, span Span) error {
	if r.at < span.From {
		r.Close()
		r.at, r.seq = span.From, 0
	}
	if r.inner == nil {
		var err error
		if r.inner, err = r.h.open(ctx, r.shard, r.at, r.seq); err != nil {
			return err
		}
	}
	e, ok, err := r.inner.Poll(ctx)
	var damaged *stream.DamagedError
	switch {
	case errors.As(err, &damaged) && !r.h.strict && damaged.From < span.Next:
		damaged.Next = min(damaged.Next, span.Next)
		r.at = damaged.Next
		return damaged
	case errors.As(err, &damaged) && damaged.From >= span.Next, err == nil && ok && e.Batch.Base >= span.Next:
		return r.missing(span.Next)
	case errors.As(err, &damaged):
		return r.missing(damaged.Next)
	case err != nil:
		return err
	case !ok:
		return r.missing(span.Next)
	case e.Batch.Base > r.at:
		if err := r.missing(e.Batch.Base); err != nil {
			return err
		}
		r.queue = nil // the gap before the next entry says the same
	}
	end := min(e.Batch.Base+uint64(e.Batch.Count()), span.Next)
	if end <= r.at {
		return nil
	}
	skip, err := r.skip.between(ctx, r.h, r.shard, r.at, end)
	if err != nil {
		return err
	}
	r.queue = cut(e, r.at, end, skip)
	r.at, r.seq = end, e.Seq
	if end == span.Next {
		r.Close()
	}
	return nil
}

// missing passes over what is not there, up to an offset.
func (r *historyReader) missing(next uint64) error {
	if r.h.strict {
		return incomplete(r.h.stream.Name(), r.shard, r.at, next)
	}
	r.queue = []stream.Entry{passed(next)}
	r.at = next
	return nil
}

// passed is the entry that says that everything before an offset is passed over.
func passed(next uint64) stream.Entry {
	var e stream.Entry
	e.Batch.Base = next
	return e
}

// open reads a shard from an offset on, from the archive as far as that goes and then from the stream.
func (h *history) open(ctx context.Context, shard int, at, seq uint64) (delivery.Reader, error) {
	if h.archive != nil && at < h.backed[shard] {
		return newArchived(ctx, h, shard, at), nil
	}
	return delivery.Live(h.stream).Reader(ctx, shard, stream.Cursor{Offset: at, Seq: seq})
}

// skipPage is how many offsets of failed records are read at once.
const skipPage = 1000

// skipper finds failed records among those that are read, in order.
type skipper struct {
	known []uint64 // offsets found, in order
	from  uint64   // everything before it that failed is in known or was
	ended bool     // there are none from from on
}

// between returns the failed offsets in [from, next).
func (s *skipper) between(ctx context.Context, h *history, shard int, from, next uint64) ([]uint64, error) {
	if h.failed == nil {
		return nil, nil
	}
	for len(s.known) > 0 && s.known[0] < from {
		s.known = s.known[1:]
	}
	s.from = max(s.from, from)
	for !s.ended && s.from < next {
		page, err := h.failed(ctx, shard, s.from, skipPage)
		if err != nil {
			return nil, err
		}
		s.known = append(s.known, page...)
		if s.ended = len(page) < skipPage; !s.ended {
			s.from = page[len(page)-1] + 1
		}
	}
	n := 0
	for n < len(s.known) && s.known[n] < next {
		n++
	}
	return s.known[:n], nil
}
