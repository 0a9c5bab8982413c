package delivery

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// Step is one step of a transform. Its function, if it is one, has been called before: the steps here
// are SQL, written by the user or made from a built-in step.
type Step struct {
	project.Transform
	RowByRow bool // of SQL: it surely gives exactly one row for every record
}

// exact reports whether the step gives exactly one row for every record that does not fail.
func (s Step) exact() bool {
	switch s.Kind() {
	case project.StepSQL:
		return s.RowByRow
	case project.StepFilter:
		return false
	case project.StepValidate:
		return !slices.ContainsFunc(s.Validate, func(r project.Rule) bool { return r.OnFail == project.Drop })
	}
	return true
}

// fails reports whether the step makes failed records of those that break its rules.
func (s Step) fails() bool {
	return slices.ContainsFunc(s.Validate, func(r project.Rule) bool { return r.OnFail == project.FailRecord })
}

// The columns of a traced relation, which has one row for every record and knows what rule it broke.
const (
	lineColumn   = "__line"   // number of the record in its chunk
	brokenColumn = "__broken" // the first rule it broke, or NULL
)

// traceStart is the relation that a trace begins with. Row numbers are line numbers only in an
// instance that keeps the order of insertion.
const traceStart = "SELECT *, row_number() OVER () - 1 AS " + lineColumn + ", NULL::VARCHAR AS " + brokenColumn + " FROM " + recordsMark

// ruleMark begins the message of the error that a broken rule raises.
const ruleMark = "tarn_rule:"

// ruleText is the reason of a record that breaks a rule.
func ruleText(name string) string { return "the record breaks the rule " + name }

// statement returns a step as SELECT … FROM records, for records with the fields given. A traced
// statement keeps records that have broken a rule and says so, instead of failing. One that is followed by
// steps which drop records fails before they can.
func (s Step) statement(fields []tarn.Field, traced, followed bool) string {
	switch s.Kind() {
	case project.StepFilter:
		return "SELECT * FROM records WHERE " + unlessBroken(traced, "("+s.Filter+"\n)")
	case project.StepMask:
		return mask(s.Mask, fields)
	case project.StepRename:
		return rename(s.Rename, fields)
	case project.StepValidate:
		return validate(s.Validate, fields, traced, followed)
	}
	return s.SQL
}

// unlessBroken lets records that have broken a rule before pass a condition.
func unlessBroken(traced bool, condition string) string {
	if traced {
		return brokenColumn + " IS NOT NULL OR " + condition
	}
	return condition
}

// mask hides columns. One that no record has had yet has nothing to hide.
func mask(masks []project.Mask, fields []tarn.Field) string {
	var replace []string
	for _, m := range masks {
		f := find(fields, m.Column)
		if f == nil {
			continue
		}
		col := tarn.QuoteIdent(f.Name)
		e := "NULL::" + f.Type.SQL()
		switch {
		case m.Method == project.MaskHash:
			e = "sha256(CAST(" + col + " AS VARCHAR))"
		case m.Method == project.MaskTruncate:
			e = fmt.Sprintf("left(CAST(%s AS VARCHAR), %d)", col, m.Length)
		case f.Type.Kind == tarn.String:
			e = "CASE WHEN " + col + " IS NOT NULL THEN '***' END"
		}
		replace = append(replace, e+" AS "+col)
	}
	if replace == nil {
		return "SELECT * FROM records"
	}
	return "SELECT * REPLACE (" + strings.Join(replace, ", ") + ") FROM records"
}

// rename gives columns other names. A column that has such a name already gives way.
func rename(names []project.Rename, fields []tarn.Field) string {
	var exclude, to []string
	for _, r := range names {
		f := find(fields, r.From)
		if f == nil {
			continue
		}
		to = append(to, tarn.QuoteIdent(f.Name)+" AS "+tarn.QuoteIdent(r.To))
		taken := find(fields, r.To)
		moves := slices.ContainsFunc(names, func(o project.Rename) bool { return strings.EqualFold(o.From, r.To) })
		if taken != nil && taken != f && !moves {
			exclude = append(exclude, tarn.QuoteIdent(taken.Name))
		}
	}
	if to == nil {
		return "SELECT * FROM records"
	}
	sql := "SELECT *"
	if exclude != nil {
		sql += " EXCLUDE (" + strings.Join(exclude, ", ") + ")"
	}
	return sql + " RENAME (" + strings.Join(to, ", ") + ") FROM records"
}

// behind is the columns as they are where a condition holds. The SQL engine checks the conditions of later steps first if
// it likes; with the columns that they ask for they have this one in them.
func behind(condition string, fields []tarn.Field) string {
	columns := make([]string, len(fields))
	for i, f := range fields {
		col := tarn.QuoteIdent(f.Name)
		columns[i] = "CASE WHEN " + condition + " THEN " + col + " END AS " + col
	}
	return strings.Join(columns, ", ")
}

// validate checks rules one after the other: a record that one drops cannot fail the next, and one that fails is not
// dropped by the next. They are cases of one expression, since the SQL engine checks conditions in the order it likes.
func validate(rules []project.Rule, fields []tarn.Field, traced, followed bool) string {
	sql := "SELECT * FROM records"
	var tags, cases []string
	for _, r := range rules {
		kept := "coalesce((" + r.Condition + "\n), true)" // NULL keeps the record, as in a CHECK of SQL
		name := tarn.QuoteLiteral(r.Name)
		switch from := " FROM (" + sql + "\n) AS records"; {
		case r.OnFail == project.KeepAndTag:
			tags = append(tags, "CASE WHEN NOT "+kept+" THEN "+name+" END")
		case traced && r.OnFail == project.Drop:
			sql = "SELECT *" + from + " WHERE " + unlessBroken(traced, kept)
		case traced:
			sql = "SELECT * REPLACE (CASE WHEN " + brokenColumn + " IS NULL AND NOT " + kept + " THEN " + name + " ELSE " + brokenColumn + " END AS " + brokenColumn + ")" + from
		case r.OnFail == project.Drop:
			cases = append(cases, " WHEN NOT "+kept+" THEN false")
		default:
			cases = append(cases, " WHEN NOT "+kept+" THEN error("+tarn.QuoteLiteral(ruleMark+r.Name)+")")
		}
	}
	if cases != nil {
		kept := "CASE" + strings.Join(cases, "") + " ELSE true END"
		if sql += " WHERE " + kept; followed {
			sql = "SELECT * REPLACE (" + behind(kept, fields) + ") FROM (" + sql + "\n) AS records"
		}
	}
	if tags == nil {
		return sql
	}
	list := "list_filter([" + strings.Join(tags, ", ") + "], lambda tag: tag IS NOT NULL)"
	col := tarn.QuoteIdent(project.TagColumn)
	if find(fields, project.TagColumn) != nil { // of a step before
		return "SELECT * REPLACE (nullif(list_concat(coalesce(" + col + ", []), " + list + "), []) AS " + col + ") FROM (" + sql + "\n) AS records"
	}
	return "SELECT *, nullif(" + list + ", []) AS " + col + " FROM (" + sql + "\n) AS records"
}
