package extract_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/replay"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/table"
)

// TestRetriesAreExact tries failed records of an extract to a stream again, in any batches, through faults at every step
// and beside sessions that go on. The stream has the row of each record once.
func TestRetriesAreExact(t *testing.T) {
	checks(t, 8)
	world := newWorld(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 3))
		src := &source{name: fmt.Sprintf("retry%d", run), shards: make([][][]byte, 1+rng.IntN(2))}
		src.visible = make([]int, len(src.shards))
		count := 0
		for s := range src.shards {
			for range 1 + rng.IntN(60) {
				src.shards[s] = append(src.shards[s], fmt.Appendf(nil, `{"k":"%c","v":%d}`, 'a'+rune(rng.IntN(5)), count))
				count++
			}
		}
		if err := throughRetries(t.Context(), world, src, rng, run, count); err != nil {
			rt.Fatal(err)
		}
	})
}

func throughRetries(ctx context.Context, world *world, src *source, rng *rand.Rand, run, count int) error {
	to, err := world.stream(ctx, 1+rng.IntN(2))
	if err != nil {
		return err
	}
	defer to.Close()
	name := fmt.Sprintf("extract.r%d", run)
	steps := func(sql string) []delivery.Step {
		return []delivery.Step{{Transform: project.Transform{SQL: sql}, RowByRow: true}}
	}
	config := func(sql string) delivery.Config {
		cfg := world.config(name, src)
		cfg.Declared, cfg.BufferBytes, cfg.Transform = sinkSchema, 1, steps(sql)
		cfg.Sink = extract.NewStreamSink(extract.StreamOptions{Delivery: name, To: to, Shards: to.Shards(), KeyPath: "k", Store: world.store, State: &faulty{Bucket: world.state, rng: rng, odds: 15}})
		return cfg
	}
	for round, left, all := 0, 0, false; left > 0 || !all; round++ {
		if round > 500 {
			return fmt.Errorf("%d failed records are left", left)
		}
		all = true
		for s := range src.visible {
			src.visible[s] = min(src.visible[s]+rng.IntN(30), len(src.shards[s]))
			all = all && src.visible[s] == len(src.shards[s])
		}
		if err := drain(ctx, config("SELECT k, CASE WHEN v % 3 = 0 THEN error('bad') ELSE v END AS v FROM records")); err != nil {
			return err
		}
		recs, err := world.store.FailedRecords(ctx, table.FailedFilter{Table: name, Limit: 1 + rng.IntN(20)})
		if err != nil {
			return err
		}
		sql := "SELECT k, v FROM records"
		if round < 3 { // some fail again
			sql = "SELECT k, CASE WHEN v % 6 = 0 THEN error('bad') ELSE v END AS v FROM records"
		}
		cfg := config(sql)
		cfg.Dir += "-retry"
		_, _ = replay.Retry(ctx, cfg, world.store, recs) // a fault of the test, or what it left behind
		n, err := world.store.CountFailed(ctx, table.FailedFilter{Table: name})
		if err != nil {
			return err
		}
		left = int(n)
	}
	got, err := rows(ctx, to)
	if err != nil {
		return err
	}
	seen := map[int]bool{}
	for _, row := range got {
		seen[int(row["v"].(float64))] = true
	}
	progress, err := world.store.Progress(ctx, name)
	if err != nil {
		return err
	}
	var in, failed, out uint64
	for _, p := range progress {
		in, failed, out = in+p.RecordsIn, failed+p.Failed, out+p.RowsOut
	}
	if len(got) != count || len(seen) != count || int(in) != count || int(out) != count || failed != 0 {
		return fmt.Errorf("%d rows of %d different records, %d were accepted; counted are %d, of which %d failed, and %d rows", len(got), len(seen), count, in, failed, out)
	}
	return nil
}
