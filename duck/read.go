package duck

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
)

// ReadParquet returns SQL text, usable after FROM, that reads the files by field id as schema says:
// renamed, widened, added and dropped columns come out right for files of any age, and a column a
// file lacks is NULL. Without files it is an empty relation of the schema's columns. The caller may
// add an alias. Every top-level field needs an ID.
func ReadParquet(files []string, schema tarn.Schema) string {
	if len(files) == 0 {
		return Empty(schema)
	}
	var b strings.Builder
	b.WriteString("read_parquet([")
	for i, f := range files {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(tarn.QuoteLiteral(f))
	}
	b.WriteString("], ")
	b.WriteString(ParquetSchema(schema))
	b.WriteString(", hive_partitioning=false)")
	return b.String()
}

// ReadPlainParquet is ReadParquet for files that all hold the same columns with the same names and
// types. Without the mapping DuckDB reads single members of structs, which is up to twice as fast.
func ReadPlainParquet(files []string) string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = tarn.QuoteLiteral(f)
	}
	return "read_parquet([" + strings.Join(names, ", ") + "], hive_partitioning=false)"
}

// ParquetSchema returns the schema argument of ReadParquet alone.
func ParquetSchema(schema tarn.Schema) string {
	var b strings.Builder
	b.WriteString("schema=MAP{")
	for i, f := range schema.Fields {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%d: {name: %s, type: %s, default_value: NULL}", f.ID, tarn.QuoteLiteral(f.Name), tarn.QuoteLiteral(f.Type.SQL()))
	}
	b.WriteByte('}')
	return b.String()
}

// Empty returns SQL text, usable after FROM, for a relation of schema without rows.
func Empty(schema tarn.Schema) string {
	var b strings.Builder
	b.WriteString("(SELECT ")
	for i, f := range schema.Fields {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString("NULL::" + f.Type.SQL() + " AS " + tarn.QuoteIdent(f.Name))
	}
	b.WriteString(" WHERE false)")
	return b.String()
}

// ReadNDJSON returns SQL text, usable after FROM, that reads newline-delimited JSON objects strictly
// as columns say: a member that is not named is left out, one that is missing is NULL, one that
// does not fit fails the statement (see AsJSONFault), and so does one with a repeated key. DuckDB
// rounds a number with a fraction into an integer column, and cuts the offset of a TIMESTAMP: callers
// keep such records away by their shape, or read another type and convert (package infer does both).
//
// A record longer than recordBytes, and than 16 MiB, fails the statement. DuckDB reads files in pieces of
// twice that size, one thread a piece; so Values and Copy bound how many statements do so at once.
func ReadNDJSON(files []string, columns tarn.Schema, recordBytes int) string {
	if len(files) == 0 {
		return Empty(columns)
	}
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = tarn.QuoteLiteral(f)
	}
	cols := make([]string, len(columns.Fields))
	for i, f := range columns.Fields {
		cols[i] = tarn.QuoteIdent(f.Name) + ": " + tarn.QuoteLiteral(f.Type.SQL())
	}
	return "read_json([" + strings.Join(names, ", ") + "], " + linesFormat + ", columns={" + strings.Join(cols, ", ") +
		"}, maximum_object_size=" + strconv.Itoa(recordBytes) + ")"
}

// FieldIDs returns the FIELD_IDS argument of COPY for the fields of schema that have an ID.
func FieldIDs(schema tarn.Schema) string { return "{" + fieldIDs(schema.Fields) + "}" }

func fieldIDs(fields []tarn.Field) string {
	var parts []string
	for _, f := range fields {
		if f.ID != 0 {
			parts = append(parts, tarn.QuoteIdent(f.Name)+": "+fieldID(f))
		}
	}
	return strings.Join(parts, ", ")
}

// fieldID writes the id of one field, with its children's where it has any. DuckDB calls the
// children of lists "element" and those of maps "key" and "value", as Iceberg does.
func fieldID(f tarn.Field) string {
	var kids []tarn.Field
	switch f.Type.Kind {
	case tarn.Struct:
		kids = f.Type.Fields
	case tarn.List:
		e := *f.Type.Elem
		e.Name = "element"
		kids = []tarn.Field{e}
	case tarn.Map:
		k, v := *f.Type.Key, *f.Type.Elem
		k.Name, v.Name = "key", "value"
		kids = []tarn.Field{k, v}
	default:
		return strconv.Itoa(f.ID)
	}
	id := "{__duckdb_field_id: " + strconv.Itoa(f.ID)
	if s := fieldIDs(kids); s != "" {
		id += ", " + s
	}
	return id + "}"
}
