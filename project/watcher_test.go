package project

import (
	"maps"
	"testing"

	"pgregory.net/rapid"
)

// Over any sequence of looks: a call comes only when two looks agree, never twice for one state,
// and a state that stays is always reported in the end.
func TestWatcher(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		state := func(n int) map[string]stamp { return map[string]stamp{"tarn.yaml": {size: int64(n)}} }
		w := watcher{known: state(0), last: state(0)}
		reported, before := 0, 0
		for _, n := range rapid.SliceOf(rapid.IntRange(0, 2)).Draw(t, "looks") {
			if w.see(state(n)) {
				if n != before {
					t.Fatalf("%d was reported at first sight", n)
				}
				if n == reported {
					t.Fatalf("%d was reported twice", n)
				}
				reported = n
			} else if n == before && n != reported {
				t.Fatalf("%d stands still and was not reported", n)
			}
			before = n
		}
		if !maps.Equal(w.known, state(reported)) {
			t.Fatal("the watcher knows another state than it reported")
		}
	})
}
