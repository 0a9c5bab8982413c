package project

import (
	"fmt"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// deliver checks one delivery by itself. known are the columns it gets.
func (l *loader) deliver(f pipelineFile, i int, known *columnsIn) {
	d, path := f.model.Deliver[i], fmt.Sprintf("deliver[%d]", i)
	places := l.stated(f.yamlFile, path, "table", "database", "cleaned")
	switch {
	case len(places) == 0:
		if !l.hasFaultUnder(f.name, path) {
			l.fault(f.yamlFile, path, CodeMissing, "the delivery goes nowhere", "write table: "+v1.Zone+".NAME")
		}
		return
	case len(places) > 1:
		l.fault(f.yamlFile, path+"."+places[1], tarn.CodeInvalid, "a delivery goes to one place, and this one has "+places[0], "write a delivery for each")
		return
	case places[0] != "table":
		for _, key := range l.stated(f.yamlFile, path, "partition_by", "compression", "on_schema_change", "maintenance") {
			l.fault(f.yamlFile, path+"."+key, tarn.CodeInvalid, key+" is for tables", "take it away")
		}
	}
	if d.Cleaned != "" {
		l.cleaned(f, path+".cleaned")
	}
	if d.Database != nil {
		l.database(f.yamlFile, path+".database", d.Database, known)
	}
	if d.When != "" {
		if f.model.Source.Files == nil {
			l.fault(f.yamlFile, path+".when", tarn.CodeInvalid, "only files are routed by when, and the source is none", "use filter, or source: files")
		} else {
			l.condition(f.yamlFile, path+".when", d.When, &columnsIn{WhenColumns().Fields, "what is known of a file"})
		}
	}
	l.partition(f.yamlFile, path+".partition_by", d.PartitionBy, known)
}

// cleaned refuses what a pipeline declares and records kept as they are would not show.
func (l *loader) cleaned(f pipelineFile, path string) {
	calls, sql := false, false
	for i, t := range f.model.Transform {
		calls, sql = calls || t.Function != "", sql || t.SQL != ""
		switch at := fmt.Sprintf("transform[%d]", i); {
		case len(t.Mask) > 0:
			l.fault(f.yamlFile, path, tarn.CodeInvalid, "cleaned keeps records as they are, with the columns that "+at+" masks", "mask them in a function, or deliver to tables only")
		case sql && (t.Filter != "" || len(t.Validate) > 0):
			l.fault(f.yamlFile, path, tarn.CodeInvalid, "cleaned keeps records as they are before the first sql, and "+at+" judges what comes after it", "move "+at+" before sql")
		}
	}
	if f.model.Records == string(RecordsOpaque) && !calls {
		l.fault(f.yamlFile, path, tarn.CodeInvalid, "cleaned holds JSON records, and these are opaque", "write raw_backup: true, which keeps any bytes, or make JSON of them in a function")
	}
}

// database checks a table outside of Tarn.
func (l *loader) database(f yamlFile, path string, d *v1.Database, known *columnsIn) {
	var name v1.Name
	if d.Table != "" && d.Name == "" && name.UnmarshalText([]byte(d.Table.DeliveryName())) != nil {
		l.fault(f, path, CodeMissing, fmt.Sprintf("the table %s does not make a name for the delivery", d.Table), "write name: NAME")
	}
	switch {
	case d.Mode == string(Upsert) && len(d.Key) == 0 && !l.hasFaultUnder(f.name, path+".key"):
		l.fault(f, path+".key", CodeMissing, "upsert needs the key that rows are found by", "for example key: user_id")
	case d.Mode == string(Append) && len(d.Key) > 0:
		l.fault(f, path+".key", tarn.CodeInvalid, "append does not look at keys", "write mode: upsert, or take the key away")
	}
	for i, key := range d.Key {
		at := fmt.Sprintf("%s.key[%d]", path, i)
		for _, before := range d.Key[:i] {
			if key != "" && before == key {
				l.fault(f, at, CodeDuplicateKey, "the column "+string(key)+" stands there already", "keep one of them")
				break
			}
		}
		l.column(f, at, key, known)
	}
}

// column reports a column that is not there, where that is known, and returns it otherwise.
func (l *loader) column(f yamlFile, path string, name v1.ColumnName, known *columnsIn) *tarn.Field {
	if known == nil || name == "" {
		return nil
	}
	if c := (tarn.Schema{Fields: known.fields}).Lookup(string(name)); c != nil {
		return c
	}
	var names []string
	for _, c := range known.fields {
		names = append(names, c.Name)
	}
	l.fault(f, path, tarn.CodeInvalid, fmt.Sprintf("there is no column %s in %s", name, known.from), columnHint(string(name), names))
	return nil
}
