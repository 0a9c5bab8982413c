package delivery

import (
	"context"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

// target is where a worker brings rows and progress. What comes before it is the same for all:
// functions, gathering, chunks, the transform, and the search for records at fault. rows is called
// for several chunks at once; commit runs beside everything else, one at a time.
type target interface {
	// begin returns what is committed: the documents of the input schema and the progress of every
	// shard that has some. It settles what an earlier session may have left half done.
	begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error)
	// exists reports whether progress can be committed without a plan.
	exists(ctx context.Context) bool
	// prepare returns the plan for records of an input schema, and gives the target the columns it
	// needs. settle commits what has been read before.
	prepare(ctx context.Context, in *inputSchema, settle func(context.Context) error) (*plan, error)
	// rows converts the lines of a chunk into an item.
	rows(ctx context.Context, c *chunk, p *plan, it *item) error
	// compactTail keeps the items of the tail from an index on few.
	compactTail(ctx context.Context, from int) error
	// commit moves the first n items of the tail to where they go, with the positions they came from
	// (I2) and the records that failed on the way (I3).
	commit(ctx context.Context, n int) error
	// end frees what begin took, also when begin has failed.
	end()
}

// newTarget returns what the configuration names.
func (w *Worker) newTarget() target {
	switch {
	case w.cfg.Database != nil:
		return &databaseTarget{Worker: w}
	case w.cfg.Cleaned != nil:
		return cleanedTarget{w}
	case w.cfg.Sink != nil:
		return sinkTarget{w}
	}
	return tableTarget{w}
}

// tableTarget is an Iceberg table: rows wait in the hot tail, where queries see them, and are
// committed as files.
type tableTarget struct{ *Worker }

func (w tableTarget) begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error) {
	docs, err := w.cfg.Store.Documents(ctx, w.cfg.Table)
	if err != nil && tarn.CodeOf(err) != tarn.CodeNotFound {
		return nil, nil, err
	}
	rows, err := w.cfg.Store.Progress(ctx, w.cfg.Table)
	if err != nil && tarn.CodeOf(err) != tarn.CodeNotFound {
		return nil, nil, err
	}
	return docs, rows, nil
}

func (w tableTarget) end() {}

// exists reports whether the table is there.
func (w tableTarget) exists(ctx context.Context) bool {
	_, err := w.current(ctx)
	return tarn.CodeOf(err) != tarn.CodeNotFound
}

// current returns the table's state, which other committers (compaction) may have moved.
func (w tableTarget) current(ctx context.Context) (*table.State, error) {
	return w.cfg.Store.State(ctx, w.cfg.Table)
}
