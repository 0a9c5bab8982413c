package table

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"

	"github.com/tarn-data/tarn"
)

const (
	// propJSON is the table property that lists the ids of JSON columns, comma-separated.
	propJSON = "tarn.json-columns"

	formatVersion = 2
	mainBranch    = "main"
)

// metadata is an Iceberg table metadata file of format version 2, immutable once built. It is
// written here rather than by iceberg-go so that a commit costs the same with 1,000 snapshots as
// with one: the text of a snapshot is encoded once and copied afterwards.
type metadata struct {
	uuid          string
	location      string
	sequence      int64
	updatedMS     int64
	lastColumnID  int
	schemas       []*iceberg.Schema
	schemaID      int
	specs         []iceberg.PartitionSpec
	specID        int
	lastPartition int
	properties    map[string]string
	currentID     int64 // 0 for none
	snapshots     []*snapshot
	log           []metadataLogEntry
}

// snapshot is one entry of the snapshot list with its encoded text.
type snapshot struct {
	ID           int64             `json:"snapshot-id"`
	Parent       *int64            `json:"parent-snapshot-id,omitempty"`
	Sequence     int64             `json:"sequence-number"`
	TimestampMS  int64             `json:"timestamp-ms"`
	ManifestList string            `json:"manifest-list"`
	Summary      map[string]string `json:"summary"`
	SchemaID     int               `json:"schema-id"`

	text []byte
}

type metadataLogEntry struct {
	File        string `json:"metadata-file"`
	TimestampMS int64  `json:"timestamp-ms"`
}

type snapshotRef struct {
	ID   int64  `json:"snapshot-id"`
	Type string `json:"type"`
}

// head is everything of the metadata file but the two lists that grow with the history.
type head struct {
	FormatVersion    int                     `json:"format-version"`
	UUID             string                  `json:"table-uuid"`
	Location         string                  `json:"location"`
	Sequence         int64                   `json:"last-sequence-number"`
	UpdatedMS        int64                   `json:"last-updated-ms"`
	LastColumnID     int                     `json:"last-column-id"`
	SchemaID         int                     `json:"current-schema-id"`
	Schemas          []*iceberg.Schema       `json:"schemas"`
	SpecID           int                     `json:"default-spec-id"`
	Specs            []iceberg.PartitionSpec `json:"partition-specs"`
	LastPartition    int                     `json:"last-partition-id"`
	DefaultSortOrder int                     `json:"default-sort-order-id"`
	SortOrders       []sortOrder             `json:"sort-orders"`
	Properties       map[string]string       `json:"properties"`
	CurrentID        *int64                  `json:"current-snapshot-id,omitempty"`
	Refs             map[string]snapshotRef  `json:"refs"`
	Log              []metadataLogEntry      `json:"metadata-log"`
}

type sortOrder struct {
	ID     int   `json:"order-id"`
	Fields []any `json:"fields"`
}

// encode appends the metadata file to buf, which may be nil.
func (m *metadata) encode(buf []byte) ([]byte, error) {
	h := head{FormatVersion: formatVersion, UUID: m.uuid, Location: m.location, Sequence: m.sequence, UpdatedMS: m.updatedMS,
		LastColumnID: m.lastColumnID, SchemaID: m.schemaID, Schemas: m.schemas, SpecID: m.specID, Specs: m.specs,
		LastPartition: m.lastPartition, SortOrders: []sortOrder{{Fields: []any{}}}, Properties: m.properties,
		Refs: map[string]snapshotRef{}, Log: m.sortedLog()}
	if m.currentID != 0 {
		h.CurrentID = &m.currentID
		h.Refs[mainBranch] = snapshotRef{m.currentID, "branch"}
	}
	text, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	size := len(text) + 64
	for _, s := range m.snapshots {
		size += len(s.text) + 80
	}
	buf = slices.Grow(buf, size)
	buf = append(buf, text[:len(text)-1]...) // without the closing brace
	buf = append(buf, `,"snapshots":[`...)
	for i, s := range m.snapshots {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, s.text...)
	}
	buf = append(buf, `],"snapshot-log":[`...)
	for i, s := range m.history() {
		if i > 0 {
			buf = append(buf, ',')
		}
		buf = append(buf, `{"snapshot-id":`...)
		buf = strconv.AppendInt(buf, s.ID, 10)
		buf = append(buf, `,"timestamp-ms":`...)
		buf = strconv.AppendInt(buf, s.TimestampMS, 10)
		buf = append(buf, '}')
	}
	return append(buf, "]}"...), nil
}

// history returns the snapshots of the snapshot log. Readers refuse one whose times go back, so it
// begins after the last time the clock was set back.
func (m *metadata) history() []*snapshot {
	n, next := len(m.snapshots), m.updatedMS
	for n > 0 && m.snapshots[n-1].TimestampMS <= next {
		n--
		next = m.snapshots[n].TimestampMS
	}
	return m.snapshots[n:]
}

// sortedLog returns the metadata log with no time behind the one that follows: readers refuse it
// otherwise. Times differ from those in the files only where the clock was set back.
func (m *metadata) sortedLog() []metadataLogEntry {
	log, next := slices.Clone(m.log), m.updatedMS
	for i := range slices.Backward(log) {
		log[i].TimestampMS = min(log[i].TimestampMS, next)
		next = log[i].TimestampMS
	}
	return log
}

// newSnapshot encodes a snapshot once.
func newSnapshot(s snapshot) (*snapshot, error) {
	text, err := json.Marshal(s)
	s.text = text
	return &s, err
}

// decodeMetadata reads a file that encode wrote.
func decodeMetadata(b []byte) (*metadata, error) {
	var doc struct {
		head
		Snapshots []json.RawMessage `json:"snapshots"`
	}
	if err := json.Unmarshal(b, &doc); err != nil {
		return nil, err
	}
	if doc.FormatVersion != formatVersion {
		return nil, fmt.Errorf("format version %d is not supported", doc.FormatVersion)
	}
	m := &metadata{uuid: doc.UUID, location: doc.Location, sequence: doc.Sequence, updatedMS: doc.UpdatedMS,
		lastColumnID: doc.LastColumnID, schemas: doc.Schemas, schemaID: doc.SchemaID, specs: doc.Specs, specID: doc.SpecID,
		lastPartition: doc.LastPartition, properties: doc.Properties, log: doc.Log}
	if doc.CurrentID != nil && *doc.CurrentID > 0 {
		m.currentID = *doc.CurrentID
	}
	for _, raw := range doc.Snapshots {
		s := &snapshot{text: bytes.Clone(raw)}
		if err := json.Unmarshal(raw, s); err != nil {
			return nil, err
		}
		m.snapshots = append(m.snapshots, s)
	}
	if m.schema() == nil || m.spec() == nil || m.currentID != 0 && m.snapshot(m.currentID) == nil {
		return nil, errors.New("the current schema, partition spec or snapshot is missing")
	}
	return m, nil
}

// next returns a copy to be changed and then built upon; previous is where m is stored.
func (m *metadata) next(previous string, keepLog int) *metadata {
	n := *m
	n.log = append(slices.Clone(m.log), metadataLogEntry{previous, m.updatedMS})
	if extra := len(n.log) - keepLog; extra > 0 {
		n.log = n.log[extra:]
	}
	n.schemas = slices.Clip(n.schemas)
	n.snapshots = slices.Clip(n.snapshots)
	return &n
}

func (m *metadata) schema() *iceberg.Schema { return m.schemaByID(m.schemaID) }

func (m *metadata) schemaByID(id int) *iceberg.Schema {
	for _, s := range m.schemas {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (m *metadata) spec() *iceberg.PartitionSpec {
	for i := range m.specs {
		if m.specs[i].ID() == m.specID {
			return &m.specs[i]
		}
	}
	return nil
}

// snapshot returns the snapshot of that id or nil. Recent ones are found first.
func (m *metadata) snapshot(id int64) *snapshot {
	for _, s := range slices.Backward(m.snapshots) {
		if s.ID == id {
			return s
		}
	}
	return nil
}

func (m *metadata) json() map[int]bool {
	out := map[int]bool{}
	for s := range strings.SplitSeq(m.properties[propJSON], ",") {
		if id, err := strconv.Atoi(s); err == nil {
			out[id] = true
		}
	}
	return out
}

// types returns the type of every field id that any schema of the table ever had.
func (m *metadata) types() (map[int]tarn.Type, error) {
	out := map[int]tarn.Type{}
	json := m.json()
	for _, is := range m.schemas {
		s, err := tarnSchema(is, json)
		if err != nil {
			return nil, err
		}
		visit(s.Fields, false, func(f *tarn.Field, _ bool) { out[f.ID] = f.Type })
	}
	if cur, err := tarnSchema(m.schema(), json); err == nil { // the widest type of an id is the current one
		visit(cur.Fields, false, func(f *tarn.Field, _ bool) { out[f.ID] = f.Type })
	}
	return out, nil
}
