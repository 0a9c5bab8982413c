package httpdoor

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// budget bounds the bytes that bodies in flight hold (I8). It is safe for concurrent use.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take reserves n bytes or reports that they are not to be had now. It never waits: a producer
// that is told to come back later holds nothing.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if n > b.limit-used {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) give(n int64) { b.used.Add(-n) }

// Buffers come in powers of two between these classes; larger ones are not pooled.
const (
	minClass = 12 // 4 KiB
	maxClass = 26 // 64 MiB
)

// buffers lends byte slices whose capacity is reserved from the budget.
type buffers struct {
	budget budget
	pools  [maxClass + 1]sync.Pool
}

// buffer is a lent slice. Its owner returns it exactly once with release.
type buffer struct {
	b     []byte
	class int
}

// lend returns an empty buffer with room for at least n bytes, or nil when the budget is spent.
func (s *buffers) lend(n int) *buffer {
	class := max(minClass, bits.Len(uint(max(n, 1)-1)))
	if !s.budget.take(1 << class) { // I8
		return nil
	}
	if class <= maxClass {
		if v, _ := s.pools[class].Get().(*buffer); v != nil {
			return v
		}
	}
	return &buffer{b: make([]byte, 0, 1<<class), class: class}
}

// release ends the loan. Nobody may hold b.b or a part of it any more.
func (s *buffers) release(b *buffer) {
	if b == nil {
		return
	}
	b.b = b.b[:0]
	s.budget.give(1 << b.class)
	if b.class <= maxClass {
		s.pools[b.class].Put(b)
	}
}

// grow moves the content of b into a buffer of at least n bytes and releases b. It returns nil,
// with b still lent, when the budget is spent.
func (s *buffers) grow(b *buffer, n int) *buffer {
	next := s.lend(n)
	if next == nil {
		return nil
	}
	next.b = append(next.b, b.b...)
	s.release(b)
	return next
}
