package function

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"time"
)

// Host is one function over its versions: each is a Pool, and Replace puts the next one in place of
// the last without losing an invocation. Its methods may be called concurrently.
type Host struct {
	opts Options

	replacing sync.Mutex // one Replace at a time

	mu       sync.Mutex
	versions int
	pool     *Pool // the current version; nil before Start and after Close
	closed   bool
	draining sync.WaitGroup
	stop     context.Context // ends at Close and cuts drains short
	cancel   context.CancelFunc
}

// NewHost makes a host without effects. Options.WorkDir holds a folder for each version.
func NewHost(o Options) *Host {
	stop, cancel := context.WithCancel(context.Background())
	return &Host{opts: o, stop: stop, cancel: cancel}
}

// Start starts the first version and does not wait for its workers; errors are those of Pool.Start.
func (h *Host) Start(ctx context.Context) error {
	p := h.next(h.opts.Spec)
	if err := p.Start(ctx); err != nil {
		return errors.Join(err, p.Close())
	}
	return h.install(p)
}

// next makes the pool of the next version.
func (h *Host) next(spec Spec) *Pool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.versions++
	o := h.opts
	o.Spec = spec
	o.WorkDir = filepath.Join(h.opts.WorkDir, fmt.Sprint(h.versions))
	return New(o)
}

// install makes p the current version and lets the last one drain.
func (h *Host) install(p *Pool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return errors.Join(explain(p.spec.Name, ErrClosed), p.Close())
	}
	old := h.pool
	h.pool = p
	if old != nil {
		h.draining.Go(func() {
			// Whatever runs may run to its own timeout; an invocation that waits starts before that.
			ctx, cancel := context.WithTimeout(h.stop, 2*old.spec.Timeout+time.Minute)
			defer cancel()
			_ = old.Drain(ctx)
		})
	}
	return nil
}

// Replace starts spec as the next version. When its first worker is ready, new invocations go there,
// and the version before drains and stops. When it does not start or does not load, the current
// version goes on and the error says why.
func (h *Host) Replace(ctx context.Context, spec Spec) error {
	h.replacing.Lock()
	defer h.replacing.Unlock()
	p := h.next(spec)
	if err := p.Start(ctx); err != nil {
		return errors.Join(err, p.Close())
	}
	if err := p.Ready(ctx); err != nil {
		return errors.Join(err, p.Close())
	}
	return h.install(p)
}

// Pool returns the current version, or nil.
func (h *Host) Pool() *Pool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pool
}

// Invoke runs the current version on an event: see Pool.Invoke. An invocation that meets a version
// that has just begun to drain goes to the next one.
func (h *Host) Invoke(ctx context.Context, in Invocation) ([]byte, error) {
	for {
		p := h.Pool()
		if p == nil {
			return nil, explain(h.opts.Spec.Name, ErrClosed)
		}
		answer, err := p.Invoke(ctx, in)
		if !errors.Is(err, errNotTaken) || h.Pool() == p {
			return answer, err
		}
	}
}

// Stats returns those of the current version.
func (h *Host) Stats() Stats {
	if p := h.Pool(); p != nil {
		return p.Stats()
	}
	return Stats{State: StateNew}
}

// Close stops all versions at once; Drain the current pool first to let invocations end. It works on
// a host that was never started.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	p := h.pool
	h.pool = nil
	h.mu.Unlock()
	h.cancel()
	h.draining.Wait()
	if p == nil {
		return nil
	}
	return p.Close()
}
