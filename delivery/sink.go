package delivery

import (
	"context"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/table"
)

// Sink takes rows to another place than a table of the lake; package extract has streams, twins and
// windows. A session calls Begin, then Columns and Commit, one at a time, and End in any case.
type Sink interface {
	// Begin settles what an earlier session left half done, and returns what is committed: the
	// documents and the progress of every shard that has some.
	Begin(ctx context.Context) (documents map[string][]byte, progress []table.ProgressRow, err error)
	// Columns is given the columns of the rows before the first that has them, and returns those it
	// takes, with the types it wants. A record whose values have no such type fails.
	Columns(ctx context.Context, fields []tarn.Field) ([]tarn.Field, error)
	// Lines returns the select list that makes JSON objects of the columns taken, for a sink that takes
	// its rows as NDJSON, and "" for one that takes them as Parquet.
	Lines() string
	// Commit brings rows to their place together with c, which holds progress, failed records and
	// documents (I2). After an error the session ends, and the next one begins with Begin.
	Commit(ctx context.Context, rows SinkRows, c table.Commit) error
	// End frees what Begin took.
	End()
	// Retrying returns a sink for one session of failed records that are tried again, beside the sessions
	// of this one. It keeps what it has done in store, and commits what settle makes of a commit. The caller
	// lets one such session run at a time.
	Retrying(store SinkStore, settle func(table.Commit) (table.Commit, error)) Sink
}

// SinkStore keeps the progress, failed records and documents of sinks: the tables of a lake, or what stands
// between them and a retry. The methods are those of table.Store.
type SinkStore interface {
	Documents(ctx context.Context, delivery string) (map[string][]byte, error)
	Progress(ctx context.Context, delivery string) ([]table.ProgressRow, error)
	Record(ctx context.Context, delivery string, c table.Commit, also func(*metadb.Tx) error) error
}

// SinkRows are rows on their way to a sink.
type SinkRows struct {
	Files []string // local files, Parquet or what Sink.Lines says, in the order of the records; the sink may move them away during the call
	Count int64
	DB    *duck.DB // reads Parquet files in order
}

// sinkChunk is the largest chunk on its way to a sink: one that fills the buffer that DuckDB reads JSON
// through, which costs milliseconds however little it holds.
const sinkChunk = 32 << 20

// sinkTarget brings rows to a sink.
type sinkTarget struct{ *Worker }

func (w sinkTarget) begin(ctx context.Context) (map[string][]byte, []table.ProgressRow, error) {
	return w.cfg.Sink.Begin(ctx)
}

func (w sinkTarget) end() { w.cfg.Sink.End() }

// exists: progress can be committed without a row.
func (w sinkTarget) exists(context.Context) bool { return true }

// compactTail has nothing to do: no query reads this tail.
func (w sinkTarget) compactTail(context.Context, int) error { return nil }

func (w sinkTarget) prepare(ctx context.Context, in *inputSchema, settle func(context.Context) error) (*plan, error) {
	look, err := w.lookup(ctx)
	if err != nil {
		return nil, err
	}
	if w.plan != nil && w.planned == in && w.plan.lookups == look {
		return w.plan, nil
	}
	r, err := w.bind(ctx, in, look)
	if err != nil {
		return nil, err
	}
	if err := settle(ctx); err != nil { // the rows of one commit have the same columns
		return nil, err
	}
	fields, err := w.cfg.Sink.Columns(ctx, r.fields)
	if err != nil {
		return nil, err
	}
	p, err := newPlan(r, w.tr.exact, in, &table.State{Name: w.cfg.Table, Schema: tarn.Schema{Fields: fields}}, w.cfg)
	if err != nil {
		return nil, err
	}
	p.lines = w.cfg.Sink.Lines()
	w.take(p, in, look)
	return p, nil
}

func (w sinkTarget) rows(ctx context.Context, c *chunk, p *plan, it *item) error {
	err := p.converted(ctx, w.conv.db, c, func(sel string) (err error) {
		if p.lines != "" {
			it.segs, it.rows, err = w.conv.lines(ctx, "SELECT "+p.lines+" FROM ("+sel+"\n)")
		} else {
			it.segs, it.rows, err = w.conv.stage(ctx, sel, p.schema())
		}
		return err
	})
	if err != nil {
		return err
	}
	return p.complete(c, it)
}

func (w sinkTarget) commit(ctx context.Context, n int) error {
	return w.inParts(ctx, n, w.commitSome)
}

// commitSome commits the first of the items, and returns how many.
func (w sinkTarget) commitSome(ctx context.Context, items []*item) (int, error) {
	began := time.Now()
	var b batch
	rows := SinkRows{DB: w.conv.db}
	for _, it := range items {
		for _, s := range it.segs {
			rows.Files = append(rows.Files, s.file.Path)
		}
		rows.Count += it.rows
		if b.add(it) {
			break
		}
	}
	all := mergeItems(b.items, nil, true)
	c := table.Commit{Progress: w.moves(all.spans), Failed: all.failed, Documents: w.input.documents()}
	if err := w.cfg.Sink.Commit(ctx, rows, c); err != nil {
		return 0, err
	}
	w.tail.take(len(b.items))
	w.landed(b.items, c, rows.Count, time.Since(began), time.Since(began))
	return len(b.items), nil
}
