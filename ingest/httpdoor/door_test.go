package httpdoor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
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

func TestAnswer(t *testing.T) {
	f := open(t, 0)
	a := f.post(t, "events/records", http.Header{"Content-Type": {"application/x-ndjson"}}, strings.NewReader("{\"a\":1}\nnonsense\n{\"a\":3}"))
	want := `{"accepted":2,"rejected":[{"index":1,"code":"invalid_json","detail":"` + a.doc.Rejected[0].Detail + `"}],"first_position":"0:0","last_position":"0:1"}` + "\n"
	if a.status != 200 || a.body != want || a.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s\nwant %s", a.status, a.body, want)
	}
	a = f.post(t, "events/records", nil, strings.NewReader(`[{"a":4}]`))
	if a.body != `{"accepted":1,"rejected":[],"first_position":"0:2","last_position":"0:2"}`+"\n" {
		t.Error(a.body)
	}
	if got := fmt.Sprint(f.stored(t, "events")); got != `[{"a":1} {"a":3} {"a":4}]` {
		t.Error(got)
	}
}

func TestShards(t *testing.T) {
	f := open(t, 0)
	a := f.post(t, "sharded/records", nil, strings.NewReader(lines(100)))
	if a.doc.Accepted != 100 || len(a.doc.Shards) != 3 || len(f.stored(t, "sharded")) != 100 {
		t.Fatalf("%s", a.body)
	}
	sum := 0
	for _, s := range a.doc.Shards {
		sum += s.Accepted
		if uint64(s.Accepted) != s.Last.Offset-s.First.Offset+1 {
			t.Errorf("%+v", s)
		}
	}
	if want := record.ShardOf("w-0", 3); sum != 100 || a.doc.First != (tarn.Position{Shard: want}) {
		t.Errorf("sum %d, first %v, want it in shard %d", sum, a.doc.First, want)
	}
	a = f.post(t, "sharded/records?key=depot", nil, strings.NewReader(lines(10)))
	if len(a.doc.Shards) != 0 || a.doc.First.Shard != record.ShardOf("depot", 3) {
		t.Errorf("%s", a.body)
	}
	seen := map[int]bool{}
	for range 6 { // without a key requests take the shards in turn
		a := f.post(t, "sharded/records", nil, strings.NewReader(`{"no":"key"}`))
		seen[a.doc.First.Shard] = true
	}
	if len(seen) != 3 {
		t.Errorf("shards %v", seen)
	}
}

func TestCompression(t *testing.T) {
	f := open(t, 0)
	text := lines(20_000)
	for name, c := range map[string]struct {
		encoding string
		body     []byte
	}{
		"gzip":           {"gzip", gzipped([]byte(text))},
		"x-gzip":         {"X-GZIP", gzipped([]byte(text))},
		"gzip members":   {"gzip", append(gzipped([]byte(text[:len(text)/2])), gzipped([]byte(text[len(text)/2:]))...)},
		"zstd sized":     {"zstd", zstded([]byte(text), true)},
		"zstd streamed":  {"zstd", zstded([]byte(text), false)},
		"zstd frames":    {"zstd", append(zstded([]byte(text[:5000]), true), zstded([]byte(text[5000:]), true)...)},
		"identity":       {"identity", []byte(text)},
		"chunked gzip":   {"gzip", gzipped([]byte(text))},
		"chunked, plain": {"", []byte(text)},
	} {
		t.Run(name, func(t *testing.T) {
			var body io.Reader = bytes.NewReader(c.body)
			if strings.HasPrefix(name, "chunked") {
				body = io.MultiReader(body) // hides the length
			}
			a := f.post(t, "large/records", http.Header{"Content-Encoding": {c.encoding}}, body)
			if a.status != 200 || a.doc.Accepted != 20_000 {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}

// TestBusy holds the budget with one request and wants 429 for another, before its body is read (I8).
func TestBusy(t *testing.T) {
	f := open(t, 1<<20)
	r, w := io.Pipe()
	started := make(chan struct{})
	done := make(chan answer)
	go func() {
		req, _ := http.NewRequest(http.MethodPost, f.url+"/v1/streams/large/records", io.MultiReader(r, strings.NewReader("{}")))
		req.ContentLength = 900_000
		close(started)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Error(err)
			close(done)
			return
		}
		_ = resp.Body.Close()
		done <- answer{status: resp.StatusCode}
	}()
	<-started
	for f.door.BodyBytes() == 0 {
		time.Sleep(time.Millisecond)
	}
	unread := &countingReader{r: strings.NewReader(lines(10_000))}
	req, _ := http.NewRequest(http.MethodPost, f.url+"/v1/streams/large/records", unread)
	req.ContentLength = int64(len(lines(10_000)))
	req.Header.Set("Expect", "100-continue")
	resp, err := http.DefaultTransport.(*http.Transport).Clone().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusTooManyRequests || resp.Header.Get("Retry-After") == "" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if unread.n.Load() != 0 {
		t.Errorf("%d bytes of the body were sent", unread.n.Load())
	}
	go func() {
		_, _ = io.WriteString(w, strings.Repeat(" ", 900_000-2))
		_ = w.Close()
	}()
	if a := <-done; a.status != 200 {
		t.Errorf("the slow request got %d", a.status)
	}
}

func TestBusyWhileGrowing(t *testing.T) {
	f := open(t, 1<<20)
	a := f.post(t, "large/records", nil, io.MultiReader(strings.NewReader(lines(40_000)))) // chunked
	if a.status != http.StatusTooManyRequests || a.code != tarn.CodeBusy {
		t.Errorf("%d %s", a.status, a.body)
	}
	a = f.post(t, "large/records", http.Header{"Content-Encoding": {"gzip"}}, bytes.NewReader(gzipped([]byte(lines(40_000)))))
	if a.status != http.StatusTooManyRequests {
		t.Errorf("%d %s", a.status, a.body)
	}
}

// TestManyAtOnce posts from many clients, all kinds of bodies, and wants each record once.
func TestManyAtOnce(t *testing.T) {
	f := open(t, 0)
	const clients, posts, records = 16, 20, 50
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for p := range posts {
				var b bytes.Buffer
				for i := range records {
					fmt.Fprintf(&b, "{\"id\":\"%d-%d-%d\",\"device\":{\"id\":%d}}\n", c, p, i, i)
				}
				h, body := http.Header{}, b.Bytes()
				switch p % 3 {
				case 1:
					h.Set("Content-Encoding", "gzip")
					body = gzipped(body)
				case 2:
					h.Set("Content-Encoding", "zstd")
					body = zstded(body, p%2 == 0)
				}
				if a := f.post(t, "sharded/records", h, bytes.NewReader(body)); a.doc.Accepted != records {
					t.Errorf("%d %s", a.status, a.body)
				}
			}
		})
	}
	wg.Wait()
	seen := map[string]int{}
	for _, rec := range f.stored(t, "sharded") {
		seen[rec]++
	}
	if len(seen) != clients*posts*records {
		t.Errorf("%d different records, want %d", len(seen), clients*posts*records)
	}
	for rec, n := range seen {
		if n != 1 {
			t.Errorf("%d times %s", n, rec)
		}
	}
}

// TestClientGone wants the memory back, and nothing stored, when a client leaves in mid-body.
func TestClientGone(t *testing.T) {
	f := open(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	req, _ := http.NewRequestWithContext(ctx, http.MethodPost, f.url+"/v1/streams/large/records", r)
	req.ContentLength = 1 << 20
	done := make(chan error)
	go func() {
		_, err := http.DefaultClient.Do(req)
		done <- err
	}()
	_, _ = io.WriteString(w, "{}")
	for f.door.BodyBytes() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	_ = w.Close() // the transport waits for the reader of the body
	if err := <-done; err == nil {
		t.Error("no error")
	}
	for deadline := time.Now().Add(10 * time.Second); f.door.BodyBytes() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the memory of an abandoned body is still held")
		}
	}
	if len(f.stored(t, "large")) != 0 {
		t.Error("half a body was stored")
	}
}

type countingReader struct {
	r io.Reader
	n atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}
