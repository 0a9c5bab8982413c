package stream

import "sync"

// tail is the end of a log as this process knows it, with the most recent messages, so that
// readers that keep up need not ask the log. It is safe for concurrent use.
type tail struct {
	mu      sync.Mutex
	last    uint64 // sequence of the last message, 0 if there is none
	next    uint64 // offset of the next record
	recent  []Message
	bytes   int
	limit   int
	changed chan struct{} // closed when last changes
}

func (t *tail) init(last, next uint64, limit int) {
	t.last, t.next, t.limit, t.changed = last, next, limit, make(chan struct{})
}

// end returns the sequence of the last message and the offset of the next record.
func (t *tail) end() (last, next uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last, t.next
}

// add makes a message known that follows the last.
func (t *tail) add(m Message, next uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent = append(t.recent, m)
	t.bytes += len(m.Data)
	drop := 0
	for t.bytes > t.limit && drop < len(t.recent)-1 {
		t.bytes -= len(t.recent[drop].Data)
		t.recent[drop] = Message{}
		drop++
	}
	t.recent = t.recent[drop:]
	t.advance(m.Seq, next)
}

// move sets the end after messages of other writers.
func (t *tail) move(last, next uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.recent, t.bytes = nil, 0
	t.advance(last, next)
}

// advance moves the end. The next offset only grows: what this process has given out is not given
// again, whatever other writers know.
func (t *tail) advance(last, next uint64) {
	t.last, t.next = last, max(t.next, next)
	close(t.changed)
	t.changed = make(chan struct{})
}

// get returns the message with that sequence if it is among the recent ones.
func (t *tail) get(seq uint64) (Message, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.recent) == 0 || seq < t.recent[0].Seq || seq-t.recent[0].Seq >= uint64(len(t.recent)) {
		return Message{}, false
	}
	return t.recent[seq-t.recent[0].Seq], true
}

// wait returns a channel that closes when the end moves, and the last sequence now.
func (t *tail) wait() (<-chan struct{}, uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed, t.last
}
