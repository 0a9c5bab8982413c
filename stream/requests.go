package stream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// requests remembers the idempotent requests of one shard for RequestWindow. Their ids are stored
// with the records, so that it can be built again from the log: messages that hold any are marked
// (keyed). It is complete for the log up to the tail the shard knows, and every append is
// conditional on that tail; so a request cannot enter twice, whichever process it is sent to.
//
// The log's own duplicate window is not used: it would be rebuilt at every start by reading all
// of its messages, and it would keep a request from sharing a message with others.
type requests struct {
	ready chan struct{} // closed when those of the log are known
	limit int
	byID  map[record.RequestID]*requestEntry
	order []orderedRequest // by time of commit
	head  int
}

type requestEntry struct {
	m  *member // its group is nil once committed, which frees the message
	at time.Time
}

type orderedRequest struct {
	id record.RequestID
	at time.Time
}

func newRequests(limit int) requests {
	return requests{ready: make(chan struct{}), limit: limit, byID: map[record.RequestID]*requestEntry{}}
}

// requestID digests the key of a request; piece numbers the parts of a split one.
func requestID(key string, piece int) record.RequestID {
	h := sha256.New()
	h.Write([]byte(key))
	if piece > 0 {
		h.Write(binary.BigEndian.AppendUint64([]byte{0}, uint64(piece)))
	}
	return record.RequestID(h.Sum(nil)[:16])
}

// wait returns when the requests in the log are known.
func (r *requests) wait(ctx context.Context, closing <-chan struct{}) error {
	select {
	case <-r.ready:
		return nil
	case <-closing:
		return errClosing
	case <-ctx.Done():
		return &tarn.Error{Code: tarn.CodeCanceled, Detail: "the caller did not wait for earlier requests to be read", Err: ctx.Err()}
	}
}

// find returns the member of the request, under way or committed within the window.
func (r *requests) find(id record.RequestID, now time.Time) *member {
	r.expire(now)
	if e := r.byID[id]; e != nil {
		return e.m
	}
	return nil
}

func (r *requests) full() bool { return len(r.byID) >= r.limit }

// begin remembers a request that is under way.
func (r *requests) begin(m *member) { r.byID[m.request] = &requestEntry{m: m} }

// fail forgets a request that did not make it.
func (r *requests) fail(m *member) {
	if e := r.byID[m.request]; e != nil && e.m == m {
		delete(r.byID, m.request)
	}
}

// commit remembers a request that is in the log since at.
func (r *requests) commit(id record.RequestID, first uint64, count int, at time.Time) {
	r.byID[id] = &requestEntry{m: &member{request: id, first: first, count: count}, at: at}
	r.order = append(r.order, orderedRequest{id, at})
}

// expire forgets what is older than the window.
func (r *requests) expire(now time.Time) {
	limit := now.Add(-RequestWindow)
	for r.head < len(r.order) && r.order[r.head].at.Before(limit) {
		o := r.order[r.head]
		if e := r.byID[o.id]; e != nil && e.at.Equal(o.at) {
			delete(r.byID, o.id)
		}
		r.head++
	}
	if r.head > 1024 && r.head > len(r.order)/2 {
		r.order = append([]orderedRequest(nil), r.order[r.head:]...)
		r.head = 0
	}
}

// learnRequests reads the requests of the window from the log.
func (sh *shard) learnRequests() {
	ctx, log := sh.s.ctx, sh.s.cfg.Logger.With("stream", sh.s.cfg.Name, "shard", sh.id)
	since := sh.s.cfg.Clock().Add(-RequestWindow)
	for {
		seq, err := sh.log.SeqAt(ctx, since)
		if err == nil {
			err = sh.learnFrom(ctx, seq)
		}
		if err == nil || errors.Is(err, ErrNotFound) {
			close(sh.requests.ready)
			return
		}
		if ctx.Err() != nil {
			return
		}
		log.Warn("cannot read earlier idempotent requests, trying again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// learnFrom remembers the requests in the keyed messages from seq on.
func (sh *shard) learnFrom(ctx context.Context, seq uint64) error {
	sc := sh.log.Scan(seq, ScanOptions{Keyed: true})
	defer sc.Close()
	for {
		msg, ok, err := sc.Next(ctx)
		switch {
		case errors.Is(err, ErrNotFound):
			sc.Skip(msg.Seq)
			continue
		case err != nil:
			return err
		case !ok:
			return nil
		}
		sh.learn(msg)
	}
}

// learn remembers the requests of one message.
func (sh *shard) learn(msg Message) {
	b, err := record.DecodeBatch(msg.Data)
	if err != nil {
		return // a reader reports it
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	first := b.Base
	for i := range b.Segments {
		seg := &b.Segments[i]
		if seg.Request != (record.RequestID{}) {
			sh.requests.commit(seg.Request, first, seg.Count, msg.Time)
		}
		first += uint64(seg.Count)
	}
}
