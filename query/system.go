package query

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// system puts a system table into a temporary table of the statement's own connection, which is
// thrown away with it.
func (r *run) system(ctx context.Context, conn *duck.Conn, v *view) error {
	var schema tarn.Schema
	var rows [][]any
	var err error
	if v.target.name == queryLogName {
		schema, rows = r.s.log.table()
	} else if schema, rows, err = r.s.o.System.Rows(ctx, v.target.name); err != nil {
		return err
	}
	name := fmt.Sprintf("system_%d", len(r.views))
	doc, err := rowsJSON(schema, rows)
	if err != nil {
		return &tarn.Error{Code: tarn.CodeInternal, Detail: "the table system." + v.target.name + " could not be read", Err: err}
	}
	r.temporary = true
	if err := conn.Exec(ctx, "CREATE TEMP TABLE "+name+" AS SELECT "+columnsFromJSON(schema)+" FROM (SELECT unnest(from_json($1::VARCHAR::JSON, "+
		tarn.QuoteLiteral(rowShape(schema))+")) AS r)", doc); err != nil {
		return &tarn.Error{Code: tarn.CodeInternal, Detail: "the table system." + v.target.name + " could not be read", Err: err}
	}
	v.schema, v.sql = schema, "temp."+name
	return nil
}

// rowsJSON writes rows as a list of objects with members c0, c1, …
func rowsJSON(schema tarn.Schema, rows [][]any) (string, error) {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, row := range rows {
		if len(row) != len(schema.Fields) {
			return "", fmt.Errorf("row %d has %d values for %d columns", i, len(row), len(schema.Fields))
		}
		if i > 0 {
			b.WriteByte(',')
		}
		for j, v := range row {
			fmt.Fprintf(&b, "%c\"c%d\":", ",{"[btoi(j == 0)], j)
			if t, ok := v.(time.Time); ok {
				v = t.UTC().Format("2006-01-02 15:04:05.999999")
			}
			text, err := json.Marshal(v)
			if err != nil {
				return "", fmt.Errorf("row %d: %w", i, err)
			}
			b.Write(text)
		}
		b.WriteByte('}')
	}
	b.WriteByte(']')
	return b.String(), nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// rowShape is the structure from_json reads: a list of structs with the columns' types.
func rowShape(schema tarn.Schema) string {
	parts := make([]string, len(schema.Fields))
	for i, f := range schema.Fields {
		t, _ := json.Marshal(f.Type.SQL())
		parts[i] = fmt.Sprintf(`"c%d": %s`, i, t)
	}
	return "[{" + strings.Join(parts, ", ") + "}]"
}

func columnsFromJSON(schema tarn.Schema) string {
	cols := make([]string, len(schema.Fields))
	for i, f := range schema.Fields {
		cols[i] = fmt.Sprintf("r.c%d::%s AS %s", i, f.Type.SQL(), tarn.QuoteIdent(f.Name))
	}
	return strings.Join(cols, ", ")
}
