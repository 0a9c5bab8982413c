package server_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/twin"
)

// BenchmarkTwin measures point reads over HTTP at a million metrics against a bare net/http handler
// that answers from a Go map, in the same process and run; then updates, and reads under that load.
//
//	go test ./server -run '^$' -bench BenchmarkTwin -benchtime 1x
func BenchmarkTwin(b *testing.B) {
	const components, metrics = 50_000, 20
	before := heap()
	tw, store := benchTwin(b, components, metrics)
	memory := heap() - before
	path := func(i int) string {
		return fmt.Sprintf("/v1/twins/fleet/components/wagon-%06d/metrics/metric_%02d", i/metrics, i%metrics)
	}
	m, err := tw.Get(b.Context(), twin.Key{Component: "wagon-000001", Metric: "metric_01"})
	if err != nil {
		b.Fatal(err)
	}
	body := m.AppendJSON(nil, time.Now()) // the same bytes on the wire
	bareMap := make(map[string][]byte, components*metrics)
	for i := range components * metrics {
		bareMap[path(i)] = body
	}
	bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bareMap[r.URL.Path])
	}))
	defer bare.Close()
	metricsRegistry := telemetry.NewRegistry()
	h, err := server.New(server.Options{Version: "bench", Logger: slog.New(slog.DiscardHandler), Metrics: telemetry.New(metricsRegistry), Gatherer: metricsRegistry,
		Ingest: http.NotFoundHandler(), Twins: store})
	if err != nil {
		b.Fatal(err)
	}
	real := httptest.NewServer(h)
	defer real.Close()
	for b.Loop() {
		var floors, reads []float64
		var quiet latencies
		for range 3 { // in turns, so that what else the machine does falls on both
			n, _ := load(b, bare.Listener.Addr(), path, components*metrics, 2*time.Second, 0)
			floors = append(floors, n)
			n, l := load(b, real.Listener.Addr(), path, components*metrics, 2*time.Second, 0)
			reads, quiet = append(reads, n), append(quiet, l...)
		}
		cpu := cpuTime()
		alone, _ := underWrites(b, tw, components, metrics, 0, func() (float64, latencies) { time.Sleep(4 * time.Second); return 0, nil })
		perCPU := alone * 4 / (cpuTime() - cpu).Seconds()
		rate, loaded := underWrites(b, tw, components, metrics, 20_000, func() (float64, latencies) {
			return load(b, real.Listener.Addr(), path, components*metrics, 4*time.Second, 2*time.Millisecond)
		})
		start := time.Now()
		if p, err := tw.List(b.Context(), twin.Filter{Prefix: "wagon-03"}); err != nil || len(p.Components) != 100 {
			b.Fatal(len(p.Components), err)
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/1000, "list-100-ms")
		b.ReportMetric(reload(b, store).Seconds(), "restart-s")
		slices.Sort(floors)
		slices.Sort(reads)
		b.ReportMetric(floors[1], "bare-reads/s")
		b.ReportMetric(reads[1], "reads/s")
		b.ReportMetric(reads[1]/floors[1], "ratio")
		b.ReportMetric(quiet.p99(), "read-p99-ms")
		b.ReportMetric(alone, "updates/s")
		b.ReportMetric(perCPU, "updates/cpu-s") // where the machine does other work too
		b.ReportMetric(rate, "paced-updates/s")
		b.ReportMetric(loaded.p99(), "paced-read-p99-ms")
		b.ReportMetric(float64(memory)/(1<<20), "heap-MiB")
		b.ReportMetric(float64(store.MemoryBytes())/(1<<20), "counted-MiB")
	}
}

// reload returns how long a new store takes to have everything in memory. Reads work meanwhile.
func reload(b *testing.B, store *twin.Store) time.Duration {
	fresh := twin.Open(store.DB(), twin.Options{MemoryBytes: 1 << 30})
	start := time.Now()
	if err := fresh.Configure(b.Context(), []twin.Spec{{Name: "fleet"}}); err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { fresh.Run(ctx) })
	for !fresh.Twins()[0].Status().Complete {
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(start)
	stop()
	wg.Wait()
	return took
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() int64 {
	var st runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&st)
	return int64(st.HeapAlloc)
}

// benchTwin returns a twin that holds components × metrics values, all of them in memory.
func benchTwin(b *testing.B, components, metrics int) (*twin.Twin, *twin.Store) {
	db, err := metadb.Open(b.Context(), filepath.Join(b.TempDir(), "twins.db"), metadb.Options{WALBytes: twin.WALBytes})
	if err != nil {
		b.Fatal(err)
	}
	store := twin.Open(db, twin.Options{MemoryBytes: 1 << 30})
	if err := store.Configure(b.Context(), []twin.Spec{{Name: "fleet"}}); err != nil {
		b.Fatal(err)
	}
	tw, err := store.Twin("fleet")
	if err != nil {
		b.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() { store.Run(b.Context()) })
	b.Cleanup(func() { wg.Wait(); db.Close() })
	start := time.Now()
	for c := 0; c < components; c += 500 {
		var updates []twin.Update
		for i := c * metrics; i < (c+500)*metrics; i++ {
			updates = append(updates, benchUpdate(i, metrics, start))
		}
		if _, err := tw.Apply(b.Context(), twin.Batch{Updates: updates}); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%d values in %v", components*metrics, time.Since(start))
	for !tw.Status().Complete {
		time.Sleep(10 * time.Millisecond)
	}
	return tw, store
}

func benchUpdate(i, metrics int, at time.Time) twin.Update {
	u := twin.Update{Component: fmt.Sprintf("wagon-%06d", i/metrics), Type: "wagon", Metric: fmt.Sprintf("metric_%02d", i%metrics), Value: twin.NumberValue(float64(i) / 8), At: at,
		Unit: "km/h", Pipeline: "telemetry", Source: "unpivot"}
	u.Position.Stream, u.Position.Offset = "telemetry", uint64(i)
	return u
}

// underWrites calls f while random values are written in batches of 2,000, at a rate, or as fast as it
// goes. It returns the updates per second.
func underWrites(b *testing.B, tw *twin.Twin, components, metrics int, rate float64, f func() (float64, latencies)) (float64, latencies) {
	ctx, stop := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	n, start := 0, time.Now()
	var took time.Duration
	wg.Go(func() {
		for ctx.Err() == nil {
			updates := make([]twin.Update, 2000)
			for i := range updates {
				updates[i] = benchUpdate(rand.IntN(components*metrics), metrics, time.Now())
			}
			if _, err := tw.Apply(b.Context(), twin.Batch{Updates: updates}); err != nil {
				b.Error(err)
				return
			}
			n += len(updates)
			if took = time.Since(start); rate > 0 {
				time.Sleep(time.Duration(float64(n)/rate*float64(time.Second)) - took)
			}
		}
	})
	_, l := f()
	stop()
	wg.Wait()
	return float64(n) / max(took, time.Since(start)).Seconds(), l
}

type latencies []time.Duration

func (l latencies) p99() float64 {
	slices.Sort(l)
	return float64(l[len(l)*99/100].Microseconds()) / 1000
}

// load reads random paths over 16 connections, each with a pause between, and returns the answers per
// second.
func load(b *testing.B, addr net.Addr, path func(int) string, n int, d, pause time.Duration) (float64, latencies) {
	var mu sync.Mutex
	var all latencies
	var wg sync.WaitGroup
	start := time.Now()
	for range 16 {
		wg.Go(func() {
			conn, err := net.Dial("tcp", addr.String())
			if err != nil {
				b.Error(err)
				return
			}
			defer conn.Close()
			r := bufio.NewReader(conn)
			var mine latencies
			for time.Since(start) < d {
				sent := time.Now()
				if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path(rand.IntN(n))); err != nil {
					b.Error(err)
					return
				}
				resp, err := http.ReadResponse(r, nil)
				if err != nil || resp.StatusCode != http.StatusOK {
					b.Error(err, resp)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				mine = append(mine, time.Since(sent))
				time.Sleep(pause)
			}
			mu.Lock()
			all = append(all, mine...)
			mu.Unlock()
		})
	}
	wg.Wait()
	return float64(len(all)) / time.Since(start).Seconds(), all
}
