package kinesis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
)

// Options say where a script reads from.
type Options struct {
	Source string // the name the script has for its first stream; default SOURCE_SQL_STREAM_001
	Stream string // the stream of the project in its place
}

// DefaultSource is what scripts call the stream that they read.
const DefaultSource = "SOURCE_SQL_STREAM_001"

// Extract is the translation of one pump.
type Extract struct {
	Name  string // of the extract
	Pump  string // as the script has it
	Line  int    // of the pump
	From  string
	To    string // a stream
	SQL   string
	Every string // the tumbling window, as 60s; "" for none
	Time  string // the column that the window goes by
}

// YAML is the text of extracts/NAME.yaml; the SQL is in sql/NAME.sql.
func (x *Extract) YAML() string {
	var b strings.Builder
	fmt.Fprintf(&b, "extract: %s\ndescription: %q\nfrom: %s\nsql: sql/%s.sql\nto: {stream: %s}\n", x.Name, "Translated from the pump "+x.Pump, x.From, x.Name, x.To)
	if x.Every != "" {
		fmt.Fprintf(&b, "window: {tumbling: %s, time: %s}\n", x.Every, x.Time)
	}
	return b.String()
}

// Translate returns the extracts of a script, in its order, or all that has no translation.
func Translate(src string, o Options) ([]Extract, []Problem) {
	if o.Source == "" {
		o.Source = DefaultSource
	}
	s, problems := parse(src)
	var out []Extract
	names := map[string]bool{}
	for i := range s.pumps {
		t := translator{script: &s, o: o, pump: &s.pumps[i]}
		x := t.translate()
		if problems = append(problems, t.problems...); t.problems == nil {
			if names[x.Name] {
				problems = append(problems, Problem{x.Line, x.Pump, "another pump has this name"})
			}
			names[x.Name] = true
			out = append(out, x)
		}
	}
	if len(s.pumps) == 0 && len(problems) == 0 {
		problems = append(problems, Problem{1, "the script", "it has no CREATE PUMP"})
	}
	if len(problems) > 0 {
		slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
		return nil, problems
	}
	return out, nil
}

// projectName is a name as projects have them.
func projectName(s string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, s)
	if name == "" || name[0] < 'a' || name[0] > 'z' {
		name = "x" + name
	}
	return name[:min(len(name), 60)]
}

// translator makes one extract.
type translator struct {
	script   *script
	o        Options
	pump     *pump
	problems []Problem

	alias string // what the query calls its source, in upper case
	first bool   // the source is the first stream
	every string // the window, in seconds
	time  string
	depth int // of nested expressions
}

func (t *translator) problem(at token, what, why string) {
	t.problems = append(t.problems, Problem{at.line, what, why})
}

// clauses are the parts of a SELECT.
type clauses struct{ list, from, where, group, having []token }

func (t *translator) translate() Extract {
	x := Extract{Name: projectName(t.pump.name), Pump: t.pump.name, Line: t.pump.line, To: projectName(t.pump.into)}
	columns, declared := t.script.streams[t.pump.into]
	if !declared {
		t.problems = append(t.problems, Problem{t.pump.line, t.pump.into, "the script does not create this stream"})
		return x
	}
	c, ok := t.split(t.pump.query)
	if !ok || !t.source(c.from, &x) {
		return x
	}
	t.window(c.group)
	list := t.selectList(c.list, columns)
	var b strings.Builder
	b.WriteString("SELECT " + strings.Join(list, ",\n       "))
	if t.every != "" {
		b.WriteString(",\n       window_end AS rowtime")
	} else if !slices.ContainsFunc(list, func(s string) bool { return strings.HasSuffix(s, " AS rowtime") }) {
		b.WriteString(",\n       " + t.rowtime() + " AS rowtime")
	}
	b.WriteString("\nFROM records")
	if len(c.where) > 0 {
		b.WriteString("\nWHERE " + t.expr(c.where))
	}
	if by := t.groups(c.group); t.every != "" {
		b.WriteString("\nGROUP BY " + strings.Join(append([]string{"window_start", "window_end"}, by...), ", "))
	} else if len(by) > 0 {
		t.problem(c.group[0], "GROUP BY", "it groups by no time: write STEP(ROWTIME BY INTERVAL …) or FLOOR(ROWTIME TO …) into it")
	}
	if len(c.having) > 0 {
		b.WriteString("\nHAVING " + t.expr(c.having))
	}
	x.SQL, x.Every, x.Time = b.String()+"\n", t.every, t.time
	return x
}

// split finds the clauses of SELECT STREAM ….
func (t *translator) split(q []token) (c clauses, ok bool) {
	if len(q) == 0 || !q[0].is("SELECT") {
		at := token{line: t.pump.line}
		if len(q) > 0 {
			at = q[0]
		}
		t.problem(at, "PUMP "+t.pump.name, "SELECT STREAM … is expected behind INSERT INTO")
		return c, false
	}
	q = q[1:]
	if len(q) > 0 && q[0].is("STREAM") {
		q = q[1:]
	}
	if len(q) > 0 && q[0].is("DISTINCT") {
		t.problem(q[0], "SELECT STREAM DISTINCT", "it compares rows for ever; group by the columns in a window")
		return c, false
	}
	part, depth := &c.list, 0
	for i := 0; i < len(q); i++ {
		k := q[i]
		switch {
		case k.is("("):
			depth++
		case k.is(")"):
			depth--
		case depth == 0 && k.is("FROM"):
			part = &c.from
			continue
		case depth == 0 && k.is("WHERE"):
			part = &c.where
			continue
		case depth == 0 && k.is("HAVING"):
			part = &c.having
			continue
		case depth == 0 && k.is("GROUP") && i+1 < len(q) && q[i+1].is("BY"):
			part = &c.group
			i++
			continue
		case depth == 0 && refusedClauses[strings.ToUpper(k.text)] != "" && k.kind == word:
			t.problem(k, strings.ToUpper(k.text), refusedClauses[strings.ToUpper(k.text)])
			return c, false
		}
		*part = append(*part, k)
	}
	if len(c.list) == 0 || len(c.from) == 0 {
		t.problem(token{line: t.pump.line}, "PUMP "+t.pump.name, "its SELECT has no columns or no FROM")
		return c, false
	}
	return c, true
}

// refusedClauses have no translation.
var refusedClauses = map[string]string{
	"WINDOW":    "a sliding window gives a row for every record from those before it; write a hopping window",
	"WINDOWED":  "a stagger window begins with its first record; write a tumbling window, or a session",
	"ORDER":     "a stream has no order but that of arrival; take it away",
	"LIMIT":     "a stream does not end; take it away",
	"UNION":     "write a pump for each SELECT; several may write to one stream",
	"EXCEPT":    "it compares rows for ever",
	"INTERSECT": "it compares rows for ever",
}

// source reads FROM.
func (t *translator) source(from []token, x *Extract) bool {
	if i := slices.IndexFunc(from, func(k token) bool { return k.is("JOIN") || k.is(",") }); i >= 0 {
		t.problem(from[i], from[i].text, "joins of streams and of reference data are not translated; write the extract by hand, and join tables of the lake by name")
		return false
	}
	if !from[0].isName() {
		why := "FROM names a stream"
		if from[0].is("(") || len(from) > 1 && from[1].is("(") {
			why = "FROM a query or TABLE(…) is not translated; write a pump for it"
		}
		t.problem(from[0], from[0].text, why)
		return false
	}
	if len(from) > 1 && from[1].is("(") {
		t.problem(from[0], from[0].text, "FROM a query or TABLE(…) is not translated; write a pump for it")
		return false
	}
	name, rest := from[0].name(), from[1:]
	t.alias = name
	if len(rest) > 0 && rest[0].is("AS") {
		rest = rest[1:]
	}
	if len(rest) == 1 && rest[0].isName() {
		t.alias, rest = rest[0].name(), nil
	}
	if len(rest) > 0 {
		t.problem(rest[0], rest[0].text, "it is not known behind the stream in FROM")
		return false
	}
	if t.first = name == t.o.Source; t.first {
		x.From = t.o.Stream
	} else if _, ok := t.script.streams[name]; ok {
		x.From = projectName(name)
	} else {
		t.problem(from[0], name, "the script does not create this stream, and its source is "+t.o.Source)
		return false
	}
	t.pump.source = name
	return true
}

// rowtime is the column that ROWTIME is.
func (t *translator) rowtime() string {
	if t.first {
		return "record_arrival"
	}
	return "rowtime"
}

// selectList translates the columns, which fill those of the stream one by one.
func (t *translator) selectList(list []token, columns []column) []string {
	names := t.pump.names
	if names == nil {
		for _, c := range columns {
			names = append(names, c.name)
		}
	}
	items := splitCommas(list)
	if len(items) == 1 && len(items[0]) == 1 && items[0][0].is("*") {
		return []string{"*"}
	}
	if len(items) != len(names) {
		t.problem(list[0], "SELECT", fmt.Sprintf("it has %d columns, and %s takes %d", len(items), t.pump.into, len(names)))
		return nil
	}
	var out []string
	for i, item := range items {
		if len(item) == 0 {
			t.problem(list[0], "SELECT", "a column is empty")
			continue
		}
		e := t.expr(unaliased(item))
		if k := slices.IndexFunc(columns, func(c column) bool { return c.name == names[i] }); k >= 0 && columns[k].typ != "" {
			e = "CAST(" + e + " AS " + columns[k].typ + ")"
		}
		name := tarn.QuoteIdent(names[i])
		if strings.EqualFold(names[i], "rowtime") {
			name = "rowtime"
		}
		out = append(out, e+" AS "+name)
	}
	return out
}

// splitCommas splits at the commas outside of parentheses.
func splitCommas(list []token) [][]token {
	var out [][]token
	depth, from := 0, 0
	for i, k := range list {
		switch {
		case k.is("("):
			depth++
		case k.is(")"):
			depth--
		case k.is(",") && depth == 0:
			out = append(out, list[from:i])
			from = i + 1
		}
	}
	return append(out, list[from:])
}

// unaliased takes the name off the end of a column.
func unaliased(item []token) []token {
	n := len(item)
	if n >= 3 && item[n-2].is("AS") && item[n-1].isName() {
		return item[:n-2]
	}
	if n >= 2 && item[n-1].kind == quoted && !item[n-2].is(".") && item[n-2].kind != symbol {
		return item[:n-1]
	}
	if n >= 2 && item[n-1].kind == quoted && item[n-2].is(")") {
		return item[:n-1]
	}
	return item
}
