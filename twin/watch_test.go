package twin_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/twin"
)

// drain reads what there is: the numbers that came, and the last id. missed counts gaps.
func drain(t *testing.T, w *twin.Watcher) (numbers []float64, id int64, missed int) {
	t.Helper()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		c, err := w.Next(ctx)
		cancel()
		if err != nil {
			return numbers, id, missed
		}
		if c.Missed {
			missed++
		}
		for _, e := range c.Events {
			numbers = append(numbers, e.Metric.Value.Number())
			if e.ID != 0 {
				id = e.ID
			}
		}
	}
}

func watching(t *testing.T, b backend) {
	url := b.newURL(t)
	n := b.node(t, url, twin.Options{Events: 10, Watchers: 2}, twin.Spec{})
	watch := func(f twin.WatchFilter, after int64) *twin.Watcher {
		t.Helper()
		w, err := n.Watch(f, after)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	all := watch(twin.WatchFilter{}, -1)
	n.apply(t, update("a", "m", 1, 1), update("b", "m", 1, 2), update("a", "n", 1, 3))
	n.apply(t, update("a", "m", 0, 9)) // old: no change
	n.apply(t, update("a", "m", 2, 4))
	got, id, missed := drain(t, all)
	if fmt.Sprint(got) != "[1 3 2 4]" || missed != 0 || id != all.Last() {
		t.Error(got, id, missed)
	}
	some := watch(twin.WatchFilter{Prefix: "a", Metrics: []string{"n"}}, 0)
	if got, _, missed := drain(t, some); fmt.Sprint(got) != "[3]" || missed != 0 {
		t.Error(got, missed)
	}
	if _, err := n.Watch(twin.WatchFilter{}, -1); tarn.CodeOf(err) != tarn.CodeBusy {
		t.Errorf("a third watcher: %v", err)
	}
	some.Close()
	some.Close()
	resumed := watch(twin.WatchFilter{}, id-1)
	if got, _, missed := drain(t, resumed); fmt.Sprint(got) != "[4]" || missed != 0 {
		t.Error(got, missed)
	}
	resumed.Close()
	for i := range 12 {
		n.apply(t, update("a", "m", 10+i, float64(10+i)))
	}
	if got, _, missed := drain(t, all); missed != 1 || len(got) != 10 || got[9] != 21 {
		t.Error("behind the ring:", got, missed)
	}
	late := watch(twin.WatchFilter{}, id)
	if got, _, missed := drain(t, late); missed != 1 || len(got) != 10 {
		t.Error("resumed behind the ring:", got, missed)
	}
	last := late.Last()
	late.Close()

	again := b.node(t, url, twin.Options{}, twin.Spec{})
	for after, want := range map[int64]int{last: 0, last - 1: 1, last + 100: 1} {
		w, err := again.Watch(twin.WatchFilter{}, after)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, missed := drain(t, w); missed != want || len(got) != 0 {
			t.Errorf("after a restart, from %d of %d: %v, %d gaps", after, last, got, missed)
		}
		w.Close()
	}
	if err := n.store.Configure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if _, err := all.Next(t.Context()); tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Errorf("the twin is gone: %v", err)
	}
}
