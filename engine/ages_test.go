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

func (w *world) ages(noted time.Time) *ages {
	return newAges(noted, func() time.Time { return w.clock }, func() time.Duration { return w.running }, slog.New(slog.NewTextHandler(&w.log, nil)))
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

// TestAgesModel: whatever the clock does, ages never run ahead of it, and within the grace of a jump never
// faster than time passes, but for the tolerance.
func TestAgesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		a := w.ages(time.Time{})
		calm := clockGrace // running time since the last jump
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			before, was := a.now(), w.running
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				w.clock = w.clock.Add(time.Duration(rapid.Int64Range(int64(clockTolerance)+1, int64(10000*time.Hour)).Draw(t, "ahead")))
				calm = 0
			case 1:
				w.clock = w.clock.Add(-time.Duration(rapid.Int64Range(0, int64(10000*time.Hour)).Draw(t, "back")))
			}
			w.pass(time.Duration(rapid.Int64Range(0, int64(2*time.Hour)).Draw(t, "passes")))
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
				was, w.running = was-w.running, 0 // no time between the runs
				a = w.ages(before)
				before = before.Add(0)
			}
			calm += w.running - was
			got := a.now()
			if got.After(w.clock) && got.Sub(w.clock) > 0 {
				t.Fatalf("%s is ahead of the clock, %s", got, w.clock)
			}
			if passed := got.Sub(before); calm < clockGrace && passed > w.running-was+clockTolerance {
				t.Fatalf("%s passed in %s, %s after a jump", passed, w.running-was, calm)
			}
		}
	})
}
