package query

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/arrow-go/v18/arrow"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// Column is one column of a result.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"` // SQL, for example DECIMAL(18,3)
}

// Stats is what a statement has done so far.
type Stats struct {
	Rows        int64
	Elapsed     time.Duration
	FilesTotal  int
	FilesOpened int
}

// Result is a running statement. Either read its batches (Next, Batch) or have it written (Write),
// then Close it. It belongs to one goroutine at a time.
type Result struct {
	run     *run
	rows    *duck.Rows // nil for Parquet
	file    string     // for Parquet: the finished file
	columns []Column
	types   []tarn.Type // of the columns, where tables have them
	err     error
	closed  bool
}

func newResult(r *run, rows *duck.Rows) *Result {
	res := &Result{run: r, rows: rows}
	for _, c := range rows.Columns() {
		res.columns = append(res.columns, Column{Name: c.Name, Type: c.SQL})
		res.types = append(res.types, c.Type)
	}
	return res
}

// Columns returns the columns in order. Names may repeat. For Parquet it is nil: the file says them.
func (r *Result) Columns() []Column { return r.columns }

// Schema returns the Arrow schema of the batches; nil for Parquet.
func (r *Result) Schema() *arrow.Schema {
	if r.rows == nil {
		return nil
	}
	return r.rows.Schema()
}

// Next advances to the next batch. It returns false at the end and on an error; see Err.
func (r *Result) Next() bool {
	if r.rows == nil || r.err != nil || r.closed {
		return false
	}
	ctx := r.run.ctx
	if !r.rows.Next(ctx) {
		if err := r.rows.Err(); err != nil {
			r.err = r.run.explain(ctx, err)
		}
		return false
	}
	r.run.entry.Rows += r.rows.Batch().NumRows()
	if limit := r.run.s.o.MaxRows; limit > 0 && r.run.entry.Rows > limit {
		r.err = tooManyRows()
		return false
	}
	return true
}

// Batch returns the current batch, valid until the next Next or Close.
func (r *Result) Batch() arrow.RecordBatch { return r.rows.Batch() }

// Err returns what ended the result early, or nil.
func (r *Result) Err() error { return r.err }

// Stats returns what the statement has done so far.
func (r *Result) Stats() Stats {
	e := r.run.entry
	return Stats{Rows: e.Rows, Elapsed: r.run.s.o.Clock().Sub(r.run.started), FilesTotal: e.FilesTotal, FilesOpened: e.FilesOpened}
}

// Close ends the statement, releases its tables and logs it. It is idempotent.
func (r *Result) Close() error {
	if r.closed {
		return nil
	}
	r.closed = true
	if r.rows != nil {
		r.rows.Close()
	}
	r.run.finish(r.err)
	return nil
}

// explained answers EXPLAIN: DuckDB's plan, and how many files of each table it opens.
func (r *run) explained(ctx context.Context, conn *duck.Conn, sql string) (*Result, error) {
	rows, err := conn.Values(ctx, sql)
	if err != nil {
		return nil, err
	}
	text := "SELECT * FROM (VALUES "
	for i, row := range rows {
		k, _ := row[0].(string)
		v, _ := row[1].(string)
		if i > 0 {
			text += ", "
		}
		text += "(" + tarn.QuoteLiteral(k) + ", " + tarn.QuoteLiteral(r.hide(v)) + ")"
	}
	for _, line := range r.filesRead() {
		text += ", ('files', " + tarn.QuoteLiteral(line) + ")"
	}
	return r.output(ctx, conn, text+") AS t(explain_key, explain_value)")
}

// filesRead says for each table how many of its files are left after pruning.
func (r *run) filesRead() []string {
	var lines []string
	seen := map[string]bool{}
	for _, v := range r.views {
		if v.target.system {
			continue
		}
		var bytes, rows int64
		tail := 0
		for _, f := range v.kept {
			bytes += f.Bytes
			rows += f.Rows
			if f.Tail {
				tail++
			}
		}
		line := fmt.Sprintf("%s: %d of %d files, %d rows, %d bytes, %d of the files in the hot tail", v.target.name, len(v.kept), len(v.files), rows, bytes, tail)
		if !seen[line] {
			seen[line] = true
			lines = append(lines, line)
		}
	}
	return lines
}
