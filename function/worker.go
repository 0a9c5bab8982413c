package function

import (
	"context"
	"errors"
	"sync"
	"time"
)

// worker is one process of a pool with the Runtime API server that belongs to it.
type worker struct {
	pool  *Pool
	begun time.Time
	next  chan *call    // a call for an idle worker
	gone  chan struct{} // closed when the process is dead and its call has ended
	out   *output

	// Guarded by pool.mu.
	initialized bool      // it has asked for its first invocation
	asking      bool      // it waits for one
	call        *call     // the one it runs
	unread      bool      // it hung up before it had read all of call
	finished    time.Time // when it answered last
	held        func()    // passes on its last answer; nil when that has been done
	heldTimer   *time.Timer

	ctx  context.Context // ends when the worker must stop
	stop context.CancelCauseFunc

	mu      sync.Mutex
	initErr *InitError // what it reported to /runtime/init/error
}

func newWorker(p *Pool) *worker {
	ctx, stop := context.WithCancelCause(context.Background())
	return &worker{
		pool: p, begun: time.Now(), next: make(chan *call, 1), gone: make(chan struct{}),
		out: newOutput(p), ctx: ctx, stop: stop,
	}
}

// errExited is the reason to stop when the process ended by itself.
var errExited = errors.New("the process ended")

// kill lets the worker end with reason, the first one given. It does not wait: see gone.
func (w *worker) kill(reason error) { w.stop(reason) }

// run starts the process, serves it until it ends, and tells the pool.
func (w *worker) run() {
	defer close(w.gone)
	err := w.live()
	w.stop(errExited)
	if err != nil && !errors.Is(err, ErrClosed) && !errors.Is(err, context.Canceled) {
		w.out.system(err.Error())
		w.pool.log.Warn("function worker ended", "error", err)
	}
	w.pool.lost(w, err)
}

// live returns why the worker ended: the reason given to kill, or what its process did.
func (w *worker) live() error {
	proc, err := w.pool.launcher.launch(w.ctx)
	if err != nil {
		if w.ctx.Err() != nil {
			err = context.Cause(w.ctx)
		}
		return w.endedWith(err)
	}
	defer proc.release()
	w.out.read(proc)
	server := w.serve(proc.guarded())
	watch := w.watch(proc)

	select {
	case <-proc.exited:
		server.hear()
	case <-w.ctx.Done():
	}
	proc.kill()
	<-proc.exited
	w.stop(errExited)
	watch.Wait()
	server.close()
	w.out.finish()
	return w.ended(proc)
}

// watchInterval is how exactly the time to load a function is held.
const watchInterval = 50 * time.Millisecond

// watch kills the process when it is overdue or takes too much memory.
func (w *worker) watch(proc *process) *sync.WaitGroup {
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(watchInterval)
		defer tick.Stop()
		for {
			select {
			case <-w.ctx.Done():
				return
			case <-tick.C:
			}
			if err := w.pool.overdue(w); err != nil {
				w.kill(err)
			}
		}
	})
	wg.Go(func() {
		if reason := proc.guard(w.ctx, w.pool.spec.MemoryBytes); reason != "" {
			w.kill(&ExitError{Status: reason, Stderr: w.out.lastErrors()})
		}
	})
	return &wg
}

// ended says why a process that is gone is gone.
func (w *worker) ended(proc *process) error {
	w.mu.Lock()
	reported := w.initErr
	w.mu.Unlock()
	if reported != nil {
		return reported
	}
	if reason := context.Cause(w.ctx); reason != errExited {
		return w.endedWith(reason)
	}
	return w.endedWith(&ExitError{Status: proc.status(), Stderr: w.out.lastErrors()})
}

// endedWith wraps the end of a worker that never initialized.
func (w *worker) endedWith(err error) error {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	var start *InitError
	if w.initialized || errors.Is(err, ErrClosed) || errors.As(err, &start) {
		return err
	}
	return &InitError{Err: err}
}

// take waits for a call that comes to the idle worker. It returns nil when ctx ends first.
func (w *worker) take(ctx context.Context) *call {
	idle := time.NewTimer(w.pool.opts.IdleTimeout)
	defer idle.Stop()
	for {
		select {
		case c := <-w.next:
			return c
		case <-idle.C:
			if w.pool.surplus(w) {
				w.kill(ErrClosed)
				return nil
			}
			idle.Reset(w.pool.opts.IdleTimeout)
		case <-ctx.Done():
			return w.abandon()
		}
	}
}

// abandon stops waiting for a call. One that is already on its way is returned; it ends with the worker.
func (w *worker) abandon() *call {
	if w.pool.leave(w) {
		return nil
	}
	select {
	case c := <-w.next:
		return c
	default:
		return nil
	}
}

// missed notes that the worker hung up before it had read all of c.
func (w *worker) missed(c *call) {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	if c == w.call {
		w.unread = true
	}
}

// reportInit keeps what the runtime said about its failure to load the function.
func (w *worker) reportInit(e FunctionError) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.initErr = &InitError{FunctionError: e}
}
