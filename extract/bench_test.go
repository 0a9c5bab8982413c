package extract_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/extract"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// The benchmarks bring the same records from a stream through an extract, and through a bare COPY of
// DuckDB, which is the floor: go test ./extract -bench . -benchtime 1x
const (
	benchEvents  = 1_000_000
	benchMessage = 2_000
)

// benchSchema is that of the records.
var benchSchema = &tarn.Schema{Fields: []tarn.Field{{Name: "device", Type: tarn.Type{Kind: tarn.String}}, {Name: "speed", Type: tarn.Type{Kind: tarn.Long}},
	{Name: "load", Type: tarn.Type{Kind: tarn.Double}}, {Name: "ts", Type: tarn.Type{Kind: tarn.Timestamp}}}}

func fill(b *testing.B, w *world) (*stream.Stream, string) {
	b.Helper()
	s, err := w.stream(b.Context(), 1)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	file := filepath.Join(w.dir, "bench.ndjson")
	f, err := os.Create(file)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	at := time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)
	for n := 0; n < benchEvents; n += benchMessage {
		var body strings.Builder
		for i := n; i < n+benchMessage; i++ {
			fmt.Fprintf(&body, `{"device":"wagon-%05d","speed":%d,"load":%d.5,"ts":"%s"}`+"\n", i%1000, i%120, i%40, at.Add(time.Duration(i)*time.Millisecond).Format("2006-01-02T15:04:05.000Z"))
		}
		framed, err := record.Frame([]byte(body.String()), record.KindNDJSON, record.FrameOptions{})
		if err == nil {
			_, err = s.Append(b.Context(), 0, framed.Parts[0].Segment, "")
		}
		if err == nil {
			_, err = f.WriteString(body.String())
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	return s, file
}

func drainBench(b *testing.B, cfg delivery.Config) {
	b.Helper()
	w, err := delivery.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Drain(b.Context()); err != nil {
		b.Fatal(err)
	}
}

func report(b *testing.B, took, floor time.Duration) {
	b.ReportMetric(benchEvents/took.Seconds(), "events/s")
	b.ReportMetric(floor.Seconds()/took.Seconds(), "ratio-of-floor")
}

// bare is the floor: NDJSON to Parquet through the same SQL.
func bare(b *testing.B, w *world, file string) time.Duration {
	b.Helper()
	began := time.Now()
	sql := "SELECT device, speed / 3.6 AS mps, ts FROM " + duck.ReadNDJSON([]string{file}, *benchSchema, 4096) + " WHERE speed > 10"
	if _, err := w.duck.Copy(b.Context(), sql, duck.CopyOptions{Path: filepath.Join(w.dir, "bare.parquet")}); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func BenchmarkStatelessTable(b *testing.B) {
	w := newWorld(b)
	s, file := fill(b, w)
	floor := bare(b, w, file)
	for n := range b.N {
		cfg := w.config(fmt.Sprintf("curated.bench_%d", n), delivery.Live(s))
		cfg.Declared, cfg.Ordered, cfg.BufferInterval = benchSchema, nil, time.Minute
		cfg.Transform = []delivery.Step{{Transform: project.Transform{SQL: "SELECT device, speed / 3.6 AS mps, ts FROM records WHERE speed > 10"}}}
		began := time.Now()
		drainBench(b, cfg)
		report(b, time.Since(began), floor)
	}
}

func BenchmarkStatelessStream(b *testing.B) {
	w := newWorld(b)
	s, file := fill(b, w)
	floor := bare(b, w, file)
	for n := range b.N {
		to, err := w.stream(b.Context(), 1)
		if err != nil {
			b.Fatal(err)
		}
		name := fmt.Sprintf("extract.bench%d", n)
		cfg := w.config(name, delivery.Live(s))
		cfg.Declared = benchSchema
		cfg.Transform = []delivery.Step{{Transform: project.Transform{SQL: "SELECT device, speed / 3.6 AS mps, ts FROM records WHERE speed > 10"}}}
		cfg.Sink = extract.NewStreamSink(extract.StreamOptions{Delivery: name, To: to, Store: w.store, State: w.state})
		began := time.Now()
		drainBench(b, cfg)
		report(b, time.Since(began), floor)
		_ = to.Close()
	}
}

func BenchmarkTumbling(b *testing.B) {
	w := newWorld(b)
	s, file := fill(b, w)
	floor := bare(b, w, file)
	for n := range b.N {
		to, err := w.stream(b.Context(), 1)
		if err != nil {
			b.Fatal(err)
		}
		name := fmt.Sprintf("windows.bench%d", n)
		win := project.Window{Size: time.Minute, Every: time.Minute, Time: "ts", Lateness: 10 * time.Second, Late: project.LateDrop}
		cfg := w.config(name, delivery.Live(s))
		cfg.Declared, cfg.Positions, cfg.Transform, cfg.BufferBytes = benchSchema, true, extract.WindowSteps(&win), 16<<20
		cfg.Sink = extract.NewWindowSink(extract.WindowOptions{Window: win, Query: extract.Query{SQL: "SELECT window_start, window_end, device, count(*) AS n, avg(speed) AS speed FROM records GROUP BY window_start, window_end, device"},
			Extract: "bench", From: s.Name(), Shards: s.Shards, Ends: s.End, Dir: filepath.Join(w.dir, "staging", name+"-windows"),
			Stream: extract.StreamOptions{Delivery: name, To: to, Store: w.store, State: w.state}})
		began := time.Now()
		drainBench(b, cfg)
		report(b, time.Since(began), floor)
		_ = to.Close()
	}
}
