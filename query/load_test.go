package query

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/internal/telemetry"
)

const endless = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3"

// TestConcurrentStatements runs eight clients against a table that gains files meanwhile: every
// answer is that of one instant, and no view outlives its result.
func TestConcurrentStatements(t *testing.T) {
	l, s := fleet(t, 50)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for h := 100; ; h++ {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				l.add("curated.telemetry", fmt.Sprintf(`SELECT %d + i AS id, TIMESTAMP '2027-01-01' AS ts, 'wagon-1' AS device_id, 0::DOUBLE AS v,
					NULL::STRUCT(lat DOUBLE, lon DOUBLE) AS position, NULL::VARCHAR[] AS tags, NULL::JSON AS doc FROM range(50) t(i)`, h*50), true)
			}
		}
	})
	var asked atomic.Int64
	var clients sync.WaitGroup
	until := time.Now().Add(1500 * time.Millisecond)
	for c := range 8 {
		clients.Go(func() {
			for i := 0; time.Now().Before(until); i++ {
				asked.Add(1)
				switch (c + i) % 4 {
				case 0: // whole files only, each once
					out, _, err := ask(t, s, Request{SQL: "SELECT count(*) % 50 AS r, count(*) - count(DISTINCT id) AS twice FROM telemetry"})
					if err != nil || out != "{\"r\":0,\"twice\":0}\n" {
						t.Errorf("%s %v", out, err)
					}
				case 1:
					out, _, err := ask(t, s, Request{SQL: "SELECT (SELECT count(*) FROM telemetry) - (SELECT count(*) FROM telemetry) AS d", Params: nil})
					if err != nil || out != "{\"d\":0}\n" {
						t.Errorf("%s %v", out, err)
					}
				case 2:
					out, _, err := ask(t, s, Request{SQL: "SELECT id FROM telemetry WHERE id = $1", Params: []any{i % 3600}})
					if err != nil || out != fmt.Sprintf("{\"id\":%d}\n", i%3600) {
						t.Errorf("%d: %s %v", i, out, err)
					}
				case 3: // leaves in the middle
					res, err := s.Run(context.Background(), Request{SQL: "SELECT * FROM telemetry"})
					if err != nil {
						t.Error(err)
						continue
					}
					res.Next()
					res.Close()
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	wg.Wait()
	if n := asked.Load(); n < 50 {
		t.Errorf("only %d statements were asked", n)
	}
}

// TestEnds: a statement ends at once when its client goes, its time is over, or the service is full.
func TestEnds(t *testing.T) {
	l := newLake(t)
	s := newService(t, l, func(o *Options) { o.Timeout, o.MaxConcurrent = 300*time.Millisecond, 1 })
	begin := time.Now()
	_, _, err := ask(t, s, Request{SQL: endless})
	if tarn.CodeOf(err) != tarn.CodeTimeout || time.Since(begin) > 3*time.Second {
		t.Errorf("timeout: %v after %s", err, time.Since(begin))
	}
	begin = time.Now()
	_, _, err = ask(t, s, Request{SQL: endless, Timeout: 20 * time.Millisecond})
	if tarn.CodeOf(err) != tarn.CodeTimeout || time.Since(begin) > 3*time.Second {
		t.Errorf("own timeout: %v after %s", err, time.Since(begin))
	}
	patient := newService(t, l, func(o *Options) { o.Timeout, o.MaxConcurrent = time.Minute, 1 })
	ctx, cancel := context.WithCancel(context.Background())
	begin = time.Now()
	time.AfterFunc(50*time.Millisecond, cancel)
	_, err = patient.Run(ctx, Request{SQL: endless})
	if tarn.CodeOf(err) != tarn.CodeCanceled || time.Since(begin) > 3*time.Second {
		t.Errorf("cancel: %v after %s", err, time.Since(begin))
	}
	t.Run("between batches", func(t *testing.T) {
		ctx, cancel := context.WithCancel(context.Background())
		res, err := patient.Run(ctx, Request{SQL: "SELECT * FROM range(1000000000)"})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		for range 10 {
			if !res.Next() {
				t.Fatal(res.Err())
			}
		}
		cancel()
		if res.Next() || tarn.CodeOf(res.Err()) != tarn.CodeCanceled {
			t.Errorf("goes on: %v", res.Err())
		}
	})
	t.Run("slow reader", func(t *testing.T) {
		res, err := s.Run(context.Background(), Request{SQL: "SELECT * FROM range(1000000000)"})
		if err != nil {
			t.Fatal(err)
		}
		defer res.Close()
		time.Sleep(350 * time.Millisecond)
		for res.Next() { // at most until the clock of a busy machine has rung
		}
		if tarn.CodeOf(res.Err()) != tarn.CodeTimeout {
			t.Errorf("goes on: %v", res.Err())
		}
	})
	t.Run("busy", func(t *testing.T) {
		running, err := patient.Run(context.Background(), Request{SQL: "SELECT * FROM range(1000000000)"})
		if err != nil {
			t.Fatal(err)
		}
		codes := make(chan tarn.Code, 2)
		for range 2 {
			go func() {
				_, _, err := ask(t, patient, Request{SQL: "SELECT 1"})
				codes <- tarn.CodeOf(err)
			}()
		}
		if c := <-codes; c != tarn.CodeBusy {
			t.Errorf("one over the line: %s", c)
		}
		running.Close()
		if c := <-codes; c != tarn.CodeInternal && c != "" { // CodeOf(nil) is internal: it ran
			t.Errorf("waiting: %s", c)
		}
	})
}

func TestMaxRows(t *testing.T) {
	s := newService(t, newLake(t), func(o *Options) { o.MaxRows = 5000 })
	for f := JSON; f <= Parquet; f++ {
		res, err := s.Run(context.Background(), Request{SQL: "SELECT * FROM range(20000)", Format: f})
		if err == nil {
			err = res.Write(io.Discard)
			res.Close()
		}
		if tarn.CodeOf(err) != tarn.CodeTooLarge {
			t.Errorf("%s: %v", f, err)
		}
	}
	if got := must(t, s, "SELECT count(*) AS n FROM (FROM range(5000))"); got != "{\"n\":5000}\n" {
		t.Error(got)
	}
}

// TestMemoryIsBounded streams a result a hundred times larger than DuckDB may hold.
func TestMemoryIsBounded(t *testing.T) {
	s := newService(t, newLake(t), func(o *Options) { o.MemoryBytes = 32 << 20 })
	var w counter
	res, err := s.Run(context.Background(), Request{SQL: "SELECT i, md5(i::VARCHAR) || md5((i + 1)::VARCHAR) AS h FROM range(6000000) t(i)", Format: CSV})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Close()
	before := telemetry.ResidentBytes()
	if err := res.Write(&w); err != nil {
		t.Fatal(err)
	}
	if grown := telemetry.ResidentBytes() - before; w < 400<<20 || grown > 100<<20 {
		t.Errorf("wrote %d MB, grew by %d MB", w>>20, grown>>20)
	}
	if n, err := s.Memory(context.Background()); err != nil || n > 32<<20 {
		t.Errorf("DuckDB holds %d: %v", n, err)
	}
	_, _, err = ask(t, s, Request{SQL: "SELECT len(list(i)) FROM range(100000000) t(i)"})
	if tarn.CodeOf(err) != tarn.CodeTooLarge || !strings.Contains(err.Error(), "filter earlier") {
		t.Errorf("memory: %v", err)
	}
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

// TestGuard: a statement whose strings DuckDB does not count is ended by what the kernel counts.
func TestGuard(t *testing.T) {
	s := newService(t, newLake(t), func(o *Options) { o.MaxResidentBytes = 1 })
	s.guard.mu.Lock()
	s.guard.limit, s.guard.base = 1, 0
	s.guard.mu.Unlock()
	ctx, done := s.guard.watch(context.Background())
	defer done()
	s.guard.mu.Lock()
	s.guard.base = 0
	s.guard.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(2 * time.Second):
		t.Fatal("the guard sleeps")
	}
	if err := ended(ctx, nil); tarn.CodeOf(err) != tarn.CodeTooLarge {
		t.Error(err)
	}
}

// TestLease: the files of a view are held until the result is closed, whatever becomes of it.
func TestLease(t *testing.T) {
	l, s := fleet(t, 5)
	for f := JSON; f <= Parquet; f++ {
		res, err := s.Run(context.Background(), Request{SQL: "SELECT * FROM telemetry, curated.empty", Format: f})
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Write(io.Discard); err != nil {
			t.Error(err)
		}
		if n := l.open.Load(); n != 2 {
			t.Errorf("%s: %d views are held before Close", f, n)
		}
		res.Close()
		res.Close()
		if n := l.open.Load(); n != 0 {
			t.Errorf("%s: %d views are held after Close", f, n)
		}
	}
}

type brokenWriter struct{ left int }

func (w *brokenWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		return 0, errors.New("connection reset")
	}
	return len(p), nil
}

func TestReaderGoesAway(t *testing.T) {
	_, s := fleet(t, 200)
	for f := JSON; f <= Parquet; f++ {
		res, err := s.Run(context.Background(), Request{SQL: "SELECT * FROM telemetry", Format: f})
		if err != nil {
			t.Fatal(err)
		}
		if err := res.Write(&brokenWriter{left: 100_000}); tarn.CodeOf(err) != tarn.CodeCanceled {
			t.Errorf("%s: %v", f, err)
		}
		res.Close()
	}
}

// TestSourceFaults: what the source refuses reaches the user, and what was acquired is released.
func TestSourceFaults(t *testing.T) {
	l, s := fleet(t, 1)
	_, _, err := ask(t, s, Request{SQL: "SELECT 1 FROM telemetry, curated.empty AT (VERSION => 9)"})
	if tarn.CodeOf(err) != tarn.CodeNotFound || l.open.Load() != 0 {
		t.Errorf("%v, %d views open", err, l.open.Load())
	}
	l.tabs["curated.telemetry"].files[3].URL = l.dir + "/gone.parquet"
	_, _, err = ask(t, s, Request{SQL: "SELECT max(id) FROM telemetry"})
	if err == nil || strings.Contains(err.Error(), "line 1") || tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Errorf("missing file: %s %v", tarn.CodeOf(err), err)
	}
}

// TestBrokenFiles: a data file that is missing or damaged is named with its table, without its folder.
func TestBrokenFiles(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(path string, b []byte) error
		want   string
	}{
		"missing":       {func(p string, _ []byte) error { return os.Remove(p) }, "f4.parquet of the table curated.telemetry is missing"},
		"empty":         {func(p string, _ []byte) error { return os.WriteFile(p, nil, 0o600) }, "f4.parquet of the table curated.telemetry"},
		"cut short":     {func(p string, b []byte) error { return os.WriteFile(p, b[:len(b)/2], 0o600) }, "f4.parquet of the table curated.telemetry"},
		"another file":  {func(p string, b []byte) error { return os.WriteFile(p, bytes.Repeat([]byte("x"), len(b)), 0o600) }, "f4.parquet of the table curated.telemetry"},
		"broken footer": {func(p string, b []byte) error { return os.WriteFile(p, scribble(b, len(b)-300, len(b)-8), 0o600) }, "of the table curated.telemetry"},
		"broken pages":  {func(p string, b []byte) error { return os.WriteFile(p, scribble(b, 4, 400), 0o600) }, "of the table curated.telemetry"},
	} {
		t.Run(name, func(t *testing.T) {
			l, s := fleet(t, 500)
			p := l.tabs["curated.telemetry"].files[3].URL
			b, err := os.ReadFile(p)
			if err == nil {
				err = c.damage(p, b)
			}
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = ask(t, s, Request{SQL: "SELECT max(id), max(v), max(device_id), max(doc::VARCHAR) FROM telemetry"})
			e := asError(err)
			if e == nil || e.Code != tarn.CodeUnavailable || !strings.Contains(e.Detail, c.want) || !strings.Contains(e.Hint, "tarn verify") || strings.Contains(e.Detail, "/") {
				t.Errorf("%v", err)
			} else {
				t.Log(e.Detail)
			}
		})
	}
}

func scribble(b []byte, from, to int) []byte {
	for i := from; i < to; i++ {
		b[i] = 0xa7
	}
	return b
}

func TestQueryLog(t *testing.T) {
	var seen []LogEntry
	l := newLake(t)
	l.hours(3, 2)
	s := newService(t, l, func(o *Options) { o.OnQuery = func(e LogEntry) { seen = append(seen, e) } })
	must(t, s, "SELECT * FROM telemetry WHERE ts < TIMESTAMP '2026-11-20 01:00:00'")
	_, _, _ = ask(t, s, Request{SQL: "SELEC"})
	if len(seen) != 2 || seen[0].Rows != 2 || seen[0].FilesTotal != 3 || seen[0].FilesOpened != 1 || seen[0].Elapsed <= 0 || seen[1].Code != tarn.CodeInvalid {
		t.Errorf("%+v", seen)
	}
	got := must(t, s, "SELECT rows, files_total, files_opened, code, error IS NULL AS ok FROM system.query_log")
	if want := `{"rows":2,"files_total":3,"files_opened":1,"code":null,"ok":true}` + "\n" + `{"rows":0,"files_total":0,"files_opened":0,"code":"invalid","ok":false}` + "\n"; got != want {
		t.Error(got)
	}
	log := newQueryLog()
	for i := range 2500 {
		log.add(LogEntry{Rows: int64(i)})
	}
	if e := log.entries(); len(e) != queryLogSize || e[0].Rows != 1500 || e[999].Rows != 2499 {
		t.Errorf("the ring keeps %d from %d to %d", len(e), e[0].Rows, e[len(e)-1].Rows)
	}
}

func TestSystemFault(t *testing.T) {
	s, err := New(Options{Source: newLake(t), System: brokenSystem{}, TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, _, err = ask(t, s, Request{SQL: "SELECT * FROM system.broken"}); tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Error(err)
	}
	if _, _, err = ask(t, s, Request{SQL: "SELECT * FROM system.uneven"}); tarn.CodeOf(err) != tarn.CodeInternal {
		t.Error(err)
	}
}

type brokenSystem struct{}

func (brokenSystem) Names() []string { return []string{"broken", "uneven"} }
func (brokenSystem) Rows(_ context.Context, name string) (tarn.Schema, [][]any, error) {
	if name == "broken" {
		return tarn.Schema{}, nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the metadata database is away"}
	}
	return tarn.Schema{Fields: []tarn.Field{field(1, "a", "BIGINT")}}, [][]any{{1}, {1, 2}}, nil
}
