package catalog

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// relation returns SQL text, usable after FROM, for the rows of the files as the columns say. Files
// that are read alike are read together; without files it is an empty relation.
func relation(files []*file, layouts []Layout, columns []SchemaColumn) string {
	type batch struct {
		layout Layout
		keys   []string
		paths  []string
		bytes  int64 // of the largest file
	}
	var batches []*batch
	at := map[string]*batch{}
	for _, f := range files {
		l := layouts[f.layout]
		keys := make([]string, 0, len(f.parts))
		for _, p := range f.parts {
			keys = append(keys, p.key)
		}
		if l.isJSON() {
			l.Columns = spelling(l.Columns, columns)
		}
		if l.Format == Avro {
			l.Format = Parquet // converted
		}
		id := l.key() + "\x00" + strings.Join(keys, "\x00")
		if at[id] == nil {
			at[id] = &batch{layout: l, keys: keys}
			batches = append(batches, at[id])
		}
		at[id].paths = append(at[id].paths, f.opened)
		at[id].bytes = max(at[id].bytes, f.size)
	}
	if len(batches) == 0 {
		return duck.Empty(tableSchema(columns))
	}
	parts := make([]string, len(batches))
	for i, b := range batches {
		parts[i] = "SELECT " + selectList(b.layout, b.keys, columns) + " FROM " + read(b.paths, b.bytes, b.layout, columns, b.keys)
	}
	return "(" + strings.Join(parts, " UNION ALL ") + ")"
}

// spelling keeps of JSON's columns those that the table spells otherwise. The others do not matter:
// JSON is read by name and straight into the types of the table.
func spelling(have []FileColumn, columns []SchemaColumn) []FileColumn {
	var out []FileColumn
	for _, c := range have {
		if at := columnIndex(columns, c.Name); at >= 0 && columns[at].Name != c.Name {
			out = append(out, FileColumn{Name: c.Name})
		}
	}
	return out
}

// asWritten is the name of a table's column in the file.
func asWritten(l Layout, name string) string {
	for _, c := range l.Columns {
		if fold(c.Name) == fold(name) {
			return c.Name
		}
	}
	return name
}

// selectList maps what a reader gives to the columns of the table.
func selectList(l Layout, keys []string, columns []SchemaColumn) string {
	list := make([]string, len(columns))
	for i, col := range columns {
		source, from := "", ""
		at := slices.IndexFunc(l.Columns, func(c FileColumn) bool { return fold(c.Name) == fold(col.Name) })
		key := slices.IndexFunc(keys, func(k string) bool { return fold(k) == fold(col.Name) })
		switch {
		case key >= 0:
			source, from = tarn.QuoteIdent(keys[key]), col.Type
		case l.isJSON():
			source, from = tarn.QuoteIdent(asWritten(l, col.Name)), col.Type
		case at >= 0 && l.Dialect != nil:
			source, from = tarn.QuoteIdent(csvColumn(at)), csvType(l.Columns[at], col)
		case at >= 0:
			source, from = tarn.QuoteIdent(l.Columns[at].Name), l.Columns[at].Type
		}
		switch {
		case source == "":
			source = "NULL::" + col.Type
		case from != col.Type:
			source = "CAST(" + source + " AS " + col.Type + ")"
		}
		list[i] = source + " AS " + tarn.QuoteIdent(col.Name)
	}
	return strings.Join(list, ", ")
}

func read(paths []string, bytes int64, l Layout, columns []SchemaColumn, keys []string) string {
	hive := hiveTypes(columns, keys)
	switch {
	case l.isJSON():
		return readJSON(paths, bytes, l, jsonColumns(l, columns, keys), hive)
	case l.Dialect != nil:
		types := make([]string, len(l.Columns))
		for i, c := range l.Columns {
			types[i] = "VARCHAR"
			if at := columnIndex(columns, c.Name); at >= 0 {
				types[i] = csvType(c, columns[at])
			}
		}
		return readCSV(paths, l, types, hive)
	}
	return "read_parquet(" + pathList(paths) + hiveArguments(hive) + ")"
}

// csvType is the type a column of a CSV file is read as. Into text it is read as it stands, so that
// 007 stays 007; otherwise as what it was found to be, and cast to the column's type from that.
func csvType(c FileColumn, col SchemaColumn) string {
	if c.Type == "" || col.Type == "VARCHAR" {
		return "VARCHAR"
	}
	return c.Type
}

// csvColumn names the columns of CSV files by place: their own names may be those of partitions.
func csvColumn(i int) string { return "c" + strconv.Itoa(i) }

// readCSV reads CSV without guessing. Nil types are those the columns were found to have.
func readCSV(paths []string, l Layout, types []string, hive []SchemaColumn) string {
	d, q := l.Dialect, tarn.QuoteLiteral
	var b strings.Builder
	b.WriteString("read_csv(" + pathList(paths) + ", auto_detect=false, columns={")
	for i, c := range l.Columns {
		t := c.Type
		if types != nil {
			t = types[i]
		}
		if t == "" {
			t = "VARCHAR"
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(csvColumn(i) + ": " + q(t))
	}
	fmt.Fprintf(&b, "}, delim=%s, quote=%s, escape=%s, comment=%s, skip=%d, header=%t, compression=%s",
		q(d.Delimiter), q(d.Quote), q(d.Escape), q(d.Comment), d.Skip, d.Header, q(compression(l)))
	for _, o := range []struct{ name, value string }{{"encoding", l.Encoding}, {"new_line", d.NewLine}, {"dateformat", d.Date}, {"timestampformat", d.Timestamp}} {
		if o.value != "" {
			b.WriteString(", " + o.name + "=" + q(o.value))
		}
	}
	return b.String() + hiveArguments(hive) + ")"
}

// sniffCSV asks DuckDB for dialect and columns; rows < 0 reads the whole file.
func sniffCSV(path string, l Layout, rows int64) string {
	s := fmt.Sprintf("sniff_csv(%s, sample_size=%d, compression=%s", tarn.QuoteLiteral(path), rows, tarn.QuoteLiteral(compression(l)))
	if l.Encoding != "" {
		s += ", encoding=" + tarn.QuoteLiteral(l.Encoding)
	}
	if l.Format == TSV {
		s += `, delim='\t'`
	}
	return s + ")"
}

// readJSON reads JSON objects by name as columns, which map names to SQL types. The largest of the
// files has so many bytes.
func readJSON(paths []string, bytes int64, l Layout, columns []FileColumn, hive []SchemaColumn) string {
	cols := make([]string, len(columns))
	for i, c := range columns {
		cols[i] = tarn.QuoteIdent(c.Name) + ": " + tarn.QuoteLiteral(c.Type)
	}
	return "read_json(" + pathList(paths) + ", auto_detect=false, records=true, columns={" + strings.Join(cols, ", ") + "}" + jsonArguments(l, bytes) + hiveArguments(hive) + ")"
}

// readJSONAuto lets DuckDB find the columns; rows < 0 reads the whole file.
func readJSONAuto(path string, bytes int64, l Layout, rows int64) string {
	return fmt.Sprintf("read_json(%s, sample_size=%d, records=true, convert_strings_to_integers=false%s%s)", pathList([]string{path}), rows, jsonArguments(l, bytes), hiveArguments(nil))
}

// jsonArguments bounds an object by the file it is in, because DuckDB takes twice the bound of memory
// for each file and thread (I8).
func jsonArguments(l Layout, bytes int64) string {
	if bytes = max(bytes, 64<<10); bytes > objectBytes || l.Compression != "" {
		bytes = objectBytes
	}
	format := "unstructured"
	switch {
	case l.Array:
		format = "array"
	case l.Format == NDJSON:
		format = "newline_delimited"
	}
	packed := compression(l)
	if packed == "none" {
		packed = "uncompressed" // the same, in the words of this reader
	}
	return fmt.Sprintf(", format='%s', compression='%s', maximum_object_size=%d", format, packed, bytes)
}

// jsonColumns are the columns of the table that JSON is read as: those that are not partitions of
// the file.
func jsonColumns(l Layout, columns []SchemaColumn, keys []string) []FileColumn {
	var out []FileColumn
	for _, c := range columns {
		if !slices.ContainsFunc(keys, func(k string) bool { return fold(k) == fold(c.Name) }) {
			out = append(out, FileColumn{Name: asWritten(l, c.Name), Type: c.Type})
		}
	}
	return out
}

func compression(l Layout) string {
	if l.Compression == "" {
		return "none"
	}
	return l.Compression
}

func pathList(paths []string) string {
	q := make([]string, len(paths))
	for i, p := range paths {
		q[i] = tarn.QuoteLiteral(p)
	}
	return "[" + strings.Join(q, ", ") + "]"
}

// hiveTypes are the partition columns that come from the folders of files with these keys.
func hiveTypes(columns []SchemaColumn, keys []string) []SchemaColumn {
	var out []SchemaColumn
	for _, k := range keys {
		t := "VARCHAR"
		if i := columnIndex(columns, k); i >= 0 {
			t = columns[i].Type
		}
		out = append(out, SchemaColumn{Name: k, Type: t})
	}
	return out
}

func hiveArguments(hive []SchemaColumn) string {
	if len(hive) == 0 {
		return ", hive_partitioning=false"
	}
	types := make([]string, len(hive))
	for i, c := range hive {
		types[i] = tarn.QuoteIdent(c.Name) + ": " + tarn.QuoteLiteral(c.Type)
	}
	return ", hive_partitioning=true, hive_types_autocast=false, hive_types={" + strings.Join(types, ", ") + "}"
}
