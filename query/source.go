package query

import (
	"context"
	"time"

	"github.com/tarn-data/tarn"
)

// Source gives the tables of the lake. Implementations are safe for concurrent use.
type Source interface {
	// Tables lists what SELECT may name, as it is now, in order of name. It is called for every
	// statement and should be cheap.
	Tables(ctx context.Context) ([]TableInfo, error)

	// Acquire fixes one table for a statement: the files of a snapshot and the hot tail at one
	// instant, so that each record counts exactly once. With at, the snapshot current then, without
	// tail. No file of the view is deleted before Release. Errors: tarn.CodeNotFound for a table or
	// time that does not exist.
	Acquire(ctx context.Context, name string, at *AsOf) (*View, error)
}

// TableInfo names a table.
type TableInfo struct {
	Name   string // zone.table, for example curated.telemetry
	Schema tarn.Schema
}

// AsOf is a moment of a table's past: a time, or a snapshot when Snapshot is not 0.
type AsOf struct {
	Time     time.Time
	Snapshot int64
}

// View is a table fixed for one statement.
type View struct {
	Schema tarn.Schema // every top-level field with its ID
	Files  []File
	// Plain says that every file holds exactly the columns of Schema, with these names and types.
	// DuckDB then reads them without a mapping, and of a struct only the members a query names.
	Plain bool
	// Read, when not nil, makes the SQL text that stands for those files of the view that pruning has
	// left, in place of a reader of Parquet by field id: for external tables, whose files have other
	// formats and lie in the folders that Options.Reach names.
	Read    func(ctx context.Context, files []File) (string, error)
	Release func() // called exactly once, when the result is closed; may be nil
}

// File is one file of a view: Parquet with FIELD_IDS in it, unless View.Read says how to read it.
type File struct {
	URL   string // as DuckDB opens it: an absolute path under Options.AllowedDirs or Options.Reach
	Rows  int64
	Bytes int64
	Stats map[int]Bounds // by field id; leaf fields only; absent means unknown
	Tail  bool           // of the hot tail
}

// Bounds is what is known of the values of one field in one file. Lower and Upper bound all values
// that are neither NULL nor NaN; they need not be exact and are nil when unknown. Their Go types:
// int64 (or int32) for Int and Long, float64 (or float32) for Float and Double, string for String,
// time.Time for Date, Timestamp and TimestampTZ, bool for Boolean, string for Decimal in plain
// decimal notation. Bounds of other types are not used.
type Bounds struct {
	Values int64 // including NULLs and NaNs; -1 unknown
	Nulls  int64 // -1 unknown
	NaNs   int64 // -1 unknown
	Lower  any
	Upper  any
}

// SystemTables gives the tables of the schema system. Implementations are safe for concurrent use.
// The service adds query_log itself.
type SystemTables interface {
	// Names lists the tables without "system.".
	Names() []string
	// Rows returns a whole table. Values are those encoding/json writes in the form of the column's
	// type (time.Time for timestamps, json.RawMessage for nested types); nil is NULL.
	Rows(ctx context.Context, name string) (tarn.Schema, [][]any, error)
}
