package delivery

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/project"
)

// transform is the user's SQL, from records to rows.
type transform struct {
	steps []Step // applied in order
	exact bool   // every record gives exactly one row
}

func newTransform(steps []Step) transform {
	t := transform{steps: steps, exact: true}
	for _, s := range steps {
		t.exact = t.exact && s.exact()
	}
	return t
}

// resolved is a transform bound to an input schema.
type resolved struct {
	input   []tarn.Field // the columns of records
	with    string       // relations that the steps may join, see Lookups.With
	fields  []tarn.Field // the columns it gives
	sql     string       // over the relation recordsMark
	missing []string     // members it names that no record has had yet; NULL in its rows

	broken string // SQL that finds the records breaking a rule, see plan
	trace  string // the relation that knows of every record which rule it broke, as far as it goes
}

// recordsMark stands for the relation of records in resolved SQL.
const recordsMark = "\x00"

// maxMissing bounds how many members without a record a transform may name.
const maxMissing = 64

// resolve binds the steps one after the other. Of two columns of one name the last counts, so that
// SELECT *, x AS y gives the computed y even when a producer begins to send one. With lenient, a
// member that no record has had yet is NULL instead of an error: the first records need not have
// every member a transform can use.
func (t transform) resolve(ctx context.Context, db *duck.DB, input tarn.Schema, with string, lenient bool) (*resolved, error) {
	r := &resolved{input: input.Fields, with: with, fields: input.Fields, sql: "SELECT * FROM " + recordsMark}
	trace, traced := traceStart, true
	for i, step := range t.steps {
		sql := step.statement(r.fields, false, step.fails() && !newTransform(t.steps[i+1:]).exact)
		if with != "" {
			sql = "WITH " + with + "\nSELECT * FROM (" + sql + "\n)"
		}
		b, err := r.bind(ctx, db, sql, lenient)
		if err != nil {
			return nil, err
		}
		for _, m := range b.missing {
			r.missing = append(r.missing, m.name)
		}
		// The trace ends before SQL that gives rows whose records are not known.
		if traced = traced && (step.Kind() != project.StepSQL || step.RowByRow); traced {
			trace = traceStep(step, r.fields, trace, b)
			r.trace = trace
			if step.fails() {
				r.broken = "SELECT " + lineColumn + ", " + brokenColumn + " FROM (" + trace + "\n) WHERE " + brokenColumn + " IS NOT NULL"
			}
		}
		if err := r.apply(sql, b); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// bound is a step bound to the relation before it.
type bound struct {
	cols    []duck.Column
	hidden  []bool // columns whose type hangs on a member that no record has had
	missing []member
}

// member is a member that no record has had, and the type of the NULL that stands for it.
type member struct{ name, null string }

// bind finds out what a step names that is missing. What it is to be is guessed from what the step
// does with it: a number when that binds, else a text. A column that would have another type with the
// other guess, such as the member itself, waits until a record has the member.
func (r *resolved) bind(ctx context.Context, db *duck.DB, step string, lenient bool) (bound, error) {
	before := strings.ReplaceAll(r.sql, recordsMark, duck.Empty(tarn.Schema{Fields: r.input}))
	var b bound
	for {
		var err error
		if b.cols, err = stepColumns(ctx, db, before, b.missing, step); err == nil {
			break
		}
		name := MissingColumn(err)
		known := slices.ContainsFunc(b.missing, func(m member) bool { return m.name == name })
		if !lenient || name == "" || known || len(b.missing) == maxMissing {
			return b, transformError(err, r.fields)
		}
		b.missing = append(b.missing, member{name: name, null: "NULL"})
	}
	b.hidden = make([]bool, len(b.cols))
	if len(b.missing) == 0 {
		return b, nil
	}
	for i := range b.missing {
		guess := func(null string) []duck.Column {
			ms := slices.Clone(b.missing)
			ms[i].null = null
			cols, err := stepColumns(ctx, db, before, ms, step)
			if err != nil {
				return nil
			}
			return cols
		}
		number, text := guess("NULL::DOUBLE"), guess("NULL::VARCHAR")
		switch {
		case number != nil:
			b.missing[i].null = "NULL::DOUBLE"
		case text != nil:
			b.missing[i].null = "NULL::VARCHAR"
		}
		for k := range b.hidden {
			b.hidden[k] = b.hidden[k] || number != nil && text != nil && number[k].SQL != text[k].SQL
		}
	}
	cols, err := stepColumns(ctx, db, before, b.missing, step)
	if err != nil {
		return b, transformError(err, r.fields)
	}
	b.cols = cols
	return b, nil
}

// stepColumns returns the columns of one step over the relation that the steps before it give.
func stepColumns(ctx context.Context, db *duck.DB, before string, missing []member, step string) ([]duck.Column, error) {
	c, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Exec(ctx, "CREATE TEMP VIEW records AS "+withMissing(before, missing)); err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, step)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return rows.Columns(), nil
}

// withMissing adds members that no record has as NULLs.
func withMissing(sql string, missing []member) string {
	if len(missing) == 0 {
		return sql
	}
	var b strings.Builder
	for _, m := range missing {
		b.WriteString(", " + m.null + " AS " + tarn.QuoteIdent(m.name))
	}
	return "SELECT *" + b.String() + " FROM (" + sql + "\n)"
}

// traceStep puts a step after a traced relation. The user's SQL drops what the trace adds; its rows are
// in the order of the records, which gives it back.
func traceStep(s Step, fields []tarn.Field, trace string, b bound) string {
	if s.Kind() != project.StepSQL {
		return "WITH records AS (" + withMissing(trace, b.missing) + "\n) SELECT * FROM (" + s.statement(fields, true, false) + "\n)"
	}
	mine := lineColumn + ", " + brokenColumn
	return "WITH traced AS MATERIALIZED (" + trace + "\n), records AS (SELECT * EXCLUDE (" + mine + ") FROM (" + withMissing("SELECT * FROM traced", b.missing) +
		"\n)) SELECT * FROM (" + s.SQL + "\n) POSITIONAL JOIN (SELECT " + mine + " FROM traced)"
}

// apply puts a step after those before it.
func (r *resolved) apply(step string, b bound) error {
	cols := b.cols
	last := map[string]int{}
	for i, c := range cols {
		last[strings.ToLower(c.Name)] = i
	}
	var fields []tarn.Field
	aliases, kept := make([]string, len(cols)), []string{}
	for i, c := range cols {
		if last[strings.ToLower(c.Name)] != i || b.hidden[i] {
			aliases[i] = tarn.QuoteIdent(fmt.Sprintf("__hidden_%d", i))
			continue
		}
		if c.Type.Kind == tarn.Invalid {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the transform's column %s has the type %s, which tables can not hold", c.Name, c.SQL), Hint: "cast it, for example to VARCHAR"}
		}
		aliases[i] = tarn.QuoteIdent(c.Name)
		kept = append(kept, aliases[i])
		fields = append(fields, tarn.Field{Name: c.Name, Type: c.Type})
	}
	if len(kept) == 0 {
		kept = []string{"*"}
	}
	r.sql = "WITH records AS (" + withMissing(r.sql, b.missing) + "\n) SELECT " + strings.Join(kept, ", ") +
		" FROM (" + step + "\n) AS transformed(" + strings.Join(aliases, ", ") + ")"
	r.fields = fields
	return nil
}

var unknownColumn = regexp.MustCompile(`Referenced column "([^"]+)" not found in FROM clause|does not have a column named "([^"]+)"`)

// MissingColumn returns the column that an error says a statement names and no relation has, or "".
func MissingColumn(err error) string {
	f := duck.FaultOf(err)
	if f == nil || f.Class != "Binder Error" {
		return ""
	}
	m := unknownColumn.FindStringSubmatch(f.Message)
	if m == nil {
		return ""
	}
	return m[1] + m[2]
}

func transformError(err error, have []tarn.Field) error {
	f := duck.FaultOf(err)
	if f == nil || tarn.CodeOf(err) != tarn.CodeInvalid {
		return err
	}
	text, _, _ := strings.Cut(duck.Brief(f.Message), "\n")
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the transform does not fit the records: " + text, Hint: "the columns are " + names(have)}
}
