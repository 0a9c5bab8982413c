package twin

import (
	"context"
	"time"
)

// channel is where the nodes on one PostgreSQL tell each other that a twin has changed.
const channel = "tarn_twins"

// lookAnyway is how often a node that is told of changes looks for them all the same: a message may be lost
// with a connection that nobody has noticed to be dead.
const lookAnyway = 2 * time.Second

// listen wakes Run when another node writes, until ctx ends. While it cannot, Run looks every
// Options.Refresh.
func (s *Store) listen(ctx context.Context) {
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, 30*time.Second) {
		err := s.db.Listen(ctx, channel, func() {
			s.told.Store(true)
			pause = time.Second
			s.nudge() // what was written before is seen now
		}, func(node string) {
			if node != s.node {
				s.nudge()
			}
		})
		s.told.Store(false)
		if ctx.Err() != nil {
			return
		}
		s.nudge() // Run looks more often from now on
		s.o.Logger.Warn("the database does not tell of changes of twins; they are looked for", "every", s.o.Refresh, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// interval is how long Run waits without being woken.
func (s *Store) interval() time.Duration {
	if s.told.Load() {
		return max(s.o.Refresh, lookAnyway)
	}
	return s.o.Refresh
}
