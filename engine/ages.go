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

// uptime is a moment by a clock that nobody sets.
type uptime struct {
	boot string        // names the boot of the machine; empty where that is not known
	up   time.Duration // since then
}

// since returns how much time has passed since an earlier moment, 0 when that is not known: the machine
// has started anew in between, or does not tell.
func (u uptime) since(earlier uptime) time.Duration {
	if u.boot == "" || u.boot != earlier.boot {
		return 0
	}
	return max(0, u.up-earlier.up)
}

// moment is a time by which ages were measured, and when that was.
type moment struct {
	time   time.Time
	uptime uptime
}

// ages is the time by which retention measures how old records are. It is the clock's as long as that
// moves like the time that passes. When the clock jumps ahead, in a run or since the last one, it goes on
// from before the jump for clockGrace, so that a wrong clock, or a machine that was off for long, takes no
// record away before somebody has had time to see to it (I3). Where the machine ran on, and the time since
// the last run really passed, it does so for no longer than that was: deliveries catch up first. A clock
// that is set back is followed at once. Safe for concurrent use.
type ages struct {
	clock   func() time.Time     // without a monotonic part
	running func() time.Duration // since the process began; no clock moves it
	log     *slog.Logger

	mu    sync.Mutex
	time  time.Time     // what now returned last
	at    time.Duration // when that was, in running time
	ahead time.Duration // of the clock after a jump that is not believed yet, else 0
	since time.Duration // when that jump was seen, in running time
	grace time.Duration // for which it is not believed
	down  time.Duration // between noted and the first look at the clock, when that is known
}

// newAges goes on from noted, the time of the last run, if there is one. down is how long ago that was,
// and 0 when that is not known.
func newAges(noted time.Time, down time.Duration, clock func() time.Time, running func() time.Duration, log *slog.Logger) *ages {
	a := &ages{clock: clock, running: running, log: log, time: noted, at: running(), down: down}
	if noted.IsZero() {
		a.time = clock()
	}
	return a
}

// realAges is newAges by the clocks of the machine.
func realAges(noted moment, log *slog.Logger) *ages {
	began := time.Now()
	return newAges(noted.time, machineUptime().since(noted.uptime), func() time.Time { return time.Now().Round(0) }, func() time.Duration { return time.Since(began) }, log)
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
		a.distrust(ahead, clock, expected, running)
	case running-a.since >= a.grace:
		a.log.Warn("records expire by the clock again", "clock", clock.UTC(), "was", expected.UTC())
		a.ahead, expected = 0, clock
	}
	a.time, a.at, a.down = expected, running, 0
	return expected
}

// distrust begins to go on from before a jump. The caller holds mu.
func (a *ages) distrust(ahead time.Duration, clock, expected time.Time, running time.Duration) {
	a.ahead, a.since, a.grace = ahead, running, clockGrace
	if ahead <= a.down+clockTolerance { // known only at the first look
		a.grace = min(a.down, clockGrace)
		a.log.Info("Tarn did not run for a while: deliveries catch up before records expire by the clock again",
			"did_not_run", a.down.Round(time.Second), "ages_by", expected.UTC(), "until_it_has_run", a.grace.Round(time.Second))
		return
	}
	a.log.Warn("the clock is ahead of the time that has passed, or Tarn did not run for a while: records expire by the old time for now",
		"ahead", ahead.Round(time.Second), "clock", clock.UTC(), "ages_by", expected.UTC(), "until_it_has_run", clockGrace)
}
