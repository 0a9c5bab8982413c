package load

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

// ReadOptions say what to ask for, and how long.
type ReadOptions struct {
	URL     string        // base URL of the server
	Clients int           // connections
	For     time.Duration // how long
	Pause   time.Duration // of each client between an answer and its next request

	// Path appends the path of request number n of a client to dst. It is called by all clients at once.
	Path func(dst []byte, client, n int) []byte
}

// ReadResult is what came of a run.
type ReadResult struct {
	Elapsed   time.Duration
	Latencies []time.Duration // of each request, unsorted
	Bytes     int64           // of the bodies of all answers
}

// Read sends GET requests until the time is over. Any answer but 200 is an error.
func Read(ctx context.Context, o ReadOptions) (ReadResult, error) {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	results := make([]ReadResult, o.Clients)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			if err := o.client(inner, i, start.Add(o.For), &results[i]); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	total := ReadResult{Elapsed: time.Since(start)}
	for _, part := range results {
		total.Latencies = append(total.Latencies, part.Latencies...)
		total.Bytes += part.Bytes
	}
	return total, context.Cause(inner)
}

func (o *ReadOptions) client(ctx context.Context, number int, until time.Time, res *ReadResult) error {
	conn, err := connect(ctx, o.URL)
	if err != nil {
		return err
	}
	defer conn.Close()
	var path []byte
	for n := 0; time.Now().Before(until); n++ {
		path = o.Path(path[:0], number, n)
		sent := time.Now()
		status, answer, err := conn.get(path)
		if err != nil || status != http.StatusOK {
			return fmt.Errorf("GET %s: HTTP status %d %.300s: %w", path, status, answer, err)
		}
		res.Latencies = append(res.Latencies, time.Since(sent))
		res.Bytes += int64(len(answer))
		pause(ctx, o.Pause)
	}
	return nil
}
