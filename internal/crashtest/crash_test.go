package crashtest

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
)

// TestCrash kills the server under load again and again. Afterwards every acknowledged record is in
// its table exactly once, every other at most once, and tarn verify agrees.
func TestCrash(t *testing.T) {
	rounds := int(setting(t, "TARN_CRASH_ROUNDS", 20))
	seed := setting(t, "TARN_CRASH_SEED", time.Now().UnixNano())
	t.Logf("%d rounds; TARN_CRASH_SEED=%d repeats the choices", rounds, seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 1))
	project, data := writeProject(t), t.TempDir()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var (
		here      site
		stage     atomic.Int32
		stop      = make(chan struct{})
		producing sync.WaitGroup
		watching  sync.WaitGroup
		answered  int
	)
	producers := []*producer{
		{pipeline: "events", name: "e1", keyed: true}, {pipeline: "events", name: "e2", keyed: true},
		{pipeline: "events", name: "e3"}, {pipeline: "orders", name: "o1", keyed: true}, {pipeline: "orders", name: "o2"},
		{pipeline: "enriched", name: "f1", keyed: true}, {pipeline: "enriched", name: "f2"},
	}
	for i, p := range producers {
		p.rng = rand.New(rand.NewPCG(uint64(seed), uint64(i)+2))
		producing.Go(func() { p.run(ctx, t, &here, &stage, stop) })
	}
	watching.Go(func() { answered = watchQueries(ctx, t, &here, stop) })

	for round := range rounds {
		stage.Store(int32(round * 3 / rounds))
		m := moments[round%len(moments)]
		killOnce(ctx, t, m, rng, &here, project, data)
		if t.Failed() {
			t.Fatalf("round %d (%s) failed", round, m.name)
		}
	}

	p, c := startReady(t, project, data)
	here.client.Store(c)
	time.Sleep(300 * time.Millisecond)
	close(stop)
	watching.Wait()
	ended := make(chan struct{})
	go func() { producing.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		cancel()
		t.Fatalf("a producer gets no acknowledgement\n%s", p.Log())
	}
	if answered == 0 && rounds >= 10 {
		t.Error("no query was answered while the server was being killed")
	}
	compare(t, p, c, producers)
	verify(t, c.Base)

	// The same after a clean stop, and after maintenance has rewritten what it wants.
	if err := p.Stop(within(t, 30*time.Second)); err != nil {
		t.Fatal(err)
	}
	p, c = startReady(t, project, data)
	watch{ctx: within(t, 60*time.Second), client: func() *child.Client { return c }}.maintain()
	compare(t, p, c, producers)
	verify(t, c.Base)
}

// killOnce starts the server, waits for the moment and kills it.
func killOnce(ctx context.Context, t *testing.T, m moment, rng *rand.Rand, here *site, project, data string) {
	p := start(t, project, data)
	patience, cancel := context.WithTimeout(ctx, 8*time.Second)
	defer cancel()
	ready := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		base, err := p.Ready(patience)
		if err != nil {
			return // killed before it was ready, or reported below
		}
		here.client.Store(child.NewClient(base))
		close(ready)
	})
	m.wait(watch{ctx: patience, ready: ready, data: data, client: here.client.Load, rng: rng})
	select {
	case <-p.Exited():
		t.Errorf("the server died by itself\n%s", p.Log())
	default:
	}
	p.Kill()
	cancel()
	waiting.Wait()
	here.client.Store(nil)
	select {
	case <-ready:
		t.Logf("killed %s, %s after its start", m.name, time.Since(p.Started()).Round(time.Millisecond))
	default:
		t.Logf("killed %s before it was ready, %s after its start", m.name, time.Since(p.Started()).Round(time.Millisecond))
		if time.Since(p.Started()) > 5*time.Second {
			t.Errorf("the server was not ready within 5 s\n%s", p.Log())
		}
	}
}

// compare waits until nothing is pending and checks every id of every producer.
func compare(t *testing.T, p *child.Process, c *child.Client, producers []*producer) {
	t.Helper()
	byPipeline := map[string][]*producer{}
	for _, q := range producers {
		byPipeline[q.pipeline] = append(byPipeline[q.pipeline], q)
	}
	for pipeline, ps := range byPipeline {
		var sent, held int64
		for _, q := range ps {
			sent += int64(len(q.fates))
			for _, f := range q.fates {
				if f == acked {
					held++
				}
			}
		}
		counts, _, err := c.Settled(within(t, 60*time.Second), pipeline, held, 20*time.Millisecond)
		if err != nil {
			t.Errorf("%v\n%s", err, p.Log()) // and go on: the ids say more
		}
		t.Logf("%s: %d sent, %d acknowledged, now %+v", pipeline, sent, held, counts)
		if fails := pipeline == "enriched"; (counts.Failed != 0) != fails {
			t.Errorf("%s: %d records failed", pipeline, counts.Failed)
		}
		if counts.Accepted > sent {
			t.Errorf("%s: %d accepted of %d sent", pipeline, counts.Accepted, sent)
		}
		if err := c.Act(within(t, 60*time.Second), pipeline, "flush"); err != nil {
			t.Errorf("%s: flush: %v", pipeline, err)
		}
		for _, relation := range relations(pipeline) {
			compareIDs(t, c, relation, ps)
		}
		if pipeline == "events" { // one shard: its positions are comparable
			compareSpans(t, ps)
		}
	}
}

// compareIDs checks the ids in a table, or what else may stand behind FROM.
func compareIDs(t *testing.T, c *child.Client, from string, ps []*producer) {
	t.Helper()
	rows, err := c.Rows(within(t, 60*time.Second), "SELECT id, count(*) AS n FROM "+from+" GROUP BY id")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]int, len(rows))
	for _, row := range rows {
		n, err := strconv.Atoi(row[1])
		if err != nil {
			t.Fatalf("count %q: %v", row[1], err)
		}
		found[row[0]] = n
	}
	var lost, twice []string
	for _, q := range ps {
		for n, f := range q.fates {
			id := fmt.Sprintf("%s-%08d", q.name, n)
			if f == acked && found[id] == 0 {
				lost = append(lost, id)
			}
			if found[id] > 1 {
				twice = append(twice, id)
			}
			delete(found, id)
		}
	}
	for what, ids := range map[string][]string{"acknowledged but lost": lost, "there more than once": twice} {
		if len(ids) > 0 {
			t.Errorf("%s: %d records %s, such as %s", from, len(ids), what, strings.Join(ids[:min(len(ids), 5)], " "))
		}
	}
	if len(found) > 0 {
		t.Errorf("%s: %d ids were never sent", from, len(found))
	}
	mixed, err := c.Rows(within(t, 60*time.Second), "SELECT count(*) FROM "+from+" WHERE id IS DISTINCT FROM printf('%s-%08d', producer, n)")
	if err != nil || mixed[0][0] != "0" {
		t.Errorf("%s: rows whose columns do not belong together: %v, %v", from, mixed, err)
	}
}

// compareSpans checks that no two requests were given the same position.
func compareSpans(t *testing.T, ps []*producer) {
	t.Helper()
	var all []span
	for _, q := range ps {
		all = append(all, q.spans...)
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.first.Offset, b.first.Offset) })
	for i, s := range all {
		if s.last.Offset < s.first.Offset || i > 0 && all[i-1].last.Offset >= s.first.Offset {
			t.Errorf("two requests share positions: %v to %v and %v to %v", all[max(i-1, 0)].first, all[max(i-1, 0)].last, s.first, s.last)
			return
		}
	}
}
