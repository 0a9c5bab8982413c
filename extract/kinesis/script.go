package kinesis

import (
	"fmt"
	"strings"
)

// Problem is something that has no translation.
type Problem struct {
	Line int
	What string // the construct, as it was written
	Why  string // and what to do about it
}

// String returns "line N: WHAT: WHY".
func (p Problem) String() string { return fmt.Sprintf("line %d: %s: %s", p.Line, p.What, p.Why) }

// column is a column of an in-application stream.
type column struct{ name, typ string }

// script is what a file declares.
type script struct {
	streams map[string][]column // by name as written
	pumps   []pump
}

// pump is one CREATE PUMP.
type pump struct {
	name   string
	line   int
	into   string
	names  []string // the columns it fills; nil for those of the stream in order
	query  []token  // SELECT …
	source string   // set by the translation
}

// parser reads statements.
type parser struct {
	tokens   []token
	at       int
	script   script
	problems []Problem
}

func (p *parser) peek() token {
	if p.at < len(p.tokens) {
		return p.tokens[p.at]
	}
	line := 1
	if n := len(p.tokens); n > 0 {
		line = p.tokens[n-1].line
	}
	return token{kind: end, line: line}
}

func (p *parser) next() token {
	t := p.peek()
	p.at++
	return t
}

// accept takes keywords if they come next.
func (p *parser) accept(words ...string) bool {
	for i, w := range words {
		if p.at+i >= len(p.tokens) || !p.tokens[p.at+i].is(w) {
			return false
		}
	}
	p.at += len(words)
	return true
}

func (p *parser) problem(t token, what, why string) {
	if what == "" {
		if what = t.text; t.kind == end {
			what = "the end of the script"
		}
	}
	p.problems = append(p.problems, Problem{t.line, what, why})
}

// parse reads a script.
func parse(src string) (script, []Problem) {
	p := parser{script: script{streams: map[string][]column{}}}
	p.tokens, p.problems = scan(src)
	for p.at < len(p.tokens) {
		if p.accept(";") {
			continue
		}
		p.statement()
		for p.at < len(p.tokens) && !p.tokens[p.at].is(";") { // what a problem left over
			p.at++
		}
	}
	return p.script, p.problems
}

func (p *parser) statement() {
	first := p.peek()
	if !p.accept("CREATE") {
		p.problem(first, "", "only CREATE STREAM and CREATE PUMP are translated")
		return
	}
	p.accept("OR", "REPLACE")
	switch kind := p.next(); {
	case kind.is("STREAM"):
		p.stream()
	case kind.is("PUMP"):
		p.pump()
	default:
		p.problem(kind, "CREATE "+kind.text, "only CREATE STREAM and CREATE PUMP are translated")
	}
}

func (p *parser) name(what string) (string, bool) {
	t := p.next()
	if !t.isName() {
		p.problem(t, "", "the name of a "+what+" is expected here")
		return "", false
	}
	return t.name(), true
}

// stream reads NAME (column type, …) [DESCRIPTION '…'].
func (p *parser) stream() {
	name, ok := p.name("stream")
	if !ok {
		return
	}
	var columns []column
	if !p.accept("(") {
		p.problem(p.peek(), "", "the columns of the stream are expected here, between parentheses")
		return
	}
	for {
		col, ok := p.name("column")
		if !ok {
			return
		}
		columns = append(columns, column{col, p.columnType()})
		if p.accept(",") {
			continue
		}
		if !p.accept(")") {
			p.problem(p.peek(), "", "a comma or ) is expected here")
		}
		break
	}
	p.script.streams[name] = columns
	p.description()
}

// columnType reads a type up to the comma or parenthesis behind it.
func (p *parser) columnType() string {
	var b strings.Builder
	for depth := 0; ; {
		t := p.peek()
		switch {
		case t.kind == end || t.is(";"), depth == 0 && (t.is(",") || t.is(")")):
			return sqlType(b.String())
		case t.is("("):
			depth++
		case t.is(")"):
			depth--
		}
		p.at++
		if t.kind == word && b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strings.ToUpper(t.text))
	}
}

// sqlType is a type as DuckDB has it; "" for one that is left as it comes.
func sqlType(t string) string {
	t = strings.TrimSuffix(strings.TrimSuffix(t, " NOT NULL"), " NULL")
	base, _, _ := strings.Cut(t, "(")
	switch base {
	case "VARCHAR", "CHAR", "CHARACTER", "CHARACTER VARYING", "CHAR VARYING":
		return "VARCHAR"
	case "INTEGER", "INT", "BIGINT", "SMALLINT", "TINYINT", "DOUBLE", "REAL", "BOOLEAN", "TIMESTAMP", "DATE", "TIME":
		return base
	case "FLOAT", "DOUBLE PRECISION":
		return "DOUBLE"
	case "DECIMAL", "NUMERIC", "DEC":
		if t == base {
			return "DECIMAL(18,3)"
		}
		return "DECIMAL" + strings.TrimPrefix(t, base)
	case "VARBINARY", "BINARY":
		return "BLOB"
	}
	return ""
}

func (p *parser) description() {
	if p.accept("DESCRIPTION") && p.peek().kind == text {
		p.at++
	}
	if t := p.peek(); t.kind != end && !t.is(";") {
		p.problem(t, "", "a semicolon is expected here")
	}
}

// pump reads NAME [STARTED|STOPPED] [DESCRIPTION '…'] AS INSERT INTO STREAM [(columns)] SELECT ….
func (p *parser) pump() {
	u := pump{line: p.peek().line}
	var ok bool
	if u.name, ok = p.name("pump"); !ok {
		return
	}
	for p.accept("STARTED") || p.accept("STOPPED") {
	}
	if p.accept("DESCRIPTION") && p.peek().kind == text {
		p.at++
	}
	if !p.accept("AS", "INSERT", "INTO") {
		p.problem(p.peek(), "", "AS INSERT INTO is expected here")
		return
	}
	if u.into, ok = p.name("stream"); !ok {
		return
	}
	if p.accept("(") {
		for {
			col, ok := p.name("column")
			if !ok {
				return
			}
			u.names = append(u.names, col)
			if p.accept(",") {
				continue
			}
			if !p.accept(")") {
				p.problem(p.peek(), "", "a comma or ) is expected here")
				return
			}
			break
		}
	}
	from := p.at
	for p.at < len(p.tokens) && !p.tokens[p.at].is(";") {
		p.at++
	}
	u.query = p.tokens[from:p.at]
	p.script.pumps = append(p.script.pumps, u)
}
