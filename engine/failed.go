package engine

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/replay"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/table"
)

// failedFilter turns what a request selects into what the store selects.
func (e *Engine) failedFilter(ctx context.Context, f server.FailedFilter) (table.FailedFilter, error) {
	filter := table.FailedFilter{Pipeline: f.Pipeline, Table: f.Table, Stage: f.Stage, Since: f.Since, IDs: f.IDs, After: f.After}
	if f.Delivery == "" {
		return filter, nil
	}
	names, err := e.store.FailedTables(ctx, filter)
	r := e.running.Load()
	filter.Tables = slices.DeleteFunc(append([]string{}, names...), func(name string) bool { return r.deliveryKind(name) != f.Delivery })
	return filter, err
}

// The kinds of deliveries.
const (
	toTable    = "table"
	toDatabase = "database"
	toCleaned  = "cleaned"
	toExtract  = "extract"
)

// deliveryKind is the kind of the delivery that progress is kept for under a name. Only of a table it takes
// the project to tell whether an extract makes it.
func (r *running) deliveryKind(name string) string {
	zone, _, _ := strings.Cut(name, ".")
	switch zone {
	case toDatabase, toCleaned, toExtract:
		return zone
	case windowsZone:
		return toExtract
	}
	if slices.ContainsFunc(r.extracts, func(x *extraction) bool { return x.spec.To.Table == name }) {
		return toExtract
	}
	return toTable
}

// Failed returns a page of failed records, in the order of their ids: as many as f.Limit says, fewer
// when they are large (I8).
func (e *Engine) Failed(ctx context.Context, f server.FailedFilter) (server.FailedPage, error) {
	filter, err := e.failedFilter(ctx, f)
	if err != nil {
		return server.FailedPage{}, err
	}
	var page server.FailedPage
	r := e.running.Load()
	for size := 0; len(page.Failed) < f.Limit && size < maxFailedBytes; {
		filter.Limit = min(failedPage, f.Limit-len(page.Failed))
		recs, err := e.store.FailedRecords(ctx, filter)
		if err != nil {
			return server.FailedPage{}, err
		}
		for _, rec := range recs {
			doc := failedDoc(rec)
			doc.Delivery = r.deliveryKind(rec.Table)
			page.Failed = append(page.Failed, doc)
			filter.After, size = rec.ID, size+len(rec.Record)
		}
		if len(recs) < filter.Limit {
			return page, nil
		}
	}
	page.NextAfter = filter.After
	return page, nil
}

func failedDoc(r table.FailedRecord) server.FailedDoc {
	d := server.FailedDoc{ID: r.ID, Pipeline: r.Pipeline, Table: r.Table, Stream: r.Stream, Position: tarn.Position{Shard: r.Shard, Offset: r.Offset},
		Stage: r.Stage, Code: r.Code, Reason: r.Reason, Attempts: r.Attempts, Arrival: r.Arrival, FailedAt: r.FailedAt}
	if json.Valid(r.Record) {
		d.Record = r.Record
	} else {
		d.RecordBase64 = base64.StdEncoding.EncodeToString(r.Record)
	}
	return d
}

// What one request settles, and one batch of it holds in memory (I8).
const (
	settleRecords = 10_000
	retryRecords  = 5_000
	retryBytes    = 16 << 20
)

// RetryFailed runs the next failed records that f selects through the pipelines as they are now, batch by
// batch. Each batch is one commit (I2), so that a request that is cut off has done some of the work and
// none of it twice.
func (e *Engine) RetryFailed(ctx context.Context, f server.FailedFilter) (server.RetryDoc, error) {
	var doc server.RetryDoc
	filter, err := e.failedFilter(ctx, f)
	if err != nil {
		return doc, err
	}
	for left := settleLimit(f); left > 0; {
		recs, more, err := e.failedBatch(ctx, &filter, left)
		if err != nil || len(recs) == 0 {
			return doc, err
		}
		if err := e.retryBatch(ctx, recs, &doc); err != nil {
			return doc, err
		}
		if left -= len(recs); !more {
			return doc, nil
		}
	}
	doc.NextAfter = filter.After
	return doc, nil
}

func settleLimit(f server.FailedFilter) int {
	if f.Limit > 0 {
		return f.Limit
	}
	return settleRecords
}

// failedBatch reads the next records and moves filter behind them.
func (e *Engine) failedBatch(ctx context.Context, filter *table.FailedFilter, most int) (recs []table.FailedRecord, more bool, err error) {
	for size := 0; len(recs) < min(most, retryRecords) && size < retryBytes; {
		filter.Limit = min(failedPage, min(most, retryRecords)-len(recs))
		page, err := e.store.FailedRecords(ctx, *filter)
		if err != nil {
			return nil, false, err
		}
		for _, r := range page {
			filter.After, size = r.ID, size+len(r.Record)
		}
		recs = append(recs, page...)
		if len(page) < filter.Limit {
			return recs, false, nil
		}
	}
	return recs, true, nil
}

// retryBatch retries records of any tables and adds to doc what became of them.
func (e *Engine) retryBatch(ctx context.Context, recs []table.FailedRecord, doc *server.RetryDoc) error {
	type origin struct{ table, stream string }
	groups := map[origin][]table.FailedRecord{}
	var order []origin
	for _, r := range recs {
		o := origin{r.Table, r.Stream}
		if groups[o] == nil {
			order = append(order, o)
		}
		groups[o] = append(groups[o], r)
	}
	for _, o := range order {
		cfg, free, ok, err := e.retryConfig(o.table, o.stream)
		if err != nil {
			return err
		}
		if !ok {
			doc.NoDelivery += int64(len(groups[o]))
			continue
		}
		done, err := e.replays.share(o.table)
		if err != nil {
			free()
			return err
		}
		out, err := e.retry(ctx, cfg, groups[o])
		done()
		free()
		doc.Tried += out.Tried
		doc.Settled += out.Settled
		doc.Rows += out.Rows
		doc.FailedAgain += out.Again
		doc.NoBytes += out.NoBytes
		if err != nil {
			return fmt.Errorf("retry for table %s: %w", o.table, err)
		}
	}
	return nil
}

// retry tries records of one delivery again. Where they do not go to a table of the lake, nobody else
// retries or discards meanwhile.
func (e *Engine) retry(ctx context.Context, cfg delivery.Config, recs []table.FailedRecord) (replay.Outcome, error) {
	if cfg.Database != nil || cfg.Cleaned != nil || cfg.Sink != nil {
		e.settling.Lock()
		defer e.settling.Unlock()
	}
	return replay.Retry(ctx, cfg, e.store, recs)
}

// retryConfig is what a worker needs that retries failed records of a delivery; false when nothing delivers
// under the name from the stream. free is called when the worker has ended.
func (e *Engine) retryConfig(name, stream string) (cfg delivery.Config, free func(), ok bool, err error) {
	free = func() {}
	if p, d := e.deliveryTo(name); p != nil && p.stream.Name() == stream {
		if err := p.refuse(); err != nil {
			return cfg, free, false, err
		}
		cfg, err = e.deliveryConfig(p.spec, d.spec, p.stream)
		cfg.Metrics = delivery.Metrics{} // they have been counted
		return cfg, free, true, err
	}
	for _, x := range e.running.Load().extracts {
		i := slices.IndexFunc(x.stages, func(s stage) bool { return s.name() == name && s.pipe.stream.Name() == stream })
		if i < 0 {
			continue
		}
		cfg = x.stages[i].cfg
		cfg.Dir, cfg.Metrics = e.workerDir(name), delivery.Metrics{}
		if cfg.Lookup != nil { // its own, which outlive those of an extract that ends meanwhile
			look := &lookups{e: e, tables: x.look.tables, refresh: x.look.refresh}
			cfg.Lookup, free = look.current, look.close
		}
		return cfg, free, true, nil
	}
	return cfg, free, false, nil
}

// deliveryTo finds what delivers under a name, that of a table or another, nil when nothing does.
func (e *Engine) deliveryTo(name string) (*pipe, *runningDelivery) {
	for _, p := range e.pipes() {
		i := slices.IndexFunc(p.deliveries, func(d *runningDelivery) bool { return d.name() == name })
		if i >= 0 {
			return p, p.deliveries[i]
		}
	}
	return nil, nil
}

// DiscardFailed gives up the next failed records that f selects; they count as left out by the pipeline.
func (e *Engine) DiscardFailed(ctx context.Context, f server.FailedFilter) (server.DiscardDoc, error) {
	var doc server.DiscardDoc
	filter, err := e.failedFilter(ctx, f)
	if err != nil {
		return doc, err
	}
	tables, err := e.store.FailedTables(ctx, filter)
	if err != nil {
		return doc, err
	}
	e.settling.Lock()
	defer e.settling.Unlock()
	for _, t := range tables {
		if err := e.checkRetried(ctx, t); err != nil {
			return doc, err
		}
		done, err := e.replays.share(t)
		if err != nil {
			return doc, err
		}
		defer done()
	}
	for left := settleLimit(f); left > 0; {
		filter.Limit = min(left, 1000)
		ids, err := e.store.FailedIDs(ctx, filter)
		if err != nil || len(ids) == 0 {
			return doc, err
		}
		n, err := e.store.DropFailed(ctx, ids)
		if err != nil {
			return doc, err
		}
		doc.Discarded += int64(n)
		filter.After = ids[len(ids)-1]
		if left -= len(ids); len(ids) < filter.Limit {
			return doc, nil
		}
	}
	doc.NextAfter = filter.After
	return doc, nil
}

// checkRetried refuses to discard failed records that may be where they belong already: a retry was killed,
// and what became of it is not settled yet.
func (e *Engine) checkRetried(ctx context.Context, name string) error {
	docs, err := e.store.Documents(ctx, name)
	if err == nil && (delivery.RetryAnnounced(docs) || extract.RetryAnnounced(docs)) {
		err = &tarn.Error{Code: tarn.CodeConflict, Detail: "a retry of failed records of " + name + " was cut off, and it is not known yet which of them are where they belong",
			Hint: "tarn failed retry finds out; then discard what is left"}
	}
	return err
}
