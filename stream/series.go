package stream

import (
	"context"
	"encoding/binary"
	"errors"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// Series names the requests of one origin, such as the chunks of a file: twelve bytes that only it has.
// In the id of a request its number follows them.
type Series [12]byte

// Request returns the id of the request with that number.
func (s Series) Request(number uint32) record.RequestID {
	return record.RequestID(binary.BigEndian.AppendUint32(s[:len(s):len(s)], number))
}

// number is the inverse of Request; false for the request of anything else.
func (s Series) number(id record.RequestID) (uint32, bool) {
	return binary.BigEndian.Uint32(id[len(s):]), Series(id[:len(s)]) == s
}

// Place is where a part of a request goes: its records that belong into one shard.
type Place struct {
	Number uint32 // of the request in its series
	Shard  int
}

// Span is where the records of a segment are in their shard.
type Span struct {
	First uint64 // offset
	Count int
}

// Found says what a stream holds of a series.
type Found struct {
	At   map[Place]Span
	Gaps []Gap // at most one a shard
}

// Gap says that a shard no longer holds all records from a cursor on. What was among the others cannot be
// told.
type Gap struct {
	Shard int
	Err   error // the first *DamagedError, an error with CodeConflict for a log that is shorter now, nil for what has expired
}

// Cursors returns, by shard, the cursors of the next records to be accepted.
func (s *Stream) Cursors(ctx context.Context) ([]Cursor, error) {
	out := make([]Cursor, s.Shards())
	for i := range out {
		var err error
		if out[i], err = s.Latest(ctx, i); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Find returns which requests of a series are in the stream, by reading it from the cursors, one a shard,
// to its end at the time of the call. It is for those that noted Cursors before their first append and do
// not know after a crash which appends have happened: the window in which the stream itself knows repeats
// is too short for a process that was down. Errors are those of the log; the call may be repeated.
func (s *Stream) Find(ctx context.Context, series Series, from []Cursor) (Found, error) {
	f := finding{s: s, series: series, Found: Found{At: map[Place]Span{}}}
	for shard, c := range from[:min(len(from), s.Shards())] {
		if err := f.read(ctx, shard, c); err != nil {
			return Found{}, err
		}
	}
	return f.Found, nil
}

// finding is a call of Find.
type finding struct {
	s      *Stream
	series Series
	Found
}

// read looks through one shard.
func (f *finding) read(ctx context.Context, shard int, c Cursor) error {
	end, err := f.s.Latest(ctx, shard)
	if err != nil || end.Offset == c.Offset {
		return err
	}
	r, err := f.s.Reader(ctx, shard, c)
	if tarn.CodeOf(err) == tarn.CodeConflict { // the log ends before the cursor
		f.Gaps = append(f.Gaps, Gap{shard, err})
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	r.KeepReferences()
	var damaged *DamagedError
	for r.Cursor().Offset < end.Offset {
		e, ok, err := r.Poll(ctx)
		switch {
		case errors.As(err, &damaged):
			f.gap(shard, err)
		case err != nil:
			return err
		case !ok: // a scan may be behind; what it does not show yet must not pass for missing
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pollInterval):
			}
		default:
			f.note(shard, e.Batch)
		}
	}
	if r.Expired() > 0 {
		f.gap(shard, nil)
	}
	return nil
}

// note looks for requests of the series in a batch.
func (f *finding) note(shard int, b record.Batch) {
	first := b.Base
	for i := range b.Segments {
		seg := &b.Segments[i]
		if n, ours := f.series.number(seg.Request); ours {
			f.At[Place{n, shard}] = Span{first, seg.Count}
		}
		first += uint64(seg.Count)
	}
}

// gap notes the first gap of a shard; shards are read one after the other.
func (f *finding) gap(shard int, err error) {
	if n := len(f.Gaps); n == 0 || f.Gaps[n-1].Shard != shard {
		f.Gaps = append(f.Gaps, Gap{shard, err})
	}
}

// Patiently calls try until it does something else than fail with CodeBusy, and waits while admit, or the
// stream, refuses more (I8). A nil admit always agrees. It returns what try returned, or why ctx ended.
func Patiently(ctx context.Context, admit, try func() error) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if admit == nil || admit() == nil {
			if err := try(); tarn.CodeOf(err) != tarn.CodeBusy {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}
