package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/examples"
	"github.com/tarn-data/tarn/internal/fleet"
)

// load posts what the wagons and depots of the fleet send, over HTTP, as any producer would.
type load struct {
	client *client.Client
	gen    *fleet.Generator
	first  bool         // nothing has been sent to this lake before
	next   atomic.Int64 // number of the next event
	end    int64        // number after the last event; 0 has no end
	rate   float64      // events per second; 0 is as fast as possible
	batch  int64
	key    string // what the keys of this run's requests begin with
}

// loadStream is the stream of the wagons.
const loadStream = "telemetry"

const (
	loadClients  = 4
	loadMaxBatch = 500
	reportsBack  = 16 // reports of the depots, four hours, that a new lake begins with
)

// newLoad prepares events from number from on. Their times follow the clock at the rate; those that are
// sent as fast as possible end now.
func newLoad(cl *client.Client, from, events int64, rate float64) (*load, error) {
	now := time.Now().UTC()
	spacing, ago := time.Duration(float64(time.Second)/max(rate, 1)), from
	if rate == 0 {
		spacing, ago = 200*time.Microsecond, from+events
		if events == 0 {
			spacing = time.Microsecond
		}
	}
	gen, err := fleet.New(fleet.Options{Start: now.Add(-time.Duration(ago) * spacing), Spacing: max(spacing, time.Microsecond)})
	if err != nil {
		return nil, err
	}
	l := &load{client: cl, gen: gen, first: from == 0, rate: rate, batch: loadMaxBatch, key: "demo-" + strconv.FormatInt(now.UnixNano(), 36) + "-"}
	l.next.Store(from)
	if events > 0 {
		l.end = from + events
	}
	if rate > 0 { // about ten requests a second and client, so that the load is smooth
		l.batch = min(loadMaxBatch, max(1, int64(rate/10/loadClients)))
	}
	return l, nil
}

// run sends all events, or until ctx ends; meanwhile the depots report.
func (l *load) run(ctx context.Context) error {
	if err := l.pastReports(ctx); err != nil {
		return unlessEnded(ctx, err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	began, from := time.Now(), l.next.Load()
	errs := make([]error, loadClients+1)
	var wagons, depots sync.WaitGroup
	for i := range loadClients {
		wagons.Go(func() {
			if errs[i] = l.wagons(ctx, began, from); errs[i] != nil {
				stop()
			}
		})
	}
	depots.Go(func() {
		if errs[loadClients] = l.depots(ctx); errs[loadClients] != nil {
			stop()
		}
	})
	wagons.Wait()
	stop()
	depots.Wait()
	return cmp.Or(errs...)
}

// reference pushes the table of the depots. The same bytes are taken once, so that a second demo does not
// double it.
func (l *load) reference(ctx context.Context) error {
	files, err := examples.Fleet()
	if err != nil {
		return err
	}
	csv, err := fs.ReadFile(files, "reference/depots.csv")
	if err != nil {
		return err
	}
	return l.post(ctx, "/v1/pipelines/depots/runs?name=depots.csv", http.Header{"Content-Type": {"text/csv"}}, csv)
}

// pastReports gives a new lake the last reports of the depots.
func (l *load) pastReports(ctx context.Context) error {
	if !l.first {
		return nil
	}
	var reports []byte
	for i := range reportsBack {
		reports = fleet.AppendReports(reports, time.Now().Add(-time.Duration(reportsBack-1-i)*fleet.ReportInterval))
	}
	return l.put(ctx, "chargers", "back", reports)
}

// depots sends the reports of the depots when they are due, until ctx ends.
func (l *load) depots(ctx context.Context) error {
	for {
		due := time.Now().Truncate(fleet.ReportInterval).Add(fleet.ReportInterval)
		if !wait(ctx, due) {
			return nil
		}
		if err := l.put(ctx, "chargers", due.Format("15:04"), fleet.AppendReports(nil, due)); err != nil {
			return unlessEnded(ctx, err)
		}
	}
}

// wagons is one producer of telemetry.
func (l *load) wagons(ctx context.Context, began time.Time, first int64) error {
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
		if l.rate > 0 && !wait(ctx, began.Add(time.Duration(float64(from-first)/l.rate*float64(time.Second)))) {
			return nil
		}
		body = l.gen.AppendNDJSON(body[:0], from, int(n))
		if err := l.put(ctx, loadStream, strconv.FormatInt(from, 10), body); err != nil {
			return unlessEnded(ctx, err)
		}
	}
}

// wait waits until a moment; false when ctx has ended before.
func wait(ctx context.Context, until time.Time) bool {
	select {
	case <-time.After(time.Until(until)):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// unlessEnded is err, but nil when ctx has ended, which breaks requests off.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// put posts records to a stream. The key makes a repeat harmless.
func (l *load) put(ctx context.Context, stream, key string, body []byte) error {
	header := http.Header{"Content-Type": {"application/x-ndjson"}, "Idempotency-Key": {l.key + stream + "-" + key}}
	return l.post(ctx, "/v1/streams/"+stream+"/records", header, body)
}

// post sends one body until it is accepted.
func (l *load) post(ctx context.Context, path string, header http.Header, body []byte) error {
	for {
		resp, err := l.client.Do(ctx, http.MethodPost, path, header, body)
		if err == nil {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
			return resp.Body.Close()
		}
		var refused *client.Error
		if !errors.As(err, &refused) || !client.Temporary(err) || !wait(ctx, time.Now().Add(max(client.Wait(err), 100*time.Millisecond))) {
			return err
		}
	}
}
