package project

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// fromModel returns the settings of tarn.yaml as a spec without pipelines.
func fromModel(m v1.Project) *Project {
	return &Project{
		Name:    string(m.Name),
		Engines: Engines{Stream: m.Engines.Stream.URL, Metadata: m.Engines.Metadata.URL, Lake: m.Engines.Lake.URL},
		Server:  Server{Listen: string(m.Server.Listen)},
		Limits: Limits{RecordBytes: int64(m.Limits.Record), BodyBytes: int64(m.Limits.Body), MemoryBytes: int64(m.Limits.Memory),
			QueryMemoryBytes: int64(m.Limits.QueryMemory), QueryTimeout: time.Duration(m.Limits.QueryTimeout)},
	}
}

// pipelineFromModel returns the spec of a pipeline file; sql holds the statements of its transforms.
func pipelineFromModel(file string, m v1.Pipeline, sql []string) Pipeline {
	p := Pipeline{
		Name: string(m.Pipeline), File: file, Owner: m.Owner, Description: m.Description,
		Source: Source{HTTP: true}, Records: RecordKind(m.Records), Schema: schemaOf(m.Schema),
		Stream: Stream{Name: string(m.Stream.Name), Shards: m.Stream.Shards, Retention: time.Duration(m.Stream.Retention),
			MaxBytes: int64(m.Stream.MaxBytes), PartitionKey: string(m.Stream.PartitionKey)},
	}
	if p.Stream.Name == "" {
		p.Stream.Name = p.Name
	}
	for i, t := range m.Transform {
		one := Transform{SQL: sql[i]}
		if !t.SQL.Inline() {
			one.File = string(t.SQL)
		}
		p.Transforms = append(p.Transforms, one)
	}
	for _, d := range m.Deliver {
		one := Delivery{
			Name: string(d.Table), Table: string(d.Table), BufferBytes: int64(d.Buffer.Size), BufferInterval: time.Duration(d.Buffer.Interval),
			Compression: d.Compression, OnSchemaChange: SchemaChange(d.OnSchemaChange),
			SnapshotAge: time.Duration(d.Maintenance.SnapshotAge), SnapshotCount: d.Maintenance.SnapshotCount,
			Compact: d.Maintenance.Compact, FileBytes: int64(d.Maintenance.FileSize),
		}
		for _, f := range d.PartitionBy {
			one.PartitionBy = append(one.PartitionBy, f.Field())
		}
		p.Deliveries = append(p.Deliveries, one)
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

// toModel is the inverse of fromModel.
func (p *Project) toModel() v1.Project {
	return v1.Project{
		Version: v1.Version, Name: v1.Name(p.Name),
		Engines: v1.Engines{Stream: v1.StreamURL{URL: p.Engines.Stream}, Metadata: v1.MetadataURL{URL: p.Engines.Metadata}, Lake: v1.LakeURL{URL: p.Engines.Lake}},
		Server:  v1.Server{Listen: v1.Address(p.Server.Listen)},
		Limits: v1.Limits{Record: v1.ByteSize(p.Limits.RecordBytes), Body: v1.ByteSize(p.Limits.BodyBytes), Memory: v1.ByteSize(p.Limits.MemoryBytes),
			QueryMemory: v1.ByteSize(p.Limits.QueryMemoryBytes), QueryTimeout: v1.Duration(p.Limits.QueryTimeout)},
	}
}

// toModel is the inverse of pipelineFromModel.
func (p *Pipeline) toModel() v1.Pipeline {
	m := v1.Pipeline{
		Pipeline: v1.Name(p.Name), Owner: p.Owner, Description: p.Description, Source: v1.Source{HTTP: &v1.HTTPSource{}},
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
		sql := v1.SQL(t.SQL)
		if t.File != "" {
			sql = v1.SQL(t.File)
		}
		m.Transform = append(m.Transform, v1.Transform{SQL: sql})
	}
	for _, d := range p.Deliveries {
		one := v1.Delivery{
			Table: v1.TableName(d.Table), Buffer: v1.Buffer{Size: v1.ByteSize(d.BufferBytes), Interval: v1.Duration(d.BufferInterval)},
			Compression: d.Compression, OnSchemaChange: string(d.OnSchemaChange),
			Maintenance: v1.Maintenance{SnapshotAge: v1.Duration(d.SnapshotAge), SnapshotCount: d.SnapshotCount, Compact: d.Compact, FileSize: v1.ByteSize(d.FileBytes)},
		}
		for _, f := range d.PartitionBy {
			one.PartitionBy = append(one.PartitionBy, v1.PartitionField(f.String()))
		}
		m.Deliver = append(m.Deliver, one)
	}
	return m
}

// document is the JSON form of a Project, which the engine keeps to plan against.
type document struct {
	Project   v1.Project         `json:"project"`
	Pipelines []pipelineDocument `json:"pipelines"`
}

type pipelineDocument struct {
	File string `json:"file"`
	v1.Pipeline
	SQL []string `json:"sql,omitempty"` // the statements, as the files held them
}

// MarshalJSON implements json.Marshaler: the effective settings under the keys of the YAML files,
// with the text of every SQL file. Passwords in addresses are not in it (I7).
func (p *Project) MarshalJSON() ([]byte, error) {
	doc := document{Project: p.toModel(), Pipelines: []pipelineDocument{}}
	for i := range p.Pipelines {
		pd := pipelineDocument{File: p.Pipelines[i].File, Pipeline: p.Pipelines[i].toModel()}
		for _, t := range p.Pipelines[i].Transforms {
			pd.SQL = append(pd.SQL, t.SQL)
		}
		doc.Pipelines = append(doc.Pipelines, pd)
	}
	return json.Marshal(doc)
}

// UnmarshalJSON implements json.Unmarshaler for what MarshalJSON writes. Dir is not part of it.
func (p *Project) UnmarshalJSON(b []byte) error {
	var doc document
	if err := json.Unmarshal(b, &doc); err != nil {
		return err
	}
	if doc.Project.Version != v1.Version {
		return &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("version %d of the project format is not known", doc.Project.Version)}
	}
	*p = *fromModel(doc.Project)
	for _, pd := range doc.Pipelines {
		if len(pd.SQL) != len(pd.Transform) {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the stored project lacks the SQL of pipeline " + string(pd.Pipeline.Pipeline)}
		}
		p.Pipelines = append(p.Pipelines, pipelineFromModel(pd.File, pd.Pipeline, pd.SQL))
	}
	p.sort()
	return nil
}

func (p *Project) sort() {
	slices.SortFunc(p.Pipelines, func(a, b Pipeline) int { return strings.Compare(a.Name, b.Name) })
}
