package main

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/ingest/httpdoor"
	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// oneStream is a door's view of one stream.
type oneStream struct{ target httpdoor.Target }

func (s oneStream) Lookup(name string) (httpdoor.Target, bool) {
	return s.target, name == s.target.Stream.Name()
}

// flaky passes requests to a real door, and loses some of them, and some answers, on the way.
type flaky struct {
	door http.Handler
	mu   sync.Mutex
	rand *rand.Rand
	lost int
}

func (f *flaky) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	what := f.rand.IntN(10)
	if what < 4 {
		f.lost++
	}
	f.mu.Unlock()
	switch what {
	case 0: // the request never arrives
		panic(http.ErrAbortHandler)
	case 1: // it is stored, and the answer never arrives
		f.door.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	case 2: // it is stored, and a proxy answers that it was not
		f.door.ServeHTTP(httptest.NewRecorder(), r)
		http.Error(w, "bad gateway", http.StatusBadGateway)
	case 3:
		w.Header().Set("Retry-After", "0")
		server.Problems{}.Write(w, r, &tarn.Error{Code: tarn.CodeBusy, Detail: "busy"})
	default:
		f.door.ServeHTTP(w, r)
	}
}

// openFlaky starts a door whose bodies are limited to 4,000 bytes.
func openFlaky(t *testing.T, seed uint64) (f *flaky, url string, s *stream.Stream) {
	t.Helper()
	eng, err := jetstream.Start(t.Context(), jetstream.ServerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	if s, err = stream.Open(t.Context(), eng, stream.Config{Name: "events", Shards: 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	door, err := httpdoor.New(httpdoor.Options{
		Streams: oneStream{httpdoor.Target{Stream: s, KeyPath: "id", Limits: record.Limits{RecordBytes: 3000, BodyBytes: 4000}}},
		Problem: server.Problems{Logger: slog.New(slog.DiscardHandler)}.Write, Metrics: telemetry.New(telemetry.NewRegistry()),
	})
	if err != nil {
		t.Fatal(err)
	}
	f = &flaky{door: door, rand: rand.New(rand.NewPCG(seed, 0))}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/streams/{stream}/records", f)
	srv := httptest.NewUnstartedServer(mux)
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	srv.Start()
	t.Cleanup(srv.Close)
	return f, srv.URL, s
}

// TestPutIsNeverDoubled puts a file over a connection that loses requests and answers, in batches
// some of which are over the body limit and sent in halves, and wants each record once.
func TestPutIsNeverDoubled(t *testing.T) {
	for seed := range uint64(2) {
		f, url, s := openFlaky(t, seed)
		const n = 200
		file := filepath.Join(t.TempDir(), "events.ndjson.gz")
		w, err := os.Create(file)
		if err != nil {
			t.Fatal(err)
		}
		gz := gzip.NewWriter(w)
		for i := range n {
			switch i {
			case 50:
				fmt.Fprintln(gz, "broken")
			case 100:
				fmt.Fprintf(gz, "{\"id\":%q}\n", strings.Repeat("x", 3500)) // over the record limit
			case 150:
				fmt.Fprintf(gz, "{\"id\":%q}\n", strings.Repeat("x", 5000)) // over the body limit
			}
			fmt.Fprintf(gz, "{\"id\":%d,\"pad\":%q}\n", i, strings.Repeat("p", i%150))
		}
		_, _ = gz.Close(), w.Close()
		var out, errOut strings.Builder
		status := run([]string{"put", "events", file, "--server", url, "--batch", "40", "--json"}, strings.NewReader(""), &out, &errOut)
		var doc struct{ Accepted, Rejected int }
		if err := json.Unmarshal([]byte(out.String()), &doc); err != nil || status != 1 || doc.Accepted != n || doc.Rejected != 3 {
			t.Fatalf("status %d, %v\n%s%s", status, err, out.String(), errOut.String())
		}
		for _, line := range []string{":51: invalid JSON", ":102: the record has", ":153: the body is over the limit"} {
			if !strings.Contains(errOut.String(), file+line) {
				t.Errorf("%q is not reported:\n%s", line, errOut.String())
			}
		}
		seen := map[string]int{}
		for shard := range s.Shards() {
			r, err := s.Reader(t.Context(), shard, stream.Cursor{})
			if err != nil {
				t.Fatal(err)
			}
			for {
				e, ok, err := r.Poll(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				for _, seg := range e.Batch.Segments {
					for _, rec := range seg.Records() {
						seen[string(rec)]++
					}
				}
			}
			r.Close()
		}
		if len(seen) != n {
			t.Errorf("%d different records, want %d", len(seen), n)
		}
		for rec, times := range seen {
			if times != 1 {
				t.Errorf("%d times %.40s", times, rec)
			}
		}
		if f.lost < 5 {
			t.Errorf("only %d losses: the test tests little", f.lost)
		}
	}
}

// TestPutGivesUp wants an end, and what was stored said, when the server stays away.
func TestPutGivesUp(t *testing.T) {
	n := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n > 1 {
			server.Problems{}.Write(w, r, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "draining"})
			return
		}
		_, _ = w.Write([]byte(`{"accepted":2,"rejected":[],"first_position":"0:0","last_position":"0:1"}`))
	}))
	defer srv.Close()
	var out, errOut strings.Builder
	status := run([]string{"put", "events", "--server", srv.URL, "--batch", "2", "--retry", "300ms"}, strings.NewReader("{}\n{}\n{}\n"), &out, &errOut)
	if status != 1 || !strings.Contains(errOut.String(), "tarn: draining") || !strings.Contains(out.String(), "2 records in events") || n < 3 {
		t.Errorf("status %d after %d requests\n%s%s", status, n, out.String(), errOut.String())
	}
}
