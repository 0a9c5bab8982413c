package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/ingest/filedrop"
	"github.com/tarn-data/tarn/ingest/pull"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
)

// pipe is a running pipeline. Its fields do not change while it is published.
type pipe struct {
	spec       project.Pipeline
	stream     *stream.Stream
	deliveries []*runningDelivery
	backup     *raw.Writer    // nil without raw_backup
	files      *filedrop.Door // nil where records are opaque
	puller     *pull.Puller   // nil where the source is no function
	held       error          // why the deliveries do not run yet: a function they call lacks something
	sourceHeld error          // why the puller does not run yet
	stop       context.CancelFunc
	done       sync.WaitGroup
}

// runningDelivery is a running delivery.
type runningDelivery struct {
	spec   project.Delivery
	worker *delivery.Worker

	// Queries wait once for the first rows of the table: since when, and whether that is over.
	awaited atomic.Int64
	settled atomic.Bool
}

// name is what the progress of the delivery is kept under: of a table, its name.
func (d *runningDelivery) name() string { return cmp.Or(d.spec.Table, d.spec.Name) }

// stopAll ends the deliveries of pipelines, which commit what they have read, all at the same time.
func stopAll(pipes []*pipe) {
	for _, p := range pipes {
		p.stop()
	}
	for _, p := range pipes {
		p.done.Wait()
	}
}

// pipes returns the running pipelines in order of name.
func (e *Engine) pipes() []*pipe { return e.running.Load().pipes }

// load reads and checks the project.
func (e *Engine) load() (*project.Project, error) {
	c, err := NewChecker()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p, faults := project.LoadDir(e.opts.Project, c.Options())
	return p, faults.Err()
}

// Reload makes what runs equal to the project as it is now. A faulty project is an error and changes
// nothing. A part that does not start leaves the others alone; the answer names it.
func (e *Engine) Reload(ctx context.Context) (server.ReloadDoc, error) {
	p, err := e.load()
	if err != nil {
		return server.ReloadDoc{}, err
	}
	plan, short, err := e.apply(ctx, p)
	if err != nil {
		return server.ReloadDoc{}, err
	}
	doc := reloadDoc(p, plan, short)
	for _, c := range doc.Changes {
		if c.Action != string(project.Leave) {
			e.log.Info("project applied", "action", c.Action, "kind", c.Kind, "name", c.Name)
		}
	}
	return doc, nil
}

// apply starts, changes and stops pipelines so that what runs is p. Pipelines that p does not change
// go on undisturbed; deliveries of the others commit what they have read first. It returns what p
// changes, and which parts of p do not run as p says.
func (e *Engine) apply(ctx context.Context, p *project.Project) (project.Changes, []shortfall, error) {
	e.reload.Lock()
	defer e.reload.Unlock()
	if e.ctx.Err() != nil {
		return nil, nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the lake is stopping"}
	}
	if err := e.checkNames(ctx, p); err != nil {
		return nil, nil, err
	}
	if err := e.checkForgotten(ctx, p); err != nil {
		return nil, nil, err
	}
	ctx = context.WithoutCancel(ctx) // from here on half a change would be worse than a late one
	old := e.running.Load()
	next := &running{project: p, byName: map[string]*pipe{}, streams: map[string]*pipe{}}
	plan := project.Plan(old.project, p)

	specs := pipelineSpecs(p)
	var starts []project.Pipeline
	for _, spec := range specs {
		if was := old.byName[spec.Name]; was != nil && !was.waits() && same(was.spec, spec) && sameCalls(old.project, p, spec) {
			next.add(was)
			continue
		}
		starts = append(starts, spec)
	}
	// Stop before start: a stream or table may have moved from one pipeline to another.
	var stops []*pipe
	for _, was := range old.pipes {
		if next.byName[was.spec.Name] != was {
			stops = append(stops, was)
		}
	}
	if err := e.applyTwins(ctx, p); err != nil {
		return nil, nil, err
	}
	stopExtracts(keepExtracts(old, next, p))
	stopAll(stops)
	short := e.applyFunctions(ctx, p)
	e.dropFunctions(p)
	kept := map[string]*stream.Stream{}
	for _, was := range stops {
		if i := slices.IndexFunc(specs, func(s project.Pipeline) bool { return s.Name == was.spec.Name }); i >= 0 && specs[i].Stream == was.spec.Stream {
			kept[was.spec.Name] = was.stream // producers need not notice
		} else if err := was.stream.Close(); err != nil {
			e.log.Warn("stream did not close well", "stream", was.stream.Name(), "error", err)
		}
		e.markEnds(was.stream)
	}
	for _, spec := range starts { // one that does not start leaves the others alone
		pi, err := e.start(ctx, p, spec, kept[spec.Name])
		if err != nil {
			short = append(short, shortfall{"pipeline", spec.Name, stateStopped, err})
			continue
		}
		next.add(pi)
	}
	short = append(short, e.startExtracts(ctx, p, next)...)
	sort.Slice(next.pipes, func(i, j int) bool { return next.pipes[i].spec.Name < next.pipes[j].spec.Name })
	next.short = slices.Concat(e.applySettings(p), short, next.shortfalls())
	e.running.Store(next)
	e.sayShort(next.short)
	mended(plan, old.short, next.short)
	if err := e.remember(ctx, p, next.short); err != nil {
		e.log.Warn("tarn plan will not see what was applied", "error", err)
	}
	return plan, next.short, nil
}

func (r *running) add(p *pipe) {
	r.pipes = append(r.pipes, p)
	r.byName[p.spec.Name] = p
	r.streams[p.stream.Name()] = p
}

// same reports whether two specifications run alike; what only describes does not count.
func same(a, b project.Pipeline) bool {
	a.File, b.File = "", ""
	a.Owner, b.Owner = "", ""
	a.Description, b.Description = "", ""
	return reflect.DeepEqual(a, b)
}

// start opens the stream of a pipeline and runs its deliveries.
func (e *Engine) start(ctx context.Context, in *project.Project, spec project.Pipeline, s *stream.Stream) (_ *pipe, err error) {
	p := &pipe{spec: spec, stream: s}
	e.hold(p)
	defer func() {
		if err != nil && p.stream != nil { // nobody else has it any more
			err = errors.Join(err, p.stream.Close())
		}
	}()
	if s == nil {
		m := e.metrics
		name := spec.Stream.Name
		records, bytes, took := m.StreamBatchRecords.WithLabelValues(name), m.StreamBatchBytes.WithLabelValues(name), m.StreamFsyncSeconds.WithLabelValues(name)
		p.stream, err = e.openStream(ctx, stream.Config{
			Name: name, Shards: spec.Stream.Shards, Retention: spec.Stream.Retention, AgeClock: e.ages.now, Fetch: e.dropped.originals.Fetch,
			MaxBytes: spec.Stream.MaxBytes / int64(max(spec.Stream.Shards, 1)), MaxPending: e.budget.pending, TailBytes: int(e.budget.tail), MaxRequests: e.budget.requests, Logger: e.log,
			OnCommit: func(c stream.Commit) {
				records.Observe(float64(c.Records))
				bytes.Observe(float64(c.Bytes))
				took.Observe(c.Took.Seconds())
			},
		})
		if err != nil {
			return nil, err
		}
	}
	for _, d := range spec.Deliveries {
		if err := e.checkPartition(ctx, d); err != nil {
			return nil, err
		}
		cfg, err := e.deliveryConfig(spec, d, p.stream)
		if err != nil {
			return nil, err
		}
		w, err := delivery.New(cfg)
		if err != nil {
			return nil, err
		}
		_, paused := e.paused.Load(spec.Name)
		w.Pause(paused || p.held != nil)
		p.deliveries = append(p.deliveries, &runningDelivery{spec: d, worker: w})
	}
	if spec.Records != project.RecordsOpaque && !p.made() {
		if p.files, err = e.fileDoor(spec, p.stream); err != nil {
			return nil, err
		}
	}
	if p.puller, err = e.sourceFunction(in, spec, p.stream); err != nil {
		return nil, err
	}
	if spec.RawBackup {
		if p.backup, err = e.newBackup(ctx, spec, p.stream); err != nil {
			return nil, err
		}
	}
	run, stop := context.WithCancel(e.ctx)
	p.stop = stop
	if p.backup != nil {
		p.done.Go(func() { _ = p.backup.Run(run) })
	}
	if p.files != nil {
		p.files.Prepare()
		p.done.Go(func() { _ = p.files.Run(run) })
	}
	if p.puller != nil && p.sourceHeld == nil {
		p.done.Go(func() { _ = p.puller.Run(run) })
	}
	for _, d := range p.deliveries {
		if p.held == nil {
			p.done.Go(func() { _ = d.worker.Run(run) })
		}
	}
	return p, nil
}

func (e *Engine) deliveryConfig(spec project.Pipeline, d project.Delivery, s *stream.Stream) (delivery.Config, error) {
	calls, steps, err := e.steps(spec)
	if err != nil {
		return delivery.Config{}, err
	}
	m, name := e.metrics, cmp.Or(d.Table, d.Name)
	flush, commits := m.FlushSeconds.WithLabelValues(name), m.CommitSeconds.WithLabelValues(name)
	records, rows := m.DeliveryRecords.WithLabelValues(name), m.DeliveryRows.WithLabelValues(name)
	cfg := delivery.Config{
		Pipeline: spec.Name, Table: name, Stream: s, Store: e.store, Bucket: e.bucket, Duck: e.convert, Heavy: e.heavy,
		Dir:    e.path("staging", fmt.Sprintf("%s-%d", name, e.workers.Add(1))),
		Route:  d.Name, // functions return JSON whatever they are given
		Opaque: spec.Records == project.RecordsOpaque && len(calls) == 0, Declared: spec.Schema, Functions: calls, Transform: steps,
		Partition: d.PartitionBy, Policy: delivery.SchemaPolicy(d.OnSchemaChange),
		BufferBytes: d.BufferBytes, BufferInterval: d.BufferInterval, Compression: d.Compression,
		ChunkBytes: min(e.budget.chunk, max(d.BufferBytes, 1<<20)), RecordBytes: int(e.limits.RecordBytes), Logger: e.log,
		Metrics: delivery.Metrics{
			Committed: func(n, r int64, took, commit time.Duration) {
				records.Add(float64(n))
				rows.Add(float64(r))
				flush.Observe(took.Seconds())
				commits.Observe(commit.Seconds())
			},
			Failed: func(stage string, n int) { m.FailedRecords.WithLabelValues(spec.Name, stage).Add(float64(n)) },
		},
	}
	err = e.addTarget(&cfg, d)
	return cfg, err
}

// watch follows edits of the project. A faulty edit is reported and what runs stays.
func (e *Engine) watch() {
	_ = project.Watch(e.ctx, e.opts.Project, project.WatchOptions{Skip: []string{e.opts.Data}}, func() {
		if _, err := e.Reload(e.ctx); err != nil {
			e.log.Error("the edited project is not applied; what ran before goes on", "error", err)
		}
	})
}

// stream finds a running stream.
func (e *Engine) stream(name string) (*stream.Stream, bool) {
	p := e.running.Load().streams[name]
	if p == nil {
		return nil, false
	}
	return p.stream, true
}

func (e *Engine) worker(table string) *delivery.Worker {
	_, w := e.delivery(table)
	return w
}

// Pause stops or resumes the deliveries of a pipeline, and the runs of its source function, until the
// engine ends. Records are still accepted and stay in the stream.
func (e *Engine) Pause(name string, on bool) error {
	p := e.running.Load().byName[name]
	if p == nil {
		return &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no pipeline %q", name)}
	}
	if on {
		e.paused.Store(name, true) // a reload does not forget it
	} else {
		e.paused.Delete(name)
	}
	for _, d := range p.deliveries {
		d.worker.Pause(on || p.held != nil)
	}
	if p.puller != nil {
		p.puller.Pause(on)
	}
	return nil
}
