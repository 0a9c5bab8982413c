package table_test

import (
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

func TestEnsureAssignsIDs(t *testing.T) {
	r := newRig(t)
	s := schema("id", "BIGINT", "pos", "STRUCT(lat DOUBLE, tags VARCHAR[])", "m", "MAP(VARCHAR, JSON)", "doc", "JSON", "price", "DECIMAL(10,2)", "u", "UUID",
		"d", "DATE", "tod", "TIME", "tz", "TIMESTAMPTZ", "b", "BLOB", "f", "FLOAT", "n", "INTEGER", "ok", "BOOLEAN", "s", "VARCHAR")
	s.Fields[0].Required, s.Fields[0].Doc = true, "who"
	st := r.define(table.Definition{Name: name, Schema: s, Properties: map[string]string{"owner": "fleet"}})
	for range 2 {
		if !st.Schema.Equal(s) || !st.Schema.Fields[0].Required || st.Schema.Fields[0].Doc != "who" {
			t.Fatalf("schema %+v", st.Schema)
		}
		seen := map[int]bool{}
		var walk func(f tarn.Field)
		walk = func(f tarn.Field) {
			if f.ID < 1 || seen[f.ID] {
				t.Errorf("field %s has id %d", f.Name, f.ID)
			}
			seen[f.ID] = true
			for _, c := range f.Type.Fields {
				walk(c)
			}
			if f.Type.Key != nil {
				walk(*f.Type.Key)
			}
			if f.Type.Elem != nil {
				walk(*f.Type.Elem)
			}
		}
		for _, f := range st.Schema.Fields {
			walk(f)
		}
		if st.Properties["owner"] != "fleet" || st.Prefix != "curated/telemetry" || st.Location != r.bucket.URL("curated/telemetry") {
			t.Errorf("state %+v", st)
		}
		r.reopen()
		var err error
		st, err = r.State(t.Context(), name)
		must(t, err)
	}
	if s.Fields[1].Type.Fields[0].ID != 0 {
		t.Error("Ensure wrote ids into the caller's schema")
	}
}

func TestEnsureAgain(t *testing.T) {
	r := newRig(t)
	st := r.ensure()
	if r.ensure() != st {
		t.Error("an existing table changed")
	}
	next := r.define(table.Definition{Name: name, Schema: schema("other", "BIGINT"), Properties: map[string]string{"owner": "fleet"}})
	if !next.Schema.Equal(st.Schema) || next.Properties["owner"] != "fleet" || next.Version != st.Version+1 || next.UUID != st.UUID {
		t.Errorf("state %+v", next)
	}
	_, err := r.Ensure(t.Context(), table.Definition{Name: name, Schema: st.Schema, Partition: []tarn.PartitionField{{Source: "ts", Transform: tarn.Day}}})
	wantCode(t, err, tarn.CodeUnsupported)
	if !strings.Contains(err.Error(), "day(ts)") || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("the error does not say what differs: %v", err)
	}
}

func TestEnsureRefuses(t *testing.T) {
	r := newRig(t)
	r.ensure()
	cols := schema("id", "BIGINT", "ts", "TIMESTAMP", "d", "DATE", "l", "BIGINT[]", "st", "STRUCT(x BIGINT)", "v", "DOUBLE")
	for what, c := range map[string]struct {
		def  table.Definition
		code tarn.Code
	}{
		"no zone":              {table.Definition{Name: "telemetry", Schema: cols}, tarn.CodeInvalid},
		"a path":               {table.Definition{Name: "curated.../x", Schema: cols}, tarn.CodeInvalid},
		"no columns":           {table.Definition{Name: "curated.x"}, tarn.CodeInvalid},
		"a name twice":         {table.Definition{Name: "curated.x", Schema: schema("a", "BIGINT", "A", "DATE")}, tarn.CodeInvalid},
		"a nested name twice":  {table.Definition{Name: "curated.x", Schema: schema("s", `STRUCT(a BIGINT, "A" DATE)`)}, tarn.CodeInvalid},
		"a name in other case": {table.Definition{Name: "curated.Telemetry", Schema: cols}, tarn.CodeConflict},
		"no partition column":  {partitioned(cols, "hour(nope)"), tarn.CodeInvalid},
		"hours of a date":      {partitioned(cols, "hour(d)"), tarn.CodeInvalid},
		"days of a number":     {partitioned(cols, "day(id)"), tarn.CodeInvalid},
		"a list":               {partitioned(cols, "l"), tarn.CodeInvalid},
		"a struct":             {partitioned(cols, "st"), tarn.CodeInvalid},
		"buckets of a double":  {partitioned(cols, "bucket(4, v)"), tarn.CodeInvalid},
		"days and hours":       {partitioned(cols, "day(ts)", "hour(ts)"), tarn.CodeInvalid},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := r.Ensure(t.Context(), c.def)
			wantCode(t, err, c.code)
		})
	}
}

func partitioned(s tarn.Schema, fields ...string) table.Definition {
	def := table.Definition{Name: "curated.x", Schema: s}
	for _, f := range fields {
		p, err := tarn.ParsePartitionField(f)
		if err != nil {
			panic(err)
		}
		def.Partition = append(def.Partition, p)
	}
	return def
}

// A table made again after its row is gone never shares a folder with what is left of the old one.
func TestRecreatedTableHasItsOwnFolder(t *testing.T) {
	r := newRig(t)
	old := r.ensure()
	if _, err := r.db.Exec(t.Context(), "DELETE FROM tables"); err != nil {
		t.Fatal(err)
	}
	st := r.ensure()
	if st.Prefix == old.Prefix || !strings.HasPrefix(st.Prefix, "curated/telemetry-") || st.UUID == old.UUID {
		t.Errorf("folder %s", st.Prefix)
	}
	r.add(3)
	if got, err := r.State(t.Context(), name); err != nil || got.Rows != 3 || got.UUID != st.UUID {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestEnsureRace(t *testing.T) {
	r := newRig(t)
	var wg sync.WaitGroup
	states := make([]*table.State, 8)
	for i := range states {
		wg.Go(func() {
			s := table.Open(r.db, r.bucket, table.Options{})
			st, err := s.Ensure(t.Context(), table.Definition{Name: name, Schema: schema("id", "BIGINT")})
			if err != nil {
				t.Error(err)
				return
			}
			states[i] = st
		})
	}
	wg.Wait()
	for _, st := range states {
		if st == nil || st.UUID != states[0].UUID {
			t.Errorf("another table: %+v", st)
		}
	}
	names, err := r.Names(t.Context())
	must(t, err)
	if !slices.Equal(names, []string{name}) {
		t.Errorf("names %v", names)
	}
}

func TestPartitionedTable(t *testing.T) {
	r := newRig(t)
	s := schema("id", "BIGINT", "ts", "TIMESTAMP", "dev-ice", "VARCHAR", "price", "DECIMAL(10,2)", "d", "DATE", "pos", "STRUCT(lat BIGINT)", "u", "UUID", "at", "TIMESTAMPTZ", "t", "TIME", "b", "BLOB", "ok", "BOOLEAN", "x", "DOUBLE")
	fields := []string{"hour(ts)", "dev-ice", "bucket(16, id)", "truncate(2, dev-ice)", "month(d)", "pos.lat", "price", "u", "year(at)", "t", "b", "ok", "x", "at"}
	def := partitioned(s, fields...)
	def.Name = name
	st := r.define(def)
	if !slices.Equal(st.Partition, def.Partition) {
		t.Fatalf("partition %v", st.Partition)
	}
	values := partitionSample(t, st)
	null := make([]any, len(values))
	r.add(1, values...)
	r.add(2, null...)
	r.reopen()
	st, err := r.State(t.Context(), name)
	must(t, err)
	if !slices.Equal(st.Partition, def.Partition) {
		t.Errorf("partition %v", st.Partition)
	}
	for _, f := range r.files(st) {
		want := values
		if f.Rows == 2 {
			want = null
		}
		if !reflect.DeepEqual(f.Partition, want) {
			t.Errorf("partition %#v\nwant      %#v", f.Partition, want)
		}
	}
	for range 20 { // merges encode what they read
		r.add(1, values...)
	}
	_, err = r.RewriteManifests(t.Context(), name)
	must(t, err)
	r.reopen()
	st, err = r.State(t.Context(), name)
	must(t, err)
	if got := r.files(st); len(got) != 22 || !reflect.DeepEqual(got[21].Partition, values) || !reflect.DeepEqual(got[0].Partition, null) {
		t.Errorf("%d files, first %#v", len(got), got[0].Partition)
	}
}
