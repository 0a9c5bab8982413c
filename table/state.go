package table

import (
	"context"
	"slices"
	"strconv"
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
	shape     *shape
	manifests atomic.Pointer[[]*manifest] // of the snapshot; nil until read
	files     atomic.Pointer[[]DataFile]
}

// newState describes the current snapshot of m. like, which may be nil, lends its shape when the
// schema is the same.
func (s *Store) newState(name, prefix, metadataKey string, version int64, m *metadata, like *State) (*State, error) {
	st := &State{Name: name, UUID: m.uuid, Prefix: prefix, Location: s.bucket.URL(prefix), MetadataLocation: s.bucket.URL(metadataKey),
		Version: version, SchemaID: m.schemaID, Properties: m.properties, SnapshotID: m.currentID, UpdatedAt: time.UnixMilli(m.updatedMS).UTC(), meta: m}
	if like != nil && like.meta.schemaID == m.schemaID && like.UUID == m.uuid && len(like.meta.schemas) == len(m.schemas) {
		st.shape = like.shape
	} else {
		sh, err := newShape(m)
		if err != nil {
			return nil, err
		}
		st.shape = sh
	}
	st.Schema, st.Partition = st.shape.tarn, st.shape.partition
	if snap := m.snapshot(m.currentID); snap != nil {
		st.Sequence = snap.Sequence
		st.Rows, st.Files, st.Bytes = snap.total(sumRecords), snap.total(sumFiles), snap.total(sumBytes)
	}
	return st, nil
}

// at returns the state of an older snapshot of the same metadata, with the schema of then.
func (st *State) at(snap *snapshot) (*State, error) {
	if snap.ID == st.SnapshotID {
		return st, nil
	}
	old := &State{Name: st.Name, UUID: st.UUID, Prefix: st.Prefix, Location: st.Location, MetadataLocation: st.MetadataLocation,
		Version: st.Version, SchemaID: snap.SchemaID, Partition: st.Partition, Properties: st.Properties,
		SnapshotID: snap.ID, Sequence: snap.Sequence, Rows: snap.total(sumRecords), Files: snap.total(sumFiles), Bytes: snap.total(sumBytes),
		UpdatedAt: time.UnixMilli(snap.TimestampMS).UTC(), meta: st.meta, shape: st.shape}
	schema, err := tarnSchema(st.meta.schemaByID(snap.SchemaID), st.meta.json())
	if err != nil {
		return nil, err
	}
	old.Schema = schema
	return old, nil
}

// Snapshots returns the retained snapshots, oldest first, as of this state.
func (st *State) Snapshots() []Snapshot {
	out := make([]Snapshot, len(st.meta.snapshots))
	for i, s := range st.meta.snapshots {
		out[i] = Snapshot{ID: s.ID, Sequence: s.Sequence, Time: time.UnixMilli(s.TimestampMS).UTC(), Operation: s.Summary["operation"],
			Summary: s.Summary, SchemaID: s.SchemaID, ManifestList: s.ManifestList}
		if s.Parent != nil {
			out[i].ParentID = *s.Parent
		}
	}
	return out
}

// Files returns the live files of st's snapshot. Callers must not change them. The first call for a
// state read from the lake reads its manifests; calls after commits of this process do no I/O
// unless the table has more files than Options.CachedFiles.
func (s *Store) Files(ctx context.Context, st *State) ([]DataFile, error) {
	if p := st.files.Load(); p != nil {
		return *p, nil
	}
	ms, err := s.manifestsOf(ctx, st)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, m := range ms {
		n += m.live
	}
	out := make([]DataFile, 0, n)
	for _, m := range ms {
		entries, err := s.entries(ctx, st, m)
		if err != nil {
			return nil, err
		}
		for i := range entries {
			out = append(out, entries[i].file)
		}
	}
	out = slices.Clip(out)
	if n <= s.opts.CachedFiles {
		st.files.Store(&out)
	}
	return out, nil
}

// The totals kept in every snapshot's summary, named as the Iceberg specification does.
const (
	sumRecords = "total-records"
	sumFiles   = "total-data-files"
	sumBytes   = "total-files-size"
)

func (s *snapshot) total(key string) int64 {
	n, _ := strconv.ParseInt(s.Summary[key], 10, 64)
	return n
}
