package stream

import (
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

const (
	// maxFlight is the number of messages on their way to a log.
	maxFlight = 2
	// pipelineBytes is the size from which a message is sent before the one ahead of it is
	// acknowledged: its transport then overlaps with the other's fsync. A smaller one gains more
	// from gathering meanwhile.
	pipelineBytes = 128 << 10
)

// run sends groups and settles them until the shard is closed and nothing is left.
func (sh *shard) run() {
	for {
		for {
			g := sh.take()
			if g == nil {
				break
			}
			if g.builder.Count() == 0 { // all of it was withdrawn
				sh.settle(g, nil)
				continue
			}
			sh.send(g)
		}
		var head <-chan AppendResult
		if len(sh.flight) > 0 {
			head = sh.flight[0].result
		} else if sh.drained() {
			return
		}
		select {
		case r := <-head:
			if g := sh.flight[0]; r.Err == nil && r.Seq == g.expect+1 {
				sh.flight = sh.flight[1:]
				sh.failures = 0
				sh.commit(g)
			} else {
				sh.repair(r)
			}
		case <-sh.wake:
		}
	}
}

// drained reports that the shard is closed and nothing is queued.
func (sh *shard) drained() bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.closed && len(sh.queue) == 0
}

// take removes the next group to send from the queue, if it is time for one.
func (sh *shard) take() *group {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if len(sh.queue) == 0 || len(sh.flight) >= maxFlight {
		return nil
	}
	g := sh.queue[0]
	if len(sh.flight) > 0 && g.builder.Size() < pipelineBytes {
		return nil
	}
	sh.queue = sh.queue[1:]
	sh.typical = max(g.builder.Size(), sh.typical*7/8)
	return g
}

// send gives g its offsets, after all that is in flight, and sends it.
func (sh *shard) send(g *group) {
	if n := len(sh.flight); n > 0 {
		ahead := sh.flight[n-1]
		g.expect, g.base = ahead.expect+1, ahead.base+uint64(ahead.builder.Count())
	} else {
		g.expect, g.base = sh.tail.end()
	}
	g.sent = time.Now()
	if g.deadline.IsZero() {
		g.deadline = g.sent.Add(sh.s.cfg.CommitTimeout)
	}
	g.result = sh.log.Append(g.builder.Seal(g.base, g.writer), g.expect, g.builder.HasRequests())
	sh.flight = append(sh.flight, g)
}

// commit makes a group known that is durable (I1: only now are its callers answered).
func (sh *shard) commit(g *group) {
	took := time.Since(g.sent)
	data := g.builder.Seal(g.base, g.writer)
	count := g.builder.Count()
	sh.tail.add(Message{Seq: g.expect + 1, Time: time.Now(), Data: data}, g.base+uint64(count))
	for _, m := range g.members {
		if !m.duplicate {
			m.first = g.base + uint64(m.index)
		}
	}
	if sh.s.cfg.OnCommit != nil {
		sh.s.cfg.OnCommit(Commit{Shard: sh.id, Records: count, Requests: len(g.members), Bytes: len(data), Took: took})
	}
	sh.settle(g, nil)
}

// settle answers the callers of a group.
func (sh *shard) settle(g *group, err error) {
	g.err = err
	if g.builder.HasRequests() {
		sh.mu.Lock()
		now := sh.s.cfg.Clock()
		for _, m := range g.members {
			switch {
			case m.request == (record.RequestID{}) || m.duplicate:
			case err != nil:
				sh.requests.fail(m)
			default:
				sh.requests.commit(m.request, m.first, m.count, now)
			}
		}
		sh.mu.Unlock()
	}
	sh.s.pending.release(g.bytes)
	close(g.done)
}

func unavailable(err error) error {
	return &tarn.Error{Code: tarn.CodeUnavailable, Err: err,
		Detail: "the stream did not confirm the records; they may be stored or not",
		Hint:   "repeat the request with the same Idempotency-Key"}
}
