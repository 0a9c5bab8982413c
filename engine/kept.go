package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/replay"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/table"
)

// keptTables returns the tables that nothing delivers to and no running replay builds: replays made them,
// or their pipelines are gone.
func (e *Engine) keptTables(ctx context.Context) ([]string, error) {
	names, err := e.store.Names(ctx)
	if err != nil {
		return nil, err
	}
	busy := map[string]bool{}
	for _, d := range e.running.Load().eachDelivery() {
		busy[d.spec.Table] = true
	}
	unfinished, err := replay.Jobs{DB: e.db}.List(ctx, true)
	for _, job := range unfinished {
		busy[job.Into] = true
	}
	return slices.DeleteFunc(names, func(name string) bool { return busy[name] }), err
}

// keptDelivery is how a table that nothing delivers to is maintained: as its project says by default, and
// a table that a replay made as that of its pipeline.
func (e *Engine) keptDelivery(name string, made map[string]replay.Job) project.Delivery {
	job, ok := made[name]
	if d, w := e.delivery(job.Table); ok && w != nil {
		d.Table = name
		return d
	}
	return project.Delivery{Table: name, Compression: "snappy", Compact: true, FileBytes: tableBuffer, SnapshotAge: 24 * time.Hour, SnapshotCount: 20}
}

// maintainKept does what is due for tables that replays made. Those whose pipelines are gone stay as they
// are: for how long their snapshots were to be kept is not known any more.
func (e *Engine) maintainKept(last map[string]time.Time) {
	names, err := e.keptTables(e.ctx)
	if err != nil || len(names) == 0 {
		return // a database that is away is told of by the deliveries
	}
	made, err := replay.Jobs{DB: e.db}.Made(e.ctx)
	if err != nil {
		return
	}
	for _, name := range names {
		if _, ok := made[name]; ok {
			e.maintainTable(e.keptDelivery(name, made), last)
		}
	}
}

// upkeep returns how a table is maintained, and what rewrites its files.
func (e *Engine) upkeep(ctx context.Context, name string) (project.Delivery, table.Rewriter, error) {
	if d, w := e.delivery(name); w != nil {
		return d, w.Rewrite, nil
	}
	names, err := e.keptTables(ctx)
	if err != nil {
		return project.Delivery{}, nil, err
	}
	if !slices.Contains(names, name) {
		return project.Delivery{}, nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no table %q of the lake that can be maintained", name), Hint: "tarn tables ls lists the tables"}
	}
	made, err := replay.Jobs{DB: e.db}.Made(ctx)
	d := e.keptDelivery(name, made)
	return d, delivery.Rewriter(e.convert, e.bucket, e.path("staging", "kept"), d.Compression, e.heavy), err
}

// verifyKept proves of the tables that nothing delivers to that they hold the rows that were committed, in
// files that are there, and that their failed records are.
func (e *Engine) verifyKept(ctx context.Context, v *server.VerifyDoc, deep *reading, problem func(string, string, ...any)) error {
	names, err := e.keptTables(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		st, rows, err := e.stateAndProgress(ctx, name)
		if err != nil {
			return err
		}
		if st == nil {
			continue // dropped in between
		}
		if err := e.verifyRows(ctx, st, rows, deep, problem); tarn.CodeOf(err) == tarn.CodeNotFound {
			continue
		} else if err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, r := range rows {
			if r.Failed+r.Dropped > r.RecordsIn {
				problem(name, "%d failed and %d dropped records of %d read", r.Failed, r.Dropped, r.RecordsIn)
			}
			if seen[r.Stream] {
				continue
			}
			seen[r.Stream] = true
			stored, counted, err := e.failedRecords(ctx, name, r.Stream)
			if err != nil {
				return err
			}
			if stored != counted {
				problem(name, "%d failed records were counted, %d are kept", counted, stored)
			}
		}
		v.Kept = append(v.Kept, name)
	}
	return nil
}
