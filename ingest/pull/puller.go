package pull

import (
	"context"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
)

// The states of a Puller.
const (
	StateWaiting  = "waiting"  // for the next slot
	StateRunning  = "running"  // the function runs, or its records are appended
	StateRetrying = "retrying" // an attempt failed; Status.Error says why
	StatePaused   = "paused"
)

// Status says what a Puller does.
type Status struct {
	State   string
	Error   string    // of the last attempt or step, when it failed
	Next    time.Time // the slot it waits for; zero when running, paused or continuous
	Runs    int64     // ever begun
	Failed  int64     // of them
	Skipped int64     // slots passed over
	Records int64     // appended by all runs
	Last    *Run      // the last run that ended
}

// Puller runs the function of one pipeline. Pause and Status may be called from any goroutine while Run
// runs.
type Puller struct {
	o     Options
	chunk int // bytes of one request to the stream, about

	mu     sync.Mutex
	status Status
	paused bool
	wake   chan struct{} // holds a token when paused has changed

	// The rest belongs to the goroutine of Run.
	source    *source   // nil until it is loaded, and after an error
	unended   *run      // the run that was begun and has not ended
	awaited   time.Time // the slot that is waited for
	notBefore time.Time // continuous: the end of the pause
	failures  int       // continuous: runs that failed in a row
}

// New returns a puller. It has no effects.
func New(o Options) (*Puller, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Puller{o: o.withDefaults(), chunk: chunkBytes, wake: make(chan struct{}, 1), status: Status{State: StateWaiting}}, nil
}

// Run brings a run that a stop left halfway to its end and then runs the function when it is due, until
// ctx ends. A run under way is left as it is then, and brought to its end by the next Run.
func (p *Puller) Run(ctx context.Context) error {
	for failed := 0; ; {
		wait, err := p.step(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if failed++; err == nil {
			failed = 0
		} else {
			wait = pause(100*time.Millisecond, failed, 10*time.Second)
			p.o.Logger.Warn("a source function cannot go on yet; trying again", "error", err)
			p.set(func(s *Status) { s.State, s.Error = StateRetrying, plain(err) })
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.wake:
		case <-time.After(wait):
		}
	}
}

// Pause lets no further slot begin, or lifts that. A run under way goes on.
func (p *Puller) Pause(on bool) {
	p.mu.Lock()
	p.paused = on
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// Status returns a snapshot.
func (p *Puller) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.status
	if p.paused && s.State == StateWaiting {
		s.State, s.Next = StatePaused, time.Time{}
	}
	return s
}

func (p *Puller) set(change func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
}

// step does what is due now and returns how long nothing will be. After an error nothing of what was
// under way is remembered but what is stored.
func (p *Puller) step(ctx context.Context) (wait time.Duration, err error) {
	defer func() {
		if err != nil {
			p.source, p.unended = nil, nil
		}
	}()
	if p.source == nil {
		if err := p.load(ctx); err != nil {
			return 0, err
		}
	}
	if p.unended == nil {
		if wait, err := p.begin(ctx); err != nil || p.unended == nil {
			return wait, err
		}
	}
	return 0, p.run(ctx, p.unended)
}

// begin stores the slot that is due as a run, or returns how long none is.
func (p *Puller) begin(ctx context.Context) (wait time.Duration, err error) {
	now := p.o.Clock().UTC()
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	if paused {
		p.awaited = time.Time{}
		return lookAgain, nil
	}
	d := decision{}
	if p.o.Timetable.Continuous {
		if wait := p.notBefore.Sub(now); wait > 0 && wait <= maxFailPause { // a longer one is a clock that jumped
			p.rest(time.Time{})
			return wait, nil
		}
		d.slot = now.Truncate(time.Microsecond)
		if !d.slot.After(p.source.slot) {
			d.slot = p.source.slot.Add(time.Microsecond)
		}
		d.mark = d.slot
	} else {
		d = p.o.Timetable.decide(p.source.slot, p.awaited, now, p.o.CatchUp)
	}
	if !d.mark.IsZero() {
		if d.skipped > 0 {
			p.o.Logger.Warn("missed slots are passed over", "slots", d.skipped, "up_to", d.mark, "catch_up", string(p.o.CatchUp), "at_most", maxCatchUp)
		}
		if err := p.claim(ctx, d); err != nil {
			return 0, err
		}
		p.awaited = time.Time{}
		return 0, nil
	}
	from := p.source.slot
	if from.Before(now) {
		from = now
	}
	p.awaited = p.o.Timetable.next(from)
	p.rest(p.awaited)
	return min(p.awaited.Sub(now), lookAgain), nil
}

// rest says that nothing is due before next.
func (p *Puller) rest(next time.Time) {
	p.set(func(s *Status) {
		s.Next = next
		if s.State != StateWaiting {
			s.State, s.Error = StateWaiting, ""
		}
	})
}

// pause is how long to wait after so many failures in a row.
func pause(first time.Duration, failures int, most time.Duration) time.Duration {
	return min(first<<min(failures-1, 16), most)
}

// plain is the text of an error for a person: without causes that only a log should have.
func plain(err error) string {
	if d := describe(err); d.Code != tarn.CodeInternal {
		return d.Detail
	}
	return "an internal error; the log has its cause"
}
