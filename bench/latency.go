package bench

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn/bench/load"
	"github.com/tarn-data/tarn/internal/fleet"
)

// scaled returns n for the default number of events and proportionally less, but at least least, for
// fewer.
func (s *session) scaled(n, least int64) int64 {
	return max(least, min(n, n*s.Events/DefaultEvents))
}

// single measures group commit: many clients whose requests hold one event each.
func single(ctx context.Context, s *session) ([]Row, error) {
	srv, err := s.start(ctx, "")
	if err != nil {
		return nil, err
	}
	defer srv.remove()
	n := s.scaled(50_000, 2_000)
	o := load.Options{URL: srv.Base, Stream: pipeline, Clients: 64, Batch: 1, Records: n / 10, Append: s.events.gen.AppendNDJSON}
	if _, err := load.Run(ctx, o); err != nil { // warm-up
		return nil, err
	}
	o.From, o.Records = n/10, n
	r, err := load.Run(ctx, o)
	if err != nil {
		return nil, err
	}
	return []Row{
		{Name: "single-event requests", Value: perSecond(n, r.Elapsed), Unit: "requests/s", Note: "64 clients, one event a request, acknowledged after fsync"},
		{Name: "single-event requests, p99", Value: millis(quantile(r.Latencies, 0.99)), Unit: "ms"},
	}, nil
}

// freshness measures how long after its acknowledgement a record is visible to SQL, at a steady
// 10,000 events a second and with flushes going on.
func freshness(ctx context.Context, s *session) ([]Row, error) {
	const rate, warm = 10_000, 1_000
	srv, err := s.start(ctx, "{size: 128MiB, interval: 5s}")
	if err != nil {
		return nil, err
	}
	defer srv.remove()
	o := load.Options{URL: srv.Base, Stream: pipeline, Clients: 1, Batch: 100, Rate: rate, Records: warm, Append: s.events.gen.AppendNDJSON}
	if _, err := load.Run(ctx, o); err != nil {
		return nil, err
	}
	probe := freshProbe{srv: srv}
	if err := probe.until(ctx, warm-1); err != nil {
		return nil, err
	}
	o.From, o.Records, o.Acked = warm, s.scaled(20*rate, 5*rate), probe.acked
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	var loading sync.WaitGroup
	var r load.Result
	var loadErr error
	loading.Go(func() {
		if r, loadErr = load.Run(both, o); loadErr != nil {
			cancel()
		}
	})
	err = probe.until(both, warm+o.Records-1)
	if err != nil {
		cancel()
	}
	loading.Wait()
	if err = cmp.Or(err, loadErr); err != nil {
		return nil, err
	}
	note := fmt.Sprintf("acknowledged until a query returns it, the query included; %.0f events/s for %.0f s with a flush every 5 s",
		perSecond(o.Records, r.Elapsed), r.Elapsed.Seconds())
	return []Row{
		{Name: "freshness, p50", Value: millis(quantile(probe.seen, 0.5)), Unit: "ms", Note: note},
		Row{Name: "freshness, p99", Value: millis(quantile(probe.seen, 0.99)), Unit: "ms"}.atMost(1000),
	}, nil
}

// freshProbe asks for the newest visible event. Events are sent in the order of their numbers over one
// connection into one shard, so when one is visible all before it are.
type freshProbe struct {
	srv  *server
	mu   sync.Mutex
	acks []load.Ack // acknowledged, not yet seen
	seen []time.Duration
}

func (p *freshProbe) acked(a load.Ack) {
	p.mu.Lock()
	p.acks = append(p.acks, a)
	p.mu.Unlock()
}

// until queries again and again until event last is visible.
func (p *freshProbe) until(ctx context.Context, last int64) error {
	deadline := time.Now().Add(2 * time.Minute)
	for time.Now().Before(deadline) && ctx.Err() == nil {
		rows, err := p.srv.Rows(ctx, "SELECT max(event_id) FROM "+table)
		if err != nil && p.seen != nil {
			return err
		}
		now := time.Now()
		newest := int64(-1) // while the table does not exist or is empty
		if err == nil && len(rows) == 1 {
			newest, _ = strconv.ParseInt(strings.TrimPrefix(rows[0][0], fleet.DefaultIDPrefix), 10, 64)
		}
		p.mu.Lock()
		for len(p.acks) > 0 && p.acks[0].From+int64(p.acks[0].Count)-1 <= newest {
			p.seen = append(p.seen, now.Sub(p.acks[0].Done))
			p.acks = p.acks[1:]
		}
		open := len(p.acks)
		p.mu.Unlock()
		if newest >= last && open == 0 {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("event %d does not become visible\n%s", last, p.srv.Log())
}

// putGet measures from the first byte of a request until a reader that follows the stream has the
// record.
func putGet(ctx context.Context, s *session) ([]Row, error) {
	srv, err := s.start(ctx, "")
	if err != nil {
		return nil, err
	}
	defer srv.remove()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f, err := follow(ctx, srv)
	if err != nil {
		return nil, err
	}
	conn, err := load.Dial(ctx, srv.Base, "/v1/streams/"+pipeline+"/records", "application/x-ndjson")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	warm, n := int64(50), s.scaled(1_000, 200)
	var latencies []time.Duration
	for i := range warm + n {
		body := s.events.gen.AppendNDJSON(nil, i, 1)
		sent := time.Now()
		if err := conn.MustPost(body); err != nil {
			return nil, err
		}
		got, err := f.wait(ctx, s.events.gen.EventID(i))
		if err != nil {
			return nil, fmt.Errorf("%w\n%s", err, srv.Log())
		}
		if i >= warm {
			latencies = append(latencies, got.Sub(sent))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return []Row{
		{Name: "put to get, p50", Value: millis(quantile(latencies, 0.5)), Unit: "ms", Note: "request sent until a follower of the stream has the record, fsync included"},
		Row{Name: "put to get, p99", Value: millis(quantile(latencies, 0.99)), Unit: "ms"}.atMost(20),
	}, nil
}

// follower reads a stream as it grows.
type follower struct {
	arrived chan arrival
}

type arrival struct {
	id  string
	at  time.Time
	err error
}

// follow starts to read the stream from its end.
func follow(ctx context.Context, srv *server) (*follower, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.Base+"/v1/streams/"+pipeline+"/records?shard=0&from=latest&limit=0&follow=true", nil)
	if err != nil {
		return nil, err
	}
	resp, err := srv.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		_ = resp.Body.Close()
		return nil, fmt.Errorf("following the stream: HTTP status %d", resp.StatusCode)
	}
	f := &follower{arrived: make(chan arrival, 64)}
	go func() { // ends with ctx
		defer resp.Body.Close()
		sc := bufio.NewScanner(resp.Body)
		sc.Buffer(nil, 1<<20)
		for sc.Scan() {
			at := time.Now()
			var line struct {
				Record struct {
					EventID string `json:"event_id"`
				} `json:"record"`
			}
			err := json.Unmarshal(sc.Bytes(), &line)
			select {
			case f.arrived <- arrival{line.Record.EventID, at, err}:
			case <-ctx.Done():
				return
			}
		}
		close(f.arrived)
	}()
	return f, nil
}

// wait returns when the record with that id came. Others before it are skipped.
func (f *follower) wait(ctx context.Context, id string) (time.Time, error) {
	late := time.After(10 * time.Second)
	for {
		select {
		case a, ok := <-f.arrived:
			if !ok {
				return time.Time{}, errors.New("the followed stream ended")
			}
			if a.err != nil {
				return time.Time{}, fmt.Errorf("a line of the followed stream: %w", a.err)
			}
			if a.id == id {
				return a.at, nil
			}
		case <-late:
			return time.Time{}, fmt.Errorf("event %s was not seen by the follower within 10 s", id)
		case <-ctx.Done():
			return time.Time{}, ctx.Err()
		}
	}
}
