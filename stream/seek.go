package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// ShardState describes a shard.
type ShardState struct {
	Shard               int
	First, Next         uint64 // offsets: of the first record kept, and of the next one accepted
	FirstSeq, LastSeq   uint64 // of messages; without any, FirstSeq is LastSeq+1
	Messages, Bytes     uint64
	FirstTime, LastTime time.Time // when those messages were written
}

func (s *Stream) shard(i int) (*shard, error) {
	if i < 0 || i >= len(s.shards) {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("stream %s has no shard %d", s.cfg.Name, i)}
	}
	return s.shards[i], nil
}

// State describes a shard now.
func (s *Stream) State(ctx context.Context, shard int) (ShardState, error) {
	sh, err := s.shard(shard)
	if err != nil {
		return ShardState{}, err
	}
	st, err := sh.log.State(ctx)
	if err != nil {
		return ShardState{}, err
	}
	_, next, err := sh.end(ctx)
	if err != nil {
		return ShardState{}, err
	}
	first := next
	if c, err := sh.earliest(ctx, st.FirstSeq); err == nil {
		first = c.Offset
	} else if !errors.Is(err, ErrNotFound) {
		return ShardState{}, err
	}
	return ShardState{
		Shard: shard, First: first, Next: next,
		FirstSeq: st.FirstSeq, LastSeq: st.LastSeq,
		Messages: st.Messages, Bytes: st.Bytes,
		FirstTime: st.FirstTime, LastTime: st.LastTime,
	}, nil
}

// End returns the offset after the last record of a shard that this process knows to be durable, 0 for
// a shard that does not exist. It asks nobody.
func (s *Stream) End(shard int) uint64 {
	sh, err := s.shard(shard)
	if err != nil {
		return 0
	}
	_, next := sh.tail.end()
	return next
}

// Earliest returns the cursor of the first record kept.
func (s *Stream) Earliest(ctx context.Context, shard int) (Cursor, error) {
	st, err := s.State(ctx, shard)
	return Cursor{Offset: st.First, Seq: st.FirstSeq}, err
}

// Latest returns the cursor of the next record to be accepted.
func (s *Stream) Latest(ctx context.Context, shard int) (Cursor, error) {
	sh, err := s.shard(shard)
	if err != nil {
		return Cursor{}, err
	}
	last, next, err := sh.end(ctx)
	return Cursor{Offset: next, Seq: last + 1}, err
}

// Seek returns the cursor of the first message that was written at or after that time, or Latest
// if there is none yet. A message holds the records of some milliseconds.
func (s *Stream) Seek(ctx context.Context, shard int, at time.Time) (Cursor, error) {
	sh, err := s.shard(shard)
	if err != nil {
		return Cursor{}, err
	}
	seq, err := sh.log.SeqAt(ctx, at)
	if errors.Is(err, ErrNotFound) {
		return s.Latest(ctx, shard)
	}
	if err != nil {
		return Cursor{}, err
	}
	c, err := sh.earliest(ctx, seq)
	if errors.Is(err, ErrNotFound) {
		return s.Latest(ctx, shard)
	}
	return c, err
}

// end returns the sequence of the last message and the offset of the next record.
func (sh *shard) end(ctx context.Context) (last, next uint64, err error) {
	last, next = sh.tail.end()
	if sh.s.exclusive {
		return last, next, nil
	}
	msg, err := sh.log.Last(ctx)
	if errors.Is(err, ErrNotFound) {
		return last, next, nil
	}
	if err != nil || msg.Seq <= last {
		return last, next, err
	}
	b, err := record.DecodeBatch(msg.Data)
	if err != nil {
		return last, next, nil // what comes next is decided by who appends it
	}
	return msg.Seq, max(next, b.Base+uint64(b.Count())), nil
}

// earliest returns the cursor of the first readable message from seq on.
func (sh *shard) earliest(ctx context.Context, seq uint64) (Cursor, error) {
	last, _, err := sh.end(ctx)
	if err != nil {
		return Cursor{}, err
	}
	for ; seq <= last; seq++ {
		base, err := sh.base(ctx, seq)
		if err == nil {
			return Cursor{Offset: base, Seq: seq}, nil
		}
		if !errors.Is(err, ErrNotFound) && !errors.Is(err, record.ErrCorrupt) {
			return Cursor{}, err
		}
	}
	return Cursor{}, ErrNotFound
}

// base returns the offset of the first record of a message.
func (sh *shard) base(ctx context.Context, seq uint64) (uint64, error) {
	msg, ok := sh.tail.get(seq)
	if !ok {
		var err error
		if msg, err = sh.log.Get(ctx, seq); err != nil {
			return 0, err
		}
	}
	h, err := record.DecodeHeader(msg.Data)
	return h.Base, err
}

// locate returns the sequence of the message that holds the record at the cursor, or of the first
// one kept if that is gone, or of the one to come.
func (sh *shard) locate(ctx context.Context, c Cursor) (uint64, error) {
	last, next, err := sh.end(ctx)
	if err != nil {
		return 0, err
	}
	switch {
	case c.Offset > next:
		return 0, &tarn.Error{Code: tarn.CodeConflict,
			Detail: fmt.Sprintf("stream %s: offset %d:%d is past the end %d:%d, records that were read are not in the stream any more", sh.s.cfg.Name, sh.id, c.Offset, sh.id, next),
			Hint:   "the stream was replaced or restored from an older copy"}
	case c.Offset == next:
		return last + 1, nil
	}
	if seq, ok := sh.hinted(ctx, c, last, next); ok {
		return seq, nil
	}
	st, err := sh.log.State(ctx)
	if err != nil {
		return 0, err
	}
	// Invariant: messages before low begin at or before the offset, those from high on after it.
	low, high := st.FirstSeq, last+1
	for low < high {
		mid := low + (high-low)/2
		at, err := sh.earliest(ctx, mid)
		switch {
		case errors.Is(err, ErrNotFound) || err == nil && at.Seq >= high:
			high = mid
		case err != nil:
			return 0, err
		case at.Offset <= c.Offset:
			low = at.Seq + 1
		default:
			high = mid
		}
	}
	return max(low, st.FirstSeq+1) - 1, nil
}

// hinted checks the hint of the cursor: it saves the search if the message it names holds the
// record or ends right before it.
func (sh *shard) hinted(ctx context.Context, c Cursor, last, next uint64) (uint64, bool) {
	if c.Seq == 0 || c.Seq > last {
		return 0, false
	}
	from, err := sh.base(ctx, c.Seq)
	if err != nil || from > c.Offset {
		return 0, false
	}
	until := next
	if c.Seq < last {
		if until, err = sh.base(ctx, c.Seq+1); err != nil {
			return 0, false
		}
	}
	if c.Offset < until {
		return c.Seq, true
	}
	if c.Offset == until {
		return c.Seq + 1, true
	}
	return 0, false
}
