package project

import (
	"path/filepath"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// Project is a valid project with every default filled in. Treat it as immutable: the engine, its
// plans and its handlers share one.
type Project struct {
	Dir       string // absolute folder it was read from by LoadDir, else empty
	Name      string
	Engines   Engines
	Server    Server
	Limits    Limits
	Pipelines []Pipeline // sorted by name
}

// URL is the address of an engine. It redacts itself; see v1.URL.
type URL = v1.URL

// Engines names where the parts live. Paths are relative to the project: see Project.Path.
type Engines struct {
	Stream   URL // embedded, or NATS addresses separated by commas
	Metadata URL // embedded, the path of a SQLite file, or a PostgreSQL URL
	Lake     URL // embedded, or the path of a folder
}

// Server is the HTTP listener.
type Server struct {
	Listen string // host:port
}

// Limits bounds one process (I8).
type Limits struct {
	RecordBytes      int64
	BodyBytes        int64 // after decompression, at least RecordBytes
	MemoryBytes      int64 // the whole process
	QueryMemoryBytes int64 // the part of MemoryBytes for queries
	QueryTimeout     time.Duration
}

// RecordKind says what a record is.
type RecordKind string

// The kinds of records.
const (
	RecordsJSON   RecordKind = "json"   // a JSON object
	RecordsOpaque RecordKind = "opaque" // bytes; one request body is one record
)

// Pipeline is one way of records: a door, a stream, transforms and tables.
type Pipeline struct {
	Name        string
	File        string // relative to the project
	Owner       string
	Description string
	Source      Source
	Records     RecordKind
	Stream      Stream
	Schema      *tarn.Schema // of the records as they arrive; nil when inferred
	Transforms  []Transform
	Deliveries  []Delivery // may be empty: the records stay in the stream
}

// Source is the door of a pipeline.
type Source struct {
	HTTP bool // producers post records; the only door yet
}

// Stream is the log of a pipeline. Its name is unique in the project.
type Stream struct {
	Name         string
	Shards       int
	Retention    time.Duration
	MaxBytes     int64  // of all shards together; 0 is unbounded
	PartitionKey string // dotted path into the record; empty for none
}

// Transform is one SQL statement over the relation records.
type Transform struct {
	SQL  string // the statement, without a semicolon at its end
	File string // where it stands, relative to the project; empty when it is in the pipeline's file
}

// SchemaChange says what is done about records with new or changed columns.
type SchemaChange string

// The ways to answer a schema change.
const (
	Evolve SchemaChange = "evolve" // add columns, widen numbers
	Fail   SchemaChange = "fail"   // the record becomes a failed record
	Ignore SchemaChange = "ignore" // new columns are left out; the record fails where it does not fit otherwise
)

// Delivery is one table fed by a pipeline. A table has one delivery in the project.
type Delivery struct {
	Table          string // zone.name
	PartitionBy    []tarn.PartitionField
	BufferBytes    int64 // flush when this much was read from the stream,
	BufferInterval time.Duration
	Compression    string // snappy, zstd or none
	OnSchemaChange SchemaChange
	SnapshotAge    time.Duration // older snapshots expire,
	SnapshotCount  int           // but never these newest
	Compact        bool
	FileBytes      int64 // what compaction aims at
}

// Pipeline returns the pipeline of that name, or nil.
func (p *Project) Pipeline(name string) *Pipeline {
	for i := range p.Pipelines {
		if p.Pipelines[i].Name == name {
			return &p.Pipelines[i]
		}
	}
	return nil
}

// Path returns a path of the project, such as Engines.Lake, as one that can be opened: absolute
// paths stay, others are taken from the project's folder.
func (p *Project) Path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Dir, filepath.FromSlash(name))
}
