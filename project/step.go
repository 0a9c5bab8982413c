package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project/internal/strictyaml"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// columnsIn says which columns a step or a delivery gets, where that is known.
type columnsIn struct {
	fields []tarn.Field
	from   string // "the declared schema", or "the result of sql/telemetry.sql"
}

// transforms reads and checks the steps and returns the columns after the last one, or nil when
// they are not known before data arrives.
func (l *loader) transforms(f *pipelineFile) *columnsIn {
	var known *columnsIn
	if s := schemaOf(f.model.Schema); s != nil && !l.hasFaultUnder(f.name, "schema") {
		known = &columnsIn{s.Fields, "the declared schema"}
	}
	f.sql = make([]string, len(f.model.Transform))
	before := "" // the first step that is not a function
	for i := range f.model.Transform {
		path := fmt.Sprintf("transform[%d]", i)
		kinds := l.stated(f.yamlFile, path, "function", "sql", "filter", "mask", "rename", "validate")
		switch {
		case len(kinds) == 0:
			if !l.hasFaultUnder(f.name, path) {
				l.fault(f.yamlFile, path, CodeMissing, "the step does nothing", "write sql: sql/NAME.sql, or one of function, filter, mask, rename and validate")
			}
			known = nil
			continue
		case len(kinds) > 1:
			l.fault(f.yamlFile, path+"."+kinds[1], tarn.CodeInvalid, "a step does one thing, and this one has "+kinds[0], "write two steps")
			known = nil
			continue
		case kinds[0] == "function" && before != "":
			l.fault(f.yamlFile, path+".function", tarn.CodeInvalid, "a function stands behind "+before, "move functions before all other steps")
		case kinds[0] != "function" && before == "":
			before = kinds[0]
		}
		known = l.step(f, i, StepKind(kinds[0]), known)
	}
	return known
}

// step checks one step and returns the columns behind it.
func (l *loader) step(f *pipelineFile, i int, kind StepKind, known *columnsIn) *columnsIn {
	t, path := f.model.Transform[i], fmt.Sprintf("transform[%d].%s", i, kind)
	switch kind {
	case StepFunction:
		if f.model.Records == string(RecordsOpaque) {
			return nil
		}
		return known // the declared schema is of what functions return
	case StepSQL:
		if t.SQL != "" { // else it has a fault already
			f.sql[i] = l.sql(f.yamlFile, path, t.SQL)
		}
		return l.describe(f.yamlFile, path, t.SQL, f.sql[i], known)
	case StepFilter:
		l.condition(f.yamlFile, path, t.Filter, known)
		return known
	case StepMask:
		return l.mask(f.yamlFile, path, t.Mask, known)
	case StepRename:
		return l.rename(f.yamlFile, path, t.Rename, known)
	default:
		return l.validate(f.yamlFile, path, t.Validate, known)
	}
}

// mask checks a mask step and returns the columns behind it.
func (l *loader) mask(f yamlFile, path string, masks []v1.Mask, known *columnsIn) *columnsIn {
	if len(masks) == 0 && !l.hasFaultUnder(f.name, path) {
		l.fault(f, path, CodeMissing, "no column is named", "for example mask: {email: hash}")
	}
	out := known.clone()
	for i, m := range masks {
		at := fmt.Sprintf("%s[%d].column", path, i)
		if slices.ContainsFunc(masks[:i], func(b v1.Mask) bool { return m.Column != "" && strings.EqualFold(string(b.Column), string(m.Column)) }) {
			l.fault(f, at, CodeDuplicateKey, "the column "+string(m.Column)+" is masked already", "keep one of them")
			continue
		}
		column := l.column(f, at, m.Column, out)
		switch {
		case column == nil:
		case m.Method.Method() == string(MaskHash):
			column.Type = tarn.Type{Kind: tarn.String}
		case m.Method.Method() == string(MaskTruncate) && column.Type.Kind != tarn.String:
			l.fault(f, fmt.Sprintf("%s[%d].method", path, i), tarn.CodeInvalid, fmt.Sprintf("truncate cannot shorten %s, which is %s", m.Column, column.Type.SQL()), "it takes VARCHAR; hash and redact take any type")
		}
	}
	return out
}

// rename checks a rename step and returns the columns behind it.
func (l *loader) rename(f yamlFile, path string, renames []v1.Rename, known *columnsIn) *columnsIn {
	if len(renames) == 0 && !l.hasFaultUnder(f.name, path) {
		l.fault(f, path, CodeMissing, "no column is named", "for example rename: {old: new}")
	}
	out := known.clone()
	for i, r := range renames {
		at := fmt.Sprintf("%s[%d]", path, i)
		for _, b := range renames[:i] {
			if r.From != "" && strings.EqualFold(string(b.From), string(r.From)) {
				l.fault(f, at+".from", CodeDuplicateKey, "the column "+string(r.From)+" is renamed already", "keep one of them")
			}
			if r.To != "" && strings.EqualFold(string(b.To), string(r.To)) {
				l.fault(f, at+".to", tarn.CodeConflict, fmt.Sprintf("%s and %s would both be %s", b.From, r.From, r.To), "choose another name")
			}
		}
		if column := l.column(f, at+".from", r.From, known); column != nil {
			out.fields[slices.IndexFunc(known.fields, func(c tarn.Field) bool { return c.Name == string(r.From) })].Name = string(r.To)
		}
	}
	if out == nil {
		return nil
	}
	for i, r := range renames {
		if n := count(out.fields, string(r.To)); n > 1 && !l.hasFaultUnder(f.name, path) {
			l.fault(f, fmt.Sprintf("%s[%d].to", path, i), tarn.CodeConflict, fmt.Sprintf("there is a column %s already", r.To), "choose another name, or rename that one too")
		}
	}
	return out
}

// count returns how many columns have a name, in either case.
func count(fields []tarn.Field, name string) int {
	n := 0
	for _, c := range fields {
		if strings.EqualFold(c.Name, name) {
			n++
		}
	}
	return n
}

// validate checks a validate step and returns the columns behind it.
func (l *loader) validate(f yamlFile, path string, rules []v1.Rule, known *columnsIn) *columnsIn {
	if len(rules) == 0 && !l.hasFaultUnder(f.name, path) {
		l.fault(f, path, CodeMissing, "there is no rule", `for example validate: [{name: speed, check: "speed >= 0"}]`)
	}
	tags := false
	for i, r := range rules {
		at := fmt.Sprintf("%s[%d]", path, i)
		if slices.ContainsFunc(rules[:i], func(b v1.Rule) bool { return r.Name != "" && b.Name == r.Name }) {
			l.fault(f, at+".name", CodeDuplicateKey, "the rule "+string(r.Name)+" stands there already", "give each rule its own name")
		}
		l.condition(f, at+".check", r.Check, known)
		if tags = tags || r.OnFail == string(KeepAndTag); r.OnFail == string(KeepAndTag) && known != nil && count(known.fields, TagColumn) > 0 {
			l.fault(f, at+".on_fail", tarn.CodeConflict, "there is a column "+TagColumn+" already", "rename that one first")
		}
	}
	if !tags || known == nil {
		return known
	}
	out := known.clone()
	out.fields = append(out.fields, tarn.Field{Name: TagColumn, Type: tarn.Type{Kind: tarn.List, Elem: &tarn.Field{Name: "element", Type: tarn.Type{Kind: tarn.String}}}})
	return out
}

// clone returns a copy whose columns can be changed; of nil, nil.
func (c *columnsIn) clone() *columnsIn {
	if c == nil {
		return nil
	}
	return &columnsIn{slices.Clone(c.fields), c.from}
}

// condition checks an SQL condition over the relation records.
func (l *loader) condition(f yamlFile, path string, c v1.Condition, known *columnsIn) {
	if c == "" {
		return // it has a fault already
	}
	report := func(fault strictyaml.Fault) {
		// The text begins on the second line of the statements below.
		fault.Line, fault.Col = f.doc.TextPlace(path, min(max(fault.Line-1, 1), 1+strings.Count(string(c), "\n")), fault.Col)
		fault.Path = f.doc.Fault(path, "", "", "").Path
		l.add(f.name, fault)
	}
	text := string(c)
	if why := unbalanced(text); why != "" {
		l.fault(f, path, CodeSQL, why, "write one SQL expression, such as speed >= 0")
		return
	}
	if l.opts.CheckSQL != nil {
		if err := l.opts.CheckSQL(f.name, "SELECT * FROM records WHERE (\n"+text+"\n)"); err != nil {
			report(sqlFault(err))
			return
		}
	}
	if l.opts.Describe == nil || known == nil {
		return
	}
	fields, err := l.opts.Describe("SELECT (\n"+text+"\n) AS condition FROM records", tarn.Schema{Fields: known.fields})
	switch {
	case err != nil:
		report(sqlFault(err))
	case len(fields) != 1 || fields[0].Type.Kind != tarn.Boolean:
		l.fault(f, path, CodeSQL, "the expression is not true or false", "compare it with something, such as speed >= 0")
	}
}

// unbalanced says why a text cannot stand between parentheses as one expression, "" if it can: the
// parser is asked about the whole, and must not be led out of them.
func unbalanced(text string) string {
	if blankSQL(text) {
		return "there is no condition"
	}
	depth := 0
	for i := 0; i < len(text); {
		next, counts := sqlToken(text, i)
		switch {
		case text[i] == ';':
			return "there is a semicolon in the condition"
		case counts && text[i] == '(':
			depth++
		case counts && text[i] == ')':
			depth--
		}
		if depth < 0 {
			break
		}
		i = next
	}
	switch {
	case depth < 0:
		return "a parenthesis is closed that was not opened"
	case depth > 0:
		return "a parenthesis is not closed"
	}
	return ""
}
