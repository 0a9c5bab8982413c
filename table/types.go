package table

import (
	"context"
	"log/slog"
	"time"

	"github.com/tarn-data/tarn"
)

// Options configures Open. The zero value is safe.
type Options struct {
	Logger *slog.Logger     // default discards
	Clock  func() time.Time // default time.Now
	// CachedFiles bounds how many file descriptions stay in memory over all tables, the files of
	// a manifest together (I8). Default 50,000; about 3 KiB each with 15 columns.
	CachedFiles int
	// PreviousMetadata is how many superseded metadata files of a table are kept, so that engines
	// which hold a metadata path can go on reading for a while. Default 20.
	PreviousMetadata int
}

// Definition describes a table to be created.
type Definition struct {
	Name       string      // zone.table, for example curated.telemetry
	Schema     tarn.Schema // field ids are assigned by the table and need not be set
	Partition  []tarn.PartitionField
	Properties map[string]string // Iceberg table properties
}

// DataFile describes one Parquet file of a table.
type DataFile struct {
	Path         string // bucket key or URL when handed in; URL when handed out
	Rows         int64
	Bytes        int64
	Partition    []any               // one value per partition field, see Transform; nil is null
	Columns      map[int]ColumnStats // by field id
	SplitOffsets []int64             // byte offsets of row groups, may be nil
}

// ColumnStats are the statistics of one column of one file. Counts below 0 are unknown.
//
// Lower and Upper are Go values by the column's kind: bool; int64 for Int and Long; float64 for
// Float and Double; string for String, JSON and Decimal; time.Time in UTC for Date, Timestamp and
// TimestampTZ; time.Duration since midnight for Time; uuid.UUID; []byte for Binary. Nil is unknown.
// Time and UUID may be handed in as DuckDB's text. They bound the column's values but need not
// occur: long strings are cut when stored.
type ColumnStats struct {
	Values, Nulls, NaNs, Bytes int64
	Lower, Upper               any
}

// Progress moves one shard of one stream forward for a table.
type Progress struct {
	Stream  string
	Shard   int
	From    uint64 // the stored next offset must equal this, unless nothing is stored yet
	Next    uint64 // the first offset not yet dealt with
	NextSeq uint64 // a hint where to read on
	// What happened to the records between From and Next; added to the stored counters.
	RecordsIn, RowsOut, Failed, Dropped, Expired uint64
}

// ProgressRow is the stored progress of one shard; counters are cumulative.
type ProgressRow struct {
	Table, Stream                                string
	Shard                                        int
	Next, NextSeq                                uint64
	RecordsIn, RowsOut, Failed, Dropped, Expired uint64
	UpdatedAt                                    time.Time
}

// FailedRecord is a record that could not be transformed or converted.
type FailedRecord struct {
	ID       int64 // assigned by the store
	Pipeline string
	Table    string // filled in by Commit
	Stream   string
	Shard    int
	Offset   uint64
	Stage    string // where it failed, for example sql or convert
	Reason   string
	Code     tarn.Code
	Attempts int // 1 when 0
	Arrival  time.Time
	FailedAt time.Time // now when zero
	Record   []byte
}

// Booking adds to the counters of a shard without moving its position.
type Booking struct {
	Stream        string
	Shard         int
	Rows, Dropped uint64
}

// FailedFilter selects failed records; zero fields select all.
type FailedFilter struct {
	Pipeline, Table, Stream, Stage string
	Tables                         []string // any of these; nil for all, empty for none
	IDs                            []int64
	Since                          time.Time // only those that failed at or after it
	After                          int64     // only ids above it, for paging
	Limit                          int       // default 100
}

// Commit is one atomic change of a table.
type Commit struct {
	Add    []DataFile // files that are in the bucket, durable
	Remove []DataFile // files of the current snapshot, found by Path
	// SchemaID is State.SchemaID of the schema that the files in Add were written with. It must be
	// set when Add is not empty. Files written before a column got a new field id are refused.
	SchemaID int
	// ExpectSnapshot, when not 0, must be the current snapshot id.
	ExpectSnapshot int64
	Progress       []Progress
	Failed         []FailedRecord
	Resolve        []int64           // ids of failed records that this commit settles
	Again          []FailedRecord    // failed records, by id, that failed again: one more attempt, for another reason
	Book           []Booking         // what the settled ones became
	Expect         []int64           // ids of failed records that must still be there, and stay
	Documents      map[string][]byte // nil values delete
	Summary        map[string]string // added to the snapshot's summary
}

// Change asks for a change of schema. Columns that exist with the type asked for are left alone, so
// that a change may be asked for again.
type Change struct {
	Add   []AddColumn
	Widen []Widen
}

// AddColumn adds an optional field. Parent is empty for a column; otherwise the path of the struct
// that gets the field, with "element", "key" and "value" for the parts of lists and maps.
type AddColumn struct {
	Parent []string
	Field  tarn.Field
}

// Widen changes the type of the field at Path: Int→Long, Float→Double and Decimal to a higher
// precision cost nothing. Int→Double and Long→Double are no Iceberg promotions: the column gets a
// new field id and the existing files are rewritten in the same commit.
type Widen struct {
	Path []string
	Type tarn.Type
}

// Rewrite is an order to write the rows of Files again.
type Rewrite struct {
	Table     *State
	Files     []DataFile
	Read      tarn.Schema // what Files hold
	Write     tarn.Schema // what to write: the same columns, ids and types may differ; new ones are null
	SchemaID  int         // of Write
	Partition []any       // of all Files and of the new ones
}

// Rewriter writes the rows of an order into new files below the table's location, makes them
// durable in the bucket and describes them. The number of rows must not change.
type Rewriter func(ctx context.Context, order Rewrite) ([]DataFile, error)

// AsOf names a moment of a table's history: the last snapshot, by sequence number, whose time is not
// after Time, or the snapshot of that id when Snapshot is not 0.
type AsOf struct {
	Time     time.Time
	Snapshot int64
}

// Snapshot describes one retained snapshot.
type Snapshot struct {
	ID, ParentID, Sequence int64
	Time                   time.Time
	Operation              string
	Summary                map[string]string
	SchemaID               int
	ManifestList           string // URL
}

// CompactOptions tunes Compact. Zero fields take the defaults.
type CompactOptions struct {
	TargetBytes int64 // wanted file size, default 128 MiB
	MinFiles    int   // fewest small files of a partition worth a rewrite, default 5
	MaxBytes    int64 // input bytes of one call, default 4 GiB
}

// CompactResult says what Compact did.
type CompactResult struct {
	Groups, FilesIn, FilesOut int
	Rows, BytesIn, BytesOut   int64
	Conflicts                 int // groups given up because another commit removed their files
}

// ExpireResult says what ExpireSnapshots did.
type ExpireResult struct {
	Snapshots, Files int // removed from the history; deleted from the bucket
}

// OrphansResult says what RemoveOrphans did.
type OrphansResult struct {
	Files int
	Bytes int64
}
