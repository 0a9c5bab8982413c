package engine

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/twin"
)

// extraction is a running extract. Its fields do not change while it is published.
type extraction struct {
	spec   project.Extract
	from   *pipe
	mid    *pipe // of the stream between its stages, nil for none
	to     *pipe // whose stream it writes to, nil for none
	stages []stage
	warn   func() string // what a person should know; may be nil
	look   *lookups
	window *extract.WindowSink // nil without windows
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// stage is one delivery of an extract, with the pipe whose stream it reads: windows go to their place in
// two.
type stage struct {
	pipe *pipe
	*runningDelivery
	cfg delivery.Config // of the worker
}

// windowsSuffix names the stream between the two stages; no name in a project holds a dash.
const windowsSuffix = "-windows"

// windowsZone begins the name under which the progress of the first of them is kept.
const windowsZone = "windows"

// between reports whether results of windows go through a stream of their own to where they belong.
func between(x *project.Extract) bool { return x.Window != nil && x.To.Stream == "" }

// pipelineSpecs returns the pipelines of a project, and one for each stream that only extracts have.
func pipelineSpecs(p *project.Project) []project.Pipeline {
	specs := slices.Clone(p.Pipelines)
	for _, s := range p.OwnStreams() {
		specs = append(specs, project.Pipeline{Name: s.Name, Stream: s, Records: project.RecordsJSON})
	}
	for i := range p.Extracts {
		if x := &p.Extracts[i]; between(x) {
			name := x.Name + windowsSuffix
			specs = append(specs, project.Pipeline{Name: name, Records: project.RecordsJSON, Stream: project.Stream{Name: name, Shards: 1, Retention: 168 * time.Hour}})
		}
	}
	return specs
}

// made reports whether no pipeline of the project is behind a pipe.
func (p *pipe) made() bool {
	return !p.spec.Source.HTTP && p.spec.Source.Files == nil && p.spec.Source.Function == nil
}

// eachDelivery yields all deliveries with the pipes they read, those of extracts behind the others.
func (r *running) eachDelivery() iter.Seq2[*pipe, *runningDelivery] {
	return func(yield func(*pipe, *runningDelivery) bool) {
		for _, p := range r.pipes {
			for _, d := range p.deliveries {
				if !yield(p, d) {
					return
				}
			}
		}
		for _, x := range r.extracts {
			for _, s := range x.stages {
				if !yield(s.pipe, s.runningDelivery) {
					return
				}
			}
		}
	}
}

// readersOf returns the deliveries that read a pipe's stream.
func (r *running) readersOf(p *pipe) []*runningDelivery {
	var out []*runningDelivery
	for q, d := range r.eachDelivery() {
		if q == p {
			out = append(out, d)
		}
	}
	return out
}

// stopExtracts ends extracts, which commit what they have read, all at the same time.
func stopExtracts(xs []*extraction) {
	for _, x := range xs {
		x.stop()
	}
	for _, x := range xs {
		x.done.Wait()
	}
}

// keepExtracts adds to next the extracts that go on undisturbed, and returns the others.
func keepExtracts(old, next *running, p *project.Project) (stops []*extraction) {
	for _, was := range old.extracts {
		now := p.Extract(was.spec.Name)
		kept := now != nil && sameExtract(was.spec, *now) && (was.to == nil || next.byName[was.to.spec.Name] == was.to)
		for _, s := range was.stages {
			kept = kept && next.byName[s.pipe.spec.Name] == s.pipe
		}
		if kept {
			next.extracts = append(next.extracts, was)
		} else {
			stops = append(stops, was)
		}
	}
	return stops
}

func sameExtract(a, b project.Extract) bool {
	a.File, b.File = "", ""
	a.Owner, b.Owner = "", ""
	a.Description, b.Description = "", ""
	return reflect.DeepEqual(a, b)
}

// startExtracts starts the extracts of a project that do not run yet.
func (e *Engine) startExtracts(ctx context.Context, p *project.Project, next *running) (short []shortfall) {
	for i := range p.Extracts {
		spec := p.Extracts[i]
		if slices.ContainsFunc(next.extracts, func(x *extraction) bool { return x.spec.Name == spec.Name }) {
			continue
		}
		x, err := e.startExtract(ctx, next, spec)
		if err != nil {
			short = append(short, shortfall{"extract", spec.Name, stateStopped, err})
			continue
		}
		next.extracts = append(next.extracts, x)
	}
	next.orderExtracts()
	return short
}

// orderExtracts puts extracts behind those whose streams they read.
func (r *running) orderExtracts() {
	slices.SortFunc(r.extracts, func(a, b *extraction) int { return cmpDepth(r, a, b) })
}

func cmpDepth(r *running, a, b *extraction) int {
	if d := r.depth(a) - r.depth(b); d != 0 {
		return d
	}
	if a.spec.Name < b.spec.Name {
		return -1
	}
	return 1
}

// depth is how many extracts lie one behind the other before x. The project has no cycles.
func (r *running) depth(x *extraction) int {
	d := 0
	for _, up := range r.extracts {
		if up.to != nil && up.to == x.from {
			d = max(d, 1+r.depth(up))
		}
	}
	return d
}

// startExtract runs one extract.
func (e *Engine) startExtract(ctx context.Context, next *running, spec project.Extract) (*extraction, error) {
	x := &extraction{spec: spec, from: next.streams[spec.From], mid: next.streams[spec.Name+windowsSuffix]}
	if x.from == nil {
		return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the stream " + spec.From + " does not run", Hint: "see why its pipeline does not start"}
	}
	if between(&spec) && x.mid == nil {
		return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the stream of its windows does not run"}
	}
	if spec.To.Stream != "" {
		if x.to = next.streams[spec.To.Stream]; x.to == nil {
			return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the stream " + spec.To.Stream + " does not run", Hint: "see why its pipeline does not start"}
		}
	}
	q, err := extract.Compile(ctx, e.convert, spec.SQL, spec.To.Twin != "" && spec.Window == nil)
	if err != nil {
		return nil, err
	}
	look := e.newLookups(q, spec.Refresh)
	x.look = look
	if err := e.addStages(x, q, look); err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(e.ctx)
	x.stop = stop
	for _, s := range x.stages {
		x.done.Go(func() { _ = s.worker.Run(run) })
	}
	go func() { // when all stages have ended
		x.done.Wait()
		look.close()
	}()
	return x, nil
}

// addStages makes the deliveries of an extract.
func (e *Engine) addStages(x *extraction, q extract.Query, look *lookups) error {
	spec := &x.spec
	if spec.Window != nil {
		return e.addWindows(x, q, look)
	}
	cfg, err := e.stageConfig(x, x.from, spec.DeliveryName())
	if err != nil {
		return err
	}
	cfg.Transform = []delivery.Step{{Transform: project.Transform{SQL: q.SQL}, RowByRow: rowByRow(q.SQL)}}
	cfg.Lookup, cfg.Positions = look.current, q.Positions
	if len(q.Tables) == 0 {
		cfg.Lookup = nil
	}
	return e.addStage(x, x.from, cfg)
}

// addWindows makes the delivery that gathers records into windows, and the one that takes the results on.
func (e *Engine) addWindows(x *extraction, q extract.Query, look *lookups) error {
	spec := &x.spec
	if x.from.spec.Records == project.RecordsOpaque {
		return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the records of the stream " + spec.From + " are opaque, and windows need JSON", Hint: "read another stream"}
	}
	to, name := x.to, spec.DeliveryName()
	if between(spec) {
		to, name = x.mid, windowsZone+"."+spec.Name
	}
	o, err := e.streamOptions(to, name)
	if err != nil {
		return err
	}
	cfg, err := e.stageConfig(x, x.from, name)
	if err != nil {
		return err
	}
	source := x.from.stream
	w := extract.WindowOptions{Stream: o, Window: *spec.Window, Query: q, Extract: spec.Name, From: source.Name(), Shards: source.Shards, Ends: source.End, Dir: cfg.Dir + "-windows",
		Record: delivery.Again(delivery.Live(source))}
	w.Late = func(n int, failed bool) {
		outcome := "left_out"
		if failed {
			outcome = "failed"
		}
		e.metrics.ExtractLate.WithLabelValues(spec.Name, outcome).Add(float64(n))
	}
	if len(q.Tables) > 0 {
		w.Lookup = look.current
	}
	cfg.Transform, cfg.Positions, cfg.BufferBytes = extract.WindowSteps(spec.Window), true, windowBuffer
	x.window = extract.NewWindowSink(w)
	cfg.Sink = x.window
	if err := x.add(x.from, cfg); err != nil || to == x.to {
		return err
	}
	return e.addResults(x, to)
}

// addResults makes the delivery that takes results of windows from their stream to their place.
func (e *Engine) addResults(x *extraction, from *pipe) error {
	cfg, err := e.stageConfig(x, from, x.spec.DeliveryName())
	if err != nil {
		return err
	}
	if x.spec.To.Twin == "" {
		return e.addStage(x, from, cfg)
	}
	q, err := extract.Compile(e.ctx, e.convert, "SELECT * FROM records", true) // of two revisions the later wins
	if err != nil {
		return err
	}
	cfg.Transform, cfg.Positions = []delivery.Step{{Transform: project.Transform{SQL: q.SQL}, RowByRow: true}}, true
	return e.addStage(x, from, cfg)
}

// addStage makes the delivery that brings rows to where the extract wants them.
func (e *Engine) addStage(x *extraction, from *pipe, cfg delivery.Config) error {
	spec := &x.spec
	switch {
	case spec.To.Table != "":
		cfg.Partition, cfg.Policy = spec.To.PartitionBy, delivery.Evolve
		cfg.BufferBytes, cfg.BufferInterval, cfg.Compression = tableBuffer, time.Minute, "snappy"
		if !cfg.Positions {
			cfg.Ordered = nil
		}
	case spec.To.Twin != "":
		name, source := spec.To.Twin, from.stream
		sink := extract.NewTwinSink(extract.TwinOptions{Delivery: cfg.Table, Extract: spec.Name, Stream: source.Name(), Source: x.from.stream.Name(), Store: e.store, Logger: e.log,
			Twin:   func() (*twin.Twin, error) { return e.Twin(name) },
			Record: delivery.Again(delivery.Live(source))})
		cfg.Sink, x.warn = sink, sink.Warning
	default:
		o, err := e.streamOptions(x.to, cfg.Table)
		if err != nil {
			return err
		}
		cfg.Sink = extract.NewStreamSink(o)
	}
	return x.add(from, cfg)
}

// add appends a stage.
func (x *extraction) add(from *pipe, cfg delivery.Config) error {
	w, err := delivery.New(cfg)
	if err != nil {
		return err
	}
	d := project.Delivery{Name: cfg.Table, BufferBytes: cfg.BufferBytes, BufferInterval: cfg.BufferInterval}
	if cfg.Table == x.spec.To.Table {
		d.Table, d.PartitionBy = cfg.Table, cfg.Partition
		d.Compact, d.FileBytes, d.SnapshotAge, d.SnapshotCount = true, tableBuffer, 24*time.Hour, 20
	}
	x.stages = append(x.stages, stage{from, &runningDelivery{spec: d, worker: w}, cfg})
	return nil
}

// The buffers of extracts: rows for a stream or twin go on at once, those of a table are visible before
// they are committed.
const (
	tableBuffer   = 128 << 20
	sinkBuffer    = 8 << 20
	windowBuffer  = 16 << 20
	sinkInterval  = time.Millisecond
	stageInterval = 20 * time.Millisecond
)

// stageConfig is a delivery that reads a pipe's stream from where name has come to.
func (e *Engine) stageConfig(x *extraction, from *pipe, name string) (delivery.Config, error) {
	ordered, err := e.orderedSQL()
	if err != nil {
		return delivery.Config{}, err
	}
	m := e.metrics
	records, rows := m.DeliveryRecords.WithLabelValues(name), m.DeliveryRows.WithLabelValues(name)
	commits := m.CommitSeconds.WithLabelValues(name)
	cfg := delivery.Config{Pipeline: x.spec.Name, Table: name, Route: delivery.AnyRoute, Stream: from.stream, Store: e.store, Bucket: e.bucket, Duck: e.convert, Ordered: ordered, Heavy: e.heavy,
		Dir: e.workerDir(name), Opaque: from.spec.Records == project.RecordsOpaque,
		BufferBytes: sinkBuffer, BufferInterval: sinkInterval, StageInterval: stageInterval, ChunkBytes: e.budget.chunk, RecordBytes: int(e.limits.RecordBytes), Logger: e.log.With("extract", x.spec.Name),
		Metrics: delivery.Metrics{
			Committed: func(n, r int64, took, _ time.Duration) {
				records.Add(float64(n))
				rows.Add(float64(r))
				commits.Observe(took.Seconds())
			},
			Failed: func(stage string, n int) { m.FailedRecords.WithLabelValues(x.spec.Name, stage).Add(float64(n)) },
		}}
	if len(from.spec.Functions()) == 0 { // else it describes what the functions return
		cfg.Declared = from.spec.Schema
	}
	return cfg, nil
}

// workerDir is a folder for one worker.
func (e *Engine) workerDir(name string) string {
	return e.path("staging", fmt.Sprintf("%s-%d", name, e.workers.Add(1)))
}

// streamOptions describe a sink that writes to a pipe's stream.
func (e *Engine) streamOptions(to *pipe, name string) (extract.StreamOptions, error) {
	state, err := e.extractState()
	return extract.StreamOptions{Delivery: name, To: to.stream, Shards: to.spec.Stream.Shards, KeyPath: to.spec.Stream.PartitionKey,
		Store: e.store, State: state, Admit: e.admit, Logger: e.log, Settling: &e.settling}, err
}
