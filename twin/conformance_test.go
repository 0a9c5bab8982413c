package twin_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/metadb/metadbtest"
	"github.com/tarn-data/tarn/twin"
)

// backend makes databases of one kind.
type backend struct {
	newURL func(testing.TB) string
	shared bool // several stores write to one database
}

// node is a store on a database, as one process has it, with the twin fleet.
type node struct {
	*twin.Twin
	store *twin.Store
	db    *metadb.DB
}

func (b backend) node(t testing.TB, url string, o twin.Options, spec twin.Spec) node {
	t.Helper()
	db, err := metadb.Open(t.Context(), url, metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	o.Shared = o.Shared || b.shared
	s := twin.Open(db, o)
	spec.Name = "fleet"
	if err := s.Configure(t.Context(), []twin.Spec{{Name: "other"}, spec}); err != nil {
		t.Fatal(err)
	}
	tw, err := s.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	return node{tw, s, db}
}

// run tends the twins of a node until the test ends.
func (n node) run(t testing.TB) {
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { n.store.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
}

// TestConformance holds that both databases behave alike.
func TestConformance(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		conformance(t, backend{newURL: func(t testing.TB) string { return filepath.Join(t.TempDir(), "twins.db") }})
	})
	t.Run("postgres", func(t *testing.T) {
		server := metadbtest.Postgres(t)
		conformance(t, backend{newURL: func(t testing.TB) string { return server.Database(t) }, shared: true})
	})
}

func conformance(t *testing.T, b backend) {
	for _, c := range []struct {
		name string
		test func(*testing.T, backend)
	}{
		{"newer wins", newerWins}, {"progress commits with values", progress}, {"what is kept comes back", roundTrip}, {"bad updates are named", rejections}, {"the schema of now counts", schemaOfNow},
		{"lists", lists}, {"expiry", expiry}, {"less memory than values", littleMemory}, {"nodes see each other", nodes}, {"nodes tell each other", nodesTell}, {"any order gives one state", anyOrder},
		{"watching", watching}, {"writers at once", writersAtOnce},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, b) })
	}
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func update(component, metric string, second int, v float64) twin.Update {
	u := twin.Update{Component: component, Type: "wagon", Metric: metric, Value: twin.NumberValue(v), At: noon.Add(time.Duration(second) * time.Second), Unit: "km/h", Pipeline: "telemetry", Source: "unpivot"}
	u.Position = twin.Position{Stream: "telemetry", Position: tarn.Position{Shard: 1, Offset: uint64(1000 + second)}}
	return u
}

func (n node) apply(t testing.TB, updates ...twin.Update) twin.Result {
	t.Helper()
	res, err := n.Apply(t.Context(), twin.Batch{Updates: updates})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func (n node) number(t testing.TB, component, metric string) (float64, bool) {
	t.Helper()
	m, err := n.Get(t.Context(), twin.Key{Component: component, Metric: metric})
	if err != nil && tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Fatal(err)
	}
	return m.Value.Number(), err == nil
}

func newerWins(t *testing.T, b backend) {
	n := b.node(t, b.newURL(t), twin.Options{}, twin.Spec{})
	if res := n.apply(t, update("a", "speed", 2, 20), update("a", "speed", 1, 10), update("a", "speed", 2, 20)); res.Applied != 1 || res.Old != 2 {
		t.Errorf("%+v", res)
	}
	if res := n.apply(t, update("a", "speed", 1, 10), update("a", "speed", 2, 20)); res.Applied != 0 || res.Old != 2 {
		t.Errorf("%+v", res)
	}
	tie := update("a", "speed", 2, 30)
	tie.Position.Offset--
	if n.apply(t, tie).Applied != 0 {
		t.Error("a smaller position won")
	}
	tie.Position.Offset += 2
	if n.apply(t, tie).Applied != 1 {
		t.Error("a greater position lost")
	}
	removed := update("a", "speed", 5, 0)
	removed.Value = twin.Value{}
	n.apply(t, removed)
	if _, ok := n.number(t, "a", "speed"); ok {
		t.Error("a removed metric is there")
	}
	if n.apply(t, update("a", "speed", 4, 1)).Applied != 0 || n.apply(t, update("a", "speed", 6, 60)).Applied != 1 {
		t.Error("what comes behind a removal counts, and nothing else")
	}
}

func progress(t *testing.T, b backend) {
	url := b.newURL(t)
	n := b.node(t, url, twin.Options{}, twin.Spec{})
	batch := func(from, next uint64, second int) twin.Batch {
		return twin.Batch{Updates: []twin.Update{update("a", "speed", second, float64(second))}, Progress: []twin.Progress{{Writer: "x", Stream: "s", From: from, Next: next}}}
	}
	for _, c := range []struct {
		batch twin.Batch
		code  tarn.Code
	}{{batch(0, 10, 1), ""}, {batch(0, 12, 2), tarn.CodeConflict}, {batch(10, 20, 3), ""}, {batch(10, 20, 4), tarn.CodeConflict}} {
		if _, err := n.Apply(t.Context(), c.batch); tarn.CodeOf(err) != c.code && (err != nil || c.code != "") {
			t.Errorf("%v, want %q", err, c.code)
		}
	}
	boom := errors.New("boom")
	fail := batch(20, 30, 9)
	fail.Tx = func(ctx context.Context, tx *metadb.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM twin_values"); err != nil {
			return err
		}
		return boom
	}
	if _, err := n.Apply(t.Context(), fail); !errors.Is(err, boom) {
		t.Error(err)
	}
	for _, n := range []node{n, b.node(t, url, twin.Options{}, twin.Spec{})} {
		rows, err := n.Progress(t.Context(), "x")
		if err != nil || len(rows) != 1 || rows[0].Next != 20 {
			t.Errorf("%+v, %v", rows, err)
		}
		if v, _ := n.number(t, "a", "speed"); v != 3 {
			t.Errorf("the value of a batch that failed is there: %v", v)
		}
	}
}

func roundTrip(t *testing.T, b backend) {
	url := b.newURL(t)
	n := b.node(t, url, twin.Options{}, twin.Spec{})
	values := []twin.Value{twin.NumberValue(-1.5e300), twin.NumberValue(0), twin.StringValue(""), twin.StringValue("ü\n\"'\\"), twin.BooleanValue(true), twin.BooleanValue(false),
		twin.JSONValue([]byte(`{"a": [1, null]}`)), twin.JSONValue([]byte("null"))}
	want := map[string]twin.Metric{}
	for i, v := range values {
		u := update("../ü/"+fmt.Sprint(i), "mäter/../x", i, 0)
		u.Value, u.At = v, noon.Add(-40*365*24*time.Hour*time.Duration(i)+1234567*time.Nanosecond)
		u.Position.Offset, u.Position.Shard = 1<<64-1, 1<<31-1
		n.apply(t, u)
		want[u.Component] = twin.Metric{Component: u.Component, Type: u.Type, Metric: u.Metric, Value: v, Unit: u.Unit, At: u.At.Truncate(time.Microsecond), Pipeline: u.Pipeline, Source: u.Source, Position: u.Position}
	}
	again := b.node(t, url, twin.Options{}, twin.Spec{})
	for _, n := range []node{n, again} {
		for id, w := range want {
			got, err := n.Get(t.Context(), twin.Key{Component: id, Metric: w.Metric})
			if err != nil || !cmp.Equal(got, w, cmpopts.IgnoreUnexported(twin.Metric{}), cmp.Comparer(func(a, b twin.Value) bool { return a == b })) {
				t.Errorf("%+v\nwant %+v (%v)", got, w, err)
			}
		}
	}
	if _, err := again.Component(t.Context(), "../ü"); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error("a part of an id is an id")
	}
}

func rejections(t *testing.T, b backend) {
	spec := twin.Spec{Unknown: twin.Reject, Types: map[string]map[string]twin.MetricSpec{"wagon": {"speed": {Kind: twin.Number, Unit: "km/h"}, "any": {Kind: twin.JSON}}}}
	n := b.node(t, b.newURL(t), twin.Options{}, spec)
	change := func(f func(*twin.Update)) twin.Update {
		u := update("a", "speed", 1, 1)
		f(&u)
		return u
	}
	bad := []twin.Update{
		change(func(u *twin.Update) { u.Component = "" }), change(func(u *twin.Update) { u.Component = "a\x00b" }), change(func(u *twin.Update) { u.Metric = "\xff" }),
		change(func(u *twin.Update) { u.At = time.Time{} }), change(func(u *twin.Update) { u.At = noon.AddDate(9000, 0, 0) }), change(func(u *twin.Update) { u.Position.Shard = -1 }),
		change(func(u *twin.Update) { u.Value = twin.JSONValue([]byte("{")) }), change(func(u *twin.Update) { u.Value = twin.StringValue("\xff") }),
		change(func(u *twin.Update) { u.Value = twin.StringValue("fast") }), change(func(u *twin.Update) { u.Unit = "m/s" }), change(func(u *twin.Update) { u.Metric = "new" }), change(func(u *twin.Update) { u.Type = "tram" }),
		change(func(u *twin.Update) { u.Value = twin.StringValue(string(make([]byte, twin.MaxValueBytes+1))) }),
	}
	good := change(func(u *twin.Update) { u.Unit = "" })
	res := n.apply(t, append(slices.Clone(bad), good, change(func(u *twin.Update) { u.Metric, u.Value = "any", twin.StringValue("x") }))...)
	if res.Applied != 2 || len(res.Rejected) != len(bad) {
		t.Errorf("%+v", res)
	}
	for i, r := range res.Rejected {
		var e *tarn.Error
		if r.Index != i || !errors.As(r.Err, &e) || e.Detail == "" {
			t.Errorf("%d: %+v", i, r)
		}
	}
	if m, err := n.Get(t.Context(), good.Key()); err != nil || m.Unit != "km/h" {
		t.Errorf("the declared unit is not filled in: %+v, %v", m, err)
	}
	spec.Name, spec.Unknown = "fleet", twin.Tag
	if err := n.store.Configure(t.Context(), []twin.Spec{spec}); err != nil {
		t.Fatal(err)
	}
	n.apply(t, change(func(u *twin.Update) { u.Metric = "new" }))
	if m, err := n.Get(t.Context(), twin.Key{Component: "a", Metric: "new"}); err != nil || !m.Unknown {
		t.Errorf("%+v, %v", m, err)
	}
}

// schemaOfNow holds that values of before are shown as the schema of now says: shown, marked or hidden, and shown again.
func schemaOfNow(t *testing.T, b backend) {
	types := map[string]map[string]twin.MetricSpec{"wagon": {"speed": {Kind: twin.Number}}}
	url := b.newURL(t)
	n := b.node(t, url, twin.Options{}, twin.Spec{})
	n.apply(t, update("a", "speed", 1, 1), update("a", "old", 1, 2), update("b", "old", 1, 3))
	w, err := n.Watch(twin.WatchFilter{}, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	tags := map[string]bool{}
	for _, c := range []struct {
		spec    twin.Spec
		sees    int
		unknown bool
		changed bool
	}{
		{twin.Spec{Unknown: twin.Accept, Types: types}, 3, false, true}, {twin.Spec{Unknown: twin.Tag, Types: types}, 3, true, true}, {twin.Spec{Unknown: twin.Reject, Types: types}, 1, false, true},
		{twin.Spec{Unknown: twin.Reject, Types: types, ExpireAfter: 1e6 * time.Hour}, 1, false, false}, {twin.Spec{Unknown: twin.Reject}, 3, false, true},
	} {
		c.spec.Name = "fleet"
		if err := n.store.Configure(t.Context(), []twin.Spec{c.spec}); err != nil {
			t.Fatal(err)
		}
		if _, _, missed := drain(t, w); missed != map[bool]int{true: 1, false: 0}[c.changed] {
			t.Errorf("%s: watchers are told of %d gaps", c.spec.Unknown, missed)
		}
		for _, n := range []node{n, b.node(t, url, twin.Options{}, c.spec)} {
			scanned := 0
			if err := n.Scan(t.Context(), func(x twin.Component) error { scanned += len(x.Metrics); return nil }); err != nil {
				t.Fatal(err)
			}
			p, err := n.List(t.Context(), twin.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			listed := 0
			for _, x := range p.Components {
				listed += len(x.Metrics)
			}
			_, whole := n.Component(t.Context(), "b")
			m, one := n.Get(t.Context(), twin.Key{Component: "b", Metric: "old"})
			hidden := c.sees == 1
			if scanned != c.sees || listed != c.sees || (one != nil) != hidden || (whole != nil) != hidden || m.Unknown != c.unknown {
				t.Errorf("%s: %d in a scan, %d in a list, want %d; %+v %v %v", c.spec.Unknown, scanned, listed, c.sees, m, one, whole)
			}
			if !hidden {
				tags[m.ETag()] = true
			}
		}
	}
	resumed, err := n.Watch(twin.WatchFilter{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer resumed.Close()
	if got, _, missed := drain(t, resumed); missed != 1 || len(got) != 0 {
		t.Errorf("who resumes from before is told of %d gaps, and gets %v", missed, got)
	}
	if len(tags) != 2 {
		t.Errorf("a value that is marked and one that is not have %d tags", len(tags))
	}
}

func lists(t *testing.T, b backend) {
	now := noon.Add(time.Hour)
	n := b.node(t, b.newURL(t), twin.Options{Clock: func() time.Time { return now }}, twin.Spec{})
	var updates []twin.Update
	for i := range 300 {
		id := fmt.Sprintf("wagon-%03d", i)
		for m := range 20 {
			updates = append(updates, update(id, fmt.Sprintf("m%02d", m), i, float64(i)))
		}
	}
	gate := update("gate", "speed", 0, 5)
	gate.Type = "gate"
	n.apply(t, append(updates, gate, update("wagon", "m00", 0, 1), update("wagon-0020", "m00", 0, 1))...)
	low, high, exact := 10.0, 12.0, twin.NumberValue(7)
	for _, c := range []struct {
		name   string
		filter twin.Filter
		want   int
	}{
		{"all", twin.Filter{}, 303}, {"prefix", twin.Filter{Prefix: "wagon-00"}, 11}, {"a prefix that is an id", twin.Filter{Prefix: "wagon"}, 302}, {"type", twin.Filter{Type: "gate"}, 1},
		{"metric", twin.Filter{Metric: "speed"}, 1}, {"range", twin.Filter{Metric: "m03", Min: &low, Max: &high}, 3}, {"value", twin.Filter{Value: &exact}, 1},
		{"old", twin.Filter{OlderThan: 59 * time.Minute}, 64}, {"new", twin.Filter{NewerThan: 59 * time.Minute}, 239}, {"none", twin.Filter{Prefix: "x"}, 0},
	} {
		for _, limit := range []int{0, 1, 7, 1000} {
			if limit == 1 && c.want > 64 {
				continue
			}
			var got []string
			f := c.filter
			f.Limit = limit
			for pages := 0; ; pages++ {
				p, err := n.List(t.Context(), f)
				if err != nil || pages > 310 {
					t.Fatal(err, pages)
				}
				for _, x := range p.Components {
					got = append(got, x.Component)
				}
				if f.After = p.Next; p.Next == "" {
					break
				}
			}
			if len(got) != c.want || !slices.IsSorted(got) {
				t.Errorf("%s by %d: %d components, want %d", c.name, limit, len(got), c.want)
			}
		}
	}
	p, err := n.List(t.Context(), twin.Filter{Prefix: "wagon-001", Metric: "m01"})
	if err != nil || len(p.Components) != 1 || len(p.Components[0].Metrics) != 1 || p.Components[0].Type != "wagon" {
		t.Errorf("%+v, %v", p, err)
	}
}

func expiry(t *testing.T, b backend) {
	now := noon
	url := b.newURL(t)
	n := b.node(t, url, twin.Options{Clock: func() time.Time { return now }, Refresh: time.Millisecond}, twin.Spec{ExpireAfter: time.Minute})
	n.apply(t, update("a", "old", -59, 1), update("a", "new", 0, 2), update("b", "old", -59, 1), update("c", "gone", -60, 1))
	if _, ok := n.number(t, "c", "gone"); ok {
		t.Error("what has expired is there")
	}
	now = noon.Add(5 * time.Second)
	if _, ok := n.number(t, "a", "old"); ok {
		t.Error("what has expired is there")
	}
	if _, err := n.Component(t.Context(), "b"); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error(err)
	}
	w, err := n.Watch(twin.WatchFilter{}, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	n.run(t)
	c, err := w.Next(t.Context())
	if err != nil || len(c.Events) != 2 || !c.Events[0].Expired || c.Events[0].Metric.Component != "a" {
		t.Errorf("%+v, %v", c, err)
	}
	var rows int
	if err := n.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM twin_values").Scan(&rows); err != nil || rows != 1 {
		t.Errorf("%d rows, %v", rows, err)
	}
	if v, ok := n.number(t, "a", "new"); !ok || v != 2 {
		t.Error("what has not expired is gone")
	}
	if n.apply(t, update("a", "old", -58, 1)).Applied != 0 {
		t.Error("what has expired was taken")
	}
}

func littleMemory(t *testing.T, b backend) {
	url := b.newURL(t)
	const bound = 64 << 10
	n := b.node(t, url, twin.Options{MemoryBytes: bound}, twin.Spec{})
	want := map[twin.Key]float64{}
	for round := range 4 {
		var updates []twin.Update
		for i := range 1000 {
			u := update(fmt.Sprint("wagon-", i), fmt.Sprint("m", (i+round)%3), round, float64(10*i+round))
			updates, want[u.Key()] = append(updates, u), u.Value.Number()
		}
		rand.Shuffle(len(updates), func(i, j int) { updates[i], updates[j] = updates[j], updates[i] })
		n.apply(t, updates...)
	}
	again := b.node(t, url, twin.Options{MemoryBytes: bound, Refresh: time.Millisecond}, twin.Spec{})
	again.run(t)
	for _, n := range []node{n, again} {
		for k, v := range want {
			if got, ok := n.number(t, k.Component, k.Metric); !ok || got != v {
				t.Fatalf("%v is %v (%v), want %v", k, got, ok, v)
			}
		}
		if used := n.store.MemoryBytes(); used > bound || used < bound/2 {
			t.Errorf("%d bytes in memory, bound %d", used, bound)
		}
	}
}

func nodes(t *testing.T, b backend) {
	if !b.shared {
		t.Skip("an SQLite file has one node")
	}
	url := b.newURL(t)
	o := twin.Options{Refresh: 5 * time.Millisecond}
	one, two := b.node(t, url, o, twin.Spec{}), b.node(t, url, o, twin.Spec{})
	one.run(t)
	two.run(t)
	w, err := two.Watch(twin.WatchFilter{Metrics: []string{"speed"}}, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	for i := range 20 {
		one.apply(t, update("a", "speed", 2*i, float64(2*i)))
		if v, _ := one.number(t, "a", "speed"); v != float64(2*i) {
			t.Error("a node does not see what it wrote")
		}
		deadline := time.Now().Add(10 * time.Second)
		for v := -1.0; v != float64(2*i); v, _ = two.number(t, "a", "speed") {
			if time.Now().After(deadline) {
				t.Fatalf("the other node still sees %v", v)
			}
			time.Sleep(time.Millisecond)
		}
		two.apply(t, update("a", "speed", 2*i+1, -1), update("a", "load", i, 1))
	}
	last := 0.0
	for last < 38 {
		c, err := w.Next(t.Context())
		if err != nil || c.Missed {
			t.Fatal(c, err)
		}
		for _, e := range c.Events {
			last = max(last, e.Metric.Value.Number())
		}
	}
}

// nodesTell holds that a node hears of others' writes, though it looks for them once an hour, and again after
// its connection has gone; meanwhile it looks.
func nodesTell(t *testing.T, b backend) {
	if !b.shared {
		t.Skip("an SQLite file has one node")
	}
	url := b.newURL(t)
	one, two := b.node(t, url, twin.Options{}, twin.Spec{}), b.node(t, url, twin.Options{Refresh: time.Hour}, twin.Spec{})
	one.run(t)
	two.run(t)
	second := 0
	sees := func() time.Duration {
		t.Helper()
		second++
		one.apply(t, update("a", "speed", second, float64(second)))
		began := time.Now()
		for v := -1.0; v != float64(second); v, _ = two.number(t, "a", "speed") {
			if time.Since(began) > 20*time.Second {
				t.Fatalf("the other node still sees %v", v)
			}
			time.Sleep(time.Millisecond)
		}
		return time.Since(began)
	}
	for range 20 {
		sees()
	}
	var took []time.Duration
	for range 20 {
		took = append(took, sees())
	}
	slices.Sort(took)
	t.Logf("seen after %v, at most %v", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 100*time.Millisecond {
		t.Errorf("half of the writes are seen after %v or later", took[len(took)/2])
	}
	if _, err := one.db.Exec(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		sees()
	}
}

func writersAtOnce(t *testing.T, b backend) {
	url := b.newURL(t)
	all := []node{b.node(t, url, twin.Options{}, twin.Spec{})}
	if b.shared {
		all = append(all, b.node(t, url, twin.Options{}, twin.Spec{}))
	}
	var wg sync.WaitGroup
	for w := range 6 {
		n := all[w%len(all)]
		wg.Go(func() {
			for range 20 {
				var updates []twin.Update
				for range 50 {
					s := rand.IntN(2000)
					updates = append(updates, update(fmt.Sprint("c", rand.IntN(10)), "speed", s, float64(s)))
				}
				if w == 0 { // both ends of the order, in every batch
					updates = append(updates, update("c0", "speed", 2000, 2000))
				}
				if _, err := n.Apply(t.Context(), twin.Batch{Updates: updates}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	fresh := b.node(t, url, twin.Options{}, twin.Spec{})
	for _, n := range append(all, fresh) {
		if v, _ := n.number(t, "c0", "speed"); v != 2000 {
			t.Errorf("%v", v)
		}
	}
}
