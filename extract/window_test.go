package extract_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// event is one record of the model. Times are seconds.
type event struct {
	key string
	at  int
	v   int
}

// result is what SQL gives for a window and key.
type result struct {
	start, end int
	key        string
	n, sum     int
	first      int // value of the earliest record
}

// epoch is the second 0 of the model: windows of all lengths begin there.
const epoch = 4 * 232_792_560

const windowSQL = "SELECT window_start, window_end, k, count(*) AS n, sum(v)::BIGINT AS s, first(v) AS f, max(window_revision) AS r FROM records GROUP BY window_start, window_end, k"

// expected is one batch query over all events: the windows that are complete, with those that late
// records are left out of. allowed is how late a record may be.
func expected(w project.Window, shards [][]event) (out []result, late int) {
	sec := func(d time.Duration) int { return int(d / time.Second) }
	allowed := sec(w.Lateness + w.UpdateFor)
	type at struct {
		event
		shard, offset int
	}
	var on []at
	complete := 1 << 40
	for s, events := range shards {
		newest := -1 << 40
		for i, e := range events {
			if e.at < newest-allowed {
				late++
			} else {
				on = append(on, at{e, s, i})
			}
			newest = max(newest, e.at)
		}
		complete = min(complete, newest-sec(w.Lateness))
	}
	slices.SortFunc(on, func(a, b at) int { return cmp.Or(a.at-b.at, a.shard-b.shard, a.offset-b.offset) })
	windows := map[string]*result{}
	add := func(start, end int, e event) *result {
		k := fmt.Sprint(start, e.key)
		if windows[k] == nil {
			windows[k] = &result{start: start, end: end, key: e.key, first: e.v}
		}
		windows[k].n++
		windows[k].sum += e.v
		return windows[k]
	}
	open := map[string]*result{} // sessions by key
	for _, e := range on {
		if gap := sec(w.Gap); gap > 0 {
			if r := open[e.key]; r != nil && e.at < r.end {
				r.n, r.sum, r.end = r.n+1, r.sum+e.v, e.at+gap
				continue
			}
			open[e.key] = add(e.at, e.at+gap, e.event)
			continue
		}
		every := sec(w.Every)
		for start := floor(e.at, every); start > e.at-sec(w.Size); start -= every {
			add(start, start+sec(w.Size), e.event)
		}
	}
	for _, r := range windows {
		if r.end <= complete {
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, compareResults)
	return out, late
}

func compareResults(a, b result) int {
	return cmp.Or(a.end-b.end, a.start-b.start, strings.Compare(a.key, b.key))
}

func floor(t, step int) int { return t - ((t%step)+step)%step }

func checks(t *testing.T, n int) {
	t.Helper()
	if err := flag.Set("rapid.checks", fmt.Sprint(n)); err != nil {
		t.Fatal(err)
	}
}

// TestWindowsEqualOneQuery puts the same records through windows in any batches and orders, with faults
// at every step, and compares what came out with one query over all of them.
func TestWindowsEqualOneQuery(t *testing.T) {
	checks(t, 25)
	world := newWorld(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		w := project.Window{Time: "at", Lateness: time.Duration(rapid.IntRange(0, 8).Draw(rt, "lateness")) * time.Second,
			Late: rapid.SampledFrom([]project.Late{project.LateDrop, project.LateFailed, project.LateUpdate}).Draw(rt, "late")}
		kinds := []string{"tumbling", "hopping", "session"}
		if w.Late == project.LateUpdate {
			w.UpdateFor, kinds = time.Duration(rapid.IntRange(1, 15).Draw(rt, "update_for"))*time.Second, kinds[:2]
		}
		switch rapid.SampledFrom(kinds).Draw(rt, "kind") {
		case "tumbling":
			w.Size = time.Duration(rapid.IntRange(1, 20).Draw(rt, "size")) * time.Second
			w.Every = w.Size
		case "hopping":
			w.Every = time.Duration(rapid.IntRange(1, 7).Draw(rt, "every")) * time.Second
			w.Size = w.Every + time.Duration(rapid.IntRange(0, 13).Draw(rt, "more"))*time.Second
		default:
			w.Gap, w.Key = time.Duration(rapid.IntRange(1, 9).Draw(rt, "gap"))*time.Second, []string{"k"}
		}
		seed := rapid.Uint64().Draw(rt, "seed")
		rng := rand.New(rand.NewPCG(seed, 1))
		shards := make([][]event, rapid.IntRange(1, 3).Draw(rt, "shards"))
		src := &source{name: fmt.Sprintf("from%d", run), shards: make([][][]byte, len(shards)), visible: make([]int, len(shards)), rng: rng}
		for s := range shards {
			now := -20
			for range rapid.IntRange(1, 120).Draw(rt, "events") {
				now += rng.IntN(4)
				e := event{key: string(rune('a' + rng.IntN(3))), at: now - rng.IntN(6)*rng.IntN(5), v: rng.IntN(1000)}
				shards[s] = append(shards[s], e)
				src.shards[s] = append(src.shards[s], fmt.Appendf(nil, `{"k":%q,"v":%d,"at":%q}`, e.key, e.v, time.Unix(epoch+int64(e.at), 0).UTC().Format(time.RFC3339)))
			}
		}
		if err := throughWindows(t.Context(), world, src, w, rng, shards, run); err != nil {
			rt.Fatal(err)
		}
	})
}

func throughWindows(ctx context.Context, world *world, src *source, w project.Window, rng *rand.Rand, shards [][]event, run int) error {
	to, err := world.stream(ctx, 1+rng.IntN(2))
	if err != nil {
		return err
	}
	defer to.Close()
	name := fmt.Sprintf("extract.w%d", run)
	for done := false; !done; { // the records come in several goes, each through new processes
		done = true
		for s := range src.visible {
			src.visible[s] = min(src.visible[s]+rng.IntN(50), len(src.shards[s]))
			done = done && src.visible[s] == len(src.shards[s])
		}
		sink := extract.NewWindowSink(extract.WindowOptions{Window: w, Query: extract.Query{SQL: windowSQL}, Extract: "w", From: src.name, Shards: src.Shards, Ends: src.end,
			Dir:    filepath.Join(world.dir, "staging", name+"-windows"),
			Stream: extract.StreamOptions{Delivery: name, To: to, Shards: to.Shards(), KeyPath: "k", Store: world.store, State: &faulty{Bucket: world.state, rng: rng, odds: 3}},
			Record: func(ctx context.Context, p tarn.Position) ([]byte, time.Time, error) {
				return delivery.Original(ctx, src, p)
			}})
		cfg := world.config(name, src)
		cfg.Sink, cfg.Positions, cfg.Transform = sink, true, extract.WindowSteps(&w)
		cfg.Declared = &tarn.Schema{Fields: []tarn.Field{{Name: "k", Type: tarn.Type{Kind: tarn.String}}, {Name: "v", Type: tarn.Type{Kind: tarn.Long}}, {Name: "at", Type: tarn.Type{Kind: tarn.Timestamp}}}}
		cfg.ChunkBytes, cfg.BufferBytes = int64(1+rng.IntN(3000)), 1
		if err := drain(ctx, cfg); err != nil {
			return err
		}
	}
	want, late := expected(w, shards)
	got, err := results(ctx, to)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("got  %v\nwant %v", got, want)
	}
	failed, err := world.store.CountFailed(ctx, table.FailedFilter{Table: name})
	if err != nil {
		return err
	}
	if w.Late == project.LateFailed && int(failed) != late || w.Late != project.LateFailed && failed != 0 {
		return fmt.Errorf("%d failed records, %d late ones", failed, late)
	}
	progress, err := world.store.Progress(ctx, name)
	if err != nil {
		return err
	}
	var dropped, in uint64
	for _, p := range progress {
		dropped, in = dropped+p.Dropped+p.Failed, in+p.RecordsIn
	}
	if int(dropped) != late {
		return fmt.Errorf("%d records counted as left out of %d, %d were late", dropped, in, late)
	}
	return nil
}

// results reads what came out; of the revisions of one window the last counts, and there is one of each.
func results(ctx context.Context, to *stream.Stream) ([]result, error) {
	all, err := rows(ctx, to)
	if err != nil {
		return nil, err
	}
	last := map[string]int{}
	byWindow := map[string]result{}
	for _, row := range all {
		start, err1 := time.Parse(time.RFC3339, row["window_start"].(string))
		end, err2 := time.Parse(time.RFC3339, row["window_end"].(string))
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("%v: %v %v", row, err1, err2)
		}
		num := func(name string) int { return int(row[name].(float64)) }
		r := result{start: int(start.Unix() - epoch), end: int(end.Unix() - epoch), key: row["k"].(string), n: num("n"), sum: num("s"), first: num("f")}
		id := fmt.Sprint(r.start, r.end, r.key)
		if before, ok := last[id]; ok && before >= num("r") {
			return nil, fmt.Errorf("the window %s is delivered twice as revision %d", id, num("r"))
		}
		last[id] = num("r")
		byWindow[id] = r
	}
	var out []result
	for _, r := range byWindow {
		out = append(out, r)
	}
	slices.SortFunc(out, compareResults)
	return out, nil
}

// TestIdleShards holds that an empty shard keeps windows open, unless it may be idle, and that what it
// gets later is then late.
func TestIdleShards(t *testing.T) {
	world := newWorld(t)
	at := func(second int) []byte {
		return fmt.Appendf(nil, `{"k":"a","v":1,"at":%q}`, time.Unix(epoch+int64(second), 0).UTC().Format(time.RFC3339))
	}
	for idle, want := range map[time.Duration]int{0: 0, 5 * time.Second: 2} {
		to, err := world.stream(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		w := project.Window{Size: 10 * time.Second, Every: 10 * time.Second, Time: "at", Late: project.LateDrop, IdleAfter: idle}
		name := fmt.Sprintf("extract.idle%d", idle)
		src := &source{name: name, shards: [][][]byte{{at(1), at(12), at(29)}, {at(3), at(27)}}, visible: []int{3, 0}}
		for range 2 { // then the second shard wakes up
			cfg := world.config(name, src)
			cfg.Declared, cfg.Positions, cfg.Transform = sinkSchema, true, extract.WindowSteps(&w)
			cfg.Sink = extract.NewWindowSink(extract.WindowOptions{Window: w, Query: extract.Query{SQL: windowSQL}, Extract: "idle", From: name, Shards: src.Shards, Ends: src.end,
				Dir: filepath.Join(world.dir, "staging", name+"-windows"), Stream: extract.StreamOptions{Delivery: name, To: to, Store: world.store, State: world.state}})
			if err := drain(t.Context(), cfg); err != nil {
				t.Fatal(err)
			}
			got, err := results(t.Context(), to)
			if err != nil || len(got) != want {
				t.Fatalf("idle after %v: %v %v, want %d windows", idle, got, err, want)
			}
			src.visible, want = []int{3, 2}, 2
		}
		progress, err := world.store.Progress(t.Context(), name)
		if err != nil || len(progress) != 2 || (progress[1].Dropped == 1) != (idle > 0) {
			t.Errorf("idle after %v: %+v %v", idle, progress, err)
		}
	}
}
