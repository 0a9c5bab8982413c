package engine

import (
	"testing"

	"pgregory.net/rapid"
)

// TestParts compares runs of offsets with single ones: each belongs to the first who accepted it.
func TestParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) offsets {
			first := rapid.Uint64Range(0, 40).Draw(t, name)
			return offsets{first, first + rapid.Uint64Range(1, 20).Draw(t, name+" count")}
		}
		run := draw("run")
		var accepted []acceptance
		for range rapid.IntRange(0, 6).Draw(t, "acceptances") {
			accepted = append(accepted, acceptance{offsets: draw("accepted")})
		}
		at := run.first
		for _, p := range parts(run, accepted) {
			if p.first != at || p.first >= p.next {
				t.Fatalf("%v begins elsewhere than at %d", p, at)
			}
			for ; at < p.next; at++ {
				var first *acceptance
				for i := range accepted {
					if first == nil && at >= accepted[i].first && at < accepted[i].next {
						first = &accepted[i]
					}
				}
				if first != p.accepted {
					t.Fatalf("offset %d is accepted by %v, want %v", at, p.accepted, first)
				}
			}
		}
		if at != run.next {
			t.Fatalf("parts end at %d, not at %d", at, run.next)
		}
	})
}
