package bench

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/tarn-data/tarn/bench/load"
)

// clients is the number of connections that load batches.
const clients = 8

// samples gathers one number of each run.
type samples struct {
	floor, ingest, ingestP99, catchUp, ready, endToEnd, memory, cpu []float64
}

// throughput runs the floor, ingest with catch-up, and end to end in turn, so that a machine that
// slows down slows all of them.
func throughput(ctx context.Context, s *session) ([]Row, error) {
	var m samples
	if err := s.warmUp(ctx); err != nil {
		return nil, err
	}
	for run := range s.Runs {
		s.Progress(fmt.Sprintf("throughput: run %d of %d: floor", run+1, s.Runs))
		d, err := copyFloor(ctx, s.dir, s.events)
		if err != nil {
			return nil, err
		}
		m.floor = append(m.floor, perSecond(s.Events, d))
		s.Progress(fmt.Sprintf("throughput: run %d of %d: durable ingest and catch-up", run+1, s.Runs))
		if err := s.ingestAndCatchUp(ctx, &m); err != nil {
			return nil, err
		}
		s.Progress(fmt.Sprintf("throughput: run %d of %d: end to end", run+1, s.Runs))
		if err := s.endToEnd(ctx, &m); err != nil {
			return nil, err
		}
	}
	floor := median(m.floor)
	row := func(name, unit string, values []float64) Row {
		return Row{Name: name, Value: median(values), Unit: unit, Samples: values}
	}
	against := func(name string, values []float64, limit float64) Row {
		return row(name, "events/s", values).to("floor", floor).ratioAtLeast(limit)
	}
	noted := func(r Row, note string) Row { r.Note = note; return r }
	return []Row{
		noted(row("floor: bare DuckDB COPY", "events/s", m.floor), "NDJSON to hour-partitioned Snappy Parquet, schema given, the whole machine, no fsync"),
		noted(against("durable ingest", m.ingest, 0.5), "8 clients, bodies of 500 events, acknowledged after fsync, delivery paused; client and server share the machine"),
		row("durable ingest, p99", "ms", m.ingestP99),
		noted(against("catch-up", m.catchUp, 0.6), "the records lie in the stream; from the moment delivery resumes to the last commit"),
		row("ready after SIGKILL, full stream", "ms", m.ready).atMost(2000),
		noted(against("end to end", m.endToEnd, 0.35), "first request to last row committed in Iceberg"),
		row("end to end, peak memory", "MiB", m.memory).atMost(1024),
		row("end to end, CPU", "s", m.cpu),
	}, nil
}

// post loads n events of the file.
func (s *session) post(ctx context.Context, srv *server, n int64) (load.Result, error) {
	r, err := load.Run(ctx, load.Options{URL: srv.Base, Stream: pipeline, Clients: clients, Batch: batch, Records: n, Append: s.events.appendBatch})
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, srv.Log())
	}
	if r.Accepted != n {
		return r, fmt.Errorf("of %d events %d were accepted and %d rejected", n, r.Accepted, r.Rejected)
	}
	return r, nil
}

// warmUp runs the floor and a tenth of the events through a server without looking at the clock.
func (s *session) warmUp(ctx context.Context) error {
	s.Progress("throughput: warming up")
	if _, err := copyFloor(ctx, s.dir, s.events); err != nil {
		return err
	}
	srv, err := s.start(ctx, "")
	if err != nil {
		return err
	}
	defer srv.remove()
	n := s.Events / 10 / batch * batch
	if _, err := s.post(ctx, srv, n); err != nil {
		return err
	}
	return srv.Stop(ctx)
}

func (s *session) ingestAndCatchUp(ctx context.Context, m *samples) error {
	srv, err := s.start(ctx, "")
	if err != nil {
		return err
	}
	defer func() { srv.remove() }()
	if err := srv.Act(ctx, pipeline, "pause"); err != nil {
		return err
	}
	r, err := s.post(ctx, srv, s.Events)
	if err != nil {
		return err
	}
	m.ingest = append(m.ingest, perSecond(s.Events, r.Elapsed))
	m.ingestP99 = append(m.ingestP99, millis(quantile(r.Latencies, 0.99)))
	counts, err := srv.Pipeline(ctx, pipeline)
	if err != nil {
		return err
	}
	if counts.Committed != 0 || counts.Pending != s.Events {
		return fmt.Errorf("the delivery is paused, but the pipeline is at %+v", counts)
	}
	start := time.Now()
	if err := srv.Act(ctx, pipeline, "resume"); err != nil {
		return err
	}
	done, err := srv.settle(ctx, s.Events)
	if err != nil {
		return err
	}
	m.catchUp = append(m.catchUp, perSecond(s.Events, done.Sub(start)))
	srv.Kill()
	if err := s.launch(ctx, srv); err != nil {
		return err
	}
	m.ready = append(m.ready, millis(srv.ready))
	return nil
}

func (s *session) endToEnd(ctx context.Context, m *samples) error {
	srv, err := s.start(ctx, "")
	if err != nil {
		return err
	}
	defer srv.remove()
	before, usageErr := srv.Usage()
	start := time.Now()
	if _, err := s.post(ctx, srv, s.Events); err != nil {
		return err
	}
	done, err := srv.settle(ctx, s.Events)
	if err != nil {
		return err
	}
	m.endToEnd = append(m.endToEnd, perSecond(s.Events, done.Sub(start)))
	after, err := srv.Usage()
	if err := cmp.Or(usageErr, err); err != nil {
		return err
	}
	m.memory = append(m.memory, float64(after.PeakBytes)/(1<<20))
	m.cpu = append(m.cpu, (after.CPU - before.CPU).Seconds())
	rows, err := srv.Rows(ctx, "SELECT count(*), count(DISTINCT event_id) FROM "+table)
	if err != nil {
		return err
	}
	if want := fmt.Sprint(s.Events); rows[0][0] != want || rows[0][1] != want {
		return fmt.Errorf("the table should hold %s events once each, but rows and distinct ids are %v", want, rows[0])
	}
	return nil
}
