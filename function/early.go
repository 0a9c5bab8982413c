package function

import (
	"errors"
	"slices"
)

// A runtime that says so (headerEarly) asks for the next invocation before it gives one to the handler, and
// is sent the event that waits first, so that it need not wait for it after its answer. The event stays in
// the queue, and any worker that becomes free takes it. What the worker with the copy does with it, it is
// told in the response to its answer: see docs/adr/0018.

// handing is a call on its way to a worker. It was assigned to it, or still waits and is sent early: then
// copied is its payload, because the caller may have the answer of another worker before this one has read
// all of it.
type handing struct {
	call   *call
	early  bool
	copied []byte
}

// sendAhead sends the call that has waited longest to the worker that has run longest of those that asked
// early: that one is the next to be free, most likely. The call goes on waiting, for any worker. Called
// with mu held.
func (p *Pool) sendAhead() {
	if len(p.waiting) == 0 || p.waiting[0].sent {
		return
	}
	var to *worker
	for w := range p.workers {
		if w.asking && w.call != nil && (to == nil || w.call.started.Before(to.call.started)) {
			to = w
		}
	}
	if to == nil {
		return
	}
	c := p.waiting[0]
	c.sent, to.ahead, to.asking = true, c, false
	copied := append(to.spare[:0], c.Payload...) // one for each worker (I8)
	to.spare = nil
	to.next <- handing{call: c, early: true, copied: copied}
}

// reuse takes back the memory of a call that was sent early.
func (p *Pool) reuse(w *worker, memory []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w.spare = memory
}

// goOn finds work for w, which has just answered. It returns the call that w was sent early, if it still
// waits and is the first: no call overtakes another. Called with mu held.
func (p *Pool) goOn(w *worker) *call {
	sent, first := w.ahead, (*call)(nil)
	if len(p.waiting) > 0 {
		first = p.waiting[0]
	}
	w.ahead = nil
	switch {
	case sent != nil && sent == first:
		close(sent.handed)
		return p.takeFirst(w)
	case sent != nil:
		sent.sent = false // w drops it and asks again
		p.sendAhead()
	case w.asking && first != nil:
		w.asking = false
		w.next <- handing{call: p.takeFirst(w)}
	case w.asking:
		p.idle = append(p.idle, w)
	}
	return nil
}

// maxReturns is how many workers may die over an event before it is the event's fault; reading a large one
// can take all memory that a worker has.
const maxReturns = 3

// endOf returns how c ends with its worker. Where the worker died before it gave c to the handler, c waits
// again, before the others: the handler is called once. Called with mu held.
func (p *Pool) endOf(c *call, w *worker, err error) outcome {
	var exit *ExitError
	if !w.early || c.begun || c.returns == maxReturns || !errors.As(err, &exit) {
		return outcome{err: err}
	}
	again := newCall(c.Invocation)
	again.ctxDeadline, again.returns = c.ctxDeadline, c.returns+1
	p.waiting = slices.Insert(p.waiting, 0, again)
	return outcome{again: again}
}
