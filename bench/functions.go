package bench

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/function/firehose"
)

// handlers are the functions that are measured, and loops that call them without a host.
//
//go:embed handlers/app.py handlers/app.js handlers/bare.py handlers/bare.mjs
var handlers embed.FS

// The events that functions are given: batches of records of recordBytes.
const (
	batchRecords = 500
	recordBytes  = 500
	batches      = 300 // of one sample
	warmUp       = 50  // batches before the first sample, in bare loops as well: compilers need a while
)

// What the host gives a function with the default memory (package function), for bare loops that have the same.
var (
	goSettings   = []string{"env", "GOGC=400", "GOMEMLIMIT=469762048"}
	nodeSettings = []string{"node", "--max-old-space-size=336", "--min-semi-space-size=16", "--max-semi-space-size=32"}
)

// language is one runtime with the same handler in it.
type language struct {
	name    string
	program string // what it needs on this machine
	spec    function.Spec
	bare    []string // command of the bare loop; the event's file and the count follow
	tuned   []string // the same with what the host sets, nil for nothing
}

// languages writes the handlers to dir and returns those that this machine can run, and of each other one
// why it cannot.
func languages(ctx context.Context, dir string) (runs []language, leftOut []string, err error) {
	if err := os.CopyFS(dir, handlers); err != nil {
		return nil, nil, err
	}
	code := filepath.Join(dir, "handlers")
	goes := filepath.Join(dir, "go")
	bootstrap := filepath.Join(goes, "bootstrap")
	all := []language{
		{"Python", "python3", function.Spec{Dir: code, Runtime: function.RuntimePython, Handler: "app.handler"},
			[]string{"python3", filepath.Join(code, "bare.py"), code, "app.handler"}, nil},
		{"Node", "node", function.Spec{Dir: code, Runtime: function.RuntimeNode, Handler: "app.handler"},
			[]string{"node", filepath.Join(code, "bare.mjs"), code, "app.handler"}, append(nodeSettings, filepath.Join(code, "bare.mjs"), code, "app.handler")},
		{"Go", "go", function.Spec{Dir: goes, Runtime: function.RuntimeProvided, Handler: "transform"}, []string{bootstrap}, append(goSettings, bootstrap)},
	}
	for _, l := range all {
		why := ""
		if _, err := exec.LookPath(l.program); err != nil {
			why = l.program + " is not on this machine"
		} else if l.name == "Go" && buildGo(ctx, bootstrap) != nil {
			why = "its handler is compiled from Tarn's source; run tarn bench in a checkout of it"
		}
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
		if why == "" {
			runs = append(runs, l)
		} else {
			leftOut = append(leftOut, "functions in "+l.name+": "+why)
		}
	}
	if len(runs) == 0 {
		return nil, nil, errors.New("neither python3 nor node nor Tarn's source with go is on this machine")
	}
	return runs, leftOut, nil
}

// buildGo compiles the Go handler, which takes Tarn's source in the working folder.
func buildGo(ctx context.Context, to string) error {
	return exec.CommandContext(ctx, "go", "build", "-o", to, "github.com/tarn-data/tarn/bench/handlers/gohandler").Run()
}

// functions measures what running a handler in the function host costs next to a bare loop over it.
func functions(ctx context.Context, s *session) ([]Row, error) {
	dir := filepath.Join(s.dir, "functions")
	defer os.RemoveAll(dir)
	langs, leftOut, err := languages(ctx, dir)
	if err != nil {
		return nil, err
	}
	s.leftOut = append(s.leftOut, leftOut...)
	file := filepath.Join(dir, "event.json")
	if err := os.WriteFile(file, firehose.AppendEvent(nil, eventHeader, functionRecords()), 0o644); err != nil {
		return nil, err
	}
	var rows []Row
	for _, l := range langs {
		more, err := s.language(ctx, dir, l, file)
		if err != nil {
			return rows, fmt.Errorf("functions in %s: %w", l.name, err)
		}
		rows = append(rows, more...)
	}
	return rows, nil
}

// language measures one runtime: bare loop and host in turn, then two workers, a small event, and
// starts.
func (s *session) language(ctx context.Context, dir string, l language, file string) ([]Row, error) {
	one, err := startPool(ctx, dir, l.spec, 1)
	if err != nil {
		return nil, err
	}
	defer one.Close()
	two, err := startPool(ctx, dir, l.spec, 2)
	if err != nil {
		return nil, err
	}
	defer two.Close()
	for _, pool := range []*function.Pool{one, two} { // further workers start when they are needed
		if _, err := transformAll(ctx, pool, warmUp*pool.Spec().Concurrency); err != nil {
			return nil, err
		}
	}
	echo := l.spec
	echo.Handler = strings.NewReplacer("handler", "echo", "transform", "echo").Replace(l.spec.Handler)
	small, err := startPool(ctx, dir, echo, 1)
	if err != nil {
		return nil, err
	}
	defer small.Close()

	var bare, tuned, with1, with2, trip, cold []float64
	for run := range max(s.Runs, 3) {
		s.Progress(fmt.Sprintf("functions: %s, run %d of %d", l.name, run+1, max(s.Runs, 3)))
		b, err := bareLoop(ctx, l.bare, file)
		if err != nil {
			return nil, err
		}
		bare = append(bare, b)
		if l.tuned != nil {
			if b, err = bareLoop(ctx, l.tuned, file); err != nil {
				return nil, err
			}
			tuned = append(tuned, b)
		}
		for pool, to := range map[*function.Pool]*[]float64{one: &with1, two: &with2} {
			took, err := transformAll(ctx, pool, batches)
			if err != nil {
				return nil, err
			}
			*to = append(*to, perSecond(batches*batchRecords, took))
		}
		took, err := callAll(ctx, small, 500, func() error {
			_, err := small.Invoke(ctx, function.Invocation{Payload: []byte("{}")})
			return err
		})
		if err != nil {
			return nil, err
		}
		trip = append(trip, millis(took)/500)
		started, err := startPool(ctx, dir, echo, 1)
		if err != nil {
			return nil, err
		}
		cold = append(cold, millis(started.Stats().ColdStart))
		if err := started.Close(); err != nil {
			return nil, err
		}
	}
	base := median(bare)
	rows := []Row{
		{Name: l.name + " handler, bare loop", Value: base, Unit: "records/s", Samples: bare, Note: fmt.Sprintf("%d records of %d bytes an event: decode, edit JSON, encode", batchRecords, recordBytes)},
		Row{Name: l.name + " function, 1 worker", Note: "records to event, invocation, answer to records", Value: median(with1), Unit: "records/s", Samples: with1}.to("bare loop", base).ratioAtLeast(0.87),
		Row{Name: l.name + " function, 2 workers", Value: median(with2), Unit: "records/s", Samples: with2}.to("bare loop", base),
		{Name: l.name + " function, warm round trip", Value: median(trip), Unit: "ms", Samples: trip},
		{Name: l.name + " function, cold start", Value: median(cold), Unit: "ms", Samples: cold, Note: "process start to its first request for work, sandbox included"},
	}
	if tuned != nil {
		rows = append(rows, Row{Name: l.name + " handler, bare loop with the host's settings", Value: median(tuned), Unit: "records/s", Samples: tuned, Note: "with the settings of the garbage collector that the host gives"},
			Row{Name: l.name + " function, 1 worker, to that", Value: median(with1), Unit: "records/s", Samples: with1}.to("bare loop", median(tuned)))
	}
	return rows, nil
}

// startPool starts a warm pool.
func startPool(ctx context.Context, dir string, spec function.Spec, workers int) (*function.Pool, error) {
	spec.Name, spec.Concurrency = "bench", workers
	work, err := os.MkdirTemp(dir, "pool-")
	if err != nil {
		return nil, err
	}
	p := function.New(function.Options{Spec: spec, WorkDir: work})
	if err = p.Start(ctx); err == nil {
		err = p.Ready(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

// transformAll sends the same records through a function n times, and does all that a delivery does
// between the batch of a stream and the outcomes of its records.
func transformAll(ctx context.Context, p *function.Pool, n int) (time.Duration, error) {
	records := functionRecords()
	type exchange struct{ event, answer []byte }
	var kept sync.Pool
	return callAll(ctx, p, n, func() (err error) {
		x, ok := kept.Get().(*exchange)
		if !ok {
			x = &exchange{}
		}
		defer kept.Put(x)
		fits, size := firehose.Fit(eventHeader, records)
		x.event = firehose.AppendEvent(slices.Grow(x.event[:0], size), eventHeader, records[:fits])
		if x.answer, err = p.Invoke(ctx, function.Invocation{Payload: x.event, Answer: x.answer}); err != nil {
			return err
		}
		var d firehose.Decoder // its memory goes on with the outcomes
		outcomes, err := d.Decode(x.answer, records[:fits])
		if err == nil && outcomes[len(outcomes)-1].Result != firehose.Ok {
			err = errors.New("a record was refused: " + outcomes[len(outcomes)-1].Reason)
		}
		return err
	})
}

// callAll calls n times, by as many callers as the pool has workers and one that waits.
func callAll(ctx context.Context, p *function.Pool, n int, call func() error) (time.Duration, error) {
	var left atomic.Int64
	left.Store(int64(n))
	start := time.Now()
	g, ctx := errgroup.WithContext(ctx)
	for range p.Spec().Concurrency + 1 {
		g.Go(func() error {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				if err := call(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err := g.Wait()
	return time.Since(start), err
}

// bareLoop returns the records a second of a command that calls the handler without a host.
func bareLoop(ctx context.Context, command []string, file string) (float64, error) {
	args := append(slices.Clone(command[1:]), file, strconv.Itoa(batches))
	cmd := exec.CommandContext(ctx, command[0], args...)
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("bare loop: %w", err)
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
	if err != nil {
		return 0, fmt.Errorf("bare loop: %w", err)
	}
	return batches * batchRecords / seconds, nil
}

var eventHeader = firehose.Header{InvocationID: "bench", Stream: "telemetry", Kinesis: true}

// functionRecords are the records of one event.
func functionRecords() []firehose.Record {
	records := make([]firehose.Record, batchRecords)
	for i := range records {
		head := fmt.Sprintf(`{"device":"wagon-%04d","ts":"2026-11-20T03:05:00Z","speed":%d.5,"note":"`, i, i%200)
		data := head + strings.Repeat("x", recordBytes-len(head)-2) + `"}`
		records[i] = firehose.Record{Position: tarn.Position{Offset: uint64(i)}, Arrival: time.UnixMilli(1_790_000_000_000), Data: []byte(data)}
	}
	return records
}
