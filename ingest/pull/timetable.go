package pull

import (
	"time"

	"github.com/tarn-data/tarn/project"
)

// CatchUp says which missed slots run.
type CatchUp = project.CatchUp

// maxCatchUp is how many missed slots CatchUpAll runs; older ones are passed over.
const maxCatchUp = 10_000

// horizon bounds how far back missed slots are counted.
const horizon = 10 * 366 * 24 * time.Hour

// Timetable says when a function is due. Exactly one field is set.
type Timetable struct {
	Schedule   project.Schedule
	Every      time.Duration // at its multiples
	Continuous bool
}

// String describes it for a person.
func (t Timetable) String() string {
	switch {
	case t.Continuous:
		return "continuous"
	case t.Every > 0:
		return "every " + t.Every.String()
	}
	return t.Schedule.String()
}

// next returns the first slot after a moment.
func (t Timetable) next(after time.Time) time.Time { return t.nth(after, 1) }

// nth returns the nth slot after a moment; n is at least 1.
func (t Timetable) nth(after time.Time, n int64) time.Time {
	if t.Every > 0 {
		return after.UTC().Truncate(t.Every).Add(time.Duration(n) * t.Every)
	}
	for range n {
		after = t.Schedule.Next(after)
	}
	return after
}

// due returns how many slots lie after one moment and not after another, and the last of them.
func (t Timetable) due(after, until time.Time) (n int64, last time.Time) {
	if !after.Before(until) {
		return 0, time.Time{}
	}
	if t.Every > 0 {
		last = until.UTC().Truncate(t.Every)
		return int64(last.Sub(after.UTC().Truncate(t.Every)) / t.Every), last
	}
	for slot := t.Schedule.Next(after); !slot.After(until); slot = t.Schedule.Next(slot) {
		n, last = n+1, slot
	}
	return n, last
}

// decision is what is to be done at a moment. Both times are zero when there is nothing.
type decision struct {
	slot    time.Time // begin this one
	mark    time.Time // the last slot is this one now
	skipped int64     // passed over
}

// decide says what is to be done now when last is the last slot that was begun or passed over. awaited is
// the slot that this process was waiting for, zero when it did not wait: that one was not missed.
func (t Timetable) decide(last, awaited, now time.Time, c CatchUp) decision {
	if earliest := now.Add(-horizon); last.Before(earliest) {
		last = earliest
	}
	n, latest := t.due(last, now)
	switch {
	case n == 0:
		return decision{}
	case c == project.CatchUpNone && !(n == 1 && latest.Equal(awaited)):
		return decision{mark: latest, skipped: n}
	case c == project.CatchUpAll:
		over := max(0, n-maxCatchUp)
		slot := t.nth(last, over+1)
		return decision{slot: slot, mark: slot, skipped: over}
	}
	return decision{slot: latest, mark: latest, skipped: n - 1}
}
