package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/table"
)

// control is what the HTTP interface asks of the engine.
func (e *Engine) control() server.Control {
	return server.Control{Ready: e.reasons, Refusing: e.refusing, Status: e.Status, Streams: e.Streams, Pipelines: e.Pipelines, Tables: e.Tables, Table: e.Table,
		Failed: e.Failed, RetryFailed: e.RetryFailed, DiscardFailed: e.DiscardFailed,
		Replay: server.ReplayControl{Start: e.StartReplay, List: e.Replays, Get: e.Replay, Cancel: e.CancelReplay},
		Verify: e.Verify, VerifyDeep: e.VerifyDeep, AcceptLosses: e.AcceptLosses, Maintain: e.Maintain, Reload: e.Reload, Project: e.Project, Flush: e.Flush, Pause: e.Pause,
		Extracts: e.Extracts, FlushExtract: e.FlushExtract, Crawl: e.Crawl, Crawlers: e.Crawlers, Functions: e.Functions, Invoke: e.Invoke, FunctionLogs: e.FunctionLogs}
}

// Project returns the project that runs, as its MarshalJSON writes it: without passwords, and with the
// partitioning that tables have.
func (e *Engine) Project(ctx context.Context) (json.RawMessage, error) {
	p, err := e.inEffect(ctx, e.running.Load().project)
	if err != nil {
		return nil, err
	}
	return json.Marshal(p)
}

// reasons says why the engine is not ready.
func (e *Engine) reasons() []string {
	if r := e.reason.Load(); r != nil {
		return []string{*r}
	}
	return nil
}

func (e *Engine) delivery(table string) (project.Delivery, *delivery.Worker) {
	for _, d := range e.running.Load().eachDelivery() {
		if d.spec.Table == table {
			return d.spec, d.worker
		}
	}
	return project.Delivery{}, nil
}

// Status counts records over all pipelines. A record of a pipeline with several deliveries is
// committed when all of them have it.
func (e *Engine) Status(ctx context.Context) (server.StatusDoc, error) {
	s := server.StatusDoc{Version: e.opts.Version, StartedAt: e.started, Reasons: e.reasons(), DataDir: e.opts.Data}
	s.Ready = len(s.Reasons) == 0
	if p := e.running.Load().project; p != nil {
		s.Project = p.Name
	}
	docs, err := e.Pipelines(ctx)
	if err != nil {
		return s, err
	}
	streams, err := e.Streams(ctx)
	if err != nil {
		return s, err
	}
	for _, st := range streams {
		s.Accepted += st.Accepted
	}
	for _, p := range docs {
		var lag uint64
		for _, d := range p.Deliveries {
			lag = max(lag, d.LagRecords)
			s.Failed += d.Failed
		}
		s.Pending += lag
	}
	s.Committed = s.Accepted - min(s.Accepted, s.Pending)
	return s, nil
}

// Streams describes the streams of the project.
func (e *Engine) Streams(ctx context.Context) ([]server.StreamDoc, error) {
	var docs []server.StreamDoc
	for _, p := range e.pipes() {
		c := p.spec.Stream
		d := server.StreamDoc{Name: p.stream.Name(), Pipelines: []string{p.spec.Name}, MaxBytes: c.MaxBytes, PartitionKey: c.PartitionKey}
		if c.Retention > 0 {
			d.Retention = c.Retention.String()
		}
		for i := range p.stream.Shards() {
			st, err := p.stream.State(ctx, i)
			if err != nil {
				return nil, err
			}
			sh := server.ShardDoc{Shard: i, Next: tarn.Position{Shard: i, Offset: st.Next}, Records: st.Next - st.First, Bytes: st.Bytes}
			if st.Messages > 0 {
				sh.First = &tarn.Position{Shard: i, Offset: st.First}
				sh.Oldest, sh.Newest = &st.FirstTime, &st.LastTime
			}
			d.Accepted += st.Next
			d.Records += sh.Records
			d.Bytes += st.Bytes
			d.Shards = append(d.Shards, sh)
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// Pipelines describes the pipelines and how far their deliveries are.
func (e *Engine) Pipelines(ctx context.Context) ([]server.PipelineDoc, error) {
	var docs []server.PipelineDoc
	for _, p := range e.pipes() {
		if p.made() {
			continue
		}
		doc := server.PipelineDoc{Name: p.spec.Name, Owner: p.spec.Owner, Description: p.spec.Description, Stream: p.stream.Name(), Deliveries: []server.DeliveryDoc{}}
		for _, d := range p.deliveries {
			dd, err := e.describeDelivery(ctx, p, d)
			if err != nil {
				return nil, err
			}
			if p.held != nil {
				dd.State, dd.LastError = stateHeld, reason(p.held)
			}
			doc.Deliveries = append(doc.Deliveries, dd)
		}
		var err error
		if doc.RawBackup, err = describeBackup(ctx, p); err != nil {
			return nil, err
		}
		doc.Source = describeSource(p)
		docs = append(docs, doc)
	}
	return docs, nil
}

func (e *Engine) describeDelivery(ctx context.Context, p *pipe, d *runningDelivery) (server.DeliveryDoc, error) {
	w := d.worker.Status()
	doc := server.DeliveryDoc{Table: d.name(), State: "running", TailRows: uint64(w.TailRows), LastError: w.Error, Warning: w.Warning}
	switch {
	case w.Paused:
		doc.State = "paused"
	case w.Error != "":
		doc.State = "retrying"
	}
	rows, err := e.store.Progress(ctx, d.name())
	if err != nil {
		return doc, err
	}
	next := map[int]uint64{}
	for _, r := range rows {
		if r.Stream != p.stream.Name() {
			continue
		}
		next[r.Shard] = r.Next
		doc.Records += r.RecordsIn
		doc.Rows += r.RowsOut
		doc.Failed += r.Failed
		if doc.LastCommit == nil || r.UpdatedAt.After(*doc.LastCommit) {
			at := r.UpdatedAt
			doc.LastCommit = &at
		}
	}
	for i := range p.stream.Shards() {
		st, err := p.stream.State(ctx, i)
		if err != nil {
			return doc, err
		}
		doc.LagRecords += st.Next - min(st.Next, max(next[i], st.First)) // retention has taken those before First
	}
	if doc.LagRecords > 0 {
		since := w.Oldest
		if since.IsZero() { // nothing in the tail: paused, failing, or just arrived
			if since = e.started; doc.LastCommit != nil {
				since = *doc.LastCommit
			}
		}
		doc.LagSeconds = max(0, time.Since(since).Seconds())
	}
	return doc, nil
}

// Tables lists the tables.
func (e *Engine) Tables(ctx context.Context) ([]server.TableDoc, error) {
	names, err := e.store.Names(ctx)
	if err != nil {
		return nil, err
	}
	var docs []server.TableDoc
	for _, n := range names {
		st, err := e.state(ctx, n)
		if err != nil {
			return nil, err
		}
		if st != nil {
			docs = append(docs, e.tableDoc(st))
		}
	}
	archived, err := e.rawDocs(ctx)
	if err != nil {
		return nil, err
	}
	passed, err := e.cleanedDocs(ctx)
	if err != nil {
		return nil, err
	}
	twins, err := e.twinDocs(ctx)
	if err != nil {
		return nil, err
	}
	docs = slices.Concat(docs, archived, passed, twins)
	err = eachExternal(ctx, e, func(t *catalog.Table) error {
		docs = append(docs, externalDoc(t))
		return nil
	})
	return docs, err
}

func (e *Engine) tableDoc(st *table.State) server.TableDoc {
	d := server.TableDoc{Name: st.Name, Kind: kindIceberg, UUID: st.UUID, Location: st.Location, MetadataLocation: st.MetadataLocation, Partition: []string{},
		Rows: st.Rows, Files: int(st.Files), Bytes: st.Bytes, UpdatedAt: st.UpdatedAt}
	if st.SnapshotID != 0 {
		d.SnapshotID = strconv.FormatInt(st.SnapshotID, 10)
	}
	for _, f := range st.Partition {
		d.Partition = append(d.Partition, f.String())
	}
	for p, r := range e.running.Load().eachDelivery() {
		if r.spec.Table == st.Name {
			d.Pipeline = p.spec.Name
			d.TailRows = r.worker.Status().TailRows
		}
	}
	return d
}

// Table describes one table in full.
func (e *Engine) Table(ctx context.Context, name string) (server.TableDoc, error) {
	if t, err := e.rawTable(ctx, name); err != nil {
		return server.TableDoc{}, err
	} else if t != nil {
		return e.rawTableDoc(ctx, t)
	}
	if t, err := e.cleanedTable(ctx, name); err != nil {
		return server.TableDoc{}, err
	} else if t != nil {
		return e.cleanedDoc(ctx, t)
	}
	if short, ok := strings.CutPrefix(name, twinSchema); ok {
		return e.describeTwin(ctx, short)
	}
	if t, err := e.external(ctx, name); err != nil || t != nil {
		if err != nil {
			return server.TableDoc{}, err
		}
		return externalDocInFull(t), nil
	}
	st, err := e.store.State(ctx, name)
	if tarn.CodeOf(err) == tarn.CodeNotFound {
		if _, w := e.delivery(name); w != nil {
			return server.TableDoc{}, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("the table %s has no columns yet", name), Hint: "they are inferred from the first records; post some"}
		}
		names, nerr := e.store.Names(ctx)
		if nerr != nil {
			return server.TableDoc{}, nerr
		}
		return server.TableDoc{}, server.NotFound("table", name, names)
	}
	if err != nil {
		return server.TableDoc{}, err
	}
	d := e.tableDoc(st)
	for _, f := range st.Schema.Fields {
		d.Columns = append(d.Columns, server.ColumnDoc{ID: f.ID, Name: f.Name, Type: f.Type.SQL(), Required: f.Required, Doc: f.Doc})
	}
	for _, s := range slices.Backward(st.Snapshots()) {
		sd := server.SnapshotDoc{ID: strconv.FormatInt(s.ID, 10), At: s.Time, Operation: s.Operation, Summary: s.Summary}
		if s.ParentID != 0 {
			sd.ParentID = strconv.FormatInt(s.ParentID, 10)
		}
		d.Snapshots = append(d.Snapshots, sd)
	}
	if _, w := e.delivery(name); w != nil {
		for _, n := range w.Notes() {
			d.Inference = append(d.Inference, server.InferenceDoc{Column: n.Path, Type: n.Type, Why: n.Reason})
		}
	}
	return d, nil
}
