package filedrop

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
)

// parquetRows yields the rows of a Parquet file as JSON, as DuckDB writes it: times and UUIDs as text,
// decimals as numbers, bytes with \x escapes, a number that is not finite as null.
type parquetRows struct {
	ctx   context.Context
	path  string
	rows  *duck.Rows
	col   *array.String
	at    int
	count int64
}

// openParquet opens the file at the path, which the engine may read.
func openParquet(ctx context.Context, db *duck.DB, path string) (decode.Records, error) {
	from := duck.ReadPlainParquet([]string{path})
	columns, err := db.Values(ctx, "SELECT column_name, column_type FROM (DESCRIBE FROM "+from+")")
	if err != nil {
		return nil, parquetError(err, path)
	}
	list := make([]string, 0, len(columns))
	for _, c := range columns {
		name, _ := c[0].(string)
		kind, _ := c[1].(string)
		q := tarn.QuoteIdent(name)
		if slices.Contains([]string{"FLOAT", "DOUBLE"}, kind) {
			q = "CASE WHEN isfinite(" + q + ") THEN " + q + " END AS " + q
		}
		list = append(list, q)
	}
	rows, err := db.Query(ctx, "SELECT to_json(r)::VARCHAR FROM (SELECT "+strings.Join(list, ", ")+" FROM "+from+") r")
	if err != nil {
		return nil, parquetError(err, path)
	}
	return &parquetRows{ctx: ctx, path: path, rows: rows}, nil
}

// parquetError makes DuckDB's words those of the file, without the path of the copy.
func parquetError(err error, path string) error {
	switch tarn.CodeOf(err) {
	case tarn.CodeCanceled, tarn.CodeTimeout, tarn.CodeInternal:
		return err
	}
	why := err.Error()
	if f := duck.FaultOf(err); f != nil {
		why = duck.Brief(f.Message)
	}
	why = strings.ReplaceAll(why, path, "file")
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the Parquet file cannot be read: " + why, Hint: "write it again, whole, and drop it again", Err: err}
}

// Next implements decode.Records.
func (p *parquetRows) Next() ([]byte, int64, error) {
	p.count++
	for p.col == nil || p.at == p.col.Len() {
		if !p.rows.Next(p.ctx) {
			if err := p.rows.Err(); err != nil {
				return nil, p.count, parquetError(err, p.path)
			}
			return nil, p.count, io.EOF
		}
		col, ok := p.rows.Batch().Column(0).(*array.String)
		if !ok {
			return nil, p.count, &tarn.Error{Code: tarn.CodeInternal, Detail: "rows of a Parquet file are no text"}
		}
		p.col, p.at = col, 0
	}
	rec := p.col.Value(p.at)
	p.at++
	return []byte(rec), p.count, nil
}

// Close implements decode.Records.
func (p *parquetRows) Close() error { return p.rows.Close() }
