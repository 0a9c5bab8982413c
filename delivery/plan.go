package delivery

import (
	"fmt"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/database"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/table"
)

// plan is how records become rows for one pair of input schema and table state. It is immutable.
type plan struct {
	input   *inputSchema
	bytes   int // of the largest line
	state   *table.State
	columns []tarn.Field // of the table, those the transform produces, in table order, with ids
	prefix  string       // SQL before the relation of records
	suffix  string       // SQL after it
	parts   []part       // partition expressions over columns
	exact   bool         // every record gives exactly one row
	broken  string       // SQL over recordsMark: line and rule of the records that break one; "" when none can

	lookups   *Lookups // what the transform joins with; nil for nothing
	positions bool     // records have the columns of Config.Positions

	transforms bool // the user's SQL stands between records and rows

	lines string // what Sink.Lines says

	layout *database.Layout // where the columns go in a database
	fits   *plan            // finds out whether all records of a chunk fit their columns; nil where rows would tell
	sift   string           // SQL over recordsMark: lines of the records that are not dropped, and the rule they break; "" when none can be
}

func names(fields []tarn.Field) string {
	s := make([]string, len(fields))
	for i, f := range fields {
		s[i] = f.Name
	}
	return strings.Join(s, ", ")
}

// newPlan prepares the conversion of records of the input schema into rows of the table.
func newPlan(r *resolved, exact bool, input *inputSchema, state *table.State, cfg Config) (*plan, error) {
	p := &plan{input: input, bytes: 2*cfg.RecordBytes + 1024, state: state, exact: exact, broken: r.broken, transforms: len(cfg.Transform) > 0, positions: cfg.positions()}
	var exprs []string
	for _, col := range state.Schema.Fields {
		out := find(r.fields, col.Name)
		if out == nil {
			continue // a file without the column reads as NULL
		}
		stored := storage(col.Type)
		exprs = append(exprs, cast(*out, col.Type)+" AS "+tarn.QuoteIdent(col.Name))
		col.Type = stored
		p.columns = append(p.columns, col)
	}
	if len(exprs) == 0 {
		return nil, &tarn.Error{Code: tarn.CodeSchema, Detail: "the records have no column of the table", Hint: "the table has " + names(state.Schema.Fields)}
	}
	for _, f := range state.Partition {
		col := find(p.columns, f.Source)
		if col == nil { // every row goes to the partition of NULL
			p.parts = append(p.parts, part{expr: "NULL::BIGINT"})
			continue
		}
		e, err := partitionExpr(f, col.Type)
		if err != nil {
			return nil, err
		}
		p.parts = append(p.parts, part{expr: e, text: isText(f, col.Type)})
	}
	p.prefix, p.suffix, _ = strings.Cut("SELECT "+strings.Join(exprs, ", ")+" FROM ("+r.sql+"\n)", recordsMark)
	return p, nil
}

// cast returns the expression that gives a column of the transform the type it is stored with. It
// never rounds: a fraction in an integer column fails the record.
func cast(out tarn.Field, want tarn.Type) string {
	e, stored := tarn.QuoteIdent(out.Name), storage(want).SQL()
	integer := want.Kind == tarn.Int || want.Kind == tarn.Long
	fraction := out.Type.Kind == tarn.Float || out.Type.Kind == tarn.Double || out.Type.Kind == tarn.Decimal
	nested := out.Type.Kind == tarn.Struct || out.Type.Kind == tarn.List || out.Type.Kind == tarn.Map
	switch {
	case want.Kind == tarn.JSON && nested:
		return "CAST(to_json(" + e + ") AS VARCHAR)"
	case integer && fraction:
		return fmt.Sprintf("CASE WHEN %[1]s IS NULL OR %[1]s = trunc(%[1]s) THEN CAST(%[1]s AS %[2]s) ELSE error('%[3]s has a fraction') END",
			e, stored, strings.ReplaceAll(out.Name, "'", "''"))
	case out.Type.Kind != tarn.JSON && storage(out.Type).Equal(storage(want)):
		return e
	}
	return "CAST(" + e + " AS " + stored + ")"
}

// rowsOf returns the SELECT that converts the lines of a chunk to the columns of the plan.
func (p *plan) rowsOf(c *chunk) string {
	return p.rowsFrom(c, p.around(duck.ReadNDJSON([]string{c.path}, p.input.lacking(c.common), p.bytes), c.common))
}

// rowsFrom is rowsOf over a relation of the records of a chunk in their order.
func (p *plan) rowsFrom(c *chunk, records string) string {
	if p.positions {
		records = withPositions(records, p.input.schema, c.places())
	}
	return p.prefix + records + p.suffix
}

// rows is rowsOf for records in an NDJSON file that are converted for the sake of the errors: they come
// from nowhere in particular.
func (p *plan) rows(file string) string { return p.prefix + p.records(file) + p.suffix }

// records returns the relation of the records in an NDJSON file.
func (p *plan) records(file string) string {
	if !p.positions {
		return p.read(file)
	}
	return withPositions(p.read(file), p.input.schema, nil)
}

// read returns the relation of what stands in an NDJSON file.
func (p *plan) read(file string) string {
	return p.around(duck.ReadNDJSON([]string{file}, p.input.read, p.bytes), nil)
}

// breaking returns the SELECT of the lines of an NDJSON file that break a rule, with its name.
func (p *plan) breaking(file string) string {
	return strings.Replace(p.broken, recordsMark, p.records(file), 1)
}

// schema is the plan's columns as a schema, for FIELD_IDS.
func (p *plan) schema() tarn.Schema { return tarn.Schema{Fields: p.columns} }

// withPartitions adds partition values to a SELECT of rows and returns the names they get.
func withPartitions(sel string, parts []part) (sql string, by []string) {
	if len(parts) == 0 {
		return sel, nil
	}
	var b strings.Builder
	b.WriteString("SELECT *")
	for i, e := range parts {
		by = append(by, fmt.Sprintf("__p%d", i))
		b.WriteString(", " + e.folder() + " AS " + by[i])
	}
	return b.String() + " FROM (" + sel + "\n)", by
}

// storage is the type a column has in files: JSON is stored as text, at any depth.
func storage(t tarn.Type) tarn.Type {
	switch t.Kind {
	case tarn.JSON:
		t.Kind = tarn.String
	case tarn.List, tarn.Map:
		e := *t.Elem
		e.Type = storage(e.Type)
		t.Elem = &e
	case tarn.Struct:
		fields := append([]tarn.Field(nil), t.Fields...)
		for i := range fields {
			fields[i].Type = storage(fields[i].Type)
		}
		t.Fields = fields
	}
	return t
}

// find looks a column up as SQL does, without regard to case.
func find(fields []tarn.Field, name string) *tarn.Field {
	for i := range fields {
		if strings.EqualFold(fields[i].Name, name) {
			return &fields[i]
		}
	}
	return nil
}
