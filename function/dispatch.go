package function

import (
	"context"
	"errors"
	"slices"
	"time"
)

// call is one invocation on its way. Every call ends with exactly one send on done, or is withdrawn.
type call struct {
	Invocation
	ctxDeadline time.Time     // zero: none
	taken       chan *worker  // the worker that took it
	handed      chan struct{} // closed when the worker has been sent all of it, or cannot be
	again       bool          // a worker died before that had not read it
	done        chan outcome

	// Set when it is taken.
	started  time.Time
	deadline time.Time
}

type outcome struct {
	answer []byte
	err    error
}

// enqueue gives c to an idle worker or lets it wait for one.
func (p *Pool) enqueue(ctx context.Context, c *call) error {
	c.ctxDeadline, _ = ctx.Deadline()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.state != StateReady:
		return errNotTaken
	case p.broken != nil && len(p.workers) == 0 && p.opts.Clock().Before(p.retryAt):
		return p.broken // waiting for the next attempt would hold up the caller, who can do that himself
	}
	if n := len(p.idle); n > 0 {
		w := p.idle[n-1]
		p.idle = p.idle[:n-1]
		p.assign(c, w)
		w.next <- c
		return nil
	}
	if c.again { // it has waited its turn
		p.waiting = slices.Insert(p.waiting, 0, c)
	} else {
		p.waiting = append(p.waiting, c)
	}
	p.grow()
	return nil
}

// withdraw takes c out of the queue and reports whether it was there.
func (p *Pool) withdraw(c *call) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.waiting, c)
	if i < 0 {
		return false
	}
	p.waiting = slices.Delete(p.waiting, i, i+1)
	p.notify()
	return true
}

// assign marks c as taken by w. Called with mu held.
func (p *Pool) assign(c *call, w *worker) {
	c.started = time.Now()
	c.deadline = c.started.Add(p.spec.Timeout)
	if !c.ctxDeadline.IsZero() && c.ctxDeadline.Before(c.deadline) {
		c.deadline = c.ctxDeadline
	}
	w.call = c
	c.taken <- w
}

// next returns the call w shall run now, or nil after making w idle: then one comes through w.next.
func (p *Pool) next(w *worker) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.initialized {
		w.initialized, w.finished = true, time.Now()
		p.ready, p.broken = true, nil
		p.stats.ColdStart = time.Since(w.begun)
		if p.opts.Observe.Loaded != nil {
			p.opts.Observe.Loaded(p.stats.ColdStart)
		}
		p.notify()
	}
	if len(p.waiting) > 0 {
		c := p.waiting[0]
		p.waiting = slices.Delete(p.waiting, 0, 1)
		p.assign(c, w)
		return c
	}
	p.idle = append(p.idle, w)
	w.release()
	return nil
}

// leave takes w out of the idle ones. It reports false when a call is on its way to w.
func (p *Pool) leave(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.idle, w)
	if i < 0 {
		return false
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	return true
}

// surplus takes w out of the idle ones if the pool keeps other workers, and reports whether it did.
func (p *Pool) surplus(w *worker) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.idle, w)
	if i < 0 || len(p.workers) < 2 {
		return false
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	return true
}

// finish ends w's call with out and reports whether id names it.
func (p *Pool) finish(w *worker, id string, out outcome) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := w.call
	if c == nil || c.RequestID != id {
		return false
	}
	w.call, w.finished = nil, time.Now()
	p.crashes = 0
	if len(p.waiting) == 0 {
		c.done <- out
	} else {
		w.held = func() { c.done <- out }
		w.heldTimer = time.AfterFunc(holdAtMost, func() { p.release(w) })
	}
	p.notify()
	return true
}

// holdAtMost is how long an answer may wait for its worker to be given the next invocation. Where
// cores are few, the caller's work on the answer would otherwise take one from a worker that could run.
const holdAtMost = time.Millisecond

// release passes on the answer that w gave last, if it has not been.
func (p *Pool) release(w *worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.release()
}

// release is Pool.release. Called with mu held.
func (w *worker) release() {
	if w.held != nil {
		w.heldTimer.Stop()
		w.held()
		w.held = nil
	}
}

// stopRun kills w with reason if it still runs c, and reports whether it does.
func (p *Pool) stopRun(w *worker, c *call, reason error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.call != c {
		w.release()
		return false
	}
	w.kill(reason)
	return true
}

// current returns the call w runs, or nil.
func (p *Pool) current(w *worker) *call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return w.call
}

// returnsWithin is how long a worker may take from its answer to its next request for work before an
// invocation that waits gets a new worker.
const returnsWithin = 100 * time.Millisecond

// grow starts workers: one always, more while invocations wait for which no worker is on its way.
// Called with mu held.
func (p *Pool) grow() {
	if p.state != StateReady && p.state != StateDraining {
		return
	}
	coming := 0
	for w := range p.workers {
		switch {
		case !w.initialized:
			coming++
		case w.call == nil && !w.asking && time.Since(w.finished) < returnsWithin:
			coming++
			if len(p.waiting) > 0 {
				p.growLater(returnsWithin)
			}
		}
	}
	for len(p.workers) < p.spec.Concurrency && (len(p.workers) == 0 && p.state == StateReady || coming < len(p.waiting)) {
		if wait := p.retryAt.Sub(p.opts.Clock()); wait > 0 {
			p.growLater(wait)
			return
		}
		w := newWorker(p)
		p.workers[w] = struct{}{}
		p.stats.ColdStarts++
		coming++
		p.goroutines.Go(w.run)
	}
}

// overdue returns why w must be killed: it does not load the function, or does not come back from an
// answer. The time of an invocation is watched by who waits for it.
func (p *Pool) overdue(w *worker) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !w.initialized && time.Since(w.begun) > p.opts.InitTimeout:
		return &TimeoutError{After: time.Since(w.begun)}
	case w.initialized && w.call == nil && !w.asking && time.Since(w.finished) > p.spec.Timeout:
		return &TimeoutError{After: time.Since(w.finished)}
	}
	return nil
}

// growLater calls grow after a pause. Called with mu held.
func (p *Pool) growLater(wait time.Duration) {
	if p.retry != nil {
		p.retry.Stop()
	}
	p.retry = time.AfterFunc(wait, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.grow()
	})
}

// Back-off between workers that end badly.
const (
	firstPause = 100 * time.Millisecond
	maxPause   = 30 * time.Second
	freely     = 3 // workers lost in a row, after a good start, before the first pause
)

// pause returns how long to wait before worker number n in a row that ended badly is replaced.
func pause(n int) time.Duration {
	if n <= 0 {
		return 0
	}
	return min(firstPause<<min(n-1, 20), maxPause)
}

// lost removes w, whose process is gone, ends its call, and starts another one when needed.
func (p *Pool) lost(w *worker, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.workers, w)
	w.release()
	if i := slices.Index(p.idle, w); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
	var (
		exit    *ExitError
		timeout *TimeoutError
	)
	if c := w.call; c != nil {
		w.call = nil
		if w.unread && !c.again && errors.As(err, &exit) {
			c.done <- outcome{err: errUnread}
		} else {
			c.done <- outcome{err: err}
		}
	}
	switch {
	case err == nil || errors.Is(err, ErrClosed) || errors.Is(err, context.Canceled): // by our own will
	case !w.initialized:
		p.notLoaded(err)
	case errors.As(err, &timeout): // the pause was long enough
	default:
		p.stats.Crashes++
		p.stats.LastError = err.Error()
		p.crashes++
		p.retryAt = p.opts.Clock().Add(pause(p.crashes - freely))
	}
	p.grow()
	p.notify()
}

// notLoaded notes that a worker could not load the function. Called with mu held.
func (p *Pool) notLoaded(err error) {
	p.stats.InitErrors++
	p.stats.LastError = err.Error()
	p.crashes++
	p.retryAt = p.opts.Clock().Add(pause(p.crashes))
	if len(p.workers) == 0 {
		p.ready, p.broken = false, err
		p.failWaiting(err)
	}
}

// failWaiting ends every call that no worker has taken. Called with mu held.
func (p *Pool) failWaiting(err error) {
	for _, c := range p.waiting {
		c.done <- outcome{err: err}
	}
	p.waiting = nil
}

// notify wakes Ready and Drain. Called with mu held.
func (p *Pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}
