package table

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn"
)

// State is one committed version of a table. It is immutable and safe for concurrent use, and stays
// valid while newer versions are committed; its files stay while they are leased (Store.Acquire) or
// belong to a retained snapshot.
type State struct {
	Name             string
	UUID             string
	Location         string // URL of the table's folder; data files live below it
	Prefix           string // bucket key of the same folder, without a slash at its end
	MetadataLocation string // URL of the Iceberg metadata file
	Version          int64  // grows by one with every change of the metadata
	Schema           tarn.Schema
	SchemaID         int
	Partition        []tarn.PartitionField
	Properties       map[string]string
	SnapshotID       int64 // 0 while nothing has been committed
	Sequence         int64 // of the snapshot
	Rows             int64
	Files            int64
	Bytes            int64
	UpdatedAt        time.Time

	meta      *metadata
	manifests atomic.Pointer[[]*manifest] // of the snapshot; nil until read
	files     atomic.Pointer[[]DataFile]
}

// Snapshots returns the retained snapshots, oldest first, as of this state.
func (st *State) Snapshots() []Snapshot { panic("not built yet") }

// Files returns the live files of st's snapshot, by manifest, newest first. Callers must not change
// them. The first call for a state read from the lake reads its manifests; later calls and calls
// after commits of this process do no I/O.
func (s *Store) Files(ctx context.Context, st *State) ([]DataFile, error) { panic("not built yet") }

type (
	metadata struct{}
	manifest struct{}
)
