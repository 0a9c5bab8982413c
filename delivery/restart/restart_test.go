package restart

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestLoop: pauses grow up to the longest while sessions fail at once, and begin anew behind one that ran for
// long; the end of the context ends the loop, in a session or in a pause.
func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var ended time.Time
		var pauses []time.Duration
		told := 0
		err := Loop(ctx, func(ctx context.Context) error {
			if !ended.IsZero() {
				pauses = append(pauses, time.Since(ended))
			}
			defer func() { ended = time.Now() }()
			switch len(pauses) {
			case 10:
				time.Sleep(2 * time.Minute)
			case 11:
				ended = time.Now()
				return nil // followed at once
			case 13:
				cancel()
				return errors.New("cut off")
			}
			return errors.New("fails")
		}, func(error) { told++ })
		if err == nil || err.Error() != "cut off" || told != 12 || len(pauses) != 13 {
			t.Fatalf("%v, told of %d, pauses %v", err, told, pauses)
		}
		for i, p := range pauses {
			want := min(firstPause<<i, maxPause)
			switch i {
			case 10:
				want = firstPause
			case 11:
				want = 0
			case 12:
				want = 2 * firstPause
			}
			if p < want || p > want+want/2 {
				t.Errorf("pause %d is %v, want %v and up to half as much again", i, p, want)
			}
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), firstPause/2)
		defer cancel()
		if err := Loop(ctx, func(context.Context) error { return errors.New("fails") }, func(error) {}); err != nil {
			t.Errorf("ended in a pause: %v", err)
		}
	})
}

// TestWork: work goes on for a while after the end.
func TestWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		work, end := Work(ctx)
		cancel()
		time.Sleep(drainTime - time.Second)
		if work.Err() != nil {
			t.Error("it ended too early")
		}
		time.Sleep(2 * time.Second)
		if work.Err() == nil || context.Cause(work).Error() != "draining took too long" {
			t.Errorf("it goes on: %v", context.Cause(work))
		}
		end()
		work, end = Work(t.Context())
		end()
		if work.Err() == nil {
			t.Error("it is not freed")
		}
	})
}
