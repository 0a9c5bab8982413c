package delivery

import (
	"context"
	"errors"
	"time"
)

// inFlight is how many chunks are on their way at once: two that are converted, and one whose files
// are made durable meanwhile.
const inFlight = HeavySlots + 1

// run is the conversion and commit of one session. One goroutine owns it.
type run struct {
	w    *Worker
	f    flusher
	jobs []*job // in the order of their positions
}

// job is a chunk being converted.
type job struct {
	it   *item
	done chan error
}

// deliver converts chunks and commits until chunks is closed.
func (w *Worker) deliver(ctx context.Context, chunks <-chan *chunk) (err error) {
	r := run{w: w, f: flusher{w: w, done: make(chan error, 1)}}
	defer func() {
		if err != nil { // nothing of this session goes on behind the next one's back
			for _, j := range r.jobs {
				if <-j.done == nil {
					j.it.letGo()
				}
			}
			err = errors.Join(err, r.f.wait())
		}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for chunks != nil || len(r.jobs) > 0 {
		in := chunks
		if len(r.jobs) == inFlight || r.f.flushing > 0 && r.crowded() {
			in = nil // I8: what waits for a commit is bounded, however slow commits are
		}
		var first chan error
		if len(r.jobs) > 0 {
			first = r.jobs[0].done
		}
		select {
		case c, ok := <-in:
			if !ok {
				chunks = nil
			} else if err := r.start(ctx, c); err != nil {
				return err
			}
		case err := <-first:
			if err := r.add(ctx, err); err != nil {
				return err
			}
		case err := <-r.f.done:
			if r.f.flushing = 0; err != nil {
				return err
			}
		case <-tick.C:
		}
		r.f.maybe(ctx)
	}
	return r.f.all(ctx)
}

// crowded reports whether enough waits behind the commit that is running. For a sink that is one item:
// records that come meanwhile are converted together.
func (r *run) crowded() bool {
	if r.w.cfg.Sink != nil {
		return r.w.tail.size() > r.f.flushing
	}
	return r.w.tail.totals().over(r.w.cfg.BufferBytes)
}

// start begins to convert a chunk. The table gets what columns the chunk needs first.
func (r *run) start(ctx context.Context, c *chunk) error {
	var p *plan
	if c.lines > 0 || !r.w.target.exists(ctx) { // failed records need a table too, to be committed with it
		var err error
		if p, err = r.w.target.prepare(ctx, c.input, r.settle); err != nil {
			c.discard()
			return err
		}
	}
	if p != nil {
		p.lookups.Hold() // until the conversion ends
	}
	j := &job{done: make(chan error, 1)}
	r.jobs = append(r.jobs, j)
	go func() {
		var err error
		j.it, err = r.w.convert(ctx, c, p)
		j.done <- err
	}()
	return nil
}

// add puts the item of the first job, which has ended with err, into the tail.
func (r *run) add(ctx context.Context, err error) error {
	j := r.jobs[0]
	r.jobs = r.jobs[1:]
	if err != nil {
		return err
	}
	r.w.tail.add(j.it)
	return r.w.target.compactTail(ctx, r.f.flushing)
}

// settle commits everything that has been read so far.
func (r *run) settle(ctx context.Context) error {
	for len(r.jobs) > 0 {
		if err := r.add(ctx, <-r.jobs[0].done); err != nil {
			return err
		}
	}
	return r.f.all(ctx)
}

// flusher runs one commit at a time beside the conversion.
type flusher struct {
	w        *Worker
	flushing int // items of the tail that are being committed
	done     chan error
}

// maybe starts a commit of all that waits when it is time for one.
func (f *flusher) maybe(ctx context.Context) {
	if f.flushing > 0 || !f.w.due() {
		return
	}
	f.w.tail.mu.RLock()
	n := len(f.w.tail.items)
	f.w.tail.mu.RUnlock()
	if n == 0 {
		return
	}
	f.flushing = n
	go func() { f.done <- f.w.target.commit(ctx, n) }()
}

// wait ends the commit that is running, if one is.
func (f *flusher) wait() error {
	if f.flushing == 0 {
		return nil
	}
	f.flushing = 0
	return <-f.done
}

// all commits everything that waits.
func (f *flusher) all(ctx context.Context) error {
	if err := f.wait(); err != nil {
		return err
	}
	f.w.tail.mu.RLock()
	n := len(f.w.tail.items)
	f.w.tail.mu.RUnlock()
	if n == 0 {
		return nil
	}
	return f.w.target.commit(ctx, n)
}
