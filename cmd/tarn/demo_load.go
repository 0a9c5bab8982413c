package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn/internal/fleet"
)

// load posts telemetry of the wagon fleet over HTTP, as any producer would.
type load struct {
	url    string
	gen    *fleet.Generator
	next   atomic.Int64 // number of the next event
	end    int64        // number after the last event; 0 has no end
	rate   float64      // events per second; 0 is as fast as possible
	batch  int64
	key    string // what the keys of this run's requests begin with
	client *http.Client
}

const (
	loadClients  = 4
	loadMaxBatch = 500
)

func newLoad(address string, from, events int64, rate float64) (*load, error) {
	now := time.Now().UTC()
	gen, err := fleet.New(fleet.Options{Start: now.Add(-time.Minute).Truncate(time.Millisecond)})
	if err != nil {
		return nil, err
	}
	l := &load{url: address + "/v1/streams/telemetry/records", gen: gen, rate: rate, batch: loadMaxBatch,
		key:    "demo-" + strconv.FormatInt(now.UnixNano(), 36) + "-",
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: loadClients, WriteBufferSize: 64 << 10}}}
	l.next.Store(from)
	if events > 0 {
		l.end = from + events
	}
	if rate > 0 { // about ten requests a second and client, so that the load is smooth
		l.batch = min(loadMaxBatch, max(1, int64(rate/10/loadClients)))
	}
	return l, nil
}

// run sends all events, or until ctx ends.
func (l *load) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began, from := time.Now(), l.next.Load()
	var wg sync.WaitGroup
	for range loadClients {
		wg.Go(func() {
			if err := l.client1(ctx, began, from); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil && ctx.Err() != err {
		return err
	}
	return nil
}

// client1 is one producer.
func (l *load) client1(ctx context.Context, began time.Time, first int64) error {
	var body []byte
	for {
		from := l.next.Add(l.batch) - l.batch
		n := l.batch
		if l.end > 0 {
			n = min(n, l.end-from)
		}
		if n <= 0 {
			return nil
		}
		if l.rate > 0 {
			due := began.Add(time.Duration(float64(from-first) / l.rate * float64(time.Second)))
			select {
			case <-time.After(time.Until(due)):
			case <-ctx.Done():
				return nil
			}
		}
		body = l.gen.AppendNDJSON(body[:0], from, int(n))
		if err := l.post(ctx, body, from); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

// post sends one body until it is accepted. The key makes a repeat harmless.
func (l *load) post(ctx context.Context, body []byte, from int64) error {
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		req.Header.Set("Idempotency-Key", l.key+strconv.FormatInt(from, 10))
		resp, err := l.client.Do(req)
		if err != nil {
			return err
		}
		answer, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		_ = resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusOK:
			return nil
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		default:
			return fmt.Errorf("events from %d were not accepted: %s %s", from, resp.Status, answer)
		}
	}
}
