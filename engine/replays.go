package engine

import (
	"sync"

	"github.com/tarn-data/tarn"
)

// replays says what is being done to the past of which table.
type replays struct {
	mu      sync.Mutex
	settled map[string]int  // how many requests settle failed records of the table
	remade  map[string]bool // a replay replaces rows of the table
}

// share lets failed records of a table be settled, unless a replay replaces rows of the table.
func (r *replays) share(table string) (done func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.remade[table] {
		return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: "a replay is replacing rows of " + table, Hint: "wait for it (tarn replay ls), or cancel it"}
	}
	if r.settled == nil {
		r.settled = map[string]int{}
	}
	r.settled[table]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.settled[table]--
	}, nil
}
