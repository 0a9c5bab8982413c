package tarn

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// sqlKind maps the type names users and DuckDB write, in upper case, to kinds. Types that Iceberg
// lacks map to the narrowest one that holds every value; UBIGINT to DECIMAL(20,0), see base. Two
// have none: HUGEINT, which sums of integers have, becomes DOUBLE, and TIMESTAMP_NS loses its
// nanoseconds.
var sqlKind = map[string]Kind{
	"BOOLEAN": Boolean, "BOOL": Boolean, "LOGICAL": Boolean,
	"TINYINT": Int, "SMALLINT": Int, "INTEGER": Int, "INT": Int, "INT4": Int, "INT2": Int, "INT1": Int,
	"UTINYINT": Int, "USMALLINT": Int, "SIGNED": Int,
	"BIGINT": Long, "LONG": Long, "INT8": Long, "UINTEGER": Long,
	"FLOAT": Float, "REAL": Float, "FLOAT4": Float,
	"DOUBLE": Double, "FLOAT8": Double, "DOUBLE PRECISION": Double, "HUGEINT": Double, "UHUGEINT": Double,
	"DATE": Date, "TIME": Time,
	"TIMESTAMP": Timestamp, "DATETIME": Timestamp, "TIMESTAMP WITHOUT TIME ZONE": Timestamp,
	"TIMESTAMP_S": Timestamp, "TIMESTAMP_MS": Timestamp, "TIMESTAMP_NS": Timestamp, "TIMESTAMP_US": Timestamp,
	"TIMESTAMPTZ": TimestampTZ, "TIMESTAMP WITH TIME ZONE": TimestampTZ,
	"VARCHAR": String, "STRING": String, "TEXT": String, "CHAR": String, "BPCHAR": String, "ENUM": String,
	"JSON": JSON, "UUID": UUID, "BLOB": Binary, "BYTEA": Binary, "BINARY": Binary, "VARBINARY": Binary,
}

// ParseType reads an SQL type in DuckDB's syntax, case-insensitively: the names above,
// DECIMAL(p,s), T[], STRUCT(name T, …) and MAP(K, V), nested at will to a depth of 32. What SQL
// writes of any valid type within that depth reads back as an equal one.
func ParseType(s string) (Type, error) {
	p := typeParser{s: s}
	if !utf8.ValidString(s) || strings.IndexByte(s, 0) >= 0 {
		return Type{}, p.fail("bytes that are not UTF-8 text")
	}
	t, err := p.parse(0)
	if err == nil && p.skip() < len(p.s) {
		err = p.fail("unexpected text")
	}
	if err == nil && t.depth() > maxTypeDepth {
		err = p.fail("nesting deeper than 32")
	}
	if err != nil {
		return Type{}, err
	}
	return t, nil
}

const maxTypeDepth = 32

// depth returns how many types contain the innermost one.
func (t Type) depth() int {
	d := -1
	for _, f := range t.Fields {
		d = max(d, f.Type.depth())
	}
	for _, f := range []*Field{t.Key, t.Elem} {
		if f != nil {
			d = max(d, f.Type.depth())
		}
	}
	return d + 1
}

type typeParser struct {
	s string
	i int
}

func (p *typeParser) fail(what string) error {
	return &Error{Code: CodeInvalid, Detail: fmt.Sprintf("%s at character %d of the type %q", what, p.i+1, p.s),
		Hint: "use an SQL type such as BIGINT, DOUBLE, VARCHAR, TIMESTAMP, VARCHAR[] or STRUCT(lat DOUBLE, lon DOUBLE)"}
}

func (p *typeParser) skip() int {
	for p.i < len(p.s) && strings.IndexByte(" \t\r\n", p.s[p.i]) >= 0 {
		p.i++
	}
	return p.i
}

func (p *typeParser) take(c byte) bool {
	if p.skip() < len(p.s) && p.s[p.i] == c {
		p.i++
		return true
	}
	return false
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80
}

func (p *typeParser) word() string {
	start := p.skip()
	for p.i < len(p.s) && isWord(p.s[p.i]) {
		p.i++
	}
	return p.s[start:p.i]
}

func (p *typeParser) ident() (string, error) {
	if !p.take('"') {
		if w := p.word(); w != "" {
			return w, nil
		}
		return "", p.fail("a name is missing")
	}
	var b strings.Builder
	for p.i < len(p.s) {
		c := p.s[p.i]
		p.i++
		if c != '"' {
			b.WriteByte(c)
		} else if p.i < len(p.s) && p.s[p.i] == '"' {
			b.WriteByte('"')
			p.i++
		} else if b.Len() == 0 {
			return "", p.fail("an empty name")
		} else {
			return b.String(), nil
		}
	}
	return "", p.fail("a quoted name does not end")
}

// digits takes a number, which may be absent.
func (p *typeParser) digits() string {
	start := p.skip()
	for p.i < len(p.s) && p.s[p.i] >= '0' && p.s[p.i] <= '9' {
		p.i++
	}
	return p.s[start:p.i]
}

func (p *typeParser) parse(depth int) (Type, error) {
	if depth > maxTypeDepth {
		return Type{}, p.fail("nesting deeper than 32")
	}
	t, err := p.base(depth)
	for lists := 1; err == nil && p.take('['); lists++ {
		if depth+lists > maxTypeDepth {
			return Type{}, p.fail("nesting deeper than 32")
		}
		_ = p.digits() // a fixed size, as in INTEGER[3], is stored as a list
		if !p.take(']') {
			return Type{}, p.fail("] is missing")
		}
		elem := t
		t = Type{Kind: List, Elem: &Field{Name: "element", Type: elem}}
	}
	return t, err
}

func (p *typeParser) base(depth int) (Type, error) {
	at := p.skip()
	name := strings.ToUpper(p.word())
	switch name {
	case "":
		return Type{}, p.fail("a type is missing")
	case "STRUCT", "ROW":
		return p.structType(depth)
	case "MAP":
		if !p.take('(') {
			return Type{}, p.fail("( is missing")
		}
		k, err := p.parse(depth + 1)
		if err != nil {
			return Type{}, err
		}
		if !p.take(',') {
			return Type{}, p.fail(", is missing")
		}
		v, err := p.parse(depth + 1)
		if err != nil {
			return Type{}, err
		}
		if !p.take(')') {
			return Type{}, p.fail(") is missing")
		}
		return Type{Kind: Map, Key: &Field{Name: "key", Type: k, Required: true}, Elem: &Field{Name: "value", Type: v}}, nil
	case "DECIMAL", "NUMERIC", "DEC":
		return p.decimalType()
	case "ENUM":
		return p.enumType()
	case "UBIGINT":
		return Type{Kind: Decimal, Precision: 20}, nil
	case "TIMESTAMP", "DOUBLE":
		save := p.i
		for _, tail := range [][]string{{"WITH", "TIME", "ZONE"}, {"WITHOUT", "TIME", "ZONE"}, {"PRECISION"}} {
			p.i = save
			ok := true
			for _, w := range tail {
				ok = ok && strings.EqualFold(p.word(), w)
			}
			if _, known := sqlKind[name+" "+strings.Join(tail, " ")]; ok && known {
				name += " " + strings.Join(tail, " ")
				save = p.i
				break
			}
		}
		p.i = save
	}
	k, ok := sqlKind[name]
	if !ok {
		p.i = at
		return Type{}, p.fail("unknown type " + name)
	}
	if p.take('(') { // VARCHAR(20): lengths are not stored
		if p.digits() == "" {
			return Type{}, p.fail("the length is missing")
		}
		if !p.take(')') {
			return Type{}, p.fail(") is missing")
		}
	}
	return Type{Kind: k}, nil
}

func (p *typeParser) structType(depth int) (Type, error) {
	t := Type{Kind: Struct}
	if !p.take('(') {
		return Type{}, p.fail("( is missing")
	}
	for {
		name, err := p.ident()
		if err != nil {
			return Type{}, err
		}
		if t.Lookup(name) != nil {
			return Type{}, p.fail("the field " + name + " stands twice")
		}
		ft, err := p.parse(depth + 1)
		if err != nil {
			return Type{}, err
		}
		t.Fields = append(t.Fields, Field{Name: name, Type: ft})
		if p.take(')') {
			return t, nil
		}
		if !p.take(',') {
			return Type{}, p.fail(", or ) is missing")
		}
	}
}

// enumType reads ENUM, or ENUM('a', 'b'), as the text that its values are.
func (p *typeParser) enumType() (Type, error) {
	t := Type{Kind: String}
	if !p.take('(') {
		return t, nil
	}
	for {
		if !p.take('\'') {
			return Type{}, p.fail("a quoted value is missing")
		}
		for p.i < len(p.s) && (p.s[p.i] != '\'' || strings.HasPrefix(p.s[p.i:], "''")) {
			if p.s[p.i] == '\'' {
				p.i++
			}
			p.i++
		}
		switch {
		case !p.take('\''):
			return Type{}, p.fail("a quoted value does not end")
		case p.take(')'):
			return t, nil
		case !p.take(','):
			return Type{}, p.fail(", or ) is missing")
		}
	}
}

func (p *typeParser) decimalType() (Type, error) {
	t := Type{Kind: Decimal, Precision: 18, Scale: 3}
	if !p.take('(') {
		return t, nil
	}
	var err error
	if t.Precision, err = strconv.Atoi(p.digits()); err != nil || t.Precision < 1 || t.Precision > 38 {
		return Type{}, p.fail("the precision must be 1 to 38")
	}
	t.Scale = 0
	if p.take(',') {
		if t.Scale, err = strconv.Atoi(p.digits()); err != nil || t.Scale < 0 || t.Scale > t.Precision {
			return Type{}, p.fail("the scale must be 0 to the precision")
		}
	}
	if !p.take(')') {
		return Type{}, p.fail(") is missing")
	}
	return t, nil
}
