package delivery

import (
	"context"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/table"
)

// Ledger keeps, in the metadata database, what is known here of a delivery whose rows are elsewhere:
// its progress, failed records and documents. The methods are those of table.Store.
type Ledger interface {
	Record(ctx context.Context, delivery string, c table.Commit, also func(*metadb.Tx) error) error
	SetProgress(ctx context.Context, delivery string, rows []table.ProgressRow) error
}

// orderedChunk is the largest chunk of a target that needs the order of the records.
const orderedChunk = 4 << 20

// bind resolves the transform for an input schema.
func (w *Worker) bind(ctx context.Context, in *inputSchema, look *Lookups) (*resolved, error) {
	r, err := w.tr.resolve(ctx, w.cfg.Duck, w.cfg.relation(in.schema), look.with(), w.cfg.Declared == nil && !w.cfg.Opaque)
	if err != nil {
		return nil, err
	}
	w.warnMissing(r.missing)
	if len(r.fields) == 0 {
		return nil, &tarn.Error{Code: tarn.CodeSchema, Detail: "no record has had a value for any column of the transform yet"}
	}
	return r, nil
}

// flat is columns as a target without nested types gets them: those become JSON text. They are
// numbered, as the files they travel in want it.
func flat(fields []tarn.Field) []tarn.Field {
	out := make([]tarn.Field, len(fields))
	for i, f := range fields {
		if f.ID = i + 1; f.Type.Kind == tarn.List || f.Type.Kind == tarn.Map || f.Type.Kind == tarn.Struct {
			f.Type = tarn.Type{Kind: tarn.JSON}
		}
		out[i] = f
	}
	return out
}

// take removes the first n items from the tail.
func (t *tail) take(n int) {
	t.mu.Lock()
	t.items = append([]*item(nil), t.items[n:]...)
	t.mu.Unlock()
}

// size returns how many items there are.
func (t *tail) size() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.items)
}

// head returns the first n items.
func (t *tail) head(n int) []*item {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.items[:n:n]
}

// inParts commits the first n items of the tail in as many commits as some takes.
func (w *Worker) inParts(ctx context.Context, n int, some func(context.Context, []*item) (int, error)) error {
	for items := w.tail.head(n); len(items) > 0; {
		took, err := some(ctx, items)
		if err != nil {
			return fmt.Errorf("commit: %w", err)
		}
		items = items[took:]
	}
	return nil
}

// batch counts the items that one commit takes: failed records are in memory twice while it lasts.
type batch struct {
	items  []*item
	failed int
	bytes  int64
}

func (b *batch) add(it *item) (full bool) {
	b.items = append(b.items, it)
	b.failed += len(it.failed)
	b.bytes += it.failedBytes
	return b.failed >= maxFailedWaiting || b.bytes >= maxFailedBytes
}
