package table_test

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

func (r *rig) evolve(c table.Change, rw table.Rewriter) *table.State {
	r.t.Helper()
	st, err := r.Evolve(r.t.Context(), name, c, rw)
	must(r.t, err)
	return st
}

func TestAddColumns(t *testing.T) {
	r := newRig(t)
	st := r.define(table.Definition{Name: name, Schema: schema("id", "BIGINT", "pos", "STRUCT(lat DOUBLE)", "items", "STRUCT(sku VARCHAR)[]", "m", "MAP(VARCHAR, STRUCT(a BIGINT))")})
	last := 0
	for _, f := range []int{st.Schema.Fields[3].Type.Elem.Type.Fields[0].ID} {
		last = max(last, f)
	}
	speed := field("speed", "STRUCT(x DOUBLE, raw JSON)")
	speed.Required, speed.Type.Fields[0].Required = true, true
	change := table.Change{Add: []table.AddColumn{
		{Field: speed},
		{Parent: []string{"pos"}, Field: field("alt", "FLOAT")},
		{Parent: []string{"items", "element"}, Field: field("count", "BIGINT")},
		{Parent: []string{"m", "value"}, Field: field("b", "BIGINT[]")},
		{Parent: []string{"speed"}, Field: field("y", "DOUBLE")},
	}}
	next := r.evolve(change, nil)
	want := "STRUCT(\"id\" BIGINT, \"pos\" STRUCT(\"lat\" DOUBLE, \"alt\" FLOAT), \"items\" STRUCT(\"sku\" VARCHAR, \"count\" BIGINT)[], \"m\" MAP(VARCHAR, STRUCT(\"a\" BIGINT, \"b\" BIGINT[])), \"speed\" STRUCT(\"x\" DOUBLE, \"raw\" JSON, \"y\" DOUBLE))"
	for range 2 {
		if got := (tarn.Type{Kind: tarn.Struct, Fields: next.Schema.Fields}).SQL(); got != want {
			t.Fatalf("schema %s\nwant   %s", got, want)
		}
		r.reopen()
		var err error
		next, err = r.State(t.Context(), name)
		must(t, err)
	}
	if next.Schema.Fields[4].Required || next.Schema.Fields[4].Type.Fields[0].Required {
		t.Error("an added column is required: older rows have no value")
	}
	if next.Schema.Fields[0].ID != st.Schema.Fields[0].ID || next.Schema.Fields[4].ID <= last || next.SchemaID == st.SchemaID {
		t.Errorf("ids of %+v", next.Schema)
	}
	if same := r.evolve(change, nil); same.Version != next.Version {
		t.Error("asking again changed the table")
	}
	for what, c := range map[string]struct {
		add  table.AddColumn
		code tarn.Code
	}{
		"another type":       {table.AddColumn{Field: field("ID", "VARCHAR")}, tarn.CodeConflict},
		"no parent":          {table.AddColumn{Parent: []string{"nope"}, Field: field("x", "BIGINT")}, tarn.CodeNotFound},
		"parent is no field": {table.AddColumn{Parent: []string{"id", "x"}, Field: field("x", "BIGINT")}, tarn.CodeNotFound},
		"parent is a list":   {table.AddColumn{Parent: []string{"items"}, Field: field("x", "BIGINT")}, tarn.CodeNotFound},
		"names twice":        {table.AddColumn{Field: field("z", `STRUCT(a BIGINT, "A" BIGINT)`)}, tarn.CodeInvalid},
	} {
		_, err := r.Evolve(t.Context(), name, table.Change{Add: []table.AddColumn{c.add}}, nil)
		if tarn.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %s", what, err, c.code)
		}
	}
	// Files written before a column came are still welcome.
	if _, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{r.file(next, 1)}, SchemaID: st.SchemaID}); err != nil {
		t.Error(err)
	}
}

func TestPromotions(t *testing.T) {
	r := newRig(t)
	def := partitioned(schema("n", "INTEGER", "f", "FLOAT", "d", "DECIMAL(10,2)", "s", "STRUCT(n INTEGER)", "t", "VARCHAR", "p", "INTEGER"), "p")
	def.Name = name
	st := r.define(def)
	f := r.file(st, 9, int64(5))
	f.Columns = map[int]table.ColumnStats{
		st.Schema.Fields[0].ID: {Values: 9, Nulls: -1, NaNs: -1, Bytes: -1, Lower: int64(-1), Upper: int64(7)},
		st.Schema.Fields[1].ID: {Values: 9, Nulls: 0, NaNs: 0, Bytes: -1, Lower: 0.5, Upper: 1.5},
		st.Schema.Fields[2].ID: {Values: 9, Nulls: 0, NaNs: -1, Bytes: -1, Lower: "-1.00", Upper: "12.50"},
	}
	st, err := r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{f}, SchemaID: st.SchemaID})
	must(t, err)
	widen := func(path, typ string) table.Change {
		return table.Change{Widen: []table.Widen{{Path: strings.Split(path, "."), Type: field("", typ).Type}}}
	}
	next := st
	for _, c := range []table.Change{widen("n", "BIGINT"), widen("f", "DOUBLE"), widen("d", "DECIMAL(18,2)"), widen("s.n", "BIGINT"), widen("p", "BIGINT")} {
		before := next.Version
		next = r.evolve(c, nil)
		if next.Version != before+1 || next.SnapshotID != st.SnapshotID {
			t.Errorf("%v made version %d", c, next.Version)
		}
		if again := r.evolve(c, nil); again.Version != next.Version {
			t.Errorf("%v again made another version", c)
		}
	}
	if next.Schema.Fields[0].ID != st.Schema.Fields[0].ID || next.Schema.Fields[0].Type.Kind != tarn.Long {
		t.Errorf("schema %+v", next.Schema)
	}
	// Statistics and partitions written with the narrow types are read with the wide ones.
	for range 2 {
		got := r.files(next)[0]
		if !reflect.DeepEqual(got.Columns, f.Columns) || !reflect.DeepEqual(got.Partition, []any{int64(5)}) {
			t.Errorf("file %+v\nwant %+v", got, f)
		}
		r.reopen()
		next, err = r.State(t.Context(), name)
		must(t, err)
	}
	for range 20 { // merged with files of the wide schema
		if next, err = r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{r.file(next, 1, int64(6))}, SchemaID: next.SchemaID}); err != nil {
			t.Fatal(err)
		}
	}
	r.reopen()
	next, err = r.State(t.Context(), name)
	must(t, err)
	if n := rowsOf(r.files(next)); n != 29 {
		t.Errorf("%d rows", n)
	}
	for path, typ := range map[string]string{"t": "BIGINT", "n": "VARCHAR", "d": "DECIMAL(18,3)", "s": "BIGINT", "p": "DOUBLE"} {
		_, err := r.Evolve(t.Context(), name, widen(path, typ), nil)
		wantCode(t, err, tarn.CodeUnsupported)
	}
	_, err = r.Evolve(t.Context(), name, widen("none", "BIGINT"), nil)
	wantCode(t, err, tarn.CodeNotFound)
	if same := r.evolve(widen("f", "FLOAT"), nil); same.Version != next.Version {
		t.Error("narrowing changed the table")
	}
}

// BIGINT to DOUBLE is no Iceberg promotion: the column gets a new id and every file is rewritten in
// the same commit. A writer that still has files of the old schema is refused, for its column would
// read as null.
func TestLongToDouble(t *testing.T) {
	r := newRig(t)
	st := r.define(table.Definition{Name: name, Schema: schema("id", "BIGINT", "s", "STRUCT(v BIGINT)")})
	change := table.Change{Widen: []table.Widen{{Path: []string{"s", "v"}, Type: tarn.Type{Kind: tarn.Double}}}}
	for range 3 {
		st = r.add(10)
	}
	late := r.file(st, 5)
	_, err := r.Evolve(t.Context(), name, change, nil)
	wantCode(t, err, tarn.CodeUnsupported)
	orders := 0
	next := r.evolve(change, func(ctx context.Context, o table.Rewrite) ([]table.DataFile, error) {
		orders++
		if !o.Read.Equal(st.Schema) || o.Write.Lookup("s").Type.Fields[0].Type.Kind != tarn.Double || o.SchemaID == st.SchemaID || len(o.Files) != 3 {
			t.Errorf("order %+v", o)
		}
		return r.merge(ctx, o)
	})
	id := next.Schema.Lookup("s").Type.Fields[0].ID
	if orders != 1 || next.Rows != 30 || next.Files != 1 || id == st.Schema.Lookup("s").Type.Fields[0].ID || next.SchemaID == st.SchemaID {
		t.Errorf("%d orders, %d rows in %d files, id %d", orders, next.Rows, next.Files, id)
	}
	_, err = r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{late}, SchemaID: st.SchemaID})
	wantCode(t, err, tarn.CodeConflict)
	must(t, second(r.Commit(t.Context(), name, table.Commit{Add: []table.DataFile{r.file(next, 5)}, SchemaID: next.SchemaID})))
	r.reopen()
	next, err = r.State(t.Context(), name)
	must(t, err)
	if rowsOf(r.files(next)) != 35 {
		t.Errorf("%d rows", rowsOf(r.files(next)))
	}
	old, err := r.StateAt(t.Context(), name, table.AsOf{Snapshot: st.SnapshotID})
	must(t, err)
	if !old.Schema.Equal(st.Schema) || !reflect.DeepEqual(paths(r.files(old)), paths(r.files(st))) {
		t.Error("the past changed")
	}
	empty := newRig(t)
	empty.define(table.Definition{Name: name, Schema: schema("v", "BIGINT")})
	if st := empty.evolve(table.Change{Widen: []table.Widen{{Path: []string{"v"}, Type: tarn.Type{Kind: tarn.Double}}}}, nil); st.Schema.Fields[0].Type.Kind != tarn.Double {
		t.Error("an empty table needs no rewriter")
	}
}

func second(_ *table.State, err error) error { return err }
