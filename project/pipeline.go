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
	if f.doc.Has("source") && m.Source.HTTP == nil {
		if known := f.doc.Fault("source", "", "", ""); !l.hasFaultUnder(name, known.Path) {
			l.fault(file, "source", CodeMissing, "the source names no door", "write http: {}")
		}
	}
	if m.Stream.MaxBytes > 0 && m.Stream.Shards > 0 && int64(m.Stream.MaxBytes)/int64(m.Stream.Shards) < 64<<20 {
		if int64(m.Stream.MaxBytes) >= 64<<20 { // below, the range has been reported
			l.fault(file, "stream.max_bytes", tarn.CodeInvalid, fmt.Sprintf("%s over %d shards are less than 64MiB for each", m.Stream.MaxBytes, m.Stream.Shards),
				fmt.Sprintf("raise it to %s, or have fewer shards", v1.ByteSize(m.Stream.Shards)*64<<20))
		}
	}
	if m.Records == string(RecordsOpaque) {
		if m.Stream.PartitionKey != "" {
			l.fault(file, "stream.partition_key", tarn.CodeInvalid, "opaque records have no keys", "take it away; producers may send a key with the request")
		}
		if len(m.Schema) > 0 {
			l.fault(file, "schema", tarn.CodeInvalid, "opaque records have no columns", "take it away, or write records: json")
		}
	}
	l.schema(file, m.Schema)
	known := l.transforms(&f)
	for i, d := range m.Deliver {
		path := fmt.Sprintf("deliver[%d]", i)
		if d.RawBackup {
			l.fault(file, path+".raw_backup", tarn.CodeUnsupported, "raw backup is not available yet", "take it away; the stream keeps the accepted bytes for its retention")
		}
		l.partition(file, path+".partition_by", d.PartitionBy, known)
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

// columnsIn says which columns a delivery partitions, where that is known.
type columnsIn struct {
	fields []tarn.Field
	from   string // "the declared schema", or "the result of sql/telemetry.sql"
}

// transforms reads and checks the statements and returns the columns after the last one, or nil
// when they are not known before data arrives.
func (l *loader) transforms(f *pipelineFile) *columnsIn {
	var known *columnsIn
	if s := schemaOf(f.model.Schema); s != nil && !l.hasFaultUnder(f.name, "schema") {
		known = &columnsIn{s.Fields, "the declared schema"}
	}
	for i, t := range f.model.Transform {
		path := fmt.Sprintf("transform[%d]", i)
		hasSQL, hasFunction := f.doc.Has(path+".sql"), f.doc.Has(path+".function")
		text := ""
		switch {
		case hasSQL && hasFunction:
			l.fault(f.yamlFile, path, tarn.CodeInvalid, "a step is either sql or a function", "write two steps")
		case hasFunction:
			if t.Function != "" {
				l.fault(f.yamlFile, path+".function", tarn.CodeUnsupported, "functions are not available yet", "transform with sql")
			}
		case hasSQL:
			if t.SQL != "" {
				text = l.sql(f.yamlFile, path+".sql", t.SQL)
			}
		case !l.hasFaultUnder(f.name, path):
			l.fault(f.yamlFile, path, CodeMissing, "the step does nothing", "write sql: sql/NAME.sql")
		}
		f.sql = append(f.sql, text)
		known = l.describe(f.yamlFile, path+".sql", t.SQL, text, known)
	}
	return known
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
	column := tarn.Schema{Fields: known.fields}.Lookup(field.Source)
	if column == nil {
		var names []string
		for _, c := range known.fields {
			names = append(names, c.Name)
		}
		l.fault(f, path, tarn.CodeInvalid, fmt.Sprintf("there is no column %s in %s", field.Source, known.from), columnHint(field.Source, names))
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
