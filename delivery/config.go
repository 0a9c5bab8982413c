package delivery

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/cleaned"
	"github.com/tarn-data/tarn/delivery/database"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// SchemaPolicy says what to do with records that do not fit the table as it is.
type SchemaPolicy string

// The policies.
const (
	Evolve SchemaPolicy = "evolve" // add columns and widen types; what can not be evolved fails
	Fail   SchemaPolicy = "fail"   // such a record becomes a failed record
	Ignore SchemaPolicy = "ignore" // unknown members are left out; other misfits fail
)

// Config describes one delivery. Fields without a default are required.
type Config struct {
	Pipeline string
	Table    string // zone.name; with Database or Cleaned, the name that progress is kept under
	Route    string // name that segments are routed by, AnyRoute for all; default Table
	Stream   *stream.Stream
	Source   Source // default Stream, which may be nil then
	Store    Store
	Bucket   lake.Bucket
	Duck     *duck.DB
	Dir      string // of this worker alone; made by Run, removed at its end

	// Where rows go instead of a table of the lake; at most one of them.
	Database *database.Target
	Cleaned  *cleaned.Archive
	Sink     Sink     // keeps its progress itself
	Ledger   Ledger   // keeps progress and failed records of the others; required with them
	Ordered  *duck.DB // takes the place of Duck with them, and with Positions: an instance of one thread that keeps the order of rows

	// Retry is set when the source is failed records that are tried again. It makes a commit settle them
	// where it would move the progress. Database and Cleaned are those of Retrying then.
	Retry func(table.Commit) (table.Commit, error)

	Opaque    bool         // records are bytes, not JSON objects
	Declared  *tarn.Schema // columns of the records; nil infers them
	Functions []Function   // called first, in order; what they return are JSON objects
	Transform []Step       // applied in order
	// Lookup returns the relations that the transform joins records with, newer ones when there are. It
	// is called before each batch; what it returns is held as long as it is used.
	Lookup     func(ctx context.Context) (*Lookups, error)
	Positions  bool // records get the columns record_shard, record_offset and record_arrival
	Partition  []tarn.PartitionField
	Properties map[string]string // Iceberg table properties
	Policy     SchemaPolicy      // default Evolve

	BufferBytes    int64         // flush when this much record data waits; default 128 MiB
	BufferInterval time.Duration // flush when a record has waited this long; default 60 s
	Compression    string        // snappy (default), zstd, none

	// ChunkBytes is the most record data converted at once, default 64 MiB.
	ChunkBytes int64
	// DirectBytes is the size from which a chunk goes straight into final files, default a quarter
	// of ChunkBytes: converting once costs less than staging and merging.
	DirectBytes int64
	// StageInterval is how long records may wait for others before they are staged, default 100 ms.
	// When DirectBytes / 2 have come in that time, more are waited for, up to DirectInterval
	// (default 400 ms).
	StageInterval, DirectInterval time.Duration
	// RecordBytes is the largest record, default 1 MiB. It sizes the reader's buffers.
	RecordBytes int

	// Heavy is shared by all workers of a process and bounds how many conversions that need much of
	// Duck's memory run at once: HeavySlots of them. Default: the worker's own.
	Heavy *semaphore.Weighted

	Metrics Metrics
	Logger  *slog.Logger // default discards
}

// AnyRoute is the Config.Route of a delivery that takes every record.
const AnyRoute = "*"

// HeavySlots is the size of Config.Heavy. Two conversions fill the cores that one leaves idle while it
// opens, flushes and closes its files.
const HeavySlots = 2

// Metrics are called as work is done; nil functions are skipped.
type Metrics struct {
	Staged    func(records int, took time.Duration)                 // converted, not committed yet; called from several goroutines
	Committed func(records, rows int64, took, commit time.Duration) // commit is the metadata part of took
	Failed    func(stage string, records int)
}

func (c Config) withDefaults() (Config, error) {
	if c.Source == nil && c.Stream != nil {
		c.Source = Live(c.Stream)
	}
	if (c.Database != nil || c.Cleaned != nil) && (c.Ledger == nil || c.Ordered == nil) {
		return c, fmt.Errorf("delivery of pipeline %q to %s: the ledger and the ordered engine are required", c.Pipeline, c.Table)
	}
	if c.Source == nil || c.Store == nil || c.Bucket == nil || c.Duck == nil || c.Dir == "" || c.Table == "" {
		return c, fmt.Errorf("delivery of pipeline %q: stream, store, bucket, duck, dir and table are required", c.Pipeline)
	}
	switch {
	case c.Database != nil || c.Cleaned != nil: // I8: rows of a chunk are in memory at once
		c.ChunkBytes = min(cmp.Or(c.ChunkBytes, orderedChunk), orderedChunk)
	case c.Sink != nil:
		c.ChunkBytes = min(cmp.Or(c.ChunkBytes, sinkChunk), sinkChunk)
	}
	def := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.BufferBytes, 128<<20)
	def((*int64)(&c.BufferInterval), int64(time.Minute))
	def(&c.ChunkBytes, 64<<20)
	def(&c.DirectBytes, c.ChunkBytes/4)
	def((*int64)(&c.StageInterval), int64(100*time.Millisecond))
	def((*int64)(&c.DirectInterval), int64(400*time.Millisecond))
	if c.Route == "" {
		c.Route = c.Table
	}
	c.Functions = slices.Clone(c.Functions)
	for i, f := range c.Functions {
		c.Functions[i] = f.withDefaults()
	}
	if c.RecordBytes == 0 {
		c.RecordBytes = 1 << 20
	}
	if c.Heavy == nil {
		c.Heavy = semaphore.NewWeighted(HeavySlots)
	}
	if c.Policy == "" {
		c.Policy = Evolve
	}
	if c.Compression == "none" {
		c.Compression = "uncompressed"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = c.Logger.With("pipeline", c.Pipeline, "table", c.Table)
	return c, nil
}

// steps are the steps of the transform that count for the delivery.
func (c Config) steps() []Step {
	if c.Cleaned != nil {
		return judging(c.Transform)
	}
	return c.Transform
}
