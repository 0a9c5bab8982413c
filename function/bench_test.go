package function_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/function/firehose"
)

// The batch that the benchmarks send: 500 records of 500 bytes.
const batchRecords, recordBytes = 500, 500

func benchEvent() []byte {
	records := make([]firehose.Record, batchRecords)
	for i := range records {
		head := fmt.Sprintf(`{"device":"wagon-%04d","ts":"2026-11-20T03:05:00Z","speed":%d.5,"note":"`, i, i%200)
		data := head + strings.Repeat("x", recordBytes-len(head)-2) + `"}`
		records[i] = firehose.Record{Position: tarn.Position{Offset: uint64(i)}, Arrival: time.UnixMilli(1_790_000_000_000), Data: []byte(data)}
	}
	return firehose.AppendEvent(nil, firehose.Header{InvocationID: "bench", Stream: "telemetry"}, records)
}

// runtimes are what BenchmarkHost compares, each with the same handler in a bare loop.
var runtimes = []struct {
	name string
	spec func(testing.TB) function.Spec
	bare func(b *testing.B, event []byte, n int) time.Duration
}{
	{"python", py("app.handler"), bareScript("python3", "bare.py", "testdata/python")},
	{"node", js("app.handler"), bareScript("node", "bare.mjs", "testdata/node")},
	{"go", goes("transform"), bareGo},
}

// Each figure of BenchmarkHost is the best of some rounds, so that it says what the host costs and not
// what else the machine did.
const rounds, roundBatches = 8, 60

// BenchmarkHost sends batches through workers and reports records/s. With one worker it also reports
// bare-records/s, the same handler called in a loop without the host, in rounds between those of the
// host, and overhead-%, what the host adds to its time. Run it with -benchtime 1x.
func BenchmarkHost(b *testing.B) {
	event := benchEvent()
	for _, r := range runtimes {
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%s/workers=%d", r.name, workers), func(b *testing.B) {
				spec := r.spec(b)
				needs(b, spec.Runtime)
				spec.Concurrency = workers
				p := start(b, function.Options{Spec: spec})
				send(b, p, event, 60, workers) // warm up
				best, bare := time.Hour, time.Hour
				for range rounds * b.N {
					begun := time.Now()
					send(b, p, event, roundBatches, workers)
					best = min(best, time.Since(begun)/roundBatches)
					if workers == 1 {
						bare = min(bare, r.bare(b, event, roundBatches)/roundBatches)
					}
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(batchRecords/best.Seconds(), "records/s")
				if workers == 1 {
					b.ReportMetric(batchRecords/bare.Seconds(), "bare-records/s")
					b.ReportMetric(100*(best.Seconds()/bare.Seconds()-1), "overhead-%")
				}
			})
		}
	}
}

// send invokes p n times from as many callers as it has workers, and one more that waits.
func send(b *testing.B, p *function.Pool, event []byte, n, workers int) {
	b.Helper()
	var (
		left atomic.Int64
		wg   sync.WaitGroup
	)
	left.Store(int64(n))
	for range workers + 1 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := p.Invoke(b.Context(), function.Invocation{Payload: event}); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// BenchmarkRoundTrip is one small invocation of a warm worker.
func BenchmarkRoundTrip(b *testing.B) {
	for name, spec := range map[string]func(testing.TB) function.Spec{"python": py("app.echo"), "node": js("app.echo"), "go": goes("echo")} {
		b.Run(name, func(b *testing.B) {
			p := start(b, function.Options{Spec: spec(b)})
			must(b, p, `{}`)
			b.ResetTimer()
			for range b.N {
				must(b, p, `{}`)
			}
		})
	}
}

// BenchmarkColdStart is the time from nothing to a worker that asks for work: cold-ms with the sandbox,
// off-ms without.
func BenchmarkColdStart(b *testing.B) {
	for name, spec := range map[string]func(testing.TB) function.Spec{"python": py("app.echo"), "node": js("app.echo"), "go": goes("echo")} {
		b.Run(name, func(b *testing.B) {
			var took [2]time.Duration
			for range b.N {
				for i, sandbox := range []string{function.SandboxAuto, function.SandboxOff} {
					s := spec(b)
					s.Sandbox = sandbox
					p := start(b, function.Options{Spec: s})
					took[i] += p.Stats().ColdStart
					_ = p.Close()
				}
			}
			b.ReportMetric(float64(took[0].Microseconds())/1000/float64(b.N), "cold-ms")
			b.ReportMetric(float64(took[1].Microseconds())/1000/float64(b.N), "off-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// bareScript runs the handler app.handler of folder n times in a loop of its own.
func bareScript(program, script, folder string) func(*testing.B, []byte, int) time.Duration {
	return func(b *testing.B, event []byte, n int) time.Duration {
		b.Helper()
		file := filepath.Join(b.TempDir(), "event.json")
		if err := os.WriteFile(file, event, 0o644); err != nil {
			b.Fatal(err)
		}
		folder, _ := filepath.Abs(folder)
		out, err := exec.Command(program, filepath.Join("testdata/bare", script), folder, "app.handler", file, strconv.Itoa(n)).Output()
		if err != nil {
			b.Fatal(err)
		}
		seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
		if err != nil {
			b.Fatal(err)
		}
		return time.Duration(seconds * float64(time.Second))
	}
}

// bareGo calls the handler through aws-lambda-go's own decoding and encoding.
func bareGo(b *testing.B, event []byte, n int) time.Duration {
	b.Helper()
	h := lambda.NewHandler(goHandlers["transform"])
	begun := time.Now()
	for range n {
		out, err := h.Invoke(b.Context(), event)
		if err != nil || len(out) == 0 {
			b.Fatal(err)
		}
	}
	return time.Since(begun)
}
