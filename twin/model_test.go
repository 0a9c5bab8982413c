package twin_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/twin"
)

// drawUpdate makes updates that often meet: few metrics, few times, few positions.
func drawUpdate(t *rapid.T) twin.Update {
	u := twin.Update{
		Component: rapid.SampledFrom([]string{"a", "a/b", "a b", "ab", "ü"}).Draw(t, "component"),
		Metric:    rapid.SampledFrom([]string{"m", "n", "m/n"}).Draw(t, "metric"),
		At:        noon.Add(time.Duration(rapid.IntRange(-20, 3).Draw(t, "at")) * time.Second),
		Type:      rapid.SampledFrom([]string{"", "wagon"}).Draw(t, "type"),
	}
	if rapid.Bool().Draw(t, "positioned") {
		u.Position = twin.Position{Stream: rapid.SampledFrom([]string{"s", "s2"}).Draw(t, "stream"), Position: tarn.Position{Shard: rapid.IntRange(0, 1).Draw(t, "shard"), Offset: uint64(rapid.IntRange(0, 2).Draw(t, "offset"))}}
	}
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0: // removed
	case 1:
		u.Value = twin.StringValue(rapid.SampledFrom([]string{"", "x"}).Draw(t, "text"))
	case 2:
		u.Value = twin.BooleanValue(rapid.Bool().Draw(t, "boolean"))
	default:
		u.Value = twin.NumberValue(float64(rapid.IntRange(0, 3).Draw(t, "number")))
	}
	return u
}

// state is what readers see, by every way of reading.
func state(t *rapid.T, ctx context.Context, n node) map[twin.Key]string {
	got := map[twin.Key]string{}
	text := func(m twin.Metric) string {
		return fmt.Sprint(m.Type, m.Value.Kind(), string(m.Value.AppendJSON(nil)), m.At.UnixMicro(), m.Position)
	}
	if err := n.Scan(ctx, func(c twin.Component) error {
		for _, m := range c.Metrics {
			got[m.Key()] = text(m)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for k, want := range got {
		if m, err := n.Get(ctx, k); err != nil || text(m) != want {
			t.Fatalf("Get %v is %v (%v), Scan has %s", k, text(m), err, want)
		}
		c, err := n.Component(ctx, k.Component)
		if err != nil || !slices.ContainsFunc(c.Metrics, func(m twin.Metric) bool { return m.Metric == k.Metric && text(m) == want }) {
			t.Fatalf("Component %v: %+v, %v", k, c, err)
		}
	}
	return got
}

// anyOrder holds that permutations, duplicates, batches, interleaved writers, restarts and expiry all
// end in the state that one batch gives.
func anyOrder(t *testing.T, b backend) {
	url := b.newURL(t)
	checks := 0
	rapid.Check(t, func(r *rapid.T) {
		if checks++; b.shared && checks > 10 { // each opens several connections, and SQL is the same
			return
		}
		now := noon
		var mu sync.Mutex
		clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
		var opened []node
		defer func() {
			for _, n := range opened {
				n.db.Close()
			}
		}()
		spec := twin.Spec{Name: "fleet"}
		if rapid.Bool().Draw(r, "expires") {
			spec.ExpireAfter = 10 * time.Second
		}
		open := func(name string) node {
			spec := spec
			spec.Name = fmt.Sprintf("%s_%d", name, checks)
			o := twin.Options{Clock: clock}
			if rapid.Bool().Draw(r, "little memory") {
				o.MemoryBytes = 500
			}
			n := b.node(t, url, o, twin.Spec{})
			if err := n.store.Configure(t.Context(), []twin.Spec{spec}); err != nil {
				r.Fatal(err)
			}
			var err error
			if n.Twin, err = n.store.Twin(spec.Name); err != nil {
				r.Fatal(err)
			}
			opened = append(opened, n)
			return n
		}
		updates := rapid.SliceOfN(rapid.Custom(drawUpdate), 1, 40).Draw(r, "updates")
		truth := open("truth")
		if _, err := truth.Apply(t.Context(), twin.Batch{Updates: updates}); err != nil {
			r.Fatal(err)
		}

		mixed := open("mixed")
		writers := []node{mixed}
		if b.shared {
			writers = append(writers, open("mixed"))
		}
		todo := rapid.Permutation(append(slices.Clone(updates), updates[:rapid.IntRange(0, len(updates)).Draw(r, "twice")]...)).Draw(r, "order")
		for len(todo) > 0 {
			n := rapid.IntRange(1, len(todo)).Draw(r, "batch")
			w := rapid.IntRange(0, len(writers)-1).Draw(r, "writer")
			if _, err := writers[w].Apply(t.Context(), twin.Batch{Updates: todo[:n]}); err != nil {
				r.Fatal(err)
			}
			todo = todo[n:]
			switch rapid.IntRange(0, 3).Draw(r, "then") {
			case 0:
				twin.Tend(t.Context(), writers[w].Twin)
			case 1:
				writers[w].db.Close()
				writers[w] = open("mixed")
			case 2:
				mu.Lock()
				now = now.Add(time.Duration(rapid.IntRange(0, 4).Draw(r, "seconds")) * time.Second)
				mu.Unlock()
			}
		}
		want := state(r, t.Context(), truth)
		for _, w := range append(writers, open("mixed")) {
			twin.Tend(t.Context(), w.Twin)
			got := state(r, t.Context(), w)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				r.Fatalf("got  %v\nwant %v", got, want)
			}
		}
	})
}
