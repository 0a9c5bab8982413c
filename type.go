package tarn

import (
	"fmt"
	"strconv"
	"strings"
)

// Kind is the kind of a column type. The set is what Iceberg and DuckDB have in common, plus JSON,
// which Iceberg stores as a string.
type Kind uint8

// The kinds.
const (
	Invalid Kind = iota
	Boolean
	Int         // 32-bit signed
	Long        // 64-bit signed
	Float       // 32-bit IEEE 754
	Double      // 64-bit IEEE 754
	Decimal     // Precision, Scale
	Date        // days
	Time        // microseconds since midnight
	Timestamp   // microseconds, UTC by convention, no zone stored
	TimestampTZ // microseconds, adjusted to UTC
	String
	JSON // text that is valid JSON; stored as a string
	UUID
	Binary
	List   // Elem
	Map    // Key, Elem
	Struct // Fields
)

// Type is a column type. The zero value is Invalid.
type Type struct {
	Kind      Kind
	Precision int     // Decimal
	Scale     int     // Decimal
	Key       *Field  // Map
	Elem      *Field  // List element or Map value
	Fields    []Field // Struct
}

// Field is a named, typed member of a schema or struct. ID is the Iceberg field id, 0 while none
// has been assigned; it never changes over the life of a column.
type Field struct {
	ID       int
	Name     string
	Type     Type
	Required bool
	Doc      string
}

// Schema is the ordered list of a table's columns.
type Schema struct {
	Fields []Field
}

// Lookup returns the top-level field of that exact name, or nil.
func (s Schema) Lookup(name string) *Field { return lookup(s.Fields, name) }

// Lookup returns the struct member of that exact name, or nil.
func (t Type) Lookup(name string) *Field { return lookup(t.Fields, name) }

func lookup(fields []Field, name string) *Field {
	for i := range fields {
		if fields[i].Name == name {
			return &fields[i]
		}
	}
	return nil
}

// Equal reports whether both types have the same kinds, names and order. IDs and docs do not count.
func (t Type) Equal(u Type) bool {
	if t.Kind != u.Kind || t.Precision != u.Precision || t.Scale != u.Scale || len(t.Fields) != len(u.Fields) {
		return false
	}
	if (t.Key == nil) != (u.Key == nil) || (t.Elem == nil) != (u.Elem == nil) {
		return false
	}
	if t.Key != nil && !t.Key.Type.Equal(u.Key.Type) || t.Elem != nil && !t.Elem.Type.Equal(u.Elem.Type) {
		return false
	}
	for i := range t.Fields {
		if t.Fields[i].Name != u.Fields[i].Name || !t.Fields[i].Type.Equal(u.Fields[i].Type) {
			return false
		}
	}
	return true
}

// Equal reports whether both schemas have equal fields in the same order. IDs and docs do not count.
func (s Schema) Equal(o Schema) bool {
	return Type{Kind: Struct, Fields: s.Fields}.Equal(Type{Kind: Struct, Fields: o.Fields})
}

var kindSQL = map[Kind]string{
	Boolean: "BOOLEAN", Int: "INTEGER", Long: "BIGINT", Float: "FLOAT", Double: "DOUBLE",
	Date: "DATE", Time: "TIME", Timestamp: "TIMESTAMP", TimestampTZ: "TIMESTAMP WITH TIME ZONE",
	String: "VARCHAR", JSON: "JSON", UUID: "UUID", Binary: "BLOB",
}

// sqlKind maps the type names users and DuckDB write, in upper case, to kinds. Types that Iceberg
// lacks map to the narrowest one that holds every value.
var sqlKind = map[string]Kind{
	"BOOLEAN": Boolean, "BOOL": Boolean, "LOGICAL": Boolean,
	"TINYINT": Int, "SMALLINT": Int, "INTEGER": Int, "INT": Int, "INT4": Int, "INT2": Int, "INT1": Int,
	"UTINYINT": Int, "USMALLINT": Int, "SIGNED": Int,
	"BIGINT": Long, "LONG": Long, "INT8": Long, "UINTEGER": Long,
	"FLOAT": Float, "REAL": Float, "FLOAT4": Float,
	"DOUBLE": Double, "FLOAT8": Double, "DOUBLE PRECISION": Double, "UBIGINT": Double, "HUGEINT": Double, "UHUGEINT": Double,
	"DATE": Date, "TIME": Time,
	"TIMESTAMP": Timestamp, "DATETIME": Timestamp, "TIMESTAMP WITHOUT TIME ZONE": Timestamp,
	"TIMESTAMP_S": Timestamp, "TIMESTAMP_MS": Timestamp, "TIMESTAMP_NS": Timestamp, "TIMESTAMP_US": Timestamp,
	"TIMESTAMPTZ": TimestampTZ, "TIMESTAMP WITH TIME ZONE": TimestampTZ,
	"VARCHAR": String, "STRING": String, "TEXT": String, "CHAR": String, "BPCHAR": String, "ENUM": String,
	"JSON": JSON, "UUID": UUID, "BLOB": Binary, "BYTEA": Binary, "BINARY": Binary, "VARBINARY": Binary,
}

// SQL returns the type as DuckDB writes it, for example STRUCT("lat" DOUBLE, "lon" DOUBLE)[].
func (t Type) SQL() string {
	switch t.Kind {
	case Decimal:
		return fmt.Sprintf("DECIMAL(%d,%d)", t.Precision, t.Scale)
	case List:
		return t.Elem.Type.SQL() + "[]"
	case Map:
		return "MAP(" + t.Key.Type.SQL() + ", " + t.Elem.Type.SQL() + ")"
	case Struct:
		var b strings.Builder
		b.WriteString("STRUCT(")
		for i, f := range t.Fields {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(QuoteIdent(f.Name) + " " + f.Type.SQL())
		}
		return b.String() + ")"
	}
	if s, ok := kindSQL[t.Kind]; ok {
		return s
	}
	return "INVALID"
}

// String returns SQL().
func (t Type) String() string { return t.SQL() }

// QuoteIdent quotes an SQL identifier.
func QuoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// QuoteLiteral quotes an SQL string literal.
func QuoteLiteral(s string) string { return `'` + strings.ReplaceAll(s, `'`, `''`) + `'` }

// ParseType reads an SQL type in DuckDB's syntax, case-insensitively: the names above,
// DECIMAL(p,s), T[], STRUCT(name T, …) and MAP(K, V), nested at will to a depth of 32.
func ParseType(s string) (Type, error) {
	p := typeParser{s: s}
	t, err := p.parse(0)
	if err == nil && p.skip() < len(p.s) {
		err = p.fail("unexpected text")
	}
	if err != nil {
		return Type{}, err
	}
	return t, nil
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
		} else {
			return b.String(), nil
		}
	}
	return "", p.fail("a quoted name does not end")
}

func (p *typeParser) parse(depth int) (Type, error) {
	if depth > 32 {
		return Type{}, p.fail("nesting is deeper than 32")
	}
	t, err := p.base(depth)
	for err == nil && p.take('[') {
		_ = p.word() // a fixed size, as in INTEGER[3], is stored as a list
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
		for p.i < len(p.s) && p.s[p.i] != ')' {
			p.i++
		}
		p.take(')')
		return Type{Kind: String}, nil
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
		_ = p.word()
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

func (p *typeParser) decimalType() (Type, error) {
	t := Type{Kind: Decimal, Precision: 18, Scale: 3}
	if !p.take('(') {
		return t, nil
	}
	var err error
	if t.Precision, err = strconv.Atoi(p.word()); err != nil || t.Precision < 1 || t.Precision > 38 {
		return Type{}, p.fail("the precision must be 1 to 38")
	}
	t.Scale = 0
	if p.take(',') {
		if t.Scale, err = strconv.Atoi(p.word()); err != nil || t.Scale < 0 || t.Scale > t.Precision {
			return Type{}, p.fail("the scale must be 0 to the precision")
		}
	}
	if !p.take(')') {
		return Type{}, p.fail(") is missing")
	}
	return t, nil
}
