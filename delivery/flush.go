package delivery

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/table"
)

// commit moves the first n items of the tail into the table: staged segments are merged into
// partitioned files, then one commit names all new files, the positions they came from and the
// records that failed on the way (I2).
func (w tableTarget) commit(ctx context.Context, n int) error {
	began := time.Now()
	w.tail.mu.RLock()
	items := w.tail.items[:n:n]
	w.tail.mu.RUnlock()
	st, err := w.current(ctx)
	if err != nil {
		return err
	}
	c, rows, err := w.assemble(ctx, st, items)
	if err != nil {
		return err
	}
	c.Documents = w.input.documents()
	if c, err = w.accounted(c); err != nil {
		return err
	}

	// A view taken while the table state moves would see the rows twice or not at all.
	merged := time.Now()
	w.tail.mu.Lock()
	_, err = w.cfg.Store.Commit(ctx, w.cfg.Table, c)
	// After an error, too, they leave the tail: the commit may stand all the same, and queries would see
	// its rows twice. If it does not, the next session reads them again.
	w.tail.items = append([]*item(nil), w.tail.items[n:]...)
	w.tail.mu.Unlock()
	if err != nil {
		for _, it := range items {
			it.letGo()
		}
		return fmt.Errorf("commit: %w", err)
	}
	w.newFiles.Store(int64(len(c.Add)))
	w.landed(items, c, rows, time.Since(began), time.Since(merged))
	return nil
}

// landed notes that items are committed, for those who wait and those who count.
func (w *Worker) landed(items []*item, c table.Commit, rows int64, took, commit time.Duration) {
	var records int64
	for _, it := range items {
		it.letGo()
	}
	for _, p := range c.Progress {
		records += int64(p.RecordsIn)
	}
	w.committed(items)
	if f := w.cfg.Metrics.Committed; f != nil {
		f(records, rows, took, commit)
	}
	w.cfg.Logger.Debug("committed", "records", records, "rows", rows, "files", len(c.Add), "failed", len(c.Failed), "took", took)
}

// assemble builds the commit of items; segments of items that are not final are merged on the way.
func (w tableTarget) assemble(ctx context.Context, st *table.State, items []*item) (table.Commit, int64, error) {
	c := table.Commit{SchemaID: st.SchemaID}
	var staged []string
	var want, rows int64
	all := mergeItems(items, nil, true)
	for _, it := range items {
		rows += it.rows
		for _, s := range it.segs {
			if it.final {
				c.Add = append(c.Add, s.file)
				c.SchemaID = min(c.SchemaID, it.schemaID)
				continue
			}
			staged = append(staged, s.file.Path)
			want += s.file.Rows
		}
	}
	if len(staged) > 0 {
		schema := st.Schema
		schema.Fields = storage(structOf(schema)).Fields
		parts, err := partitionExprs(st, schema.Fields)
		if err != nil {
			return c, 0, err
		}
		files, got, err := w.conv.merge(ctx, "SELECT * FROM "+duck.ReadParquet(staged, schema), schema, parts, st)
		if err != nil {
			return c, 0, fmt.Errorf("merge of the hot tail: %w", err)
		}
		if got != want { // I3: never commit a position whose rows are not all there
			return c, 0, fmt.Errorf("merge of the hot tail gave %d rows of %d", got, want)
		}
		c.Add = append(c.Add, files...)
	}
	c.Progress, c.Failed = w.moves(all.spans), all.failed
	return c, rows, nil
}

// moves is how a commit of spans moves the progress.
func (w *Worker) moves(spans []tally) []table.Progress {
	var all []table.Progress
	for _, t := range spans {
		if t.next == t.from {
			continue
		}
		all = append(all, table.Progress{
			Stream: w.cfg.Source.Name(), Shard: t.shard, From: t.from, Next: t.next, NextSeq: t.nextSeq,
			RecordsIn: t.next - t.from - t.expired, RowsOut: t.rows, Failed: t.failed, Dropped: t.dropped, Expired: t.expired,
		})
	}
	return all
}

// accounted is a commit as it is to be made: one of failed records that are tried again settles them.
func (w *Worker) accounted(c table.Commit) (table.Commit, error) {
	if w.cfg.Retry == nil {
		return c, nil
	}
	return w.cfg.Retry(c)
}

// tailFan is how many neighbours of one level are merged into one of the next.
const tailFan = 16

// compactTail keeps the number of segments that queries must open small. Items before from are being
// committed and stay as they are.
func (w tableTarget) compactTail(ctx context.Context, from int) error {
	for {
		w.tail.mu.RLock()
		run := mergeable(w.tail.items[min(from, len(w.tail.items)):])
		w.tail.mu.RUnlock()
		if run == nil {
			return nil
		}
		if err := w.mergeWithin(ctx, run); err != nil {
			return fmt.Errorf("merge within the hot tail: %w", err)
		}
	}
}

// mergeable returns the last run of tailFan or more staged items of one level.
func mergeable(items []*item) []*item {
	for end := len(items); end > 0; {
		start := end - 1
		for start > 0 && items[start-1].level == items[end-1].level && items[start-1].final == items[end-1].final {
			start--
		}
		if end-start >= tailFan && !items[end-1].final {
			return slices.Clone(items[start:end])
		}
		end = start
	}
	return nil
}

// mergeWithin replaces consecutive items of the tail by one.
func (w tableTarget) mergeWithin(ctx context.Context, run []*item) error {
	st, err := w.current(ctx)
	if err != nil {
		return err
	}
	var paths []string
	var want, got int64
	for _, it := range run {
		for _, s := range it.segs {
			paths = append(paths, s.file.Path)
			want += s.file.Rows
		}
	}
	var segs []*segment
	if len(paths) > 0 {
		schema := st.Schema
		schema.Fields = storage(structOf(schema)).Fields
		if segs, got, err = w.conv.stage(ctx, "SELECT * FROM "+duck.ReadParquet(paths, schema), schema); err != nil {
			return err
		}
		if got != want {
			return fmt.Errorf("gave %d rows of %d", got, want)
		}
	}
	w.tail.replace(run, mergeItems(run, segs, false))
	return nil
}
