package project

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// pipeline reads and checks one pipeline file by itself.
func (l *loader) pipeline(name string) (pipelineFile, bool) {
	f := pipelineFile{}
	file, ok := l.decode(name, &f.model, "", "write pipeline: NAME, or remove the file")
	if !ok {
		return f, false
	}
	f.yamlFile = file
	m := &f.model
	l.source(f)
	if m.Stream.MaxBytes > 0 && m.Stream.Shards > 0 && int64(m.Stream.MaxBytes)/int64(m.Stream.Shards) < 64<<20 {
		if int64(m.Stream.MaxBytes) >= 64<<20 { // below, the range has been reported
			l.fault(file, "stream.max_bytes", tarn.CodeInvalid, fmt.Sprintf("%s over %d shards are less than 64MiB for each", m.Stream.MaxBytes, m.Stream.Shards),
				fmt.Sprintf("raise it to %s, or have fewer shards", v1.ByteSize(m.Stream.Shards)*64<<20))
		}
	}
	if m.Records == string(RecordsOpaque) {
		if m.Source.Files != nil {
			l.fault(file, "records", tarn.CodeInvalid, "files are parted into records, and opaque ones have no parts",
				"take it away, or write source: http: {} and post each file as one record")
		}
		if m.Stream.PartitionKey != "" {
			l.fault(file, "stream.partition_key", tarn.CodeInvalid, "opaque records have no keys", "take it away; producers may send a key with the request")
		}
		if len(m.Schema) > 0 {
			l.fault(file, "schema", tarn.CodeInvalid, "opaque records have no columns", "take it away, or write records: json")
		}
	}
	l.schema(file, m.Schema)
	known := l.transforms(&f)
	for i := range m.Deliver {
		l.deliver(f, i, known)
	}
	return f, true
}

func (l *loader) hasFaultUnder(file, path string) bool {
	return slices.ContainsFunc(l.faults, func(f Fault) bool { return f.File == file && strings.HasPrefix(f.Path, path) })
}

// schema checks what no column shows alone.
func (l *loader) schema(f yamlFile, columns []v1.Column) {
	if f.doc.Has("schema") && len(columns) == 0 && !l.hasFaultUnder(f.name, "schema") {
		l.fault(f, "schema", CodeMissing, "the schema has no columns", "take the key away to have them inferred")
	}
	for i, c := range columns {
		path := fmt.Sprintf("schema[%d]", i)
		for _, before := range columns[:i] {
			if c.Name != "" && strings.EqualFold(string(before.Name), string(c.Name)) {
				code, hint := CodeDuplicateKey, "keep one of them"
				if before.Name != c.Name {
					code, hint = tarn.CodeConflict, "SQL does not tell upper from lower case"
				}
				l.fault(f, path+".name", code, fmt.Sprintf("the column %s stands there already as %s", c.Name, before.Name), hint)
				break
			}
		}
		if a, b, twice := foldedTwins(c.Type.Type()); twice {
			l.fault(f, path+".type", tarn.CodeConflict, fmt.Sprintf("the fields %s and %s have one name", a, b), "SQL does not tell upper from lower case")
		}
	}
}

// foldedTwins finds two fields of one struct, at any depth, that differ in case only.
func foldedTwins(t tarn.Type) (a, b string, found bool) {
	for i, f := range t.Fields {
		for _, before := range t.Fields[:i] {
			if strings.EqualFold(before.Name, f.Name) {
				return before.Name, f.Name, true
			}
		}
		if a, b, found = foldedTwins(f.Type); found {
			return a, b, found
		}
	}
	for _, inner := range []*tarn.Field{t.Key, t.Elem} {
		if inner != nil {
			if a, b, found = foldedTwins(inner.Type); found {
				return a, b, found
			}
		}
	}
	return "", "", false
}

// partition checks the partition fields of a table against each other and against its columns.
func (l *loader) partition(f yamlFile, path string, fields []v1.PartitionField, known *columnsIn) {
	owner := map[string]string{} // folder key in the Hive path → the field that writes it
	for i, pf := range fields {
		if pf == "" {
			continue // it has a fault already
		}
		at, field := fmt.Sprintf("%s[%d]", path, i), pf.Field()
		for _, key := range hiveKeys(field) {
			if other, taken := owner[key]; taken {
				detail, hint := fmt.Sprintf("%s and %s both write the folder %s=", other, pf, key), "keep one of them"
				if other == string(pf) {
					detail = string(pf) + " stands there already"
				}
				l.fault(f, at, tarn.CodeConflict, detail, hint)
				break
			}
			owner[key] = string(pf)
		}
		if known != nil {
			l.partitionColumn(f, at, field, known)
		}
	}
}

// hiveKeys returns the keys of the folders that a field makes: year=2026/month=11/date=20/hour=03.
func hiveKeys(f tarn.PartitionField) []string {
	switch f.Transform {
	case tarn.Hour:
		return []string{"year", "month", "date", "hour"}
	case tarn.Day:
		return []string{"year", "month", "date"}
	case tarn.Month:
		return []string{"year", "month"}
	case tarn.Year:
		return []string{"year"}
	}
	return []string{f.Name()}
}

// partitionKinds are the kinds that delivery divides by with each transform: fewer than Iceberg
// defines. Identity leaves out what has no exact or no short text, which a folder is named by.
var partitionKinds = map[tarn.Transform][]tarn.Kind{
	tarn.Hour:     {tarn.Timestamp, tarn.TimestampTZ},
	tarn.Day:      {tarn.Date, tarn.Timestamp, tarn.TimestampTZ},
	tarn.Month:    {tarn.Date, tarn.Timestamp, tarn.TimestampTZ},
	tarn.Year:     {tarn.Date, tarn.Timestamp, tarn.TimestampTZ},
	tarn.Bucket:   {tarn.String, tarn.Int, tarn.Long, tarn.Date, tarn.Timestamp, tarn.TimestampTZ},
	tarn.Truncate: {tarn.String, tarn.Int, tarn.Long},
	tarn.Identity: {tarn.Boolean, tarn.Int, tarn.Long, tarn.Decimal, tarn.Date, tarn.Time,
		tarn.Timestamp, tarn.TimestampTZ, tarn.String, tarn.UUID, tarn.Binary},
}

func (l *loader) partitionColumn(f yamlFile, path string, field tarn.PartitionField, known *columnsIn) {
	column := l.column(f, path, v1.ColumnName(field.Source), known)
	if column == nil {
		return
	}
	if kinds := partitionKinds[field.Transform]; !slices.Contains(kinds, column.Type.Kind) {
		var names []string
		for _, k := range kinds {
			t := tarn.Type{Kind: k, Precision: 18, Scale: 3}
			names = append(names, t.SQL())
		}
		l.fault(f, path, tarn.CodeInvalid, fmt.Sprintf("%s cannot divide by %s, which is %s", field.Transform, field.Source, column.Type),
			"it takes "+strings.Join(names, ", "))
	}
}
