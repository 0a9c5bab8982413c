package bench

import (
	"context"
	"time"
)

// startup measures a server without data: how fast it is ready and how little it holds.
func startup(ctx context.Context, s *session) ([]Row, error) {
	const runs, idle = 5, 5 * time.Second
	var ready []float64
	var memory float64
	for run := range runs {
		srv, err := s.start(ctx, "")
		if err != nil {
			return nil, err
		}
		ready = append(ready, millis(srv.ready))
		if run == runs-1 {
			select {
			case <-time.After(idle):
			case <-ctx.Done():
			}
			u, err := srv.Usage()
			if err != nil {
				srv.remove()
				return nil, err
			}
			memory = float64(u.ResidentBytes) / 1e6
		}
		err = srv.Stop(ctx)
		srv.remove()
		if err != nil {
			return nil, err
		}
	}
	return []Row{
		Row{Name: "start to ready", Value: median(ready), Unit: "ms", Samples: ready, Note: "empty data folder; process start until GET /readyz answers 200"}.atMost(500),
		Row{Name: "idle memory", Value: memory, Unit: "MB", Note: "resident, five seconds after the start"}.atMost(100),
	}, nil
}
