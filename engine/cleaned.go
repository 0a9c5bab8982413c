package engine

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/cleaned"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/server"
)

// What deliveries bring to the zone cleaned, as tables of SQL.

const cleanedZone = "cleaned."

// cleanedTable is one of them: its objects, and how they are read.
type cleanedTable struct {
	*cleaned.Archive
	view *delivery.CleanedView
}

func (t *cleanedTable) fullName() string { return cleanedZone + t.Name() }

// cleanedTables returns the tables that have or had records, in order of name: those that pipelines deliver to,
// though all of their records have expired, and those that none delivers to any more, as long as they have some.
func (e *Engine) cleanedTables(ctx context.Context) ([]*cleanedTable, error) {
	names, err := cleaned.Names(ctx, e.db)
	if err != nil {
		return nil, err
	}
	for _, d := range e.running.Load().eachDelivery() {
		if d.spec.Cleaned != "" {
			names = append(names, d.spec.Cleaned)
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	var tables []*cleanedTable
	for _, n := range names {
		t, err := e.openCleaned(ctx, n)
		if err != nil {
			return nil, err
		}
		if t != nil {
			tables = append(tables, t)
		}
	}
	return tables, nil
}

// openCleaned returns a table, nil when no records of it are known.
func (e *Engine) openCleaned(ctx context.Context, name string) (*cleanedTable, error) {
	docs, err := e.store.Documents(ctx, cleanedZone+name)
	if err != nil {
		return nil, err
	}
	view, err := delivery.NewCleanedView(docs, int(e.limits.RecordBytes))
	if err != nil || view == nil {
		return nil, err
	}
	return &cleanedTable{Archive: cleaned.Open(e.db, e.bucket, name), view: view}, nil
}

// cleanedTable finds a table by its full name, nil when there is none.
func (e *Engine) cleanedTable(ctx context.Context, name string) (*cleanedTable, error) {
	short, ok := strings.CutPrefix(name, cleanedZone)
	if !ok {
		return nil, nil
	}
	return e.openCleaned(ctx, short)
}

// cleanedInfos lists the tables for the SQL service.
func (e *Engine) cleanedInfos(ctx context.Context) ([]query.TableInfo, error) {
	tables, err := e.cleanedTables(ctx)
	infos := make([]query.TableInfo, len(tables))
	for i, t := range tables {
		infos[i] = query.TableInfo{Name: t.fullName(), Schema: t.view.Schema}
	}
	return infos, err
}

// acquireCleaned fixes a table for a statement. Objects past their lifecycle are deleted only after
// cleaned.Grace, when no statement reads them.
func acquireCleaned(ctx context.Context, t *cleanedTable, at *query.AsOf) (*query.View, error) {
	if at != nil {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: t.fullName() + " has no snapshots", Hint: "leave AT out"}
	}
	objects, err := t.Objects(ctx)
	if err != nil {
		return nil, err
	}
	view := &query.View{Schema: t.view.Schema, Files: make([]query.File, len(objects))}
	for i, o := range objects {
		view.Files[i] = query.File{URL: t.URL(o), Rows: o.Records, Bytes: o.Bytes}
	}
	view.Read = func(_ context.Context, files []query.File) (string, error) {
		paths := make([]string, len(files))
		for i, f := range files {
			paths[i] = f.URL
		}
		return t.view.SQL(paths), nil
	}
	return view, nil
}

// cleanedDocs lists the tables for tarn tables ls.
func (e *Engine) cleanedDocs(ctx context.Context) ([]server.TableDoc, error) {
	tables, err := e.cleanedTables(ctx)
	if err != nil {
		return nil, err
	}
	docs := make([]server.TableDoc, len(tables))
	for i, t := range tables {
		if docs[i], err = e.cleanedDoc(ctx, t); err != nil {
			return nil, err
		}
		docs[i].Columns = nil
	}
	return docs, nil
}

// cleanedDoc describes one table in full.
func (e *Engine) cleanedDoc(ctx context.Context, t *cleanedTable) (server.TableDoc, error) {
	d := server.TableDoc{Name: t.fullName(), Kind: kindCleaned, Location: e.bucket.URL("cleaned/" + t.Name()), Partition: []string{}, UpdatedAt: e.started}
	objects, err := t.Objects(ctx)
	if err != nil {
		return d, err
	}
	for _, o := range objects {
		d.Rows += o.Records
		d.Bytes += o.Bytes
	}
	d.Files = len(objects)
	progress, err := e.store.Progress(ctx, t.fullName())
	if err != nil {
		return d, err
	}
	for i, p := range progress {
		if i == 0 || p.UpdatedAt.After(d.UpdatedAt) {
			d.UpdatedAt = p.UpdatedAt
		}
	}
	for _, f := range t.view.Schema.Fields {
		d.Columns = append(d.Columns, server.ColumnDoc{ID: f.ID, Name: f.Name, Type: f.Type.SQL(), Doc: f.Doc})
	}
	for _, p := range e.pipes() {
		for _, to := range p.deliveries {
			if to.name() == t.fullName() {
				d.Pipeline = p.spec.Name
			}
		}
	}
	return d, nil
}

// cleanedTableRows are the rows of system.tables that the zone has.
func cleanedTableRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	docs, err := e.cleanedDocs(ctx)
	for _, d := range docs {
		rows = append(rows, []any{d.Name, nil, d.Location, nil, "", nil, d.Rows, 0, d.Files, d.Bytes, d.UpdatedAt, d.Kind})
	}
	return rows, err
}

// cleanedColumnRows are the rows of system.columns that the zone has.
func cleanedColumnRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	infos, err := e.cleanedInfos(ctx)
	for _, t := range infos {
		for i, f := range t.Schema.Fields {
			rows = append(rows, []any{t.Name, i + 1, f.ID, f.Name, f.Type.SQL(), f.Required, f.Doc})
		}
	}
	return rows, err
}

// verifyCleaned proves that the live objects are there, and no more records than were delivered.
func (e *Engine) verifyCleaned(ctx context.Context, problem func(string, string, ...any)) error {
	tables, err := e.cleanedTables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if err := t.Verify(ctx, func(o cleaned.Object, why string) { problem(t.fullName(), "the object %s: %s", o.Key, why) }); err != nil {
			return err
		}
		objects, err := t.Objects(ctx)
		if err != nil {
			return err
		}
		progress, err := e.store.Progress(ctx, t.fullName()) // behind the objects, which it may only be ahead of
		if err != nil {
			return err
		}
		var live int64
		for _, o := range objects {
			live += o.Records
		}
		var delivered uint64
		for _, p := range progress {
			delivered += p.RowsOut
		}
		if uint64(live) > delivered {
			problem(t.fullName(), "the objects hold %d records, %d were delivered", live, delivered)
		}
	}
	return nil
}

// maintainCleaned applies the lifecycle of the zone. last notes when each task ran.
func (e *Engine) maintainCleaned(last map[string]time.Time) {
	tables, err := e.cleanedTables(e.ctx)
	if err != nil {
		e.log.Error("maintenance of the zone cleaned failed", "error", err)
		return
	}
	var before time.Time // nothing is older: what has expired before is still deleted
	if keep := e.running.Load().project.Zones.Cleaned.ExpireAfter; keep > 0 {
		before = time.Now().Add(-keep)
	}
	for _, t := range tables {
		for _, task := range []struct {
			name   string
			every  time.Duration
			run    func(context.Context, time.Time) (cleaned.Removed, error)
			before time.Time
		}{{"expire", expireEvery, t.Expire, before}, {"orphans", orphansEvery, t.RemoveOrphans, time.Now().Add(-orphanAge)}} {
			now, key := time.Now(), t.fullName()+" "+task.name
			if now.Sub(last[key]) < task.every {
				continue
			}
			last[key] = now
			e.maintenance.Lock()
			done, err := task.run(e.ctx, task.before)
			e.maintenance.Unlock()
			if err != nil && e.ctx.Err() == nil {
				e.log.Error("maintenance of the zone cleaned failed", "table", t.fullName(), "task", task.name, "error", err)
			} else if done.Objects > 0 {
				e.log.Info("objects removed", "table", t.fullName(), "task", task.name, "objects", done.Objects, "bytes", done.Bytes)
			}
		}
	}
}
