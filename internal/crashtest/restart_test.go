package crashtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
	"github.com/tarn-data/tarn/internal/fleet"
)

// TestTwoProcesses starts a second server on a data folder in use: it ends at once with an error that
// says so, and the first one goes on.
func TestTwoProcesses(t *testing.T) {
	project, data := writeProject(t), t.TempDir()
	_, c := startReady(t, project, data)

	second := start(t, project, data)
	code, err := second.Wait(within(t, 10*time.Second))
	if err != nil {
		t.Fatalf("a second server runs on the same data folder\n%s", second.Log())
	}
	if code != 1 || !strings.Contains(second.Log(), data) {
		t.Errorf("exit code %d, want 1; the message should name %s:\n%s", code, data, second.Log())
	}

	ctx := within(t, 10*time.Second)
	body := []byte(`{"id":"x-00000001","producer":"x","n":1,"ts":"2026-11-20T03:00:00Z"}`)
	if _, err := c.Do(ctx, http.MethodPost, "/v1/streams/events/records", map[string]string{"Content-Type": "application/json"}, body); err != nil {
		t.Errorf("the first server is disturbed: %v", err)
	}
}

// TestReadyAfterKill kills a server that holds a million records in its stream: it is ready again
// within 2 seconds.
func TestReadyAfterKill(t *testing.T) {
	const events, batch, limit = 1_000_000, 2_000, 2 * time.Second
	project, data := writeProject(t), t.TempDir()
	p, c := startReady(t, project, data)
	post(t, c, events, batch)
	var took []time.Duration
	for range 3 {
		p.Kill()
		p, c = startReady(t, project, data)
		took = append(took, time.Since(p.Started()))
	}
	slices.Sort(took)
	t.Logf("ready after %v", took)
	if took[1] > limit {
		t.Errorf("ready after %v (median of %v) with %d records in the stream, want %v", took[1], took, events, limit)
	}
	n, err := c.Pipeline(within(t, 10*time.Second), "events")
	if err != nil || n.Accepted != events {
		t.Errorf("%+v, %v", n, err)
	}
}

// TestStopUnderLoad stops the server with SIGTERM while producers post: it ends by itself, cleanly,
// and what it acknowledged until then is there afterwards.
func TestStopUnderLoad(t *testing.T) {
	project, data := writeProject(t), t.TempDir()
	p, c := startReady(t, project, data)
	var (
		here  site
		stage atomic.Int32
		stop  = make(chan struct{})
		wg    sync.WaitGroup
	)
	here.client.Store(c)
	producers := []*producer{{pipeline: "events", name: "e1"}, {pipeline: "events", name: "e2"}, {pipeline: "orders", name: "o1"}}
	for i, q := range producers {
		q.rng = newRand(i)
		wg.Go(func() { q.run(t.Context(), t, &here, &stage, stop) })
	}
	time.Sleep(1500 * time.Millisecond)
	err := p.Stop(within(t, 30*time.Second))
	here.client.Store(nil)
	close(stop)
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	p, c = startReady(t, project, data)
	compare(t, p, c, producers)
	verify(t, c.Base)
}

// post sends events of the wagon fleet from four connections.
func post(t *testing.T, c *child.Client, events, batch int64) {
	t.Helper()
	gen, err := fleet.New(fleet.Options{Start: epoch, Spacing: 5 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx := within(t, 2*time.Minute)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var body []byte
			for {
				from := next.Add(batch) - batch
				if from >= events {
					return
				}
				body = gen.AppendNDJSON(body[:0], from, int(batch))
				for tries := 0; ; tries++ {
					_, err := c.Do(ctx, http.MethodPost, "/v1/streams/events/records", map[string]string{
						"Content-Type": "application/x-ndjson", "Idempotency-Key": fmt.Sprint(from)}, body)
					if err == nil {
						break
					}
					if tries == 100 {
						t.Errorf("post: %v", err)
						return
					}
					time.Sleep(50 * time.Millisecond)
				}
			}
		})
	}
	wg.Wait()
}
