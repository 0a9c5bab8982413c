package delivery

import (
	"context"
	"sync/atomic"
)

// Lookups are relations that a transform joins records with, as they were at one moment. A batch sees
// one Lookups from its beginning to its end, whatever is done to find its bad records.
type Lookups struct {
	// With is what stands between WITH and the statement: name AS (SELECT …), …
	With string
	free func()
	uses atomic.Int64
}

// NewLookups returns lookups that the caller holds. free, which may be nil, is called when the last
// holder lets go.
func NewLookups(with string, free func()) *Lookups {
	l := &Lookups{With: with, free: free}
	l.uses.Store(1)
	return l
}

// Hold keeps the lookups until one more Release. It does nothing on nil.
func (l *Lookups) Hold() {
	if l != nil {
		l.uses.Add(1)
	}
}

// Release lets go of the lookups. It does nothing on nil.
func (l *Lookups) Release() {
	if l != nil && l.uses.Add(-1) == 0 && l.free != nil {
		l.free()
	}
}

// with returns the text to put into a statement, "" for nil.
func (l *Lookups) with() string {
	if l == nil {
		return ""
	}
	return l.With
}

// lookup returns the lookups for the next batch, nil for a transform without any.
func (w *Worker) lookup(ctx context.Context) (*Lookups, error) {
	if w.cfg.Lookup == nil {
		return nil, nil
	}
	return w.cfg.Lookup(ctx)
}

// take makes p the plan. It holds its lookups until there is another.
func (w *Worker) take(p *plan, in *inputSchema, look *Lookups) {
	look.Hold()
	p.lookups = look
	if w.plan != nil {
		w.plan.lookups.Release()
	}
	w.plan, w.planned = p, in
}
