package table

import (
	"context"
	"math"
	"sync"
)

// leases are the sequence numbers that readers hold, per table uuid or, while the uuid is being
// read, per name. A file that left the table at sequence r is needed by a reader at l when l < r.
type leases struct {
	mu   sync.Mutex
	held map[string]map[int64]int
}

func (l *leases) take(table string, seq int64) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]map[int64]int{}
	}
	if l.held[table] == nil {
		l.held[table] = map[int64]int{}
	}
	l.held[table][seq]++
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.held[table][seq]--; l.held[table][seq] == 0 {
			delete(l.held[table], seq)
		}
		if len(l.held[table]) == 0 {
			delete(l.held, table)
		}
	})
}

// lowest returns the lowest sequence number held under any of the keys.
func (l *leases) lowest(keys ...string) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	low := int64(math.MaxInt64)
	for _, k := range keys {
		for seq := range l.held[k] {
			low = min(low, seq)
		}
	}
	return low
}

// Acquire is State, or StateAt when at is not nil, and a lease on its files taken at one instant:
// none of them is deleted until release has been called. release may be called more than once.
func (s *Store) Acquire(ctx context.Context, name string, at *AsOf) (st *State, release func(), err error) {
	// Sequence 0 holds every file while the state is being read: whoever deletes either sees it,
	// or worked from metadata that is not newer than what is read here (I4).
	hold := s.leases.take(name, 0)
	defer hold()
	if at == nil {
		st, err = s.State(ctx, name)
	} else {
		st, err = s.StateAt(ctx, name, *at)
	}
	if err != nil {
		return nil, nil, err
	}
	return st, s.leases.take(st.UUID, st.Sequence), nil
}

// Lease holds the files of a state that the caller knows to be retained: the current one, or one
// it has leased already.
func (s *Store) Lease(st *State) (release func()) { return s.leases.take(st.UUID, st.Sequence) }
