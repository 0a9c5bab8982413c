package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/table"
)

// orphanAge is how old a file that no metadata names must be before it goes. Files of this process
// on their way to a commit are younger.
const orphanAge = 24 * time.Hour

// The pauses between rounds of the rarer tasks.
const (
	expireEvery    = time.Hour
	manifestsEvery = 15 * time.Minute
	orphansEvery   = 24 * time.Hour
)

// maintain keeps tables fast and storage bounded, one table and task at a time.
func (e *Engine) maintain() {
	if e.opts.Maintenance < 0 {
		return
	}
	tick := time.NewTicker(e.opts.Maintenance)
	defer tick.Stop()
	last := map[string]time.Time{}
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		e.maintainRaw(last)
		e.maintainCleaned(last)
		e.maintainFiles(last)
		for _, d := range e.running.Load().eachDelivery() {
			if d.spec.Table != "" {
				e.maintainTable(d.spec, last)
			}
		}
		e.maintainKept(last)
	}
}

// maintainTable runs what is due for one table.
func (e *Engine) maintainTable(d project.Delivery, last map[string]time.Time) {
	for _, task := range e.dueTasks(d, last) {
		doc, err := e.runTask(e.ctx, d.Table, task)
		if err != nil && e.ctx.Err() == nil && tarn.CodeOf(err) != tarn.CodeNotFound {
			e.log.Error("table maintenance failed", "table", d.Table, "task", task, "error", err)
		} else if err == nil {
			e.log.Debug("table maintenance", "table", d.Table, "task", task, "detail", doc.Detail)
		}
	}
}

// dueTasks returns the tasks to run now and notes them in last.
func (e *Engine) dueTasks(d project.Delivery, last map[string]time.Time) []string {
	var tasks []string
	if d.Compact {
		tasks = append(tasks, "compact")
	}
	for _, t := range []struct {
		name  string
		every time.Duration
	}{{"expire", expireEvery}, {"manifests", manifestsEvery}, {"orphans", orphansEvery}} {
		key := d.Table + " " + t.name
		if now := time.Now(); now.Sub(last[key]) >= t.every {
			last[key] = now
			tasks = append(tasks, t.name)
		}
	}
	return tasks
}

// Maintain runs tasks on one table now.
func (e *Engine) Maintain(ctx context.Context, name string, tasks []string) ([]server.MaintenanceDoc, error) {
	var docs []server.MaintenanceDoc
	for _, t := range tasks {
		doc, err := e.runTask(ctx, name, t)
		if err != nil {
			return docs, err
		}
		docs = append(docs, doc)
	}
	return docs, nil
}

// runTask runs one task. Background and commanded runs exclude each other.
func (e *Engine) runTask(ctx context.Context, name, task string) (server.MaintenanceDoc, error) {
	e.maintenance.Lock()
	defer e.maintenance.Unlock()
	doc := server.MaintenanceDoc{Table: name, Task: task}
	d, rewrite, err := e.upkeep(ctx, name)
	if err != nil {
		return doc, err
	}
	began := time.Now()
	switch task {
	case "compact":
		var r table.CompactResult
		r, err = e.store.Compact(ctx, name, rewrite, table.CompactOptions{TargetBytes: d.FileBytes})
		doc.FilesBefore, doc.FilesAfter = r.FilesIn, r.FilesOut
		doc.Detail = fmt.Sprintf("%d files became %d, %d rows", r.FilesIn, r.FilesOut, r.Rows)
	case "expire":
		var r table.ExpireResult
		r, err = e.store.ExpireSnapshots(ctx, name, d.SnapshotAge, d.SnapshotCount)
		doc.FilesDeleted = r.Files
		doc.Detail = fmt.Sprintf("%d snapshots expired, %d files deleted", r.Snapshots, r.Files)
	case "manifests":
		_, err = e.store.RewriteManifests(ctx, name)
		doc.Detail = "manifests merged"
	case "orphans":
		var r table.OrphansResult
		r, err = e.store.RemoveOrphans(ctx, name, orphanAge)
		doc.FilesDeleted, doc.BytesDeleted = r.Files, r.Bytes
		doc.Detail = fmt.Sprintf("%d files without an owner deleted, %d bytes", r.Files, r.Bytes)
	default:
		return doc, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("there is no maintenance task %q", task), Hint: "use compact, expire, manifests or orphans"}
	}
	took := time.Since(began)
	doc.Seconds = took.Seconds()
	e.metrics.MaintenanceSeconds.WithLabelValues(name, task).Observe(took.Seconds())
	return doc, err
}
