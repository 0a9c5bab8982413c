package query

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/internal/telemetry"
)

var errResident = errors.New("the process uses more memory than it may")

// guard ends statements while the process is over its memory bound (I8). DuckDB counts its buffers
// but not every string an expression makes; the kernel counts all.
//
// Memory that was freed may stay with the process, so what counts is growth as well: a statement is
// ended when the process is over the bound and has grown by a quarter of it since the first of the
// running statements began.
type guard struct {
	limit int64
	base  int64 // resident when the first of the running statements began
	mu    sync.Mutex
	next  int
	live  map[int]context.CancelCauseFunc
	stop  chan struct{}
	done  chan struct{}
}

func newGuard(limit int64) *guard {
	g := &guard{limit: limit, live: map[int]context.CancelCauseFunc{}, stop: make(chan struct{}), done: make(chan struct{})}
	if limit <= 0 {
		close(g.done)
		return g
	}
	go g.loop()
	return g
}

func (g *guard) close() {
	close(g.stop)
	<-g.done
}

// watch returns a context that ends when the statement must. done forgets it.
func (g *guard) watch(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.live) == 0 && g.limit > 0 {
		g.base = telemetry.ResidentBytes()
	}
	g.next++
	id := g.next
	g.live[id] = cancel
	return ctx, func() {
		g.mu.Lock()
		delete(g.live, id)
		g.mu.Unlock()
		cancel(nil)
	}
}

func (g *guard) loop() {
	defer close(g.done)
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-g.stop:
			return
		case <-t.C:
		}
		g.mu.Lock()
		if len(g.live) > 0 && g.over() {
			duck.TrimMemory() // what was freed and kept is no reason to end a statement
			if g.over() {
				for _, cancel := range g.live {
					cancel(errResident)
				}
			}
		}
		g.mu.Unlock()
	}
}

// over reports whether the running statements must end.
func (g *guard) over() bool {
	return telemetry.ResidentBytes() > max(g.limit, g.base+g.limit/4)
}
