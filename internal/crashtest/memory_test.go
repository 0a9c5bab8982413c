package crashtest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
)

// memoryLimit is what the process of TestMemoryBound may use. A quarter more is let pass: pages of the
// program itself come and go, and allocators give back late.
const memoryLimit = 512 << 20

// TestMemoryBound loads the real binary with what took more memory than it was granted: rows that
// scatter over hundreds of partitions, a commit a second, sorts that spill, compaction (I8).
// TARN_MEMORY_SECONDS makes it longer.
func TestMemoryBound(t *testing.T) {
	seconds := setting(t, "TARN_MEMORY_SECONDS", 15)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"tarn.yaml": fmt.Sprintf("version: 1\nname: memory\nlimits: {memory: %dMiB, query_memory: 128MiB}\n", memoryLimit>>20),
		"pipelines/events.yaml": `
pipeline: events
stream: {shards: 2, partition_key: device_id}
deliver:
  - table: curated.events
    partition_by: [hour(ts), 'bucket(20, device_id)']
    buffer: {size: 128MiB, interval: 1s}
`} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	p, c := startReady(t, dir, t.TempDir())
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(seconds)*time.Second)
	defer cancel()
	var sent, answered atomic.Int64
	var work sync.WaitGroup
	for range 8 {
		work.Go(func() {
			for ctx.Err() == nil {
				var body strings.Builder
				for range 200 {
					n := sent.Add(1)
					fmt.Fprintf(&body, `{"id":%[1]d,"device_id":"d-%[2]d","ts":"2026-11-20T%02[3]d:%02[4]d:00Z","m":{"a":%[1]d,"b":%[1]d.5,"c":"x%[1]d","d":true},"n":"some text here %[1]d"}`+"\n",
						n, n%2000, n%24, n%60)
				}
				_, err := c.Do(ctx, http.MethodPost, "/v1/streams/events/records", nil, []byte(body.String()))
				var status *child.StatusError
				if errors.As(err, &status) && status.Status != http.StatusTooManyRequests {
					t.Error(err)
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		})
	}
	for range 2 {
		work.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.SQL(ctx, "SELECT n, device_id, m FROM curated.events ORDER BY n, id DESC LIMIT 100000", "application/x-ndjson"); err == nil {
					answered.Add(1)
				}
			}
		})
	}
	work.Wait()
	u, err := p.Usage()
	if errors.Is(err, child.ErrNoUsage) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d records, %d sorts, at most %d MiB", sent.Load(), answered.Load(), u.PeakBytes>>20)
	if answered.Load() == 0 {
		t.Error("no sort was answered")
	}
	if u.PeakBytes > memoryLimit/4*5 {
		t.Errorf("the process took %d MiB of the %d it was granted", u.PeakBytes>>20, memoryLimit>>20)
	}
}
