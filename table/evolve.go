package table

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
)

// rewriteBytes is how much one Rewrite order of an Evolve holds at most, roughly.
const rewriteBytes = 256 << 20

// Evolve changes the schema and returns the new state. Adding columns and the promotions Iceberg
// knows change metadata only. Widening to Double from an integer rewrites all files with rewrite,
// which may be nil otherwise; commits to the table wait meanwhile, readers do not.
//
// A column that exists with the type asked for, or a wider one, is left alone. CodeConflict: a
// column to add exists with another type. CodeUnsupported: no such widening. CodeNotFound: no such
// column or parent.
func (s *Store) Evolve(ctx context.Context, name string, change Change, rewrite Rewriter) (*State, error) {
	return s.change(ctx, name, func(ctx context.Context, cur *State) (*draft, error) {
		e := evolution{schema: tarn.Schema{Fields: cloneFields(cur.Schema.Fields)}, last: cur.meta.lastColumnID, sources: map[int]bool{}}
		for _, f := range cur.Partition {
			if col := source(cur.Schema, f.Source); col != nil {
				e.sources[col.ID] = true
			}
		}
		if err := e.apply(name, change); err != nil {
			return nil, err
		}
		if !e.changed {
			return nil, nil
		}
		m := cur.meta.next(cur.MetadataLocation, s.opts.PreviousMetadata)
		id := 0
		for _, is := range m.schemas {
			id = max(id, is.ID)
		}
		is, err := icebergSchema(id+1, e.schema)
		if err != nil {
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("table %s: %v", name, err)}
		}
		json := cur.meta.json() // ids of columns gone stay: older snapshots have them
		for _, id := range jsonIDs(e.schema) {
			json[id] = true
		}
		m.schemas, m.schemaID, m.lastColumnID, m.updatedMS = append(m.schemas, is), id+1, e.last, s.now(cur.meta)
		m.properties = maps.Clone(m.properties)
		m.setJSON(slices.Sorted(maps.Keys(json)))
		if !e.rewrite || cur.Files == 0 {
			return &draft{meta: m}, nil
		}
		return s.draftRewrite(ctx, cur, m, rewrite)
	})
}

// draftRewrite builds the snapshot in which every file is written again with the schema of m.
func (s *Store) draftRewrite(ctx context.Context, cur *State, m *metadata, rewrite Rewriter) (*draft, error) {
	if rewrite == nil {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("table %s: this change of type needs its files rewritten", cur.Name)}
	}
	files, err := s.Files(ctx, cur)
	if err != nil {
		return nil, err
	}
	ms, err := s.manifestsOf(ctx, cur)
	if err != nil {
		return nil, err
	}
	next, err := s.newState(cur.Name, cur.Prefix, "", cur.Version, m, nil)
	if err != nil {
		return nil, err
	}
	next.MetadataLocation = cur.MetadataLocation
	next.manifests.Store(&ms)
	b, err := s.newBuild(ctx, next)
	if err != nil {
		return nil, err
	}
	b.base = m
	if err := b.remove(ctx, files); err != nil {
		return nil, err
	}
	var added []DataFile
	for _, group := range groups(files, rewriteBytes) {
		out, err := s.rewrite(ctx, rewrite, Rewrite{Table: next, Files: group, Read: cur.Schema, Write: next.Schema, SchemaID: next.SchemaID, Partition: group[0].Partition})
		if err != nil {
			return nil, err
		}
		added = append(added, out...)
	}
	if len(added) > 0 {
		if err := b.write(manifestDraft{added: added}); err != nil {
			return nil, err
		}
	}
	return b.finish(opOverwrite, nil)
}

// rewrite runs one order and checks its outcome: the files are there and hold as many rows.
func (s *Store) rewrite(ctx context.Context, rewrite Rewriter, order Rewrite) ([]DataFile, error) {
	out, err := rewrite(ctx, order)
	if err != nil {
		return nil, fmt.Errorf("rewrite files of table %s: %w", order.Table.Name, err)
	}
	var before, after int64
	for _, f := range order.Files {
		before += f.Rows
	}
	for i, f := range out {
		after += f.Rows
		if out[i], err = s.check(ctx, order.Table, f); err != nil {
			return nil, err
		}
	}
	if before != after { // I3: a rewrite that loses or adds rows is never committed
		return nil, &tarn.Error{Code: tarn.CodeInternal, Detail: fmt.Sprintf("table %s: a rewrite turned %d rows into %d; nothing was changed", order.Table.Name, before, after)}
	}
	return out, nil
}

// groups splits files by partition and, within one, by size.
func groups(files []DataFile, bytes int64) [][]DataFile {
	byKey := map[string][][]DataFile{}
	size := map[string]int64{}
	var keys []string
	for _, f := range files {
		k := partitionKey(f.Partition)
		if _, ok := byKey[k]; !ok {
			keys = append(keys, k)
		}
		if n := len(byKey[k]); n == 0 || size[k]+f.Bytes > bytes {
			byKey[k], size[k] = append(byKey[k], nil), 0
		}
		last := &byKey[k][len(byKey[k])-1]
		*last, size[k] = append(*last, f), size[k]+f.Bytes
	}
	var out [][]DataFile
	for _, k := range keys {
		out = append(out, byKey[k]...)
	}
	return out
}

// partitionKey tells partitions apart, null from empty too.
func partitionKey(values []any) string {
	var b strings.Builder
	for _, v := range values {
		fmt.Fprintf(&b, "%T:%q|", v, fmt.Sprint(v))
	}
	return b.String()
}

// evolution is a schema being changed.
type evolution struct {
	schema           tarn.Schema
	last             int // highest field id
	sources          map[int]bool
	changed, rewrite bool
}

func (e *evolution) apply(table string, c Change) error {
	for _, a := range c.Add {
		if err := e.add(table, a); err != nil {
			return err
		}
	}
	for _, w := range c.Widen {
		if err := e.widen(table, w); err != nil {
			return err
		}
	}
	return checkNames(e.schema.Fields, "table "+table)
}

func (e *evolution) add(table string, a AddColumn) error {
	siblings := &e.schema.Fields
	if len(a.Parent) > 0 {
		f := find(e.schema.Fields, a.Parent)
		if f == nil || f.Type.Kind != tarn.Struct {
			return &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("table %s has no struct %s to add %s to", table, strings.Join(a.Parent, "."), a.Field.Name)}
		}
		siblings = &f.Type.Fields
	}
	return e.addTo(table, siblings, a.Field)
}

// addTo adds a field to its siblings, or merges it into the one of that name.
func (e *evolution) addTo(table string, siblings *[]tarn.Field, want tarn.Field) error {
	for i := range *siblings {
		if f := &(*siblings)[i]; fold(f.Name) == fold(want.Name) {
			return e.merge(table, f, want.Type)
		}
	}
	added := cloneFields([]tarn.Field{want})
	visit(added, false, func(f *tarn.Field, _ bool) {
		if f.Name != "key" { // rows written before have no value
			f.Required = false
		}
	})
	e.last = assignIDs(added, e.last)
	*siblings = append(*siblings, added[0])
	e.changed = true
	return nil
}

// merge adds to the structs within f what want has more.
func (e *evolution) merge(table string, f *tarn.Field, want tarn.Type) error {
	switch {
	case holds(f.Type, want):
		return nil
	case f.Type.Kind == tarn.Struct && want.Kind == tarn.Struct:
		for _, w := range want.Fields {
			if err := e.addTo(table, &f.Type.Fields, w); err != nil {
				return err
			}
		}
		return nil
	case f.Type.Kind == tarn.List && want.Kind == tarn.List,
		f.Type.Kind == tarn.Map && want.Kind == tarn.Map && f.Type.Key.Type.Equal(want.Key.Type):
		return e.merge(table, f.Type.Elem, want.Elem.Type)
	}
	return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("table %s has the column %s with type %s, not %s", table, f.Name, f.Type, want)}
}

func (e *evolution) widen(table string, w Widen) error {
	f := find(e.schema.Fields, w.Path)
	path := strings.Join(w.Path, ".")
	if f == nil {
		return &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("table %s has no column %s", table, path)}
	}
	if holds(f.Type, w.Type) {
		return nil
	}
	from, to := f.Type, w.Type
	switch {
	case from.Kind == tarn.Int && to.Kind == tarn.Long, from.Kind == tarn.Float && to.Kind == tarn.Double,
		from.Kind == tarn.Decimal && to.Kind == tarn.Decimal && from.Scale == to.Scale && to.Precision <= 38:
	case (from.Kind == tarn.Int || from.Kind == tarn.Long) && to.Kind == tarn.Double:
		if e.sources[f.ID] {
			return &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("table %s is partitioned by %s, which cannot become %s", table, path, to)}
		}
		e.last++
		f.ID, e.rewrite = e.last, true
	default:
		return &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("table %s: the column %s of type %s cannot become %s", table, path, from, to),
			Hint: "INTEGER widens to BIGINT and DOUBLE, BIGINT and FLOAT to DOUBLE, DECIMAL to more digits"}
	}
	f.Type = to
	e.changed = true
	return nil
}

// holds reports whether a column of type have takes every value of type want as it is.
func holds(have, want tarn.Type) bool {
	switch {
	case have.Equal(want):
		return true
	case have.Kind == tarn.Decimal && want.Kind == tarn.Decimal:
		return have.Scale == want.Scale && have.Precision >= want.Precision
	case have.Kind == tarn.Double:
		return want.Kind == tarn.Int || want.Kind == tarn.Long || want.Kind == tarn.Float
	}
	return have.Kind == tarn.Long && want.Kind == tarn.Int
}

// find returns the field at a path, names folded, or nil.
func find(fields []tarn.Field, path []string) *tarn.Field {
	var f *tarn.Field
	for i, name := range path {
		if i > 0 {
			switch t := &f.Type; {
			case t.Kind == tarn.Struct:
				fields = t.Fields
			case t.Elem != nil && (name == "element" || name == "value"):
				f = t.Elem
				continue
			case t.Key != nil && name == "key":
				f = t.Key
				continue
			default:
				return nil
			}
		}
		f = nil
		for j := range fields {
			if fold(fields[j].Name) == fold(name) {
				f = &fields[j]
			}
		}
		if f == nil {
			return nil
		}
	}
	return f
}
