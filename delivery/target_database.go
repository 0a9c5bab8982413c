package delivery

import (
	"context"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/database"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/table"
)

// databaseTarget is a table of a database outside of Tarn. Rows and progress move in one transaction
// of that database, whose word on the progress counts. What Tarn itself keeps, failed records and
// counters, follows in two steps: it is announced before that transaction commits, and settled after
// it, by the next session if this one ends in between.
type databaseTarget struct {
	*Worker
	session *database.Session
	tried   []database.Progress // of a retry
}

func (w *databaseTarget) begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error) {
	session, there, err := w.cfg.Database.Begin(ctx, w.cfg.Source.Name(), w.cfg.Source.Shards())
	if err != nil {
		return nil, nil, err
	}
	w.session = session
	if err := w.settleIntent(ctx, w.intentDocument(), there); err != nil {
		return nil, nil, err
	}
	var rows []table.ProgressRow
	if w.cfg.Retry != nil {
		w.tried = there
		rows, err = w.cfg.Store.Progress(ctx, w.cfg.Table)
	} else if err = w.settleRetry(ctx); err == nil {
		rows, err = w.reconcile(ctx, there)
	}
	if err != nil {
		return nil, nil, err
	}
	docs, err := w.cfg.Store.Documents(ctx, w.cfg.Table)
	return docs, rows, err
}

func (w *databaseTarget) end() {
	if w.session != nil {
		w.session.Close()
		w.session = nil
	}
}

// reconcile returns the progress, which is the database's. Where it differs here, one of the two was
// restored from a copy.
func (w *databaseTarget) reconcile(ctx context.Context, there []database.Progress) ([]table.ProgressRow, error) {
	here, err := w.cfg.Store.Progress(ctx, w.cfg.Table)
	if err != nil {
		return nil, err
	}
	next := map[int]uint64{}
	for _, r := range here {
		if r.Stream == w.cfg.Source.Name() {
			next[r.Shard] = r.Next
		}
	}
	var rows, differ []table.ProgressRow
	for _, p := range there {
		r := table.ProgressRow{Table: w.cfg.Table, Stream: w.cfg.Source.Name(), Shard: p.Shard, Next: p.Next, NextSeq: p.NextSeq,
			RecordsIn: p.RecordsIn, RowsOut: p.RowsOut, Failed: p.Failed, Dropped: p.Dropped, Expired: p.Expired}
		rows = append(rows, r)
		if next[p.Shard] != p.Next {
			w.cfg.Logger.Warn("the database has other progress than was booked here, and its word counts", "shard", p.Shard, "booked", next[p.Shard], "database", p.Next)
			differ = append(differ, r)
		}
	}
	return rows, w.cfg.Ledger.SetProgress(ctx, w.cfg.Table, differ)
}

// exists: progress can be committed without a table of rows.
func (w *databaseTarget) exists(context.Context) bool { return true }

// compactTail has nothing to do: no query reads this tail.
func (w *databaseTarget) compactTail(context.Context, int) error { return nil }

func (w *databaseTarget) prepare(ctx context.Context, in *inputSchema, _ func(context.Context) error) (*plan, error) {
	if w.plan != nil && w.planned == in && w.plan.layout.Of(w.session) {
		return w.plan, nil
	}
	r, err := w.bind(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	layout, err := w.session.Ensure(ctx, r.fields, w.cfg.Policy == Evolve)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(r, w.tr.exact, in, &table.State{Name: w.cfg.Table, Schema: tarn.Schema{Fields: flat(layout.Fields)}}, w.cfg)
	if err != nil {
		return nil, err
	}
	p.layout = layout
	w.plan, w.planned = p, in
	return p, nil
}

// rows stages a chunk, and keeps its lines for when the database refuses some.
func (w *databaseTarget) rows(ctx context.Context, c *chunk, p *plan, it *item) error {
	err := p.converted(ctx, w.conv.db, c, func(sel string) (err error) {
		it.segs, it.rows, err = w.conv.stage(ctx, sel, p.schema())
		return err
	})
	if err != nil {
		return err
	}
	if err := p.complete(c, it); err != nil {
		return err
	}
	return it.keep(c, p)
}

func (w *databaseTarget) commit(ctx context.Context, n int) error {
	return w.inParts(ctx, n, w.commitSome)
}

// commitSome commits the first of the items, and returns how many.
func (w *databaseTarget) commitSome(ctx context.Context, items []*item) (int, error) {
	began := time.Now()
	var b batch
	var i intent
	var rows int64
	var written time.Time
	err := w.session.Write(ctx, func(tx *database.Tx) ([]database.Move, error) {
		for _, it := range items {
			if err := w.bring(ctx, tx, it); err != nil {
				return nil, err
			}
			rows += it.rows
			if b.add(it) {
				break
			}
		}
		all := mergeItems(b.items, nil, true)
		var moves []database.Move
		var err error
		moves, i, err = w.intend(table.Commit{Progress: w.moves(all.spans), Failed: all.failed, Documents: w.input.documents()})
		if err != nil {
			return nil, err
		}
		written = time.Now()
		return moves, w.announce(ctx, i)
	})
	if err != nil {
		return 0, err
	}
	c := w.booked(i)
	if err := w.cfg.Ledger.Record(ctx, w.cfg.Table, c, nil); err != nil {
		return 0, err
	}
	w.tail.take(len(b.items))
	w.landed(b.items, c, rows, time.Since(began), time.Since(written))
	return len(b.items), nil
}

// staged returns the rows of an item, in order.
func (w *databaseTarget) staged(ctx context.Context, it *item) ([][]any, error) {
	if len(it.segs) == 0 {
		return nil, nil
	}
	var paths []string
	for _, s := range it.segs {
		paths = append(paths, s.file.Path)
	}
	return w.conv.db.Values(ctx, "SELECT * FROM "+duck.ReadPlainParquet(paths))
}
