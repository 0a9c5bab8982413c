package duck

import (
	"context"

	"github.com/apache/arrow-go/v18/arrow"
	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
)

// Column is one column of a result.
type Column struct {
	Name string
	SQL  string // DuckDB's name of its type, for example DECIMAL(18,3) or INTERVAL
	// Type is the type as tables hold it, or of kind tarn.Invalid where tables have none for it
	// (INTERVAL, TIME WITH TIME ZONE, BIT, UNION).
	Type tarn.Type
}

// Rows is a streaming result. DuckDB makes its rows while they are read and runs only a little
// ahead (about 1 MB), so that a result of any size takes little memory.
//
//	for rows.Next(ctx) { use(rows.Batch()) }
//	err := rows.Err(); rows.Close()
//
// A statement that fails on its way may run once more before Next returns, to find out why (stmt.reason).
//
// It belongs to one goroutine at a time and must be closed.
type Rows struct {
	conn   *Conn
	own    *Conn // released on Close, nil when the caller holds the connection
	s      *stmt
	res    *capi.Result
	cols   []Column
	arrow  *arrowReader
	batch  arrow.RecordBatch
	err    error
	ctx    context.Context // of the statement: it ends the result too
	done   bool
	closed bool
}

func newRows(ctx context.Context, c *Conn, s *stmt, res *capi.Result) (*Rows, error) {
	r := &Rows{conn: c, s: s, res: res, ctx: ctx, cols: columns(res)}
	var err error
	if r.arrow, err = newArrowReader(res, r.cols); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

func columns(res *capi.Result) []Column {
	cols := make([]Column, capi.ColumnCount(res))
	for i := range cols {
		lt := capi.ColumnLogicalType(res, capi.IdxT(i))
		cols[i] = columnOf(capi.ColumnName(res, capi.IdxT(i)), lt)
		capi.DestroyLogicalType(&lt)
	}
	return cols
}

// Columns returns the columns in order. Names may repeat and may be empty.
func (r *Rows) Columns() []Column { return r.cols }

// Schema returns the Arrow schema of the batches.
func (r *Rows) Schema() *arrow.Schema { return r.arrow.schema }

// Next advances to the next batch of 1 to 2,048 rows. It returns false at the end, on an error
// (see Err) and when ctx or the statement's own context is done.
func (r *Rows) Next(ctx context.Context) bool {
	r.drop()
	if r.done || r.closed {
		return false
	}
	for {
		var chunk capi.DataChunk
		if err := ctxError(r.ctx, nil); err != nil {
			return r.fail(err)
		}
		if err := ctxError(ctx, nil); err != nil {
			return r.fail(err)
		}
		r.conn.interrupting(r.ctx, func() {
			if ctx == r.ctx {
				chunk = capi.FetchChunk(*r.res)
				return
			}
			r.conn.interrupting(ctx, func() { chunk = capi.FetchChunk(*r.res) })
		})
		if chunk.Ptr == nil {
			return r.end(ctx)
		}
		if capi.DataChunkGetSize(chunk) == 0 {
			capi.DestroyDataChunk(&chunk)
			continue
		}
		b, err := r.arrow.record(chunk)
		capi.DestroyDataChunk(&chunk)
		if err != nil {
			return r.fail(err)
		}
		r.batch = b
		return true
	}
}

// end tells the end of the rows from a failure: both arrive as no chunk.
func (r *Rows) end(ctx context.Context) bool {
	msg := capi.ResultError(r.res)
	if msg == "" {
		r.done = true
		return false
	}
	if ctx.Err() == nil {
		ctx = r.ctx
	}
	if ctx.Err() == nil && newFault(msg).Class == interruptClass {
		return r.fail(r.s.reason(ctx))
	}
	return r.fail(r.conn.fail(ctx, msg))
}

func (r *Rows) fail(err error) bool {
	r.err, r.done = err, true
	return false
}

func (r *Rows) drop() {
	if r.batch != nil {
		r.batch.Release()
		r.batch = nil
	}
}

// Batch returns the current batch. It is valid until the next call of Next or Close unless retained.
func (r *Rows) Batch() arrow.RecordBatch { return r.batch }

// Err returns what ended the rows early, or nil.
func (r *Rows) Err() error { return r.err }

// Close ends the statement if it still runs and frees the result. It is idempotent.
func (r *Rows) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	r.drop()
	if r.arrow != nil {
		r.arrow.close()
	}
	capi.DestroyResult(r.res)
	r.s.close()
	if r.own != nil {
		r.own.Release()
	}
	return nil
}

// Row returns row i of the current batch as Go values: nil, bool, int64, uint64, float64, string
// (also JSON, UUID, DECIMAL, HUGEINT, TIME, INTERVAL), []byte, time.Time in UTC (DATE, TIMESTAMP,
// TIMESTAMPTZ), []any (lists), map[string]any (structs, and maps by the text of their keys).
func (r *Rows) Row(i int) []any {
	row := make([]any, r.batch.NumCols())
	for c := range row {
		row[c] = Value(r.batch.Column(c), i)
	}
	return row
}

// All reads the remaining rows, closes r and returns them in the forms of Row.
func (r *Rows) All(ctx context.Context) ([][]any, error) {
	defer r.Close()
	var rows [][]any
	for r.Next(ctx) {
		for i := range int(r.batch.NumRows()) {
			rows = append(rows, r.Row(i))
		}
	}
	return rows, r.err
}
