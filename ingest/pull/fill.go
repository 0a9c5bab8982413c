package pull

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// place is a part of a run: a chunk in a shard.
type place struct {
	number uint32
	shard  int
}

// fill appends what of the answer is not in the stream yet, and makes r a run that is done, or failed
// where that cannot be told.
func (p *Puller) fill(ctx context.Context, r *run) error {
	r.Records, r.Rejected, r.Rejects = 0, 0, nil
	var lost *forgotten
	have, err := p.present(ctx, r)
	if errors.As(err, &lost) {
		p.fail(r, lost.asError())
		return nil
	}
	if err != nil {
		return err
	}
	f, err := newFraming(r)
	if err != nil {
		return err
	}
	ids := p.requestsOf(r)
	for {
		c, ok, err := f.chunk()
		if err != nil {
			return err
		}
		if !ok {
			r.State = RunDone
			return nil
		}
		for i := range c.parts {
			n, err := p.part(ctx, f, &c, &c.parts[i], ids, have)
			if err != nil {
				return err
			}
			r.Records += n
		}
	}
}

// part makes one part durable in its shard (I1), unless it is there, and returns its records.
func (p *Puller) part(ctx context.Context, f *framing, c *chunk, part *record.Part, ids requests, have map[place]bool) (int64, error) {
	n := int64(part.Segment.Count)
	if have[place{c.number, part.Shard}] {
		return n, nil
	}
	seg := part.Segment
	seg.Request = ids.id(c.number)
	err := p.appendPatiently(ctx, part.Shard, seg)
	if tarn.CodeOf(err) == tarn.CodeTooLarge { // of a record that fits no message, which is alone in its chunk
		for k := range part.Segment.Count {
			i := k
			if part.Index != nil {
				i = int(part.Index[k])
			}
			f.reject(c.index[i], tarn.CodeRecordTooLarge, "the record fits no message of the stream")
		}
		return 0, nil
	}
	return n, err
}

// appendPatiently appends a segment, waiting while the stream is busy or the disk is full (I8).
func (p *Puller) appendPatiently(ctx context.Context, shard int, seg record.Segment) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := p.o.Admit()
		if err == nil {
			_, err = p.o.Stream.Append(ctx, shard, seg, "")
			if err == nil || tarn.CodeOf(err) != tarn.CodeBusy {
				return err
			}
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// present finds out which parts of a run are in the stream already, by reading it from the ends noted
// with the answer. The window in which the stream itself knows repeats is too short for a process that
// was down.
func (p *Puller) present(ctx context.Context, r *run) (map[place]bool, error) {
	ids := p.requestsOf(r)
	found := map[place]bool{}
	for shard, c := range r.plan.Cursors {
		if shard >= p.o.Stream.Shards() {
			break
		}
		if err := p.presentIn(ctx, shard, c, ids, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (p *Puller) presentIn(ctx context.Context, shard int, c stream.Cursor, ids requests, found map[place]bool) error {
	end, err := p.o.Stream.Latest(ctx, shard)
	switch {
	case err != nil || end.Offset == c.Offset:
		return err
	case end.Offset < c.Offset: // the stream has lost what it held then
		return &forgotten{shard, nil}
	}
	r, err := p.o.Stream.Reader(ctx, shard, c)
	if err != nil {
		return err
	}
	defer r.Close()
	r.KeepReferences()
	for r.Cursor().Offset < end.Offset {
		e, ok, err := r.Poll(ctx)
		var damaged *stream.DamagedError
		if errors.As(err, &damaged) || err == nil && r.Expired() > 0 {
			return &forgotten{shard, err}
		}
		if err != nil || !ok {
			return err
		}
		for i := range e.Batch.Segments {
			if n, ours := ids.number(e.Batch.Segments[i].Request); ours {
				found[place{n, shard}] = true
			}
		}
	}
	return nil
}

// forgotten says that the stream no longer holds the records of the time of a run.
type forgotten struct {
	shard int
	err   error
}

// Error implements error.
func (f *forgotten) Error() string { return f.asError().Error() }

// Unwrap returns what the stream said.
func (f *forgotten) Unwrap() error { return f.err }

func (f *forgotten) asError() error {
	return &tarn.Error{Code: tarn.CodeConflict, Err: f.err,
		Detail: fmt.Sprintf("the process stopped during the run, and shard %d of the stream no longer holds the records of that time: which of the answer's records are in it cannot be told", f.shard),
		Hint:   "compare with what the function's source has"}
}
