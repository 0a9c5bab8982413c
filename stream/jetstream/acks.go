package jetstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tarn-data/tarn/stream"
)

// errAckTimeout: no acknowledgement came in time.
var errAckTimeout = errors.New("jetstream: no acknowledgement in time")

// acks hands the acknowledgements of appends to those who wait for them.
type acks struct {
	prefix string
	sub    *nats.Subscription

	mu      sync.Mutex
	next    uint64
	waiting map[string]*waiter
}

type waiter struct {
	out   chan stream.AppendResult
	acked *atomic.Uint64
	timer *time.Timer
}

func newAcks(nc *nats.Conn) (*acks, error) {
	a := &acks{prefix: nc.NewInbox() + ".", waiting: map[string]*waiter{}}
	var err error
	if a.sub, err = nc.Subscribe(a.prefix+"*", func(m *nats.Msg) { a.resolve(m.Subject, parseAck(m)) }); err == nil {
		err = nc.Flush()
	}
	return a, err
}

// expect returns the subject on which an acknowledgement will come and where its result goes,
// exactly once. The sequence of a success is noted in acked before.
func (a *acks) expect(timeout time.Duration, acked *atomic.Uint64) (reply string, out <-chan stream.AppendResult) {
	w := &waiter{out: make(chan stream.AppendResult, 1), acked: acked}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.next++
	reply = a.prefix + strconv.FormatUint(a.next, 36)
	w.timer = time.AfterFunc(timeout, func() { a.resolve(reply, stream.AppendResult{Err: errAckTimeout}) })
	a.waiting[reply] = w
	return reply, w.out
}

// resolve delivers a result, unless there has been one.
func (a *acks) resolve(reply string, r stream.AppendResult) {
	a.mu.Lock()
	w := a.waiting[reply]
	delete(a.waiting, reply)
	a.mu.Unlock()
	if w != nil {
		w.timer.Stop()
		raise(w.acked, r.Seq)
		w.out <- r
	}
}

// close ends all waiting.
func (a *acks) close() {
	a.mu.Lock()
	var replies []string
	for reply := range a.waiting {
		replies = append(replies, reply)
	}
	a.mu.Unlock()
	for _, reply := range replies {
		a.resolve(reply, stream.AppendResult{Err: nats.ErrConnectionClosed})
	}
}

// parseAck reads an acknowledgement.
func parseAck(m *nats.Msg) stream.AppendResult {
	if status := m.Header.Get("Status"); status != "" {
		return stream.AppendResult{Err: fmt.Errorf("jetstream: append answered with status %s", status)}
	}
	var ack struct {
		Seq       uint64
		Duplicate bool
		Error     *apiError
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return stream.AppendResult{Err: fmt.Errorf("jetstream: acknowledgement: %w", err)}
	}
	if ack.Error == nil {
		return stream.AppendResult{Seq: ack.Seq}
	}
	switch ack.Error.ErrCode {
	case codeWrongLast, codeWrongLastConst:
		return stream.AppendResult{Err: fmt.Errorf("%w: %w", stream.ErrConflict, ack.Error)}
	case codeStoreFailed, codeStorageFull, codeNoResources, codeAccountFull:
		return stream.AppendResult{Err: fmt.Errorf("%w: %w", stream.ErrStorage, ack.Error)}
	}
	if ack.Error.Code/100 == 4 {
		return stream.AppendResult{Err: fmt.Errorf("%w: %w", stream.ErrRefused, ack.Error)}
	}
	return stream.AppendResult{Err: ack.Error}
}
