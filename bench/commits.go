package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/tarn-data/tarn/bench/load"
)

// commits measures whether commits grow slower as a table's history grows. Each round posts one body
// that is larger than the buffer, which makes the delivery flush at once, and waits for its commit.
func commits(ctx context.Context, s *session) ([]Row, error) {
	const warm, window, bodyEvents = 10, 50, 3_200 // 3,200 events of 350 bytes are over 1 MiB
	srv, err := s.start(ctx, "{size: 1MiB, interval: 60s}")
	if err != nil {
		return nil, err
	}
	defer srv.remove()
	conn, err := load.Dial(ctx, srv.Base, "/v1/streams/"+pipeline+"/records", "application/x-ndjson")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	n := s.scaled(1_000, 2*window)
	var took []float64
	var body []byte
	for i := range warm + n {
		body = s.events.gen.AppendNDJSON(body[:0], i*bodyEvents, bodyEvents)
		start := time.Now()
		if err := conn.MustPost(body); err != nil {
			return nil, err
		}
		wait, cancel := context.WithTimeout(ctx, time.Minute)
		_, done, err := srv.Settled(wait, pipeline, (i+1)*bodyEvents, time.Millisecond)
		cancel()
		if err != nil {
			return nil, fmt.Errorf("commit %d: %w\n%s", i, err, srv.Log())
		}
		if i >= warm {
			took = append(took, millis(done.Sub(start)))
		}
	}
	first, last := mean(took[:window]), mean(took[len(took)-window:])
	return []Row{
		{Name: fmt.Sprintf("%s commits: mean of first %d", number(float64(n)), window), Value: first, Unit: "ms",
			Note: "post of 3,200 events until their commit is seen: append, conversion and commit; maintenance runs meanwhile"},
		Row{Name: fmt.Sprintf("%s commits: mean of last %d", number(float64(n)), window), Value: last, Unit: "ms"}.to("the first", first).ratioAtMost(1.5),
	}, nil
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}
