package stream_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// body returns n records of 350 bytes as a segment.
func body(n int) record.Segment {
	rec := append(bytes.Repeat([]byte("x"), 349), '\n')
	return record.Segment{Lines: true, Count: n, Payload: bytes.Repeat(rec, n)}
}

// cpu returns the processor time the process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// load runs b.N appends of seg from so many callers and reports rates and latencies.
func load(b *testing.B, callers int, seg record.Segment) {
	var commits, requests int
	s := start(b, stream.Config{OnCommit: func(c stream.Commit) { commits++; requests += c.Requests }})
	b.SetBytes(int64(len(seg.Payload)))
	took := make([]time.Duration, b.N)
	next := make(chan int, b.N)
	for i := range b.N {
		next <- i
	}
	close(next)
	var wg sync.WaitGroup
	used := cpu()
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := range next {
				began := time.Now()
				if _, err := s.Append(context.Background(), 0, seg, ""); err != nil {
					b.Error(err)
					return
				}
				took[i] = time.Since(began)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N*seg.Count)/b.Elapsed().Seconds()/1e6, "Mrecords/s")
	b.ReportMetric(float64(requests)/float64(commits), "requests/fsync")
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
	b.ReportMetric((cpu()-used).Seconds()/b.Elapsed().Seconds(), "cores")
}

// BenchmarkAppend measures durable appends. The floor writes and syncs a file in the same folder,
// as large as the messages that eight callers share.
func BenchmarkAppend(b *testing.B) {
	b.Run("floor=write+fsync", func(b *testing.B) {
		f, err := os.Create(filepath.Join(b.TempDir(), "floor"))
		if err != nil {
			b.Fatal(err)
		}
		defer f.Close()
		data := bytes.Repeat([]byte("x"), 4*175000)
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			if _, err := f.Write(data); err != nil {
				b.Fatal(err)
			}
			if err := f.Sync(); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*2000/b.Elapsed().Seconds()/1e6, "Mrecords/s")
	})
	b.Run("callers=8/records=500", func(b *testing.B) { load(b, 8, body(500)) })
	b.Run("callers=64/records=1", func(b *testing.B) { load(b, 64, body(1)) })
	b.Run("callers=1/records=1", func(b *testing.B) { load(b, 1, body(1)) })
}

// BenchmarkRead measures reading a shard that is not in memory, from its beginning.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	e := embedded(b, dir)
	s := open(b, e, stream.Config{TailBytes: 1})
	const total = 1_000_000
	seg := body(500)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range total / 500 / 8 {
				mustAppend(b, s, 0, seg, "")
			}
		})
	}
	wg.Wait()
	b.SetBytes(total * 350)
	b.ResetTimer()
	used := cpu()
	for range b.N {
		r, err := s.Reader(context.Background(), 0, stream.Cursor{})
		if err != nil {
			b.Fatal(err)
		}
		n := 0
		for n < total {
			en, ok, err := r.Poll(context.Background())
			if err != nil || !ok {
				b.Fatal(ok, err, n)
			}
			n += en.Batch.Count()
		}
		r.Close()
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)*total/b.Elapsed().Seconds()/1e6, "Mrecords/s")
	b.ReportMetric((cpu()-used).Seconds()/b.Elapsed().Seconds(), "cores")
	s.Close()
	e.Close()
}

// BenchmarkPutGet measures from the beginning of an append to its arrival at a waiting reader.
func BenchmarkPutGet(b *testing.B) {
	s := start(b, stream.Config{})
	r, err := s.Reader(context.Background(), 0, stream.Cursor{})
	if err != nil {
		b.Fatal(err)
	}
	seg := body(1)
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		go s.Append(context.Background(), 0, seg, "")
		if _, err := r.Next(context.Background()); err != nil {
			b.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms")
}
