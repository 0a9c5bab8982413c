package extract_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/table"
	"github.com/tarn-data/tarn/twin"
)

var sinkSchema = &tarn.Schema{Fields: []tarn.Field{{Name: "k", Type: tarn.Type{Kind: tarn.String}}, {Name: "v", Type: tarn.Type{Kind: tarn.Long}}, {Name: "at", Type: tarn.Type{Kind: tarn.Timestamp}}}}

// TestSinksAreExact brings records into a stream and a twin through faults and new processes. The stream
// has each row once and those of a shard in order; the twin has the newest of each key.
func TestSinksAreExact(t *testing.T) {
	checks(t, 15)
	world := newWorld(t)
	store := twin.Open(world.db, twin.Options{})
	if err := store.Configure(t.Context(), []twin.Spec{{Name: "fleet"}}); err != nil {
		t.Fatal(err)
	}
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 2))
		src := &source{name: fmt.Sprintf("sink%d", run), shards: make([][][]byte, 1+rng.IntN(3))}
		src.visible = make([]int, len(src.shards))
		type newest struct{ at, shard, offset, v int }
		want, count := map[string]newest{}, 0
		for s := range src.shards {
			for i := range 1 + rng.IntN(200) {
				e := newest{rng.IntN(20), s, i, count}
				k := fmt.Sprintf("%d-%c", run, 'a'+rune(rng.IntN(5)))
				src.shards[s] = append(src.shards[s], fmt.Appendf(nil, `{"k":%q,"v":%d,"at":%q}`, k, e.v, time.Unix(epoch+int64(e.at), 0).UTC().Format(time.RFC3339)))
				count++
				if w, ok := want[k]; !ok || slices.Compare([]int{e.at, e.shard, e.offset}, []int{w.at, w.shard, w.offset}) > 0 {
					want[k] = e
				}
			}
		}
		if err := throughSinks(t.Context(), world, store, src, rng, run, count); err != nil {
			rt.Fatal(err)
		}
		tw, err := store.Twin("fleet")
		if err != nil {
			rt.Fatal(err)
		}
		for k, w := range want {
			m, err := tw.Get(t.Context(), twin.Key{Component: k, Metric: "v"})
			from := []string{"even", src.name}[w.v%2]
			if err != nil || int(m.Value.Number()) != w.v || m.Source != from || m.Position.String() != fmt.Sprintf("%s/%d:%d", src.name, w.shard, w.offset) {
				rt.Fatalf("%s: %+v %v, want %+v", k, m, err, w)
			}
		}
		failed, err := world.store.CountFailed(t.Context(), table.FailedFilter{Table: fmt.Sprintf("extract.t%d", run)})
		if err != nil || failed != 0 {
			rt.Fatal(failed, err)
		}
	})
}

func throughSinks(ctx context.Context, world *world, store *twin.Store, src *source, rng *rand.Rand, run, count int) error {
	to, err := world.stream(ctx, 1+rng.IntN(2))
	if err != nil {
		return err
	}
	defer to.Close()
	q, err := extract.Compile(ctx, world.duck, "SELECT k AS component, 'v' AS metric, v AS value, \"at\", CASE WHEN v % 2 = 0 THEN 'even' END AS source FROM records", true)
	if err != nil {
		return err
	}
	for done := false; !done; {
		done = true
		for s := range src.visible {
			src.visible[s] = min(src.visible[s]+rng.IntN(90), len(src.shards[s]))
			done = done && src.visible[s] == len(src.shards[s])
		}
		name := fmt.Sprintf("extract.s%d", run)
		cfg := world.config(name, src)
		cfg.Declared, cfg.ChunkBytes, cfg.BufferBytes = sinkSchema, int64(1+rng.IntN(3000)), 1
		cfg.Transform = []delivery.Step{{Transform: project.Transform{SQL: "SELECT k, v FROM records"}, RowByRow: true}}
		cfg.Sink = extract.NewStreamSink(extract.StreamOptions{Delivery: name, To: to, Shards: to.Shards(), KeyPath: "k", Store: world.store, State: &faulty{Bucket: world.state, rng: rng, odds: 10}})
		if err := drain(ctx, cfg); err != nil {
			return err
		}
		name = fmt.Sprintf("extract.t%d", run)
		cfg.Table, cfg.Pipeline, cfg.Dir, cfg.Positions = name, name, cfg.Dir+"-twin", true
		cfg.Transform = []delivery.Step{{Transform: project.Transform{SQL: q.SQL}}}
		cfg.Sink = extract.NewTwinSink(extract.TwinOptions{Delivery: name, Extract: "t", Stream: src.name, Store: world.store, Twin: func() (*twin.Twin, error) { return store.Twin("fleet") }})
		if err := drain(ctx, cfg); err != nil {
			return err
		}
	}
	got, err := rows(ctx, to)
	if err != nil {
		return err
	}
	seen := map[int]bool{}
	for _, row := range got {
		seen[int(row["v"].(float64))] = true
	}
	if len(got) != count || len(seen) != count {
		return fmt.Errorf("%d rows of %d different records, %d were accepted", len(got), len(seen), count)
	}
	return nil
}

// TestRowsOfManyRequests appends more rows in one commit than a request takes, from several files and
// through faults in the middle of them: each row once, in order.
func TestRowsOfManyRequests(t *testing.T) {
	world := newWorld(t)
	to, err := world.stream(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer to.Close()
	const count = 120
	src := &source{name: "large", shards: make([][][]byte, 1), visible: []int{count}}
	for i := range count {
		src.shards[0] = append(src.shards[0], fmt.Appendf(nil, `{"k":"%0100000d","v":%d}`, 0, i))
	}
	cfg := world.config("extract.large", src)
	cfg.Declared, cfg.ChunkBytes, cfg.BufferInterval = sinkSchema, 4<<20, time.Minute
	cfg.Transform = []delivery.Step{{Transform: project.Transform{SQL: "SELECT k, v FROM records"}, RowByRow: true}}
	cfg.Sink = extract.NewStreamSink(extract.StreamOptions{Delivery: cfg.Table, To: to, Store: world.store, State: &faulty{Bucket: world.state, rng: rand.New(rand.NewPCG(3, 4)), odds: 20}})
	if err := drain(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	got, err := rows(t.Context(), to)
	if err != nil || len(got) != count {
		t.Fatal(len(got), err)
	}
	for i, row := range got {
		if int(row["v"].(float64)) != i {
			t.Fatalf("row %d is %v", i, row["v"])
		}
	}
}
