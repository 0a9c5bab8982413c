package httpdoor_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

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
