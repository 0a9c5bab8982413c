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
	Auth      Auth
	Limits    Limits
	Zones     Zones
	Functions []Function // sorted by name
	Pipelines []Pipeline // sorted by name
	Crawlers  []Crawler  // sorted by name
	Twins     []Twin     // sorted by name
	Extracts  []Extract  // sorted by name
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

// Zones are the lifecycle rules of the zones whose objects are not table data.
type Zones struct {
	Raw, Cleaned Zone
}

// Zone is the lifecycle rule of one zone. The zero value keeps everything.
type Zone struct {
	ExpireAfter  time.Duration // objects older than this are deleted; 0 is never
	KeepVersions int           // the newest versions of one object that stay; 0 is all
}

// RecordKind says what a record is.
type RecordKind string

// The kinds of records.
const (
	RecordsJSON   RecordKind = "json"   // a JSON object
	RecordsOpaque RecordKind = "opaque" // bytes; one request body is one record
)

// Pipeline is one way of records: a door, a stream, transforms and deliveries.
type Pipeline struct {
	Name        string
	File        string // relative to the project
	Owner       string
	Description string
	Source      Source
	Records     RecordKind
	Stream      Stream
	RawBackup   bool         // keep exactly the accepted bytes of the stream in the zone raw (I5)
	Schema      *tarn.Schema // of the records as they arrive, or as the functions return them; nil when inferred
	Transforms  []Transform  // function steps come first
	Deliveries  []Delivery   // may be empty: the records stay in the stream
}

// Stream is the log of a pipeline. Its name is unique in the project.
type Stream struct {
	Name         string
	Shards       int
	Retention    time.Duration
	MaxBytes     int64  // of all shards together; 0 is unbounded
	PartitionKey string // dotted path into the record; empty for none
}

// SchemaChange says what is done about records with new or changed columns.
type SchemaChange string

// The ways to answer a schema change.
const (
	Evolve SchemaChange = "evolve" // add columns, widen numbers
	Fail   SchemaChange = "fail"   // the record becomes a failed record
	Ignore SchemaChange = "ignore" // new columns are left out; the record fails where it does not fit otherwise
)

// Delivery is one place that a pipeline feeds: exactly one of Table, Database and Cleaned is set.
// What the groups of settings say holds for tables only and is zero for others.
type Delivery struct {
	// Name is unique in the project and stays when the place does: progress is kept under it. It
	// is the table's name, database.NAME or cleaned.NAME.
	Name     string
	Table    string // zone.name, an Iceberg table
	Database *DatabaseTarget
	Cleaned  string // the name in the zone cleaned: records that passed, in their original format

	// When is an SQL condition over WhenColumns that chooses the files which are delivered here;
	// empty for all. Only pipelines with Source.Files have it.
	When string

	BufferBytes    int64 // flush when this much was read from the stream,
	BufferInterval time.Duration

	PartitionBy    []tarn.PartitionField
	Compression    string // snappy, zstd or none
	OnSchemaChange SchemaChange
	SnapshotAge    time.Duration // older snapshots expire,
	SnapshotCount  int           // but never these newest
	Compact        bool
	FileBytes      int64 // what compaction aims at
}

// DatabaseMode says how rows enter a database table.
type DatabaseMode string

// The modes.
const (
	Append DatabaseMode = "append" // every row is inserted
	Upsert DatabaseMode = "upsert" // a row replaces the one with its key
)

// DatabaseTarget is a table in a database outside of Tarn. Two deliveries never share a Name.
type DatabaseTarget struct {
	Name  string // the NAME in database.NAME
	URL   URL    // PostgreSQL, or the path of a SQLite file relative to the project
	Table string // as the database knows it; may hold a schema: app.users
	Key   []string
	Mode  DatabaseMode
}

// Pipeline returns the pipeline of that name, or nil.
func (p *Project) Pipeline(name string) *Pipeline {
	return find(p.Pipelines, func(p *Pipeline) bool { return p.Name == name })
}

// Function returns the function of that name, or nil.
func (p *Project) Function(name string) *Function {
	return find(p.Functions, func(f *Function) bool { return f.Name == name })
}

func find[T any](list []T, is func(*T) bool) *T {
	for i := range list {
		if is(&list[i]) {
			return &list[i]
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
