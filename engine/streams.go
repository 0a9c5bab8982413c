package engine

import (
	"context"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// noStreamLimit lets streams use the whole disk: retention bounds each, and the guard of the disk
// all of them. JetStream's own default is three quarters of what is free at the start.
const noStreamLimit = 1 << 50

// openStreams starts the embedded server, or connects to the cluster the project names.
func (e *Engine) openStreams(ctx context.Context, p *project.Project) (stream.Engine, error) {
	if p.Engines.Stream.IsEmbedded() {
		return opened(jetstream.Start(ctx, jetstream.ServerOptions{Dir: e.path("streams"), MaxBytes: noStreamLimit, Logger: e.log}))
	}
	address, err := p.Engines.Stream.Reveal(os.LookupEnv)
	if err != nil {
		return nil, err
	}
	url, replicas, err := clusterAddress(address)
	if err != nil {
		return nil, err
	}
	return opened(jetstream.Connect(ctx, jetstream.ClusterOptions{URL: url, Replicas: replicas, Logger: e.log}))
}

// opened keeps a nil engine from becoming an interface that is not nil.
func opened(e *jetstream.Engine, err error) (stream.Engine, error) {
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the streams cannot be opened", Hint: "see engines.stream in tarn.yaml, and the log", Err: err}
	}
	return e, nil
}

// clusterAddress splits nats://host:4222,nats://other:4222?replicas=3 into the addresses and the
// number of copies of each message; without one it is three.
func clusterAddress(s string) (url string, replicas int, err error) {
	url, options, ok := strings.Cut(s, "?")
	if !ok {
		return s, 0, nil
	}
	v, ok := strings.CutPrefix(options, "replicas=")
	if replicas, err = strconv.Atoi(v); !ok || err != nil || replicas < 1 || replicas > 5 {
		return "", 0, &tarn.Error{Code: tarn.CodeInvalid, Detail: "engines.stream: the part after ? is not replicas=1 to replicas=5", Hint: "write nats://host:4222?replicas=3"}
	}
	return url, replicas, nil
}

// measureEvery is how often gauges are brought up to date.
const measureEvery = 5 * time.Second

// measure keeps the gauges that nobody else moves.
func (e *Engine) measure() {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	g := gauges{}
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		if err := e.measureOnce(e.ctx, g); err != nil && e.ctx.Err() == nil {
			e.log.Warn("metrics are not up to date", "error", err)
		}
	}
}

// gauges are the series that were set, each with whether it was since the last sweep.
type gauges map[series]bool

type series struct {
	vec           *prometheus.GaugeVec
	first, second string // its labels; second is "" where there is one
}

func (g gauges) set(value float64, vec *prometheus.GaugeVec, labels ...string) {
	vec.WithLabelValues(labels...).Set(value)
	g[series{vec, labels[0], strings.Join(labels[1:], "")}] = true
}

// sweep removes the series that were not set since: of pipelines and streams that are gone.
func (g gauges) sweep() {
	for s, kept := range g {
		if kept {
			g[s] = false
			continue
		}
		labels := []string{s.first}
		if s.second != "" {
			labels = append(labels, s.second)
		}
		s.vec.DeleteLabelValues(labels...)
		delete(g, s)
	}
}

func (e *Engine) measureOnce(ctx context.Context, g gauges) error {
	streams, err := e.Streams(ctx)
	if err != nil {
		return err
	}
	for _, s := range streams {
		for _, sh := range s.Shards {
			g.set(float64(sh.Bytes), e.metrics.StreamBytes, s.Name, strconv.Itoa(sh.Shard))
		}
	}
	pipelines, err := e.Pipelines(ctx)
	if err != nil {
		return err
	}
	for _, p := range pipelines {
		for _, d := range p.Deliveries {
			g.set(float64(d.LagRecords), e.metrics.DeliveryLagRecords, d.Table, p.Stream)
			g.set(d.LagSeconds, e.metrics.DeliveryLagSeconds, d.Table, p.Stream)
			g.set(float64(d.TailRows), e.metrics.TailRows, d.Table)
		}
	}
	e.measureFunctions(g)
	if err := e.measureExtracts(ctx, g); err != nil {
		return err
	}
	e.measureTwins(g)
	g.sweep()
	for name, memory := range map[string]func(context.Context) (int64, error){"convert": e.convert.Memory, "query": e.queries.Memory} {
		n, err := memory(ctx)
		if err != nil {
			return err
		}
		e.metrics.DuckDBBytes.WithLabelValues(name).Set(float64(n))
	}
	return nil
}

// onQuery counts a finished query.
func (e *Engine) onQuery(q query.LogEntry) {
	outcome := "ok"
	if q.Code != "" {
		outcome = string(q.Code)
	}
	e.metrics.QuerySeconds.WithLabelValues(outcome).Observe(q.Elapsed.Seconds())
	e.metrics.QueryRows.Add(float64(q.Rows))
}
