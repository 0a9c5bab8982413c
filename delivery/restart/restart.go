package restart

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

const (
	firstPause = 200 * time.Millisecond
	maxPause   = 15 * time.Second
	healthy    = time.Minute // a session that ran longer is followed by the first pause again

	// drainTime is how long work may go on after it was told to stop.
	drainTime = 20 * time.Second
)

// Loop runs sessions until ctx is done. One that fails is told to failed and followed by another, after a
// pause that grows while sessions fail at once. It returns the error of the session that the end of ctx met,
// nil when that ended well.
func Loop(ctx context.Context, session func(context.Context) error, failed func(error)) error {
	pause := firstPause
	for ctx.Err() == nil {
		began := time.Now()
		err := session(ctx)
		if err == nil {
			continue
		}
		if ctx.Err() != nil {
			return err
		}
		failed(err)
		if time.Since(began) > healthy {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause + rand.N(pause/2)):
		}
		pause = min(2*pause, maxPause)
	}
	return nil
}

// Work returns a context for what a session has begun: it goes on for a while after ctx is done, so that what
// was read is committed. end frees it.
func Work(ctx context.Context) (work context.Context, end func()) {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(drainTime, func() { cancel(errors.New("draining took too long")) })
	})
	return work, func() {
		stop()
		cancel(nil)
	}
}
