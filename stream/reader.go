package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// Cursor says where to read. Seq is a hint that saves a search: the sequence of the message that
// holds the record, or of the one before. Zero means not known.
type Cursor struct {
	Offset uint64 // of the next record wanted
	Seq    uint64
}

// Entry is one message of a shard.
type Entry struct {
	Seq   uint64
	Time  time.Time // when it was written
	Size  int       // bytes of the message
	Batch record.Batch
}

// DamagedError reports records that were accepted and cannot be read any more. The reader goes on
// after them with the next call.
type DamagedError struct {
	Stream     string
	Shard      int
	From, Next uint64 // the offsets lost are From to Next-1
	Lost       bool   // the log came back without them, see Loss; otherwise their message is damaged
	Referred   bool   // their message is whole, and what it refers to is lost or damaged
	Err        error  // may be nil
}

func (e *DamagedError) Error() string {
	what := "damaged"
	if e.Lost {
		what = "lost: the log came back without them"
	}
	s := fmt.Sprintf("stream %s: records %d:%d to %d:%d are %s", e.Stream, e.Shard, e.From, e.Shard, e.Next-1, what)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *DamagedError) Unwrap() error { return e.Err }

// pollInterval is how often readers look for messages of other processes.
const pollInterval = 25 * time.Millisecond

// Reader reads one shard in order. It is not safe for concurrent use; many readers may read one
// shard. It keeps no state outside itself: callers remember their cursor with what they made of
// the records.
type Reader struct {
	sh      *shard
	seq     uint64 // next message
	offset  uint64 // next record
	expired uint64
	scan    Scanner
	started bool
	damaged error    // a message since offset could not be read
	held    *Message // read, but damage before it is reported first
	parts   []Entry  // of the message read last, still to be returned
	compact bool
	later   func(*record.Segment) bool // see Compact
	keep    bool
	buf     []byte // of the records fetched last, with compact
}

// Reader starts reading at the cursor. Where retention has dropped that record, reading starts at
// the first that is left and Expired counts those skipped. A cursor beyond the end of the shard is
// CodeConflict: the stream has lost what the caller has seen.
func (s *Stream) Reader(ctx context.Context, shard int, c Cursor) (*Reader, error) {
	sh, err := s.shard(shard)
	if err != nil {
		return nil, err
	}
	seq, err := sh.locate(ctx, c)
	if err != nil {
		return nil, err
	}
	return &Reader{sh: sh, seq: seq, offset: c.Offset}, nil
}

// Next returns the next entry and waits for one if there is none. The first may begin before the
// cursor; the caller skips by offset. Errors are those of Poll, CodeCanceled when ctx ends, and
// CodeUnavailable when the stream closes.
func (r *Reader) Next(ctx context.Context) (Entry, error) {
	for {
		changed, _ := r.sh.tail.wait()
		e, ok, err := r.Poll(ctx)
		if ok || err != nil {
			return e, err
		}
		var poll <-chan time.Time
		if !r.sh.s.exclusive {
			poll = time.After(pollInterval)
		}
		select {
		case <-changed:
		case <-poll:
		case <-ctx.Done():
			return Entry{}, &tarn.Error{Code: tarn.CodeCanceled, Detail: "the reader was canceled", Err: ctx.Err()}
		case <-r.sh.s.ctx.Done():
			return Entry{}, errClosing
		}
	}
}

// Poll returns the next entry, or false if there is none now. An entry without segments says that what
// lies before its base has expired. It reads, but does not wait for appends. Errors are *DamagedError for records that cannot be read, after which the reader may be
// used on, and errors of the log, after which the same call may be repeated.
func (r *Reader) Poll(ctx context.Context) (Entry, bool, error) {
	for {
		if e, ok, err := r.part(ctx); ok || err != nil {
			return e, ok, err
		}
		msg, ok, err := r.message(ctx)
		if errors.Is(err, ErrNotFound) {
			r.damaged = err
			r.skip(msg.Seq)
			continue
		}
		if err != nil {
			return Entry{}, false, err
		}
		if !ok {
			return Entry{}, false, r.damagedEnd()
		}
		b, err := record.DecodeBatch(msg.Data)
		if err != nil {
			// A scan may take short cuts: what counts is what the log itself says.
			if again, e := r.sh.log.Get(ctx, msg.Seq); e == nil {
				msg = again
				b, err = record.DecodeBatch(msg.Data)
			}
		}
		if err != nil {
			r.damaged = err
			r.skip(msg.Seq)
			continue
		}
		if err := r.gap(ctx, msg, b); err != nil {
			r.held = &msg
			return Entry{}, false, err
		}
		r.seq = msg.Seq + 1
		e := Entry{Seq: msg.Seq, Time: msg.Time, Size: len(msg.Data), Batch: b}
		if !r.keep && refers(b) {
			r.parts = split(e)
			continue
		}
		r.offset = max(r.offset, b.Base+uint64(b.Count()))
		if b.Count() == 0 { // it only says where the log goes on, see shard.continueAt
			continue
		}
		return e, true, nil
	}
}

// Cursor returns where the reader is: the record after those returned.
func (r *Reader) Cursor() Cursor { return Cursor{Offset: r.offset, Seq: r.seq} }

// Expired returns how many records retention dropped before the reader came to them.
func (r *Reader) Expired() uint64 { return r.expired }

// Close frees the reader.
func (r *Reader) Close() {
	if r.scan != nil {
		r.scan.Close()
		r.scan = nil
	}
}

// message returns the next message: the one held back, a recent one from memory, or from the log.
func (r *Reader) message(ctx context.Context) (Message, bool, error) {
	if r.held != nil {
		msg := *r.held
		r.held = nil
		return msg, true, nil
	}
	if msg, ok := r.sh.tail.get(r.seq); ok {
		r.Close()
		return msg, true, nil
	}
	if last, _ := r.sh.tail.end(); r.sh.s.exclusive && r.seq > last {
		return Message{}, false, nil
	}
	if r.scan == nil {
		r.scan = r.sh.log.Scan(r.seq, ScanOptions{})
	}
	return r.scan.Next(ctx)
}

func (r *Reader) skip(seq uint64) {
	r.seq = seq + 1
	if r.scan != nil {
		r.scan.Skip(seq)
	}
}

// gap accounts for offsets between what was read and the message. Those at the start, and those
// of messages that are no longer in the log, have expired; others are damage, or lost where no
// message ever lay between.
func (r *Reader) gap(ctx context.Context, msg Message, b record.Batch) error {
	first := !r.started
	r.started = true
	if b.Base <= r.offset {
		r.damaged = nil
		return nil
	}
	lost := r.damaged == nil && msg.Seq == max(r.seq, 1) && (!first || msg.Seq == 1)
	expired := first && r.damaged == nil && !lost
	if !expired && !lost && msg.Seq > r.seq {
		st, err := r.sh.log.State(ctx)
		if err != nil {
			r.started = !first
			return err
		}
		expired = st.FirstSeq > r.seq
	}
	count := b.Base - r.offset
	cause, from := r.damaged, r.offset
	r.damaged, r.offset = nil, b.Base
	if expired {
		r.expired += count
		return nil
	}
	return &DamagedError{Stream: r.sh.s.cfg.Name, Shard: r.sh.id, From: from, Next: b.Base, Lost: lost, Err: cause}
}

// damagedEnd reports damage at the end of the log, after which there is no message yet.
func (r *Reader) damagedEnd() error {
	last, next := r.sh.tail.end()
	if r.damaged == nil || r.seq <= last || next <= r.offset {
		return nil
	}
	err := &DamagedError{Stream: r.sh.s.cfg.Name, Shard: r.sh.id, From: r.offset, Next: next, Err: r.damaged}
	r.damaged, r.offset, r.started = nil, next, true
	return err
}
