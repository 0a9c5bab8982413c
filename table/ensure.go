package table

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

// validName is what a table name looks like: zone.table, each a plain SQL identifier.
var validName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,62}\.[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// Ensure returns the table of def.Name, creating it when absent. An existing table keeps its schema
// (see Evolve); properties of def that differ are set. A different partitioning is refused with
// CodeUnsupported.
func (s *Store) Ensure(ctx context.Context, def Definition) (*State, error) {
	st, err := s.State(ctx, def.Name)
	if tarn.CodeOf(err) == tarn.CodeNotFound {
		st, err = s.create(ctx, def)
	}
	if err != nil {
		return nil, err
	}
	if !slices.Equal(st.Partition, def.Partition) {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported,
			Detail: fmt.Sprintf("table %s is partitioned by %s and cannot be changed to %s", def.Name, spell(st.Partition), spell(def.Partition)),
			Hint:   "deliver to a new table and copy the rows, or keep the partitioning"}
	}
	if !differs(st.Properties, def.Properties) {
		return st, nil
	}
	return s.change(ctx, def.Name, func(_ context.Context, cur *State) (*draft, error) {
		if !differs(cur.Properties, def.Properties) {
			return nil, nil
		}
		m := cur.meta.next(cur.MetadataLocation, s.opts.PreviousMetadata)
		m.properties = maps.Clone(m.properties)
		maps.Copy(m.properties, def.Properties)
		m.updatedMS = s.now(cur.meta)
		return &draft{meta: m}, nil
	})
}

func differs(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return true
		}
	}
	return false
}

func spell(fields []tarn.PartitionField) string {
	if len(fields) == 0 {
		return "nothing"
	}
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = f.String()
	}
	return strings.Join(parts, ", ")
}

// create makes the table, unless another writer makes it first.
func (s *Store) create(ctx context.Context, def Definition) (*State, error) {
	m, err := newMetadata(def, s.opts.Clock().UnixMilli())
	if err != nil {
		return nil, err
	}
	h := s.handle(def.Name)
	h.commit.Lock()
	defer h.commit.Unlock()
	prefix, err := s.newPrefix(ctx, def.Name, m.uuid)
	if err != nil {
		return nil, err
	}
	m.location = s.bucket.URL(prefix)
	data, err := m.encode(nil)
	if err != nil {
		return nil, err
	}
	o := object{fmt.Sprintf("%s/metadata/%05d-%s.metadata.json", prefix, 1, uuid.NewString()), data}
	if err := s.bucket.Put(ctx, o.key, bytes.NewReader(o.data)); err != nil { // I4
		return nil, err
	}
	now := metadb.Micros(s.opts.Clock())
	err = s.db.Tx(ctx, func(tx *metadb.Tx) error {
		var other string
		err := tx.QueryRow(ctx, "SELECT name FROM tables WHERE lower(name) = lower(?) AND name <> ?", def.Name, def.Name).Scan(&other)
		if err == nil {
			return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("table %s differs from table %s in case only", def.Name, other), Hint: "SQL does not tell upper from lower case: choose another name"}
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO tables (name, uuid, location, metadata_location, version, created_at, updated_at) VALUES (?, ?, ?, ?, 1, ?, ?)",
			def.Name, m.uuid, prefix, o.key, now, now)
		return err
	})
	if metadb.IsDuplicate(err) {
		s.discard(ctx, []object{o})
		return s.State(ctx, def.Name)
	}
	if err != nil {
		if !errors.Is(err, metadb.ErrCommitUnknown) {
			s.discard(ctx, []object{o})
		}
		return nil, err
	}
	return s.State(ctx, def.Name)
}

// newPrefix chooses the folder: zone/table, or zone/table-<8 of the uuid> when that holds objects
// or belongs to a table, so that a table dropped and made again never shares files with the old one.
func (s *Store) newPrefix(ctx context.Context, name, id string) (string, error) {
	prefix := strings.Replace(name, ".", "/", 1)
	for _, err := range s.bucket.List(ctx, prefix+"/") {
		if err != nil {
			return "", err
		}
		return prefix + "-" + id[:8], nil
	}
	var n int
	if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM tables WHERE location = ?", prefix).Scan(&n); err != nil {
		return "", err
	}
	if n > 0 {
		return prefix + "-" + id[:8], nil
	}
	return prefix, lake.CheckKey(prefix)
}

// Forgotten returns the URL of a folder in the bucket that holds commits of a table of that name, when no
// row of the database names it: the row was lost, or the database is another one. "" when there is none.
// What a crash leaves of a table in the making holds no commit.
func (s *Store) Forgotten(ctx context.Context, name string) (string, error) {
	prefix := strings.Replace(name, ".", "/", 1)
	for _, start := range []string{prefix + "/metadata/snap-", prefix + "-"} { // see newPrefix
		for info, err := range s.bucket.List(ctx, start) {
			if err != nil {
				return "", err
			}
			folder, _, ok := strings.Cut(info.Key, "/metadata/snap-")
			if !ok {
				continue
			}
			var n int
			if err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM tables WHERE location = ? OR name = ?", folder, name).Scan(&n); err != nil {
				return "", err
			}
			if n == 0 {
				return s.bucket.URL(folder), nil
			}
			break
		}
	}
	return "", nil
}

// newMetadata checks a definition and assigns its ids.
func newMetadata(def Definition, now int64) (*metadata, error) {
	if !validName.MatchString(def.Name) {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%q is no table name", def.Name), Hint: "write zone.table, letters, digits and _ only, for example curated.telemetry"}
	}
	if len(def.Schema.Fields) == 0 {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("table %s has no columns", def.Name)}
	}
	schema := tarn.Schema{Fields: cloneFields(def.Schema.Fields)}
	if err := checkNames(schema.Fields, "table "+def.Name); err != nil {
		return nil, err
	}
	last := assignIDs(schema.Fields, 0)
	// Schema ids begin at 1, so that 0 in Commit.SchemaID means that it was forgotten.
	is, err := icebergSchema(1, schema)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("table %s: %v", def.Name, err)}
	}
	spec, err := icebergSpec(def.Partition, schema, is)
	if err != nil {
		return nil, err
	}
	m := &metadata{uuid: uuid.NewString(), updatedMS: now, lastColumnID: last, schemas: []*iceberg.Schema{is}, schemaID: is.ID,
		specs: []iceberg.PartitionSpec{spec}, specID: spec.ID(), lastPartition: iceberg.PartitionDataIDStart - 1 + spec.NumFields(),
		properties: map[string]string{
			"write.format.default": "parquet", "write.metadata.delete-after-commit.enabled": "true",
			"commit.manifest-merge.enabled": "true",
		}}
	maps.Copy(m.properties, def.Properties)
	m.setJSON(jsonIDs(schema))
	return m, nil
}

// setJSON stores the ids of JSON columns.
func (m *metadata) setJSON(ids []int) {
	text := make([]string, len(ids))
	for i, id := range ids {
		text[i] = strconv.Itoa(id)
	}
	delete(m.properties, propJSON)
	if len(ids) > 0 {
		m.properties[propJSON] = strings.Join(text, ",")
	}
}
