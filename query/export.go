package query

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// output starts the statement's final text in the form its format needs.
func (r *run) output(ctx context.Context, conn *duck.Conn, sql string) (*Result, error) {
	if r.req.Format == Parquet {
		return r.export(ctx, conn, sql)
	}
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	if text, ok := asText(rows.Columns(), sql); ok {
		columns := rows.Columns()
		if err := rows.Close(); err != nil {
			return nil, err
		}
		if rows, err = conn.Query(ctx, text); err != nil {
			return nil, err
		}
		res := newResult(r, rows)
		for i, c := range columns {
			res.columns[i].Type = c.SQL
		}
		return res, nil
	}
	return newResult(r, rows), nil
}

// noArrow are types that Arrow has no place for, or that lose something on the way there.
var noArrow = map[string]bool{"UHUGEINT": true, "BIGNUM": true, "BIT": true, "TIME WITH TIME ZONE": true, "GEOMETRY": true, "VARIANT": true, "TIME_NS": true}

// asText returns the statement with the columns of such types cast to text.
func asText(columns []duck.Column, sql string) (string, bool) {
	found := false
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = fmt.Sprintf("#%d", i+1)
		if noArrow[c.SQL] {
			found, list[i] = true, list[i]+"::VARCHAR"
		}
		list[i] += " AS " + tarn.QuoteIdent(c.Name)
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM (" + sql + ")", found
}

// export runs the statement into a Parquet file, which Write copies and the end of the run removes.
func (r *run) export(ctx context.Context, conn *duck.Conn, sql string) (*Result, error) {
	path := filepath.Join(r.s.exports, uuid.NewString()+".parquet")
	r.ends = append(r.ends, func() { os.Remove(path) })
	if up := strings.ToUpper(sql); strings.HasPrefix(up, "DESCRIBE") || strings.HasPrefix(up, "SUMMARIZE") {
		sql = "SELECT * FROM (" + sql + ")"
	}
	files, err := conn.Copy(ctx, sql, duck.CopyOptions{Path: path})
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		r.entry.Rows += f.Rows
	}
	if limit := r.s.o.MaxRows; limit > 0 && r.entry.Rows > limit {
		return nil, tooManyRows()
	}
	return &Result{run: r, file: path}, nil
}

func tooManyRows() error {
	return &tarn.Error{Code: tarn.CodeTooLarge, Detail: "the result has more rows than the server allows", Hint: "aggregate, filter, or add LIMIT"}
}
