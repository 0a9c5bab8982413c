package table

import (
	"context"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

// Store is the tables of one lake. It is safe for concurrent use. Several Stores, also in several
// processes, may share a metadata database and bucket; their commits exclude each other by
// compare-and-swap.
type Store struct {
	db     *metadb.DB
	bucket lake.Bucket
	opts   Options
}

// Open returns the tables kept in db and bucket. It does no I/O.
func Open(db *metadb.DB, bucket lake.Bucket, opts Options) *Store {
	return &Store{db: db, bucket: bucket, opts: opts}
}

// Names returns the names of all tables, sorted.
func (s *Store) Names(ctx context.Context) ([]string, error) { panic("not built yet") }

// Ensure returns the table of def.Name, creating it when absent. An existing table keeps its schema
// (see Evolve); properties that differ are set. A different partitioning is refused.
func (s *Store) Ensure(ctx context.Context, def Definition) (*State, error) { panic("not built yet") }

// State returns the current state. CodeNotFound when there is no such table.
func (s *Store) State(ctx context.Context, name string) (*State, error) { panic("not built yet") }

// StateAt returns the state of a moment of the past, with the schema of then. CodeNotFound, with
// the first available time in the hint, when nothing as old is retained.
func (s *Store) StateAt(ctx context.Context, name string, at AsOf) (*State, error) {
	panic("not built yet")
}

// Acquire is State, or StateAt when at is not nil, and a lease on its files taken at one instant:
// none of them is deleted until release has been called. release may be called more than once.
func (s *Store) Acquire(ctx context.Context, name string, at *AsOf) (st *State, release func(), err error) {
	panic("not built yet")
}

// Evolve changes the schema.
func (s *Store) Evolve(ctx context.Context, name string, change Change, rewrite Rewriter) (*State, error) {
	panic("not built yet")
}

// Commit makes one atomic change (I2) and returns the new state.
func (s *Store) Commit(ctx context.Context, name string, c Commit) (*State, error) {
	panic("not built yet")
}

// Progress returns where the table stands in every shard that feeds it; all tables when empty.
func (s *Store) Progress(ctx context.Context, table string) ([]ProgressRow, error) {
	panic("not built yet")
}

// FailedRecords returns failed records in order of their ids.
func (s *Store) FailedRecords(ctx context.Context, f FailedFilter) ([]FailedRecord, error) {
	panic("not built yet")
}

// CountFailed returns how many failed records f selects; After and Limit do not count.
func (s *Store) CountFailed(ctx context.Context, f FailedFilter) (int64, error) {
	panic("not built yet")
}

// DropFailed deletes failed records for good; progress counts them as dropped.
func (s *Store) DropFailed(ctx context.Context, ids []int64) (int, error) { panic("not built yet") }

// Documents returns the documents committed with the table.
func (s *Store) Documents(ctx context.Context, table string) (map[string][]byte, error) {
	panic("not built yet")
}

// Compact rewrites small files of each partition into larger ones.
func (s *Store) Compact(ctx context.Context, name string, rewrite Rewriter, opts CompactOptions) (CompactResult, error) {
	panic("not built yet")
}

// ExpireSnapshots removes snapshots older than keep, but never the newest keepLast.
func (s *Store) ExpireSnapshots(ctx context.Context, name string, keep time.Duration, keepLast int) (ExpireResult, error) {
	panic("not built yet")
}

// RewriteManifests merges the manifests of the current snapshot, sorted by partition.
func (s *Store) RewriteManifests(ctx context.Context, name string) (*State, error) {
	panic("not built yet")
}

// RemoveOrphans deletes files below the table's folder that no metadata names.
func (s *Store) RemoveOrphans(ctx context.Context, name string, olderThan time.Duration) (OrphansResult, error) {
	panic("not built yet")
}

// ParseBound reads a statistic as DuckDB prints it into the Go value ColumnStats wants; false when
// it bounds nothing (infinity, NaN, a nested type).
func ParseBound(t tarn.Type, s string) (any, bool) { panic("not built yet") }

// Transform computes the partition value of a source value; nil stays nil.
func Transform(f tarn.PartitionField, source tarn.Type, value any) (any, error) {
	panic("not built yet")
}

// ParsePartitionValue reads a partition value, already transformed, from its DuckDB text.
func ParsePartitionValue(f tarn.PartitionField, source tarn.Type, s string) (any, error) {
	panic("not built yet")
}

// PartitionPath returns the Hive-style path of partition values, "" for no partitioning.
func PartitionPath(spec []tarn.PartitionField, values []any) string { panic("not built yet") }
