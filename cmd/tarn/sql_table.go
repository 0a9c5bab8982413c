package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/server"
)

// result is a result in JSON, read row by row.
type result struct {
	columns []query.Column
	failed  *server.Problem
	count   int64
}

// readResult reads a result and passes each row, as the texts to show.
func readResult(r io.Reader, row func([]string)) (result, error) {
	var res result
	dec := json.NewDecoder(r)
	if err := expect(dec, json.Delim('{')); err != nil {
		return res, err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return res, err
		}
		switch key {
		case "columns":
			err = dec.Decode(&res.columns)
		case "rows":
			err = readRows(dec, res.columns, row)
		case "error":
			err = dec.Decode(&res.failed)
		case "row_count":
			err = dec.Decode(&res.count)
		default:
			var skip json.RawMessage
			err = dec.Decode(&skip)
		}
		if err != nil {
			return res, err
		}
	}
	return res, expect(dec, json.Delim('}'))
}

func expect(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err == nil && t != want {
		err = fmt.Errorf("%v where %v is wanted", t, want)
	}
	return err
}

func readRows(dec *json.Decoder, columns []query.Column, row func([]string)) error {
	if err := expect(dec, '['); err != nil {
		return err
	}
	for dec.More() {
		var cells map[string]json.RawMessage
		if err := dec.Decode(&cells); err != nil {
			return err
		}
		texts := make([]string, len(columns))
		for i, c := range columns {
			texts[i] = cellText(cells[c.Name])
		}
		row(texts)
	}
	return expect(dec, ']')
}

// cellText is how a value is shown: texts without quotes, everything else as JSON.
func cellText(raw json.RawMessage) string {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return screen.Null
	case raw[0] == '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return s
		}
	case raw[0] == '{' || raw[0] == '[':
		var b bytes.Buffer
		if json.Compact(&b, raw) == nil {
			return b.String()
		}
	}
	return string(raw)
}

// table prints a result for people.
func (q *asker) table(ctx context.Context, body io.Reader, start time.Time) error {
	out := q.app.out
	if q.output != "" {
		f, err := os.Create(q.output)
		if err != nil {
			return fmt.Errorf("%s: %w", q.output, unwrapPath(err))
		}
		defer f.Close()
		out = f
	}
	var rows [][]string
	total := 0
	res, err := readResult(body, func(r []string) {
		if total++; len(rows) < q.rows {
			rows = append(rows, r)
		}
	})
	if res.failed != nil {
		err = &tarn.Error{Code: res.failed.Code, Detail: res.failed.Detail, Hint: res.failed.Hint}
	} else if err != nil && ctx.Err() != nil {
		return ctx.Err()
	} else if err != nil {
		err = errors.Join(errBrokeOff, err)
	}
	if err != nil {
		return err
	}
	took := time.Since(start)
	cols := make([]screen.Column, len(res.columns))
	for i, c := range res.columns {
		cols[i] = left(c.Name)
		if isNumber(c.Type) {
			cols[i] = right(c.Name)
		}
	}
	style := q.app.style()
	style.Rule = true
	if q.output != "" {
		style = screen.Style{Rule: true}
	}
	if len(cols) == 2 && cols[0].Name == "explain_key" {
		return plainPlan(out, rows)
	}
	if err := screen.Table(out, cols, rows, style); err != nil {
		return err
	}
	line := screen.Plural(total, "row")
	if len(rows) < total {
		line = fmt.Sprintf("the first %s of %s; --format csv prints all", screen.Count(len(rows)), line)
	}
	if q.timing {
		line += " in " + screen.Took(took)
	}
	_, err = fmt.Fprintf(out, "(%s)\n", line)
	return err
}

// plainPlan prints the answer of EXPLAIN, whose lines are a drawing.
func plainPlan(out io.Writer, rows [][]string) error {
	for _, r := range rows {
		if _, err := fmt.Fprintf(out, "%s\n%s\n", r[0], strings.TrimRight(r[1], "\n")); err != nil {
			return err
		}
	}
	return nil
}

// isNumber reports whether values of an SQL type are aligned by their last digit.
func isNumber(sqlType string) bool {
	name, _, _ := strings.Cut(sqlType, "(")
	switch strings.ToUpper(name) {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL":
		return !strings.HasSuffix(sqlType, "]")
	}
	return false
}
