package function

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
)

// Options of a Pool. Spec and WorkDir are required.
type Options struct {
	Spec    Spec
	WorkDir string           // folder for this pool alone, absolute, outside Spec.Dir; made by Start, emptied by Close
	Logger  *slog.Logger     // nil: nothing is logged
	Logs    *Logs            // output of the function; nil: it is thrown away
	Clock   func() time.Time // nil: time.Now
	Observe Observer         // is told what happens, for metrics

	IdleTimeout time.Duration // after which workers beyond the first are stopped; default one minute
	InitTimeout time.Duration // for a worker to ask for its first invocation; default the longer of 10 s and Spec.Timeout
}

// Observer is told what a pool does. Functions that are nil are not called; the others must be quick.
type Observer struct {
	Invoked func(took time.Duration, err error) // an invocation ended; took does not count waiting for a worker
	Loaded  func(took time.Duration)            // a worker has loaded the function, so long after its process started
}

// Pool is one version of a function: a queue and up to Spec.Concurrency workers, each a process with
// one invocation at a time. Its methods may be called concurrently.
type Pool struct {
	opts     Options
	spec     Spec
	log      *slog.Logger
	redact   *strings.Replacer
	launcher *launcher // set by Start

	mu      sync.Mutex
	state   string // StateNew, StateReady (started), StateDraining or StateClosed
	waiting []*call
	idle    []*worker            // asked for work; the one that asked last is last
	workers map[*worker]struct{} // every process
	ready   bool                 // a worker has loaded the function since the last failure to do so
	broken  error                // why no worker can load it; nil as long as one might
	crashes int                  // workers lost in a row
	retryAt time.Time            // no worker starts before
	retry   *time.Timer
	changed chan struct{} // closed and replaced when waiting, workers or ready change
	stats   Stats
	took    durations

	goroutines sync.WaitGroup
}

// New makes a pool without effects.
func New(o Options) *Pool {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = time.Minute
	}
	spec := o.Spec.WithDefaults()
	if o.InitTimeout == 0 {
		o.InitTimeout = max(10*time.Second, spec.Timeout)
	}
	return &Pool{
		opts: o, spec: spec, log: o.Logger.With("function", spec.Name), redact: redactor(spec.Secrets), state: StateNew,
		workers: map[*worker]struct{}{}, changed: make(chan struct{}),
	}
}

// Start checks spec, code folder, interpreter and sandbox, and starts the first worker without waiting
// for it: see Ready. After an error the pool can only be closed.
func (p *Pool) Start(ctx context.Context) error {
	if err := p.spec.Validate(); err != nil {
		return err
	}
	if !filepath.IsAbs(p.opts.WorkDir) || within(p.opts.WorkDir, p.spec.Dir) {
		return p.spec.fault("the work folder must be an absolute path outside the code folder", "choose another one")
	}
	l, err := newLauncher(ctx, p.spec, p.opts.WorkDir)
	if err != nil {
		return explain(p.spec.Name, err)
	}
	p.log.Debug("function isolation", "isolation", l.isolation.String())
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != StateNew {
		return errors.Join(explain(p.spec.Name, ErrClosed), l.close())
	}
	p.launcher, p.state = l, StateReady
	p.grow()
	return nil
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// Spec returns the pool's spec with its defaults written out.
func (p *Pool) Spec() Spec { return p.spec }

// Isolation says how the workers are isolated. Before Start it is empty.
func (p *Pool) Isolation() Isolation {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.launcher == nil {
		return Isolation{}
	}
	return p.launcher.isolation
}

// Ready waits until a worker has loaded the function. It returns an *InitError inside a *tarn.Error
// when the attempt fails, and ctx's error when that ends first.
func (p *Pool) Ready(ctx context.Context) error {
	for {
		p.mu.Lock()
		ready, broken, state, changed := p.ready, p.broken, p.state, p.changed
		p.mu.Unlock()
		switch {
		case state == StateNew || state == StateDraining || state == StateClosed:
			return explain(p.spec.Name, ErrClosed)
		case ready:
			return nil
		case broken != nil:
			return explain(p.spec.Name, broken)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Invocation is one event for the function.
type Invocation struct {
	Payload   []byte // the event, JSON; not kept after Invoke returns
	Pipeline  string // for which it runs; appears in Logs
	Answer    []byte // memory for the answer, used as far as its capacity reaches; nil is allowed
	RequestID string // generated when empty; printable ASCII without spaces or slashes
}

// Invoke runs the function on one event and returns its answer. It waits while all workers are busy;
// the time of the function counts from the moment a worker takes the event and ends at Spec.Timeout or
// ctx's deadline. When ctx ends during the run, the worker is killed, so that after Invoke returns
// nothing runs on for this event. Errors are *tarn.Error around *FunctionError, *TimeoutError,
// *ExitError, *InitError or ErrClosed, or with CodeTooLarge; ctx's own error is returned as it is.
func (p *Pool) Invoke(ctx context.Context, in Invocation) ([]byte, error) {
	if len(in.Payload) > MaxPayloadBytes {
		return nil, tooLarge(p.spec.Name, "event", int64(len(in.Payload)))
	}
	if in.RequestID == "" {
		in.RequestID = uuid.NewString()
	} else if !requestIDIsSound(in.RequestID) {
		return nil, p.spec.fault(fmt.Sprintf("the request id %q is not allowed", in.RequestID), "use up to 128 printable ASCII characters without spaces and slashes")
	}
	answer, err := p.invoke(ctx, in, false)
	if errors.Is(err, errUnread) {
		answer, err = p.invoke(ctx, in, true)
	}
	if err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil, err
	}
	return answer, explain(p.spec.Name, err)
}

// invoke has a worker run the function once. Only if it is not again, it may end with errUnread.
func (p *Pool) invoke(ctx context.Context, in Invocation, again bool) ([]byte, error) {
	c := &call{Invocation: in, taken: make(chan *worker, 1), handed: make(chan struct{}), done: make(chan outcome, 1), again: again}
	if err := p.enqueue(ctx, c); err != nil {
		return nil, err
	}
	return p.follow(ctx, c)
}

// follow waits for the end of a call that waits in the queue.
func (p *Pool) follow(ctx context.Context, c *call) ([]byte, error) {
	select {
	case w := <-c.taken:
		return p.await(ctx, c, w)
	case out := <-c.done:
		return p.ended(c, out)
	case <-ctx.Done():
		if p.withdraw(c) {
			return nil, ctx.Err()
		}
	}
	select { // it left the queue meanwhile
	case w := <-c.taken:
		return p.await(ctx, c, w)
	case out := <-c.done:
		return p.ended(c, out)
	}
}

// ended returns the end of c, and counts it if a worker had taken c, which may be noticed only after its end.
func (p *Pool) ended(c *call, out outcome) ([]byte, error) {
	select {
	case <-c.taken:
		return out.answer, p.account(c, out.err)
	default:
		return nil, out.err
	}
}

// await waits for the end of a call that worker w has taken.
func (p *Pool) await(ctx context.Context, c *call, w *worker) ([]byte, error) {
	timer := time.NewTimer(time.Until(c.deadline))
	defer timer.Stop()
	var err error
	select {
	case out := <-c.done:
		return out.answer, p.account(c, out.err)
	case <-timer.C:
		err = &TimeoutError{After: time.Since(c.started)}
	case <-ctx.Done():
		err = ctx.Err()
		if errors.Is(err, context.DeadlineExceeded) {
			err = &TimeoutError{After: time.Since(c.started)}
		}
	}
	if !p.stopRun(w, c, err) { // it was answered in the same moment
		out := <-c.done
		return out.answer, p.account(c, out.err)
	}
	<-w.gone
	return nil, p.account(c, err)
}

// account counts the end of an invocation and returns its error.
func (p *Pool) account(c *call, err error) error {
	if err == errUnread { // it goes on
		return err
	}
	if p.opts.Observe.Invoked != nil {
		p.opts.Observe.Invoked(time.Since(c.started), err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Invocations++
	var (
		function *FunctionError
		timeout  *TimeoutError
	)
	switch {
	case err == nil:
		p.took.add(time.Since(c.started))
	case errors.As(err, &timeout):
		p.stats.Timeouts++
	default:
		p.stats.Errors++
		if errors.As(err, &function) {
			p.took.add(time.Since(c.started))
		}
	}
	return err
}

// Stats returns a snapshot.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stats
	s.P50, s.P99 = p.took.percentiles()
	s.Workers, s.Waiting = len(p.workers), len(p.waiting)
	for w := range p.workers {
		if w.call != nil {
			s.Busy++
		}
	}
	s.State = p.state
	if p.state == StateReady {
		switch {
		case len(p.workers) == 0 && p.opts.Clock().Before(p.retryAt):
			s.State, s.RetryAt = StateBackoff, p.retryAt
		case !p.ready:
			s.State = StateStarting
		}
	}
	return s
}

// Drain lets accepted invocations end, refuses new ones, and closes the pool. When ctx ends first it
// closes at once and returns ctx's error.
func (p *Pool) Drain(ctx context.Context) error {
	p.mu.Lock()
	if p.state == StateReady {
		p.state = StateDraining
	}
	p.mu.Unlock()
	for {
		p.mu.Lock()
		quiet, changed := p.quiet(), p.changed
		p.mu.Unlock()
		if quiet {
			return p.Close()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return errors.Join(ctx.Err(), p.Close())
		}
	}
}

// quiet reports whether no invocation waits or runs. Called with mu held.
func (p *Pool) quiet() bool {
	for w := range p.workers {
		if w.call != nil {
			return false
		}
	}
	return len(p.waiting) == 0
}

// Close kills every worker, fails what waits or runs with ErrClosed, waits for all of it to end and
// empties WorkDir. It works on a pool that was never started, and may be called again.
func (p *Pool) Close() error {
	p.mu.Lock()
	p.state = StateClosed
	if p.retry != nil {
		p.retry.Stop()
	}
	p.failWaiting(ErrClosed)
	for w := range p.workers {
		w.kill(ErrClosed)
	}
	p.notify()
	l := p.launcher
	p.mu.Unlock()
	p.goroutines.Wait()
	if l == nil {
		return nil
	}
	return l.close()
}

// requestIDIsSound reports whether id can stand in a header and in a path.
func requestIDIsSound(id string) bool {
	return len(id) <= 128 && !strings.ContainsFunc(id, func(r rune) bool {
		return r <= ' ' || r > '~' || strings.ContainsRune("/?#%\\", r)
	})
}
