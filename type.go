package tarn

import (
	"fmt"
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
