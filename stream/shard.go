package stream

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// shard is one log and what is on its way into it.
//
// Appends add their segment to the last group of the queue. One goroutine, run, takes groups from
// the front, gives them offsets and sends them; what arrives meanwhile gathers in the next group.
type shard struct {
	s    *Stream
	id   int
	log  Log
	tail tail

	mu       sync.Mutex
	queue    []*group // not sent yet
	closed   bool
	requests requests
	numbers  uint64 // last writer number given
	typical  int    // size of the larger of recent messages

	wake chan struct{} // something was queued, or closed

	// Owned by run.
	flight   []*group // sent, in order, each expecting the one before it
	failures int      // repairs in a row without a commit
}

// group is one message in the making.
type group struct {
	builder *record.Builder
	writer  uint64 // number of the message, to recognise it
	members []*member
	bytes   int64 // counted as pending

	deadline time.Time // when to stop trying; zero until sent
	expect   uint64    // last sequence it was sent after
	base     uint64    // offset of its first record
	sent     time.Time
	result   <-chan AppendResult

	done chan struct{} // closed when err and members are final
	err  error
}

// member is one segment of a group.
type member struct {
	group     *group
	request   record.RequestID
	index     int // of its first record in the group
	count     int
	first     uint64 // offset of its first record, once the group is done
	duplicate bool   // another writer had the request first
	withdrawn bool   // and it is no longer in the message
}

// pending bounds the bytes accepted and not yet durable (I8).
type pending struct {
	limit int64
	bytes atomic.Int64
}

// reserve takes size bytes, or reports that there is no room. A single append larger than the
// bound passes when nothing else waits.
func (p *pending) reserve(size int64) bool {
	if n := p.bytes.Add(size); n > p.limit && n != size {
		p.bytes.Add(-size)
		return false
	}
	return true
}

func (p *pending) release(size int64) { p.bytes.Add(-size) }

func openShard(ctx context.Context, s *Stream, e Engine, id int) (*shard, error) {
	log, err := e.Open(ctx, LogConfig{LogID: LogID{Stream: s.cfg.Name, Shard: id}, MaxBytes: s.cfg.MaxBytes})
	if err != nil {
		return nil, fmt.Errorf("shard %d: %w", id, err)
	}
	sh := &shard{s: s, id: id, log: log, wake: make(chan struct{}, 1), numbers: rand.Uint64() &^ (1<<32 - 1)}
	sh.requests = newRequests(s.cfg.MaxRequests)
	last, next, err := sh.continueAt(ctx, s.cfg.floor(id))
	if err != nil {
		return nil, fmt.Errorf("shard %d: %w", id, err)
	}
	sh.tail.init(last, next, s.cfg.TailBytes)
	return sh, nil
}

func (sh *shard) append(ctx context.Context, seg record.Segment, key string) (Ack, error) {
	if key != "" {
		seg.Request = requestID(key, 0)
	}
	if seg.Request != (record.RequestID{}) {
		if err := sh.requests.wait(ctx, sh.s.ctx.Done()); err != nil {
			return Ack{}, err
		}
	}
	if size := record.SegmentSize(&seg); size > sh.s.maxMessage {
		if key == "" && seg.Request != (record.RequestID{}) {
			return Ack{}, sh.whole(size)
		}
		return sh.appendSplit(ctx, seg, key)
	}
	m, duplicate, err := sh.enqueue(&seg)
	if err != nil {
		return Ack{}, err
	}
	return sh.await(ctx, m, duplicate)
}

// begin enqueues a segment, which may bring its own request id.
func (sh *shard) begin(ctx context.Context, seg record.Segment) (func(context.Context) (Ack, error), error) {
	if seg.Request != (record.RequestID{}) {
		if err := sh.requests.wait(ctx, sh.s.ctx.Done()); err != nil {
			return nil, err
		}
	}
	if size := record.SegmentSize(&seg); size > sh.s.maxMessage {
		return nil, sh.whole(size)
	}
	m, duplicate, err := sh.enqueue(&seg)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) (Ack, error) { return sh.await(ctx, m, duplicate) }, nil
}

// whole refuses a segment that cannot be split: pieces with one request id would pass for each other.
func (sh *shard) whole(size int) error {
	return &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("a segment of %d bytes is over the %d of a message", size, sh.s.maxMessage)}
}

// appendSplit appends a segment that is larger than a message. Each piece is its own idempotent
// request: the pieces of a repeat are the same, so that it adds those that are missing.
func (sh *shard) appendSplit(ctx context.Context, seg record.Segment, key string) (Ack, error) {
	pieces, err := seg.Split(sh.s.maxMessage)
	if err != nil {
		return Ack{}, err
	}
	members := make([]*member, len(pieces))
	all := Ack{Duplicate: true}
	for i := range pieces {
		if key != "" {
			pieces[i].Request = requestID(key, i)
		}
		var duplicate bool
		members[i], duplicate, err = sh.enqueue(&pieces[i])
		if err != nil && i > 0 {
			err = &tarn.Error{Code: tarn.CodeUnavailable, Err: err,
				Detail: "a part of the request was taken, the rest found no room", Hint: "repeat it with the same Idempotency-Key"}
		}
		if err != nil {
			return Ack{}, err
		}
		all.Duplicate = all.Duplicate && duplicate
	}
	for i, m := range members {
		ack, err := sh.await(ctx, m, all.Duplicate)
		if err != nil {
			return Ack{}, err
		}
		if i == 0 {
			all.First = ack.First
		}
		all.Last = ack.Last
		all.Count += ack.Count
	}
	return all, nil
}

// enqueue adds the segment to the group that gathers, or finds the member of an earlier request
// with the same id.
func (sh *shard) enqueue(seg *record.Segment) (m *member, duplicate bool, err error) {
	size := record.SegmentSize(seg)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return nil, false, errClosing
	}
	keyed := seg.Request != (record.RequestID{})
	if keyed {
		now := sh.s.cfg.Clock()
		if m := sh.requests.find(seg.Request, now); m != nil {
			return m, true, nil
		}
		if sh.requests.full() {
			return nil, false, &tarn.Error{Code: tarn.CodeBusy, Detail: fmt.Sprintf("%d requests with an Idempotency-Key are remembered, which is the bound", sh.s.cfg.MaxRequests)}
		}
	}
	if !sh.s.pending.reserve(int64(size)) { // I8
		return nil, false, &tarn.Error{Code: tarn.CodeBusy, Detail: fmt.Sprintf("%d bytes wait to become durable, which is the bound", sh.s.cfg.MaxPending), Hint: "try again in a moment"}
	}
	g := sh.gathering(size)
	m = &member{group: g, request: seg.Request, index: g.builder.Count(), count: seg.Count}
	g.builder.Add(seg)
	g.members = append(g.members, m)
	g.bytes += int64(size)
	if keyed {
		sh.requests.begin(m)
	}
	if len(sh.queue) == 1 && g.builder.Size() >= pipelineBytes {
		sh.signal()
	}
	return m, false, nil
}

// gathering returns the group that takes the next size bytes. sh.mu is held.
func (sh *shard) gathering(size int) *group {
	if n := len(sh.queue); n > 0 {
		g := sh.queue[n-1]
		if g.deadline.IsZero() && g.builder.Size()+size <= sh.s.cfg.GroupBytes {
			return g
		}
	}
	sh.numbers++
	g := &group{
		builder: record.NewBuilder(make([]byte, 0, max(size, sh.typical)+64)),
		writer:  sh.numbers,
		done:    make(chan struct{}),
	}
	sh.queue = append(sh.queue, g)
	sh.signal()
	return g
}

// signal wakes run.
func (sh *shard) signal() {
	select {
	case sh.wake <- struct{}{}:
	default:
	}
}

// await waits until the group of m is done.
func (sh *shard) await(ctx context.Context, m *member, duplicate bool) (Ack, error) {
	if m.group != nil {
		select {
		case <-m.group.done:
		case <-ctx.Done():
			return Ack{}, &tarn.Error{Code: tarn.CodeCanceled, Detail: "the caller did not wait for the records to become durable", Err: ctx.Err()}
		}
		if err := m.group.err; err != nil {
			return Ack{}, err
		}
	}
	return Ack{
		First:     tarn.Position{Shard: sh.id, Offset: m.first},
		Last:      tarn.Position{Shard: sh.id, Offset: m.first + uint64(m.count) - 1},
		Count:     m.count,
		Duplicate: duplicate || m.duplicate,
	}, nil
}

func (sh *shard) close() {
	if sh == nil {
		return
	}
	sh.mu.Lock()
	sh.closed = true
	sh.mu.Unlock()
	sh.signal()
}

var errClosing = &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the stream is closing"}
