package httpdoor_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
)

func TestIdempotency(t *testing.T) {
	f := open(t, 0)
	nd := h("Content-Type", "application/x-ndjson", "Idempotency-Key", "k1")
	first := f.post(t, "sharded/records", nd, strings.NewReader(lines(30)+"broken\n"))
	again := f.post(t, "sharded/records", nd, strings.NewReader(lines(30)+"broken\n"))
	if first.status != 200 || again.body != first.body || again.header.Get("Idempotent-Replayed") != "true" || first.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("first %s\nagain %s %v", first.body, again.body, again.header)
	}
	if n := len(f.stored(t, "sharded")); n != 30 {
		t.Errorf("%d records", n)
	}
	other := f.post(t, "sharded/records", nd, strings.NewReader(lines(31)))
	if other.status != 409 || other.code != tarn.CodeConflict {
		t.Errorf("another body under the key: %d %s", other.status, other.body)
	}
	if a := f.post(t, "large/records", nd, strings.NewReader(lines(31))); a.doc.Accepted != 31 {
		t.Errorf("the key on another stream: %d %s", a.status, a.body)
	}
	// What failed is not remembered.
	bad := h("Content-Type", "application/x-ndjson", "Idempotency-Key", "k2")
	if a := f.post(t, "large/records", bad, strings.NewReader("x\n")); a.status != 422 {
		t.Errorf("%d", a.status)
	}
	if a := f.post(t, "large/records", bad, strings.NewReader("{}\n")); a.doc.Accepted != 1 {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestIdempotencyAtOnce sends one request many times at the same moment: it is stored once, and
// all get one answer.
func TestIdempotencyAtOnce(t *testing.T) {
	f := open(t, 0)
	for round := range 10 {
		header := h("Content-Type", "application/x-ndjson", "Idempotency-Key", fmt.Sprint("round ", round))
		var wg sync.WaitGroup
		bodies := make([]string, 12)
		for i := range bodies {
			wg.Go(func() { bodies[i] = f.post(t, "sharded/records", header, strings.NewReader(lines(20))).body })
		}
		wg.Wait()
		for _, b := range bodies {
			if b != bodies[0] {
				t.Fatalf("answers differ:\n%s%s", bodies[0], b)
			}
		}
	}
	if n := len(f.stored(t, "sharded")); n != 200 {
		t.Errorf("%d records, want 200", n)
	}
}

// TestIdempotencyAfterMemory lets the door forget and wants the stream to remember: a new door over
// the same streams, as after a restart, gives the same answer.
func TestIdempotencyAfterMemory(t *testing.T) {
	f := open(t, 0)
	header := h("Content-Type", "application/x-ndjson", "Idempotency-Key", "k")
	first := f.post(t, "sharded/records", header, strings.NewReader(lines(30)))
	f.clock.advance(10*time.Minute + time.Second)
	f.post(t, "large/records", h("Idempotency-Key", "other"), strings.NewReader("{}")) // makes room
	again := f.post(t, "sharded/records", header, strings.NewReader(lines(30)))
	if again.header.Get("Idempotent-Replayed") != "" {
		t.Error("the door still remembers")
	}
	if again.body != first.body || len(f.stored(t, "sharded")) != 30 {
		t.Errorf("first %s\nagain %s\n%d records", first.body, again.body, len(f.stored(t, "sharded")))
	}
}
