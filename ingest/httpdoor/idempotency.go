package httpdoor

import (
	"container/list"
	"context"
	"encoding/binary"
	"hash/maphash"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
)

// How long and how many first answers are remembered. A forgotten one costs a repeat nothing but
// the work: the streams know the key for as long.
const (
	answerWindow  = 10 * time.Minute
	maxAnswers    = 100_000
	maxAnswerSize = 32 << 20 // bytes of all answers and keys
)

// fingerprint tells bodies apart that come under one Idempotency-Key.
func fingerprint(seed maphash.Seed, e envelope, body []byte) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	_, _ = h.WriteString(e.key)
	var n [9]byte
	n[0] = byte(e.content)
	binary.LittleEndian.PutUint64(n[1:], uint64(len(e.key)))
	_, _ = h.Write(n[:])
	_, _ = h.Write(body)
	return h.Sum64()
}

// answers remembers the first answer to each Idempotency-Key, and makes repeats that arrive while
// the first is still on its way wait for it. It is safe for concurrent use.
type answers struct {
	mu   sync.Mutex
	byID map[string]*entry
	age  list.List // finished entries, oldest first
	size int
}

// entry is one key. answer is set before done is closed, and nil when the request failed.
type entry struct {
	id     string
	print  uint64
	done   chan struct{}
	answer []byte
	until  time.Time
	place  *list.Element
}

// begin returns the entry of id. With first the caller must store the records and call finish;
// otherwise entry.answer is the answer. A key that came with another body is CodeConflict.
func (a *answers) begin(ctx context.Context, id string, print uint64, now func() time.Time) (e *entry, first bool, err error) {
	for {
		e, first := a.claim(id, print, now())
		if first {
			return e, true, nil
		}
		if e.print != print {
			return nil, false, &tarn.Error{Code: tarn.CodeConflict, Detail: "this Idempotency-Key came with another body before", Hint: "use a new key for every new body"}
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			return nil, false, ctx.Err()
		}
		if e.answer != nil {
			return e, false, nil
		}
		// The first one failed and stored nothing that a repeat would double: this one tries.
	}
}

func (a *answers) claim(id string, print uint64, now time.Time) (e *entry, first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for front := a.age.Front(); front != nil; front = a.age.Front() {
		oldest := front.Value.(*entry)
		if now.Before(oldest.until) && len(a.byID) < maxAnswers && a.size < maxAnswerSize {
			break
		}
		a.drop(oldest)
	}
	if e, ok := a.byID[id]; ok {
		return e, false
	}
	if a.byID == nil {
		a.byID = make(map[string]*entry)
	}
	e = &entry{id: id, print: print, done: make(chan struct{}), until: now.Add(answerWindow)}
	a.byID[id] = e
	return e, true
}

// finish ends what begin began. A nil answer means that the request failed and may be tried again.
func (a *answers) finish(e *entry, answer []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e.answer = answer
	close(e.done)
	if answer == nil {
		delete(a.byID, e.id)
		return
	}
	e.place = a.age.PushBack(e)
	a.size += len(e.answer) + len(e.id)
}

func (a *answers) drop(e *entry) {
	a.age.Remove(e.place)
	delete(a.byID, e.id)
	a.size -= len(e.answer) + len(e.id)
}
