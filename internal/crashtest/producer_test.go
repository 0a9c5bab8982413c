package crashtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/internal/child"
)

// site is where the server is now; empty while it is down.
type site struct{ client atomic.Pointer[child.Client] }

// fate is what a producer knows of one of its records.
type fate uint8

const (
	unsent fate = iota
	unknown
	acked
)

// span is the positions of an acknowledged request.
type span struct{ first, last tarn.Position }

// producer posts records with ids of its own and remembers which were acknowledged. A keyed producer
// repeats a request with its Idempotency-Key until it is acknowledged, so each of its records must be
// there exactly once; an unkeyed one never repeats, so an unanswered record may be there or not, but
// at most once.
type producer struct {
	pipeline string
	name     string
	keyed    bool
	rng      *rand.Rand
	fates    []fate
	spans    []span
}

// answer is what POST /v1/streams/{stream}/records returns.
type answer struct {
	Accepted int           `json:"accepted"`
	Rejected []any         `json:"rejected"`
	First    tarn.Position `json:"first_position"`
	Last     tarn.Position `json:"last_position"`
}

// run produces until stop is closed; then it ends the request it is at. Errors go to t.
func (p *producer) run(ctx context.Context, t *testing.T, s *site, stage *atomic.Int32, stop <-chan struct{}) {
	var body []byte
	for request := 0; ctx.Err() == nil; request++ {
		select {
		case <-stop:
			return
		default:
		}
		from := len(p.fates)
		count := []int{1, 1, 5, 20, 100, 400}[p.rng.IntN(6)]
		body = body[:0]
		for n := from; n < from+count; n++ {
			body = appendRecord(body, p.pipeline, p.name, n, stage.Load(), p.rng)
			p.fates = append(p.fates, unknown)
		}
		header := map[string]string{"Content-Type": "application/x-ndjson"}
		if p.keyed {
			header["Idempotency-Key"] = fmt.Sprintf("%s-%d", p.name, request)
		}
		a, ok := p.post(ctx, t, s, header, body, stop)
		if !ok {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		if a.Accepted != count || len(a.Rejected) > 0 {
			t.Errorf("%s: %d of %d records accepted: %v", p.name, a.Accepted, count, a.Rejected)
			return
		}
		p.spans = append(p.spans, span{a.First, a.Last})
		for n := from; n < from+count; n++ {
			p.fates[n] = acked
		}
		time.Sleep(time.Duration(p.rng.IntN(30)) * time.Millisecond)
	}
}

// post sends one request, again and again for a keyed producer, and reports whether it was
// acknowledged. An unkeyed producer gives up when stop is closed before the server is back.
func (p *producer) post(ctx context.Context, t *testing.T, s *site, header map[string]string, body []byte, stop <-chan struct{}) (answer, bool) {
	var a answer
	for ctx.Err() == nil {
		if c := s.client.Load(); c != nil {
			b, err := c.Do(ctx, http.MethodPost, "/v1/streams/"+p.pipeline+"/records", header, body)
			var status *child.StatusError
			switch {
			case err == nil:
				if err := json.Unmarshal(b, &a); err != nil {
					t.Errorf("%s: %v in %s", p.name, err, b)
				}
				return a, true
			case errors.As(err, &status) && status.Status != http.StatusTooManyRequests && status.Status != http.StatusServiceUnavailable:
				t.Errorf("%s: %v", p.name, err)
				return a, false
			case !p.keyed:
				return a, false
			}
		}
		// Down, draining or busy.
		time.Sleep(20 * time.Millisecond)
		select {
		case <-stop:
			if !p.keyed {
				return a, false
			}
		default:
		}
	}
	return a, false
}
