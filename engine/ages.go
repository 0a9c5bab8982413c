package engine

import (
	"log/slog"
	"sync"
	"time"
)

const (
	// clockTolerance is by how much the clock may be ahead of the time that really passed before that
	// counts as a jump, in a run or between two.
	clockTolerance = 5 * time.Minute
	// clockGrace is how long the process runs after a jump before records expire by the new time.
	clockGrace = 6 * time.Hour
)

// ages is the time by which retention measures how old records are. It is the clock's as long as that
// moves like the time that passes. When the clock jumps ahead, in a run or since the last one, it goes on
// from before the jump for clockGrace, so that a wrong clock, or a machine that was off for long, takes no
// record away before somebody has had time to see to it (I3). A clock that is set back is followed at
// once. Safe for concurrent use.
type ages struct {
	clock   func() time.Time     // without a monotonic part
	running func() time.Duration // since the process began; no clock moves it
	log     *slog.Logger

	mu    sync.Mutex
	time  time.Time     // what now returned last
	at    time.Duration // when that was, in running time
	ahead time.Duration // of the clock after a jump that is not believed yet, else 0
	since time.Duration // when that jump was seen, in running time
}

// newAges goes on from noted, the time of the last run, if there is one.
func newAges(noted time.Time, clock func() time.Time, running func() time.Duration, log *slog.Logger) *ages {
	a := &ages{clock: clock, running: running, log: log, time: noted, at: running()}
	if noted.IsZero() {
		a.time = clock()
	}
	return a
}

// realAges is newAges by the clocks of the machine.
func realAges(noted time.Time, log *slog.Logger) *ages {
	began := time.Now()
	return newAges(noted, func() time.Time { return time.Now().Round(0) }, func() time.Duration { return time.Since(began) }, log)
}

// now returns the time to measure ages by.
func (a *ages) now() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	clock, running := a.clock(), a.running()
	expected := a.time.Add(running - a.at)
	ahead := clock.Sub(expected)
	switch {
	case ahead <= clockTolerance:
		if a.ahead > 0 {
			a.log.Info("the clock is back where it was: records expire by it as before")
		}
		a.ahead, expected = 0, clock
	case a.ahead == 0 || ahead > a.ahead+clockTolerance:
		a.log.Warn("the clock is ahead of the time that has passed, or Tarn did not run for a while: records expire by the old time for now",
			"ahead", ahead.Round(time.Second), "clock", clock.UTC(), "ages_by", expected.UTC(), "until_it_has_run", clockGrace)
		a.ahead, a.since = ahead, running
	case running-a.since >= clockGrace:
		a.log.Warn("records expire by the clock again", "clock", clock.UTC(), "was", expected.UTC())
		a.ahead, expected = 0, clock
	}
	a.time, a.at = expected, running
	return expected
}
