package database

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
)

// Column is a column of the target.
type Column struct {
	Name     string
	Required bool // must not be NULL, and the database has no value of its own for it
	ReadOnly bool // the database computes it
}

// columns reads rows of a name, whether it is required, and whether it is read-only.
func columns(rows *sql.Rows, err error) ([]Column, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var cols []Column
	for rows.Next() {
		var col Column
		if err := rows.Scan(&col.Name, &col.Required, &col.ReadOnly); err != nil {
			return nil, err
		}
		cols = append(cols, col)
	}
	return cols, rows.Err()
}

// groups reads rows of an index and one of its columns.
func groups(rows *sql.Rows, err error) ([][]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all [][]string
	last := ""
	for rows.Next() {
		var index, column string
		if err := rows.Scan(&index, &column); err != nil {
			return nil, err
		}
		if index != last || all == nil {
			all, last = append(all, nil), index
		}
		all[len(all)-1] = append(all[len(all)-1], column)
	}
	return all, rows.Err()
}

// Layout is the columns that rows are written to: for every field of the records the column that
// takes it.
type Layout struct {
	Fields  []tarn.Field // in the order of the values of a row
	columns []string     // the names in the target
	key     []string     // of Upsert, as the target writes them
	session *Session     // that made it
}

// Of reports whether a session made the layout; in another one the table may be another.
func (l *Layout) Of(s *Session) bool { return l != nil && l.session == s }

// statement is how rows of a layout are written.
type statement struct {
	layout *Layout
	table  string
	names  string   // quoted, separated by commas
	quoted []string // the columns
	key    string   // quoted, separated by commas; "" to append
	set    string   // of ON CONFLICT … DO UPDATE; "" when all columns are of the key
}

func quotedList(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = tarn.QuoteIdent(n)
	}
	return out
}

func (t *Target) statement(l *Layout) *statement {
	s := &statement{layout: l, table: t.table, quoted: quotedList(l.columns)}
	s.names = strings.Join(s.quoted, ", ")
	if !t.opts.Upsert {
		return s
	}
	s.key = strings.Join(quotedList(l.key), ", ")
	var set []string
	for i, c := range l.columns {
		if !slices.Contains(l.key, c) {
			set = append(set, s.quoted[i]+" = excluded."+s.quoted[i])
		}
	}
	s.set = strings.Join(set, ", ")
	return s
}

// conflict is what an INSERT does about a row with the key of another.
func (s *statement) conflict() string {
	switch {
	case s.key == "":
		return ""
	case s.set == "":
		return " ON CONFLICT (" + s.key + ") DO NOTHING"
	}
	return " ON CONFLICT (" + s.key + ") DO UPDATE SET " + s.set
}

// maxName is the longest name of a column that PostgreSQL keeps, in bytes.
const maxName = 63

// Ensure makes the table take rows with the fields, and returns where they go. A table that is not
// there is created. With add, it gets the columns it lacks; otherwise fields without a column are
// left out. Columns are found without regard to case. Their types are the table's affair: the
// database converts, or refuses a row.
//
// tarn.CodeSchema when the table lacks the key or a unique index over it, or has a column that the
// records must fill and do not.
func (s *Session) Ensure(ctx context.Context, fields []tarn.Field, add bool) (*Layout, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.t
	have, err := t.dialect.describe(ctx, s.conn, t.schema, t.name)
	if err != nil {
		return nil, t.unavailable("the table "+t.opts.Table+" cannot be read", err)
	}
	if err := t.checkFields(fields); err != nil {
		return nil, err
	}
	created := len(have) == 0
	switch {
	case created:
		err = s.create(ctx, t.name, t.create(fields))
	case add:
		err = s.addColumns(ctx, have, fields)
	}
	if err != nil {
		return nil, t.unavailable("the table "+t.opts.Table+" cannot be made to take the records", err)
	}
	if have, err = t.dialect.describe(ctx, s.conn, t.schema, t.name); err != nil {
		return nil, t.unavailable("the table "+t.opts.Table+" cannot be read", err)
	}
	l := t.layout(have, fields)
	l.session = s
	if err := t.check(have, l); err != nil {
		return nil, err
	}
	if t.opts.Upsert && !created {
		return l, s.checkKey(ctx, l)
	}
	return l, nil
}

// checkFields refuses what no table can be made for.
func (t *Target) checkFields(fields []tarn.Field) error {
	for _, k := range t.opts.Key {
		if !slices.ContainsFunc(fields, func(f tarn.Field) bool { return strings.EqualFold(f.Name, k) }) {
			return &tarn.Error{Code: tarn.CodeSchema, Detail: fmt.Sprintf("%s: no record has the column %s of the key", t.Place(), k), Hint: "the records have " + names(fields)}
		}
	}
	for _, f := range fields {
		if len(f.Name) > maxName {
			return &tarn.Error{Code: tarn.CodeSchema, Detail: fmt.Sprintf("%s: the name of the column %s… is too long for a database", t.Place(), f.Name[:20]), Hint: "give it a shorter one in the transform"}
		}
	}
	return nil
}

func names(fields []tarn.Field) string {
	var out []string
	for _, f := range fields {
		out = append(out, f.Name)
	}
	return strings.Join(out, ", ")
}

// create returns the statement for a table that is not there.
func (t *Target) create(fields []tarn.Field) string {
	var cols, key []string
	for _, f := range fields {
		c := tarn.QuoteIdent(f.Name) + " " + t.dialect.columnType(f.Type)
		if t.isKey(f.Name) {
			c, key = c+" NOT NULL", append(key, tarn.QuoteIdent(f.Name))
		}
		cols = append(cols, c)
	}
	if t.opts.Upsert {
		cols = append(cols, "PRIMARY KEY ("+strings.Join(key, ", ")+")")
	}
	return "CREATE TABLE IF NOT EXISTS " + t.table + " (" + strings.Join(cols, ", ") + ")"
}

func (t *Target) isKey(name string) bool {
	return t.opts.Upsert && slices.ContainsFunc(t.opts.Key, func(k string) bool { return strings.EqualFold(k, name) })
}

// addColumns gives the table the columns that fields need.
func (s *Session) addColumns(ctx context.Context, have []Column, fields []tarn.Field) error {
	for _, f := range fields {
		if find(have, f.Name) != nil {
			continue
		}
		if err := s.exec(ctx, "ALTER TABLE "+s.t.table+" ADD COLUMN "+tarn.QuoteIdent(f.Name)+" "+s.t.dialect.columnType(f.Type)); err != nil {
			return err
		}
	}
	return nil
}

// find looks a column up: by its exact name, or else without regard to case.
func find(cols []Column, name string) *Column {
	var alike *Column
	for i := range cols {
		switch {
		case cols[i].Name == name:
			return &cols[i]
		case alike == nil && strings.EqualFold(cols[i].Name, name):
			alike = &cols[i]
		}
	}
	return alike
}

// layout pairs fields with the columns that take them.
func (t *Target) layout(have []Column, fields []tarn.Field) *Layout {
	l := &Layout{}
	for _, f := range fields {
		if c := find(have, f.Name); c != nil && !c.ReadOnly {
			l.Fields, l.columns = append(l.Fields, f), append(l.columns, c.Name)
		}
	}
	for _, k := range t.opts.Key {
		if c := find(have, k); c != nil {
			l.key = append(l.key, c.Name)
		}
	}
	return l
}

// check refuses a table that the records can not fill.
func (t *Target) check(have []Column, l *Layout) error {
	if len(l.columns) == 0 {
		return &tarn.Error{Code: tarn.CodeSchema, Detail: t.Place() + ": it has no column of the records"}
	}
	if t.opts.Upsert && len(l.key) < len(t.opts.Key) {
		return &tarn.Error{Code: tarn.CodeSchema, Detail: fmt.Sprintf("%s: it has no column for the key %s", t.Place(), strings.Join(t.opts.Key, ", ")), Hint: "add it, with a unique index"}
	}
	for _, c := range have {
		if c.Required && !slices.Contains(l.columns, c.Name) {
			return &tarn.Error{Code: tarn.CodeSchema, Detail: fmt.Sprintf("%s: its column %s must not be null and has no default, and no record has it", t.Place(), c.Name),
				Hint: "give the column a default, or make it in the transform"}
		}
	}
	return nil
}

// checkKey refuses a key without a unique index over exactly its columns, without which there is
// nothing to upsert by.
func (s *Session) checkKey(ctx context.Context, l *Layout) error {
	unique, err := s.t.dialect.unique(ctx, s.conn, s.t.schema, s.t.name)
	if err != nil {
		return s.t.unavailable("the indexes of "+s.t.opts.Table+" cannot be read", err)
	}
	want := slices.Sorted(slices.Values(l.key))
	for _, u := range unique {
		if slices.Equal(slices.Sorted(slices.Values(u)), want) {
			return nil
		}
	}
	return &tarn.Error{Code: tarn.CodeSchema, Detail: fmt.Sprintf("%s: it has no unique index over the key %s", s.t.Place(), strings.Join(l.key, ", ")),
		Hint: fmt.Sprintf("CREATE UNIQUE INDEX ON %s (%s)", s.t.table, strings.Join(quotedList(l.key), ", "))}
}
