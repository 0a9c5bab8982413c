package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is a machine with a clock that can be set.
type world struct {
	clock   time.Time
	running time.Duration
	log     bytes.Buffer
}

func newWorld() *world { return &world{clock: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)} }

func (w *world) pass(d time.Duration) { w.clock, w.running = w.clock.Add(d), w.running+d }

func (w *world) ages(noted time.Time) *ages { return w.agesAfter(noted, 0) }

// agesAfter begins a run that knows how long ago the last one was.
func (w *world) agesAfter(noted time.Time, down time.Duration) *ages {
	return newAges(noted, down, func() time.Time { return w.clock }, func() time.Duration { return w.running }, slog.New(slog.NewTextHandler(&w.log, nil)))
}

// TestClockJump: a clock that jumps ahead is believed after the grace and not before, and that is logged.
func TestClockJump(t *testing.T) {
	const years = 2 * 365 * 24 * time.Hour
	for name, jump := range map[string]func(w *world, a *ages) *ages{
		"in a run": func(w *world, a *ages) *ages {
			w.clock = w.clock.Add(years)
			return a
		},
		"between two runs": func(w *world, a *ages) *ages {
			noted := a.now()
			w.clock = w.clock.Add(years)
			w.running = 0
			return w.ages(noted)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			a := w.ages(time.Time{})
			for range 10 {
				w.pass(time.Minute)
				if got := a.now(); !got.Equal(w.clock) {
					t.Fatalf("%s at %s", got, w.clock)
				}
			}
			right := w.clock
			a = jump(w, a)
			for passed := time.Duration(0); passed < clockGrace; passed += time.Minute {
				if got := a.now(); !got.Equal(right.Add(passed)) {
					t.Fatalf("%s after %s", got, passed)
				}
				w.pass(time.Minute)
			}
			if n := strings.Count(w.log.String(), "\n"); n != 1 || !strings.Contains(w.log.String(), "level=WARN") {
				t.Errorf("logged %s", w.log.String())
			}
			if got := a.now(); !got.Equal(w.clock) || !strings.Contains(w.log.String(), "expire by the clock again") {
				t.Errorf("%s at %s after the grace, logged %s", got, w.clock, w.log.String())
			}
		})
	}
	t.Run("set right in time", func(t *testing.T) {
		w := newWorld()
		a := w.ages(time.Time{})
		w.clock = w.clock.Add(years)
		a.now()
		w.pass(time.Hour)
		w.clock = w.clock.Add(-years)
		if got := a.now(); !got.Equal(w.clock) || !strings.Contains(w.log.String(), "back where it was") {
			t.Errorf("%s at %s, logged %s", got, w.clock, w.log.String())
		}
	})
}

// TestDowntime: when the machine ran on between two runs, what has passed is told from a clock that jumped.
func TestDowntime(t *testing.T) {
	for name, c := range map[string]struct{ down, jump, grace time.Duration }{
		"a short one":              {down: 4 * time.Minute},
		"a longer one":             {down: 20 * time.Minute, grace: 20 * time.Minute},
		"a week":                   {down: 7 * 24 * time.Hour, grace: clockGrace},
		"with a jump":              {down: 20 * time.Minute, jump: time.Hour, grace: clockGrace},
		"with a clock set back":    {down: 20 * time.Minute, jump: -time.Hour},
		"with a clock set a bit":   {down: 20 * time.Minute, jump: 2 * time.Minute, grace: 20 * time.Minute},
		"a jump right after start": {jump: time.Hour, grace: clockGrace},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld()
			noted := w.ages(time.Time{}).now()
			w.clock = w.clock.Add(c.down + c.jump)
			a := w.agesAfter(noted, c.down)
			for passed := time.Duration(0); passed < c.grace; passed += time.Minute {
				if got := a.now(); !got.Equal(noted.Add(passed)) {
					t.Fatalf("%s after %s", got, passed)
				}
				w.pass(time.Minute)
			}
			if got := a.now(); !got.Equal(w.clock) {
				t.Errorf("%s at %s after the grace, logged %s", got, w.clock, w.log.String())
			}
			if warned := strings.Contains(w.log.String(), "the clock is ahead"); warned != (c.jump > clockTolerance) {
				t.Errorf("logged %s", w.log.String())
			}
			// What comes later is a jump, however long the pause was.
			w.clock = w.clock.Add(10 * time.Minute)
			before := a.now()
			w.pass(clockGrace - time.Minute)
			if got := a.now(); !got.Equal(before.Add(clockGrace - time.Minute)) {
				t.Errorf("a jump in the run: %s at %s", got, w.clock)
			}
		})
	}
}

// TestUptime: time between two moments is known within one boot only.
func TestUptime(t *testing.T) {
	for _, c := range []struct {
		now, earlier uptime
		want         time.Duration
	}{
		{uptime{"a", 50}, uptime{"a", 20}, 30}, {uptime{"a", 50}, uptime{"b", 20}, 0}, {uptime{}, uptime{}, 0}, {uptime{"", 50}, uptime{"", 20}, 0}, {uptime{"a", 10}, uptime{"a", 20}, 0},
	} {
		if got := c.now.since(c.earlier); got != c.want {
			t.Errorf("%v since %v: %v", c.now, c.earlier, got)
		}
	}
	before := machineUptime()
	time.Sleep(2 * time.Millisecond)
	if now := machineUptime(); before.boot != "" && now.since(before) < 2*time.Millisecond || before.boot != now.boot {
		t.Errorf("%v, then %v", before, now)
	}
}

// TestAgesModel: whatever the clock does, ages never run ahead of it, and within the grace of a jump never
// faster than time passes, but for the tolerance: in a run, between two in one boot, and between two of which
// it is not known how far apart they are.
func TestAgesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		a := w.ages(time.Time{})
		calm := clockGrace  // running time since the last jump
		var bound time.Time // what ages may be at most: those at the last jump, and the time since
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before := a.now()
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				w.clock = w.clock.Add(time.Duration(rapid.Int64Range(int64(clockTolerance)+1, int64(10000*time.Hour)).Draw(t, "ahead")))
				calm, bound = 0, before
			case 1:
				w.clock = w.clock.Add(-time.Duration(rapid.Int64Range(0, int64(10000*time.Hour)).Draw(t, "back")))
			}
			took := time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "passes"))
			w.pass(took)
			bound = bound.Add(took)
			switch rapid.IntRange(0, 19).Draw(t, "restart") {
			case 0:
				w.running = 0
				a = w.ages(before)
			case 1:
				w.running = 0
				a = w.agesAfter(before, took)
			default:
				calm += took
			}
			got := a.now()
			if got.After(w.clock) {
				t.Fatalf("%s is ahead of the clock, %s", got, w.clock)
			}
			if calm < clockGrace && got.After(bound.Add(clockTolerance)) {
				t.Fatalf("%s, at most %s, %s after a jump", got, bound, calm)
			}
		}
	})
}
