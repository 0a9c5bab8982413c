package table

import (
	"fmt"

	"github.com/apache/iceberg-go"

	"github.com/tarn-data/tarn"
)

// shape is what is needed to convert file descriptions of a table: its schema, spec and the type of
// every field id it ever had. It is immutable and shared by all states with the same schema.
type shape struct {
	schema    *iceberg.Schema
	spec      *iceberg.PartitionSpec
	tarn      tarn.Schema
	partition []tarn.PartitionField
	sources   []tarn.Type // of the partition fields
	fieldIDs  []int       // of the partition fields
	types     map[int]tarn.Type
	repeated  map[int]bool // inside lists or maps: counts but no bounds
}

func newShape(m *metadata) (*shape, error) {
	sh := &shape{schema: m.schema(), spec: m.spec(), repeated: map[int]bool{}}
	var err error
	if sh.tarn, err = tarnSchema(sh.schema, m.json()); err != nil {
		return nil, err
	}
	if sh.partition, err = tarnPartition(*sh.spec, sh.schema); err != nil {
		return nil, err
	}
	if sh.types, err = m.types(); err != nil {
		return nil, err
	}
	for _, pf := range sh.spec.Fields() {
		sh.sources = append(sh.sources, sh.types[pf.SourceID()])
		sh.fieldIDs = append(sh.fieldIDs, pf.FieldID)
	}
	for _, is := range m.schemas {
		s, err := tarnSchema(is, nil)
		if err != nil {
			return nil, err
		}
		visit(s.Fields, false, func(f *tarn.Field, repeated bool) {
			if repeated {
				sh.repeated[f.ID] = true
			}
		})
	}
	return sh, nil
}

// encode converts a file description to iceberg-go's.
func (sh *shape) encode(f DataFile) (iceberg.DataFile, error) {
	if len(f.Partition) != len(sh.partition) {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the file %s has %d partition values, the table %d partition fields", f.Path, len(f.Partition), len(sh.partition))}
	}
	part := make(map[int]any, len(f.Partition))
	for i, v := range f.Partition {
		pv, err := partitionIceberg(sh.partition[i], sh.sources[i], v)
		if err != nil {
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: err.Error()}
		}
		part[sh.fieldIDs[i]] = pv
	}
	b, err := iceberg.NewDataFileBuilder(*sh.spec, iceberg.EntryContentData, f.Path, iceberg.ParquetFile, part, nil, nil, f.Rows, f.Bytes)
	if err != nil {
		return nil, err
	}
	values, nulls, nans, sizes := map[int]int64{}, map[int]int64{}, map[int]int64{}, map[int]int64{}
	lower, upper := map[int][]byte{}, map[int][]byte{}
	for id, c := range f.Columns {
		put(values, id, c.Values)
		put(nulls, id, c.Nulls)
		put(sizes, id, c.Bytes)
		t := sh.types[id]
		if t.Kind == tarn.Float || t.Kind == tarn.Double {
			put(nans, id, c.NaNs)
		}
		if sh.repeated[id] {
			continue
		}
		if v, ok := lowerBytes(t, c.Lower); ok {
			lower[id] = v
		}
		if v, ok := upperBytes(t, c.Upper); ok {
			upper[id] = v
		}
	}
	b.ValueCounts(values).NullValueCounts(nulls).NaNValueCounts(nans).ColumnSizes(sizes).LowerBoundValues(lower).UpperBoundValues(upper)
	if len(f.SplitOffsets) > 0 {
		b.SplitOffsets(f.SplitOffsets)
	}
	return b.Build(), nil
}

func put(m map[int]int64, id int, n int64) {
	if n >= 0 {
		m[id] = n
	}
}

// decode is the inverse of encode.
func (sh *shape) decode(df iceberg.DataFile) DataFile {
	f := DataFile{Path: df.FilePath(), Rows: df.Count(), Bytes: df.FileSizeBytes(), SplitOffsets: df.SplitOffsets(), Columns: map[int]ColumnStats{}}
	part := df.Partition()
	for i, id := range sh.fieldIDs {
		f.Partition = append(f.Partition, partitionGo(sh.partition[i], sh.sources[i], part[id]))
	}
	values, nulls, nans, sizes := df.ValueCounts(), df.NullValueCounts(), df.NaNValueCounts(), df.ColumnSizes()
	lower, upper := df.LowerBoundValues(), df.UpperBoundValues()
	for _, ids := range []map[int]int64{values, nulls, sizes} {
		for id := range ids {
			f.Columns[id] = ColumnStats{}
		}
	}
	for id := range f.Columns {
		c := ColumnStats{Values: get(values, id), Nulls: get(nulls, id), NaNs: get(nans, id), Bytes: get(sizes, id)}
		c.Lower, c.Upper = sh.bound(id, lower), sh.bound(id, upper)
		f.Columns[id] = c
	}
	return f
}

func get(m map[int]int64, id int) int64 {
	if n, ok := m[id]; ok {
		return n
	}
	return -1
}

// bound decodes the bound of a column, nil when there is none.
func (sh *shape) bound(id int, bounds map[int][]byte) any {
	b, ok := bounds[id]
	if !ok {
		return nil
	}
	if b == nil {
		b = []byte{}
	}
	return decodeBound(sh.types[id], b)
}

// normal returns the description as it will be read back from a manifest: bounds cut and typed,
// statistics of unknown columns left out.
func (sh *shape) normal(f DataFile) DataFile {
	cols := make(map[int]ColumnStats, len(f.Columns))
	for id, c := range f.Columns {
		t, ok := sh.types[id]
		if !ok {
			continue
		}
		n := ColumnStats{Values: max(c.Values, -1), Nulls: max(c.Nulls, -1), NaNs: -1, Bytes: max(c.Bytes, -1)}
		if t.Kind == tarn.Float || t.Kind == tarn.Double {
			n.NaNs = max(c.NaNs, -1)
		}
		if !sh.repeated[id] {
			if b, ok := lowerBytes(t, c.Lower); ok {
				n.Lower = decodeBound(t, b)
			}
			if b, ok := upperBytes(t, c.Upper); ok {
				n.Upper = decodeBound(t, b)
			}
		}
		cols[id] = n
	}
	f.Columns = cols
	return f
}
