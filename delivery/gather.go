package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn/function/firehose"
	"github.com/tarn-data/tarn/stream"
)

// gatherer reads the shards of a stream and fills chunks. One goroutine runs it.
type gatherer struct {
	w       *Worker
	readers []Reader
	callers []*caller // of the readers, when records go through functions first
	spans   []span    // where the next chunk begins, by shard
	cur     *chunk
	sample  *chunk // the first records of a table without columns yet, not checked
	sampled int
	held    []*stream.Entry        // by shard: read, and waiting for the next chunk
	damaged []*stream.DamagedError // likewise
	first   int                    // the shard that fills the next chunk first, so that each has its turn
}

// readError is a failure to read, which at the end of a session is no failure.
type readError struct{ error }

// Unwrap returns the cause.
func (e readError) Unwrap() error { return e.error }

// The sample that decides a table's first columns.
const (
	sampleRecords = 1000
	sampleWait    = 300 * time.Millisecond
)

// idlePoll bounds how late new records are noticed.
const idlePoll = 20 * time.Millisecond

// open places a reader at the committed progress of every shard.
func (w *Worker) open(ctx context.Context) (_ *gatherer, err error) {
	docs, rows, err := w.target.begin(ctx)
	if err != nil {
		return nil, err
	}
	in := &input{}
	if err := in.load(w.cfg, docs); err != nil {
		return nil, err
	}
	g := &gatherer{w: w}
	defer func() {
		if err != nil {
			g.close()
		}
	}()
	for i := range w.cfg.Source.Shards() {
		s := span{shard: i}
		for _, r := range rows {
			if r.Stream == w.cfg.Source.Name() && r.Shard == i {
				s.next, s.nextSeq = r.Next, r.NextSeq
			}
		}
		r, err := w.cfg.Source.Reader(ctx, i, stream.Cursor{Offset: s.next, Seq: s.nextSeq})
		if err != nil {
			return nil, fmt.Errorf("read shard %d at offset %d: %w", i, s.next, err)
		}
		g.compact(r)
		g.readers = append(g.readers, r)
		g.held, g.damaged = append(g.held, nil), append(g.damaged, nil)
		if len(w.cfg.Functions) > 0 {
			g.callers = append(g.callers, newCaller(w, i, r, s.next))
		}
		g.spans = append(g.spans, s)
	}
	w.mu.Lock()
	w.input = in
	w.done = make([]uint64, len(g.spans))
	for i, s := range g.spans {
		w.done[i] = s.next
	}
	w.notify()
	w.mu.Unlock()
	return g, nil
}

func (g *gatherer) close() {
	for _, c := range g.callers {
		c.close()
	}
	for _, r := range g.readers {
		r.Close()
	}
}

// run fills chunks until ctx is done, and hands over the last one then.
func (g *gatherer) run(ctx context.Context, out chan<- *chunk) error {
	for {
		found, err := g.fill(ctx)
		if _, reading := err.(readError); err != nil && (!reading || ctx.Err() == nil) {
			return errors.Join(err, g.abandon())
		}
		if g.ready(ctx, found) {
			if err := g.hand(ctx, out); err != nil {
				return errors.Join(err, g.abandon())
			}
		}
		if ctx.Err() != nil {
			return g.abandon()
		}
		if !found {
			g.w.spares.drop()
			select {
			case <-ctx.Done():
			case <-time.After(idlePoll):
			}
		}
	}
}

func (g *gatherer) abandon() error {
	for _, c := range []*chunk{g.cur, g.sample} {
		if c != nil {
			c.discard()
		}
	}
	return nil
}

// fill adds what the shards have, in turn, until the chunk is full or nothing is left.
func (g *gatherer) fill(ctx context.Context) (found bool, err error) {
	if g.w.rests() {
		return false, nil
	}
	for more := true; more; {
		more = false
		for k := range g.readers {
			i := (g.first + k) % len(g.readers)
			if c := g.target(); c != nil {
				if c.full(g.w.chunkBytes.Load()) || g.sample != nil && g.sampled >= sampleRecords {
					return found, nil
				}
				if !g.shares(c, i) {
					continue
				}
			}
			ok, err := g.poll(ctx, i)
			if err != nil {
				return found, err
			}
			found, more = found || ok, more || ok
		}
		if ctx.Err() != nil {
			return found, nil
		}
	}
	return found, nil
}

// poll adds the next records of a shard, if there are any.
func (g *gatherer) poll(ctx context.Context, shard int) (found bool, err error) {
	if d := g.damaged[shard]; d != nil {
		g.damaged[shard] = nil
		return true, g.lost(shard, d)
	}
	if g.callers != nil {
		e, ok, err := g.callers[shard].poll(ctx)
		if err != nil || !ok {
			return ok, err
		}
		return true, g.takeCalled(shard, e)
	}
	if e := g.held[shard]; e != nil {
		g.held[shard] = nil
		return true, g.take(ctx, shard, *e)
	}
	e, ok, err := g.readers[shard].Poll(ctx)
	var damaged *stream.DamagedError
	switch {
	case errors.As(err, &damaged):
		return true, g.lost(shard, damaged)
	case err != nil:
		return false, readError{fmt.Errorf("read shard %d: %w", shard, err)}
	case !ok:
		return false, nil
	}
	return true, g.take(ctx, shard, e)
}

// calling reports whether records are on their way through functions.
func (g *gatherer) calling() bool {
	for _, c := range g.callers {
		if len(c.queue) > 0 || c.filled != nil {
			return true
		}
	}
	return false
}

// target is the chunk being filled.
func (g *gatherer) target() *chunk {
	if g.sample != nil {
		return g.sample
	}
	return g.cur
}

// shares reports whether records of a shard may join the chunk: the rows of a transform that
// filters can be counted by shard only if the chunk has one.
func (g *gatherer) shares(c *chunk, shard int) bool {
	if g.w.tr.exact {
		return true
	}
	for _, s := range c.spans {
		if s.shard != shard && s.next != s.from {
			return false
		}
	}
	return true
}

// ready reports whether the chunk should go on to conversion.
func (g *gatherer) ready(ctx context.Context, found bool) bool {
	c := g.target()
	switch {
	case c == nil || c.empty():
		return false
	case ctx.Err() != nil || c.full(g.w.chunkBytes.Load()):
		return true
	case (g.w.draining || g.w.awaited()) && !found:
		return !g.calling() // nothing more is to come, or somebody waits for what there is
	case g.sample != nil:
		return g.sampled >= sampleRecords || time.Since(c.started) >= sampleWait
	}
	waited := time.Since(c.started)
	if c.bytes >= g.w.cfg.DirectBytes/2 { // much is coming: enough for files of its own is worth a wait
		return waited >= g.w.cfg.DirectInterval
	}
	return waited >= g.w.cfg.StageInterval || !g.w.tr.exact && !found
}

// hand closes the chunk and passes it on.
func (g *gatherer) hand(ctx context.Context, out chan<- *chunk) error {
	if err := g.settle(); err != nil {
		return err
	}
	c := g.cur
	g.cur = nil
	g.w.again.forget()
	if err := c.close(); err != nil {
		c.discard()
		return err
	}
	c.input = g.w.input.version()
	for i, s := range c.spans {
		g.spans[i].next, g.spans[i].nextSeq = s.next, s.nextSeq
	}
	g.first = (g.first + 1) % len(g.readers)
	out <- c // the receiver takes chunks until the channel is closed
	return nil
}

// settle decides the columns of a new table from the sample, and checks the sampled records.
func (g *gatherer) settle() error {
	if g.sample == nil {
		return nil
	}
	raw := g.sample
	g.sample = nil
	defer raw.discard()
	if err := raw.close(); err != nil {
		return err
	}
	g.w.input.decide()
	c, err := g.w.newChunk(g.spans)
	if err != nil {
		return err
	}
	c.spans, c.failed, c.refused, c.started, c.oldest, g.cur = raw.spans, raw.failed, raw.refused, raw.started, raw.oldest, c
	return raw.eachLine(func(line int, text []byte) error {
		r, offset := raw.locate(line)
		return g.record(c, r.shard, offset, r.arrive, text, 0, r.edited)
	})
}

// start returns the chunk that records are added to.
func (g *gatherer) start() (*chunk, error) {
	if c := g.target(); c != nil {
		return c, nil
	}
	c, err := g.w.newChunk(g.spans)
	if err != nil {
		return nil, err
	}
	c.started = time.Now()
	if st := g.w.input.state; st != nil && !st.Decided() {
		g.sample, g.sampled = c, 0
	} else {
		g.cur = c
	}
	return c, nil
}

// take adds the records of one stream message from the shard's next offset on.
func (g *gatherer) take(ctx context.Context, shard int, e stream.Entry) error {
	c, err := g.start()
	if err != nil {
		return err
	}
	if g.clashes(c, shard, e) {
		c.sealed, g.held[shard] = true, &e
		return nil
	}
	s := &c.spans[shard]
	at := e.Batch.Base
	g.expired(s, at)
	for i := range e.Batch.Segments {
		seg := &e.Batch.Segments[i]
		end := at + uint64(seg.Count)
		if end > s.next && !g.w.routed(seg) {
			c.arrived(seg.Arrival)
			s.left += end - s.next
			s.next = end
		}
		if end > s.next {
			if err := g.segment(ctx, c, shard, at, seg, int(s.next-at)); err != nil {
				return err
			}
			s.next = end
		}
		at = end
	}
	s.nextSeq = e.Seq
	return nil
}

// expired counts the records before offset at that retention removed before they were delivered:
// declared loss (I3). Sources that are no streams pass records over.
func (g *gatherer) expired(s *span, at uint64) {
	if at <= s.next {
		return
	}
	if _, ok := g.w.cfg.Source.(live); ok {
		g.w.cfg.Logger.Warn("retention removed records before they were delivered", "shard", s.shard, "records", at-s.next)
	}
	s.expired += at - s.next
	s.next = at
}

// takeCalled adds what the functions made of a run of records.
func (g *gatherer) takeCalled(shard int, e *called) error {
	if e.damage != nil {
		return g.lost(shard, e.damage)
	}
	c, err := g.start()
	if err != nil {
		return err
	}
	s := &c.spans[shard]
	g.expired(s, e.base)
	for i, out := range e.out {
		rec := &e.records[i]
		switch out.Result {
		case firehose.Ok:
			if err := g.edited(c, shard, rec.Position.Offset, rec.Arrival, out.data); err != nil {
				return err
			}
		case firehose.Dropped:
			c.arrived(rec.Arrival)
			s.left++
		default:
			c.fail(g.w.failed(shard, rec.Position.Offset, rec.Arrival, stageFunction, out.code, out.reason, rec.Data))
		}
		s.next = rec.Position.Offset + 1
	}
	s.nextSeq = e.seq
	return nil
}
