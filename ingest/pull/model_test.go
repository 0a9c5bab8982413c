package pull

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/project"
)

// model drives a puller with a clock that jumps, functions that fail, and stops at every moment of a run.
type model struct {
	t  *rapid.T
	o  Options
	p  *Puller
	at time.Time

	ctx   context.Context // of the present step
	crash context.CancelFunc

	// What happens in the next step.
	failures int  // attempts that fail
	dies     bool // during the invocation
	appends  int  // stop at this append; 0 for never
	after    bool // stop when it is on its way

	begun  []time.Time // slots, in the order in which their first attempt came
	moment []time.Time // when
	paused bool
}

func (m *model) invoke(_ context.Context, payload []byte, _ string) ([]byte, error) {
	e := readEvent(payload)
	if n := len(m.begun); n == 0 || !m.begun[n-1].Equal(e.Time) {
		m.begun, m.moment = append(m.begun, e.Time), append(m.moment, m.at)
	}
	if m.dies {
		m.dies = false
		m.crash()
		return nil, m.ctx.Err()
	}
	if m.failures > 0 {
		m.failures--
		return nil, &tarn.Error{Code: function.CodeFailed, Detail: "no"}
	}
	return count(e, rapid.IntRange(0, 12).Draw(m.t, "records")), nil
}

func (m *model) admit() error {
	if m.appends == 0 {
		return nil
	}
	if m.appends--; m.appends > 0 {
		return nil
	}
	m.crash()
	if m.after {
		return nil // whether it arrives is open
	}
	return errCrash
}

// step runs the puller until nothing is due, or until it is stopped, which is then a new process.
func (m *model) step() {
	for {
		m.ctx, m.crash = context.WithCancel(context.Background())
		wait, err := m.p.step(m.ctx)
		stopped := m.ctx.Err() != nil
		m.crash()
		switch {
		case stopped:
			m.restart()
			return
		case err != nil:
			m.t.Fatal(err)
		case wait > 0:
			return
		}
	}
}

func (m *model) restart() {
	var err error
	if m.p, err = New(m.o); err != nil {
		m.t.Fatal(err)
	}
	m.p.chunk = 60
	m.p.Pause(m.paused)
}

// TestModel: whatever happens, each due slot begins once according to catch_up, and what the functions
// returned is in the stream once.
func TestModel(t *testing.T) {
	s := openStores(t)
	tables := []Timetable{{Every: time.Minute}, {Every: 7 * time.Second}, cron(t, "*/5 * * * *"), cron(t, "0 3 * * *")}
	checks := 0
	rapid.Check(t, func(rt *rapid.T) {
		checks++
		table := rapid.SampledFrom(tables).Draw(rt, "table")
		m := &model{t: rt, at: at("02:59:41")}
		start := m.at
		var forgets atomic.Int64 // how far the stream's clock is ahead
		st := s.open(t, fmt.Sprintf("m%d", checks), rapid.IntRange(1, 3).Draw(rt, "shards"), func() time.Time { return time.Now().Add(time.Duration(forgets.Load())) })
		defer st.Close()
		m.o = Options{Pipeline: fmt.Sprintf("m%d", checks), Function: "f", Timetable: table, Stream: st, KeyPath: "key", DB: s.db, Retries: 2, RetryPause: time.Nanosecond,
			CatchUp: rapid.SampledFrom([]CatchUp{project.CatchUpOne, project.CatchUpAll, project.CatchUpNone}).Draw(rt, "catch up"),
			Clock:   func() time.Time { return m.at }, Invoke: m.invoke, Admit: m.admit}
		m.restart()
		m.step()
		for range rapid.IntRange(1, 15).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0: // forwards
				m.at = m.at.Add(time.Duration(rapid.Int64Range(1, int64(40*time.Minute)).Draw(rt, "jump")))
			case 1: // backwards
				m.at = m.at.Add(-time.Duration(rapid.Int64Range(1, int64(10*time.Minute)).Draw(rt, "back")))
			case 2:
				m.restart()
			case 3:
				m.paused = !m.paused
				m.p.Pause(m.paused)
			case 4:
				m.failures = rapid.IntRange(1, 4).Draw(rt, "failures")
			case 5:
				m.dies = true
			case 6:
				m.appends, m.after = rapid.IntRange(1, 4).Draw(rt, "append"), rapid.Bool().Draw(rt, "after")
				forgets.Add(int64(time.Hour))
			default: // to the next slot
				m.at = table.next(m.at)
			}
			m.step()
		}
		m.paused, m.failures, m.dies, m.appends = false, 0, false, 0
		m.p.Pause(false)
		m.step()
		m.check(start, contents(t, st))
	})
}

// check compares what happened with what had to.
func (m *model) check(start time.Time, records []string) {
	last, now := start, start
	for i, slot := range m.begun {
		if now = m.moment[i]; slot.After(now) {
			m.t.Fatalf("%s began at %s", slot, now)
		}
		n, latest := m.o.Timetable.due(last, now)
		first := m.o.Timetable.next(last)
		switch {
		case n == 0 || slot.Before(first):
			m.t.Fatalf("%s began after %s", slot, last)
		case m.o.CatchUp == project.CatchUpAll && !slot.Equal(first):
			m.t.Fatalf("%s began, %s was left out", slot, first)
		case m.o.CatchUp != project.CatchUpAll && !slot.Equal(latest):
			m.t.Fatalf("%s began at %s, when %s was due", slot, now, latest)
		}
		last = slot
	}
	st := m.p.Status()
	if int(st.Runs) != len(m.begun) || m.o.CatchUp == project.CatchUpAll && st.Skipped != 0 {
		m.t.Fatalf("%d slots began: %+v", len(m.begun), st)
	}
	if n, latest := m.o.Timetable.due(m.p.source.slot, m.at); n > 0 {
		m.t.Fatalf("%s did not begin", latest)
	}
	var state int
	if c := m.p.source.checkpoint; len(c) > 0 {
		if err := json.Unmarshal(c, &state); err != nil {
			m.t.Fatal(err)
		}
	}
	seen := map[int]int{}
	for _, r := range records {
		var doc struct{ N int }
		if err := json.Unmarshal([]byte(r), &doc); err != nil {
			m.t.Fatal(err)
		}
		seen[doc.N]++
	}
	for n := range state {
		if seen[n] != 1 {
			m.t.Fatalf("record %d of %d is in the stream %d times", n, state, seen[n])
		}
	}
	if len(seen) != state || int(st.Records) != state {
		m.t.Fatalf("%d records, the functions returned %d: %+v", len(records), state, st)
	}
}
