package function

import (
	"testing"
	"time"
)

// TestEndSeenBeforeItsBeginning: a call that was taken and answered before its caller looked has its answer.
func TestEndSeenBeforeItsBeginning(t *testing.T) {
	p := New(Options{Spec: Spec{Name: "quick"}})
	for n := range int64(50) { // which of the two is seen first is left to chance
		c := &call{taken: make(chan *worker, 1), done: make(chan outcome, 1), deadline: time.Now().Add(time.Minute)}
		c.taken <- nil
		c.done <- outcome{answer: []byte("{}")}
		answer, err := p.follow(t.Context(), c)
		if string(answer) != "{}" || err != nil || p.stats.Invocations != n+1 {
			t.Fatalf("%q, %v, %+v", answer, err, p.stats)
		}
	}
}
