package delivery

import (
	"context"
	"sync"

	"github.com/tarn-data/tarn/table"
)

// View is what a query sees of a delivered table at one instant: a committed state and the rows
// accepted since, each exactly once.
type View struct {
	State *table.State
	Tail  []table.DataFile // Path is a local path or a URL of the lake
	// Release lets the files go. It may be called more than once.
	Release func()
}

// View returns the table as of now. It waits while a commit moves rows from the tail to the table.
// tarn.CodeNotFound while no record has arrived that gives the table its columns.
func (w *Worker) View(ctx context.Context) (View, error) {
	w.tail.mu.RLock()
	defer w.tail.mu.RUnlock()
	st, release, err := w.cfg.Store.Acquire(ctx, w.cfg.Table, nil)
	if err != nil {
		return View{}, err
	}
	v := View{State: st}
	type held struct {
		s     *segment
		final bool
	}
	var holds []held
	for _, it := range w.tail.items {
		for _, s := range it.segs {
			s.refs.Add(1)
			holds = append(holds, held{s, it.final})
			v.Tail = append(v.Tail, s.file)
		}
	}
	var once sync.Once
	v.Release = func() {
		once.Do(func() {
			release()
			for _, h := range holds {
				h.s.release(h.final)
			}
		})
	}
	return v, nil
}
