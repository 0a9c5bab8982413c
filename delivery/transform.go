package delivery

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// transform is the user's SQL, from records to rows.
type transform struct {
	steps []string // each SELECT … FROM records, applied in order
	exact bool     // every record gives exactly one row
}

// resolved is a transform bound to an input schema.
type resolved struct {
	fields  []tarn.Field // the columns it gives
	sql     string       // over the relation recordsMark
	missing []string     // members it names that no record has had yet; NULL in its rows
}

// recordsMark stands for the relation of records in resolved SQL.
const recordsMark = "\x00"

// maxMissing bounds how many members without a record a transform may name.
const maxMissing = 64

// resolve binds the steps one after the other. Of two columns of one name the last counts, so that
// SELECT *, x AS y gives the computed y even when a producer begins to send one. With lenient, a
// member that no record has had yet is NULL instead of an error: the first records need not have
// every member a transform can use.
func (t transform) resolve(ctx context.Context, db *duck.DB, input tarn.Schema, lenient bool) (*resolved, error) {
	r := &resolved{fields: input.Fields, sql: "SELECT * FROM " + recordsMark}
	for _, step := range t.steps {
		var cols []duck.Column
		var missing []string
		for {
			var err error
			if cols, err = stepColumns(ctx, db, strings.ReplaceAll(r.sql, recordsMark, duck.Empty(input)), missing, step); err == nil {
				break
			}
			name := missingColumn(err)
			if !lenient || name == "" || slices.Contains(missing, name) || len(missing) == maxMissing {
				return nil, transformError(err, r.fields)
			}
			missing = append(missing, name)
		}
		r.missing = append(r.missing, missing...)
		if err := r.apply(step, missing, cols); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// stepColumns returns the columns of one step over the relation that the steps before it give.
func stepColumns(ctx context.Context, db *duck.DB, before string, missing []string, step string) ([]duck.Column, error) {
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

// withMissing adds members that no record has as untyped NULLs.
func withMissing(sql string, missing []string) string {
	if len(missing) == 0 {
		return sql
	}
	var b strings.Builder
	for _, m := range missing {
		b.WriteString(", NULL AS " + tarn.QuoteIdent(m))
	}
	return "SELECT *" + b.String() + " FROM (" + sql + "\n)"
}

// apply puts a step after those before it.
func (r *resolved) apply(step string, missing []string, cols []duck.Column) error {
	last := map[string]int{}
	for i, c := range cols {
		last[strings.ToLower(c.Name)] = i
	}
	var fields []tarn.Field
	aliases, kept := make([]string, len(cols)), []string{}
	for i, c := range cols {
		if last[strings.ToLower(c.Name)] != i || c.SQL == `"NULL"` { // hidden, or without a type yet
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
	r.sql = "WITH records AS (" + withMissing(r.sql, missing) + "\n) SELECT " + strings.Join(kept, ", ") +
		" FROM (" + step + "\n) AS transformed(" + strings.Join(aliases, ", ") + ")"
	r.fields = fields
	return nil
}

var unknownColumn = regexp.MustCompile(`Referenced column "([^"]+)" not found in FROM clause|does not have a column named "([^"]+)"`)

// missingColumn returns the column that a statement names and no relation has, or "".
func missingColumn(err error) string {
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
