package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// Options say what to send, where and how fast.
type Options struct {
	URL     string // base URL of the server
	Stream  string // stream to post to
	Clients int    // connections; 0 means 8
	Batch   int    // records of one request; 0 means 500
	From    int64  // number of the first record
	Records int64  // how many; 0 means until ctx ends
	Rate    int64  // records a second over all clients; 0 means as fast as the server answers

	// Append appends records from…from+n-1 to dst, one a line. It is called by all clients at once.
	Append func(dst []byte, from int64, n int) []byte

	// Acked, if set, is called after each acknowledged request, by all clients at once.
	Acked func(Ack)
}

// Ack is one acknowledged request.
type Ack struct {
	From  int64     // number of its first record
	Count int       // how many records it held
	Sent  time.Time // just before its first byte was written
	Done  time.Time // just after its answer was read
}

// Result is what came of a run. Counts hold also when the run ended with an error.
type Result struct {
	Accepted  int64           // records acknowledged
	Rejected  int64           // records refused by index in an answer
	Busy      int64           // answers 429 and 503; those requests were sent again
	Elapsed   time.Duration   // first request to last answer
	Latencies []time.Duration // of each acknowledged request, waiting for a busy server included; unsorted
}

// busyWait is the time before a request that met a busy server is sent again. It is shorter than
// Retry-After asks of polite producers, because a load generator is there to keep the server busy.
const busyWait = 20 * time.Millisecond

// Run sends the records and returns when all are acknowledged, ctx ends (not an error when Records is
// 0), or a request fails for another reason than a busy server.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Clients == 0 {
		o.Clients = 8
	}
	if o.Batch == 0 {
		o.Batch = 500
	}
	if o.Append == nil || o.Clients < 0 || o.Batch < 0 || o.Rate < 0 || o.Records < 0 {
		return Result{}, errors.New("load: Append is missing or a number is negative")
	}
	endless := o.Records == 0
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r := run{Options: o, path: "/v1/streams/" + url.PathEscape(o.Stream) + "/records", start: time.Now()}
	results := make([]Result, o.Clients)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			if err := r.client(inner, &results[i]); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	total := Result{Elapsed: time.Since(r.start)}
	for _, part := range results {
		total.Accepted += part.Accepted
		total.Rejected += part.Rejected
		total.Busy += part.Busy
		total.Latencies = append(total.Latencies, part.Latencies...)
	}
	err := context.Cause(inner)
	if ctx.Err() != nil && endless {
		err = nil
	}
	return total, err
}

// run is the state that the clients share.
type run struct {
	Options
	path  string
	start time.Time
	next  atomic.Int64 // number of the next request
}

func (r *run) client(ctx context.Context, res *Result) error {
	conn, err := Dial(ctx, r.URL, r.path, "application/x-ndjson")
	if err != nil {
		return err
	}
	defer conn.Close()
	var body []byte
	for {
		offset := (r.next.Add(1) - 1) * int64(r.Batch)
		n := int64(r.Batch)
		if r.Records > 0 {
			n = min(n, r.Records-offset)
		}
		if n <= 0 || ctx.Err() != nil {
			return nil
		}
		if r.Rate > 0 {
			pause(ctx, time.Until(r.start.Add(time.Duration(float64(offset)/float64(r.Rate)*1e9))))
		}
		body = r.Append(body[:0], r.From+offset, int(n))
		ack, err := r.send(ctx, conn, body, res)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		ack.From, ack.Count = r.From+offset, int(n)
		if r.Acked != nil {
			r.Acked(ack)
		}
	}
}

// send sends a body until it is acknowledged.
func (r *run) send(ctx context.Context, conn *Conn, body []byte, res *Result) (Ack, error) {
	ack := Ack{Sent: time.Now()}
	for {
		status, answer, err := conn.Post(body)
		if err != nil {
			return ack, fmt.Errorf("POST %s: %w", r.path, err)
		}
		switch status {
		case http.StatusOK:
			ack.Done = time.Now()
			var a struct {
				Accepted int64             `json:"accepted"`
				Rejected []json.RawMessage `json:"rejected"`
			}
			if err := json.Unmarshal(answer, &a); err != nil {
				return ack, fmt.Errorf("POST %s: %w in %.200s", r.path, err, answer)
			}
			res.Accepted += a.Accepted
			res.Rejected += int64(len(a.Rejected))
			res.Latencies = append(res.Latencies, ack.Done.Sub(ack.Sent))
			return ack, nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			res.Busy++
			if pause(ctx, busyWait); ctx.Err() != nil {
				return ack, ctx.Err()
			}
		default:
			return ack, fmt.Errorf("POST %s: HTTP status %d: %.500s", r.path, status, answer)
		}
	}
}
