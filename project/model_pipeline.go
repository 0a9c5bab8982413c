package project

import (
	"cmp"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// pipelineFromModel returns the spec of a pipeline file; sql holds the statements of its
// transforms, "" for steps of another kind.
func pipelineFromModel(file string, m v1.Pipeline, sql []string) Pipeline {
	p := Pipeline{
		Name: string(m.Pipeline), File: file, Owner: m.Owner, Description: m.Description,
		Source: sourceFromModel(m.Source), Records: RecordKind(m.Records), Schema: schemaOf(m.Schema),
		Stream: Stream{Name: string(cmp.Or(m.Stream.Name, m.Pipeline)), Shards: m.Stream.Shards, Retention: time.Duration(m.Stream.Retention),
			MaxBytes: int64(m.Stream.MaxBytes), PartitionKey: string(m.Stream.PartitionKey)},
	}
	for i, t := range m.Transform {
		p.Transforms = append(p.Transforms, transformFromModel(t, sql[i]))
	}
	for _, d := range m.Deliver {
		p.RawBackup = p.RawBackup || d.RawBackup
		p.Deliveries = append(p.Deliveries, deliveryFromModel(d))
	}
	return p
}

// schemaOf returns the declared columns, nil for none.
func schemaOf(columns []v1.Column) *tarn.Schema {
	if len(columns) == 0 {
		return nil
	}
	s := &tarn.Schema{}
	for _, c := range columns {
		s.Fields = append(s.Fields, tarn.Field{Name: string(c.Name), Type: c.Type.Type(), Required: c.Required, Doc: c.Doc})
	}
	return s
}

func sourceFromModel(m v1.Source) Source {
	switch {
	case m.Files != nil:
		f := m.Files
		return Source{Files: &FileSource{Path: string(f.Path), Match: string(f.Match), Format: FileFormat(f.Format), Settle: time.Duration(f.Settle),
			CSV: CSVOptions{Delimiter: string(f.CSV.Delimiter), Header: unlessAuto(f.CSV.Header), Encoding: unlessAuto(f.CSV.Encoding)}}}
	case m.Function != "":
		return Source{Function: &FunctionSource{Function: string(m.Function), Schedule: m.Schedule, Every: time.Duration(m.Every),
			Continuous: m.Continuous, CatchUp: CatchUp(m.CatchUp)}}
	}
	return Source{HTTP: true}
}

// auto is how a file writes what is to be found out; the spec leaves it empty.
const auto = "auto"

func unlessAuto(s string) string {
	if s == auto {
		return ""
	}
	return s
}

func transformFromModel(m v1.Transform, sql string) Transform {
	t := Transform{Function: string(m.Function), SQL: sql, Filter: string(m.Filter)}
	if !m.SQL.Inline() {
		t.File = string(m.SQL)
	}
	for _, x := range m.Mask {
		t.Mask = append(t.Mask, Mask{Column: string(x.Column), Method: MaskMethod(x.Method.Method()), Length: x.Method.Truncate})
	}
	for _, x := range m.Rename {
		t.Rename = append(t.Rename, Rename{From: string(x.From), To: string(x.To)})
	}
	for _, x := range m.Validate {
		t.Validate = append(t.Validate, Rule{Name: string(x.Name), Condition: string(x.Check), OnFail: OnFail(x.OnFail)})
	}
	return t
}

// databaseInterval is the default interval of a delivery to a database.
const databaseInterval = time.Second

func deliveryFromModel(m v1.Delivery) Delivery {
	d := Delivery{Name: deliveryName(m), Table: string(m.Table), Cleaned: string(m.Cleaned), When: string(m.When),
		BufferBytes: int64(m.Buffer.Size), BufferInterval: time.Duration(m.Buffer.Interval)}
	if m.Database != nil {
		d.Database = &DatabaseTarget{Name: string(databaseName(m.Database)), URL: m.Database.URL.URL, Table: string(m.Database.Table), Mode: DatabaseMode(m.Database.Mode)}
		for _, c := range m.Database.Key {
			d.Database.Key = append(d.Database.Key, string(c))
		}
	}
	if m.Database != nil && d.BufferInterval == v1.DefaultInterval { // a commit there makes no files
		d.BufferInterval = databaseInterval
	}
	if m.Table == "" {
		return d
	}
	d.Compression, d.OnSchemaChange = m.Compression, SchemaChange(m.OnSchemaChange)
	d.SnapshotAge, d.SnapshotCount = time.Duration(m.Maintenance.SnapshotAge), m.Maintenance.SnapshotCount
	d.Compact, d.FileBytes = m.Maintenance.Compact, int64(m.Maintenance.FileSize)
	for _, f := range m.PartitionBy {
		d.PartitionBy = append(d.PartitionBy, f.Field())
	}
	return d
}

// deliveryName returns the name that progress is kept under, "" where nothing is named.
func deliveryName(m v1.Delivery) string {
	switch {
	case m.Table != "":
		return string(m.Table)
	case m.Database != nil && databaseName(m.Database) != "":
		return "database." + string(databaseName(m.Database))
	case m.Cleaned != "":
		return "cleaned." + string(m.Cleaned)
	}
	return ""
}

func databaseName(m *v1.Database) v1.Name { return cmp.Or(m.Name, m.Table.DeliveryName()) }

// toModel is the inverse of pipelineFromModel.
func (p *Pipeline) toModel() v1.Pipeline {
	m := v1.Pipeline{
		Pipeline: v1.Name(p.Name), Owner: p.Owner, Description: p.Description, Source: p.Source.toModel(),
		Records: string(p.Records), Deliver: []v1.Delivery{},
		Stream: v1.Stream{Name: v1.Name(p.Stream.Name), Shards: p.Stream.Shards, Retention: v1.Duration(p.Stream.Retention),
			MaxBytes: v1.ByteSize(p.Stream.MaxBytes), PartitionKey: v1.KeyPath(p.Stream.PartitionKey)},
	}
	if p.Schema != nil {
		for _, f := range p.Schema.Fields {
			m.Schema = append(m.Schema, v1.Column{Name: v1.ColumnName(f.Name), Type: v1.SQLType(f.Type.SQL()), Doc: f.Doc, Required: f.Required})
		}
	}
	for _, t := range p.Transforms {
		m.Transform = append(m.Transform, t.toModel())
	}
	for i, d := range p.Deliveries {
		one := d.toModel()
		one.RawBackup = p.RawBackup && i == 0
		m.Deliver = append(m.Deliver, one)
	}
	return m
}

func (s Source) toModel() v1.Source {
	switch {
	case s.Files != nil:
		f := s.Files
		return v1.Source{Files: &v1.FileSource{Path: v1.FolderPath(f.Path), Match: v1.Glob(f.Match), Format: string(f.Format), Settle: v1.Duration(f.Settle),
			CSV: v1.CSV{Delimiter: v1.Character(f.CSV.Delimiter), Header: cmp.Or(f.CSV.Header, auto), Encoding: cmp.Or(f.CSV.Encoding, auto)}}}
	case s.Function != nil:
		f := s.Function
		return v1.Source{Function: v1.Name(f.Function), Schedule: f.Schedule, Every: v1.Duration(f.Every), Continuous: f.Continuous, CatchUp: string(f.CatchUp)}
	}
	return v1.Source{HTTP: &v1.HTTPSource{}}
}

func (t Transform) toModel() v1.Transform {
	m := v1.Transform{Function: v1.Name(t.Function), SQL: v1.SQL(cmp.Or(t.File, t.SQL)), Filter: v1.Condition(t.Filter)}
	for _, x := range t.Mask {
		m.Mask = append(m.Mask, v1.Mask{Column: v1.ColumnName(x.Column), Method: v1.NewMaskMethod(string(x.Method), x.Length)})
	}
	for _, x := range t.Rename {
		m.Rename = append(m.Rename, v1.Rename{From: v1.ColumnName(x.From), To: v1.ColumnName(x.To)})
	}
	for _, x := range t.Validate {
		m.Validate = append(m.Validate, v1.Rule{Name: v1.Name(x.Name), Check: v1.Condition(x.Condition), OnFail: string(x.OnFail)})
	}
	return m
}

func (d Delivery) toModel() v1.Delivery {
	m := v1.Delivery{
		Table: v1.TableName(d.Table), Cleaned: v1.Name(d.Cleaned), When: v1.Condition(d.When),
		Buffer:      v1.Buffer{Size: v1.ByteSize(d.BufferBytes), Interval: v1.Duration(d.BufferInterval)},
		Compression: d.Compression, OnSchemaChange: string(d.OnSchemaChange),
		Maintenance: v1.Maintenance{SnapshotAge: v1.Duration(d.SnapshotAge), SnapshotCount: d.SnapshotCount, Compact: d.Compact, FileSize: v1.ByteSize(d.FileBytes)},
	}
	for _, f := range d.PartitionBy {
		m.PartitionBy = append(m.PartitionBy, v1.PartitionField(f.String()))
	}
	if t := d.Database; t != nil {
		m.Database = &v1.Database{Name: v1.Name(t.Name), URL: v1.DatabaseURL{URL: t.URL}, Table: v1.TargetTable(t.Table), Mode: string(t.Mode)}
		for _, c := range t.Key {
			m.Database.Key = append(m.Database.Key, v1.ColumnName(c))
		}
	}
	return m
}
