package httpdoor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/ingest/httpdoor"
	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// streams is a fixed set of real streams.
type streams map[string]httpdoor.Target

func (s streams) Lookup(name string) (httpdoor.Target, bool) {
	t, ok := s[name]
	return t, ok
}

// fixture is a door over real streams, on a real listener.
type fixture struct {
	url     string
	door    *httpdoor.Handler
	streams streams
	clock   *clock
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// open starts a door with the streams events (one shard, small limits), sharded (3 shards by
// device.id), bytes (opaque) and json (JSON only).
func open(t testing.TB, memory int64) *fixture {
	t.Helper()
	eng, err := jetstream.Start(t.Context(), jetstream.ServerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	f := &fixture{streams: streams{}, clock: &clock{now: time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)}}
	for name, target := range map[string]httpdoor.Target{
		"events":  {Limits: record.Limits{RecordBytes: 1000, BodyBytes: 10_000, Depth: 8}},
		"sharded": {KeyPath: "device.id"},
		"bytes":   {Records: httpdoor.RecordsOpaque, Limits: record.Limits{RecordBytes: 1000, BodyBytes: 10_000}},
		"json":    {Records: httpdoor.RecordsJSON},
		"large":   {},
	} {
		shards := 1
		if name == "sharded" {
			shards = 3
		}
		target.Stream, err = stream.Open(t.Context(), eng, stream.Config{Name: name, Shards: shards})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = target.Stream.Close() })
		f.streams[name] = target
	}
	f.door, err = httpdoor.New(httpdoor.Options{
		Streams: f.streams, Problem: server.Problems{Logger: slog.New(slog.DiscardHandler)}.Write,
		Metrics: telemetry.New(telemetry.NewRegistry()), MemoryBytes: memory, Now: f.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("POST /v1/streams/{stream}/records", f.door)
	srv := httptest.NewServer(mux)
	t.Cleanup(func() {
		srv.Close() // waits for the handlers
		if n := f.door.BodyBytes(); n != 0 {
			t.Errorf("%d bytes of the budget were not given back", n)
		}
	})
	f.url = srv.URL
	return f
}

// answer is what a request got.
type answer struct {
	status  int
	header  http.Header
	body    string
	code    tarn.Code
	detail  string
	doc     server.IngestDoc
	refused []record.Reject
}

func (f *fixture) post(t testing.TB, path string, header http.Header, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, f.url+"/v1/streams/"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: resp.StatusCode, header: resp.Header, body: string(b)}
	if a.status == http.StatusOK {
		if err := json.Unmarshal(b, &a.doc); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		return a
	}
	var p struct {
		Code     tarn.Code
		Detail   string
		Rejected []record.Reject
	}
	if err := json.Unmarshal(b, &p); err != nil || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("no problem document: %s", b)
	}
	a.code, a.detail, a.refused = p.Code, p.Detail, p.Rejected
	return a
}

// stored returns the records of a stream, shard by shard in order.
func (f *fixture) stored(t testing.TB, name string) []string {
	t.Helper()
	var all []string
	s := f.streams[name].Stream
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
					all = append(all, string(rec))
				}
			}
		}
		r.Close()
	}
	return all
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

// zstded compresses; sized says whether the frame tells the size of its content.
func zstded(b []byte, sized bool) []byte {
	if sized {
		enc, _ := zstd.NewWriter(nil)
		return enc.EncodeAll(b, nil)
	}
	var out bytes.Buffer
	enc, _ := zstd.NewWriter(&out)
	for len(b) > 0 { // in pieces, or the encoder knows the size at the first write
		n := min(len(b), 1000)
		_, _ = enc.Write(b[:n])
		_ = enc.Flush()
		b = b[n:]
	}
	_ = enc.Close()
	return out.Bytes()
}

func lines(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "{\"id\":%d,\"device\":{\"id\":\"w-%d\"}}\n", i, i%7)
	}
	return b.String()
}
