package load

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"
)

// sink counts what it is sent.
type sink struct {
	mu    sync.Mutex
	lines []string
	busy  int // answers 429 that are still to be given
	fail  bool
}

func (s *sink) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/v1/streams/t/records" || r.Header.Get("Content-Type") != "application/x-ndjson":
		w.WriteHeader(http.StatusNotFound)
	case s.fail:
		w.WriteHeader(http.StatusInternalServerError)
		fmt.Fprint(w, "broken")
	case s.busy > 0:
		s.busy--
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
	default:
		n := bytes.Count(b, []byte("\n"))
		s.lines = append(s.lines, strings.Fields(string(b))...)
		fmt.Fprintf(w, `{"accepted":%d,"rejected":[],"first_position":"0:0"}`, n)
	}
}

func appendNumbers(dst []byte, from int64, n int) []byte {
	for i := range int64(n) {
		dst = fmt.Appendf(dst, "%06d\n", from+i)
	}
	return dst
}

func serve(t *testing.T, s *sink) string {
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	return srv.URL
}

func TestEveryRecordOnce(t *testing.T) {
	for name, c := range map[string]Options{
		"defaults":    {Records: 5000},
		"remainder":   {Records: 1234, Batch: 100, Clients: 3},
		"single":      {Records: 200, Batch: 1, Clients: 64},
		"from":        {Records: 10, Batch: 3, From: 990},
		"busy server": {Records: 100, Batch: 10, Clients: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := &sink{}
			if name == "busy server" {
				s.busy = 3
			}
			c.URL, c.Stream, c.Append = serve(t, s), "t", appendNumbers
			var mu sync.Mutex
			acked := int64(0)
			c.Acked = func(a Ack) {
				mu.Lock()
				acked += int64(a.Count)
				mu.Unlock()
			}
			r, err := Run(t.Context(), c)
			if err != nil || r.Accepted != c.Records || acked != c.Records || r.Elapsed <= 0 {
				t.Fatalf("%+v, %v; acked %d", r, err, acked)
			}
			if name == "busy server" && r.Busy != 3 {
				t.Errorf("busy %d times", r.Busy)
			}
			sort.Strings(s.lines)
			if want := strings.Fields(string(appendNumbers(nil, c.From, int(c.Records)))); strings.Join(s.lines, " ") != strings.Join(want, " ") {
				t.Errorf("the server got %d lines, want %d", len(s.lines), len(want))
			}
		})
	}
}

func TestRate(t *testing.T) {
	s := &sink{}
	r, err := Run(t.Context(), Options{URL: serve(t, s), Stream: "t", Records: 300, Rate: 1000, Batch: 10, Append: appendNumbers})
	if err != nil || r.Elapsed < 280*time.Millisecond {
		t.Errorf("300 records at 1,000/s took %s, %v", r.Elapsed, err)
	}
}

func TestEndlessUntilCancelled(t *testing.T) {
	s := &sink{}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	r, err := Run(ctx, Options{URL: serve(t, s), Stream: "t", Append: appendNumbers})
	if err != nil || r.Accepted == 0 {
		t.Errorf("%d accepted, %v", r.Accepted, err)
	}
}

func TestErrors(t *testing.T) {
	for name, c := range map[string]struct {
		o    Options
		fail bool
		want string
	}{
		"server error":     {Options{Stream: "t", Records: 10, Append: appendNumbers}, true, "HTTP status 500: broken"},
		"unknown stream":   {Options{Stream: "u", Records: 10, Append: appendNumbers}, false, "HTTP status 404"},
		"nobody listens":   {Options{URL: "http://127.0.0.1:1", Stream: "t", Records: 1, Append: appendNumbers}, false, "refused"},
		"not http":         {Options{URL: "https://localhost", Stream: "t", Records: 1, Append: appendNumbers}, false, "not an http:// address"},
		"nothing to send":  {Options{Stream: "t", Records: 1}, false, "Append is missing"},
		"negative records": {Options{Stream: "t", Records: -1, Append: appendNumbers}, false, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.o.URL == "" {
				c.o.URL = serve(t, &sink{fail: c.fail})
			}
			if _, err := Run(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
		})
	}
}

func TestCancelUnderARequest(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Run(ctx, Options{URL: srv.URL, Stream: "t", Records: 10, Append: appendNumbers}); err == nil {
		t.Error("no error")
	}
}

func BenchmarkSingleRecordRequests(b *testing.B) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"accepted":1,"rejected":[]}`)
	}))
	defer srv.Close()
	r, err := Run(b.Context(), Options{URL: srv.URL, Stream: "t", Records: int64(b.N), Batch: 1, Clients: 16, Append: appendNumbers})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(r.Accepted)/r.Elapsed.Seconds(), "requests/s")
}
