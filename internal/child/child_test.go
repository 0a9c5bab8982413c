package child

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script writes an executable that stands in for the tarn binary where only the handling of a process
// is the subject; real servers are started by internal/crashtest.
func script(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tarn")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func start(t *testing.T, o Options) *Process {
	t.Helper()
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	p, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestReadyWaitsForAFreshAddress(t *testing.T) {
	ready := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			http.NotFound(w, r)
		}
	}))
	defer ready.Close()
	data := t.TempDir()
	if err := os.WriteFile(filepath.Join(data, "address"), []byte("127.0.0.1:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	bin := script(t, fmt.Sprintf(`sleep 0.1; echo %s > "$6/address"; exec sleep 60`, strings.TrimPrefix(ready.URL, "http://")))
	p := start(t, Options{Binary: bin, Project: "dir", Data: data})
	got, err := p.Ready(within(t, 10*time.Second))
	if err != nil || got != ready.URL {
		t.Errorf("%q, %v; want %q", got, err, ready.URL)
	}
	u, err := p.Usage()
	if err != nil && !errors.Is(err, ErrNoUsage) || err == nil && (u.ResidentBytes <= 0 || u.PeakBytes < u.ResidentBytes) {
		t.Errorf("usage %+v, %v", u, err)
	}
}

func TestReadyReportsAnEarlyExit(t *testing.T) {
	p := start(t, Options{Binary: script(t, "echo data folder is in use >&2; exit 3")})
	if _, err := p.Ready(within(t, 10*time.Second)); err == nil || !strings.Contains(err.Error(), "data folder is in use") {
		t.Errorf("error is %v", err)
	}
	if code, err := p.Wait(within(t, time.Second)); code != 3 || err != nil {
		t.Errorf("exit code %d, %v", code, err)
	}
}

func TestStop(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"clean":    {`trap 'exit 0' TERM; echo on; while :; do sleep 0.01; done`, ""},
		"failing":  {`trap 'exit 1' TERM; echo on; while :; do sleep 0.01; done`, "stopped badly"},
		"stubborn": {`trap '' TERM; echo on; while :; do sleep 0.01; done`, "was killed"},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, Options{Binary: script(t, c.body)})
			for !strings.Contains(p.Log(), "on") {
				time.Sleep(time.Millisecond)
			}
			err := p.Stop(within(t, 500*time.Millisecond))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error is %v, want %q", err, c.want)
			}
			p.Kill()
		})
	}
}

func TestParseUsage(t *testing.T) {
	const status = "Name:\ttarn\nVmHWM:\t  204800 kB\nVmRSS:\t  102400 kB\n"
	const stat = "42 (a) b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 1 0 0"
	u, err := parseUsage(status, stat)
	if err != nil || u != (Usage{ResidentBytes: 100 << 20, PeakBytes: 200 << 20, CPU: 3 * time.Second}) {
		t.Errorf("%+v, %v", u, err)
	}
	for name, c := range map[string][2]string{
		"empty": {"", ""}, "no stat": {status, "42 (tarn"}, "no status": {"", stat}, "not a number": {"VmHWM: x kB\n", stat},
	} {
		if _, err := parseUsage(c[0], c[1]); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	l := &tail{max: 20}
	for i := range 10 {
		fmt.Fprintf(l, "line %d\n", i)
	}
	if got := l.String(); got != "[…]\nline 8\nline 9\n" {
		t.Errorf("%q", got)
	}
}

func TestClient(t *testing.T) {
	mux := http.NewServeMux()
	asked := 0
	mux.HandleFunc("GET /v1/pipelines/p", func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprintf(w, `{"name":"p","deliveries":[{"table":"curated.p","lag_records":%d,"records":%d,"rows":2,"failed":1}]}`, 3-min(asked, 3), min(asked, 3))
	})
	mux.HandleFunc("POST /v1/sql", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept") != "text/csv" {
			w.WriteHeader(http.StatusNotAcceptable)
		}
		fmt.Fprint(w, "id,n\r\n\"a,b\",1\r\nc,2\r\n")
	})
	srv := httptest.NewServer(mux)
	defer srv.Close()
	c := NewClient(srv.URL)
	n, _, err := c.Settled(within(t, 5*time.Second), "p", 3, time.Millisecond)
	if err != nil || n != (Counts{Accepted: 3, Committed: 2, Failed: 1}) {
		t.Errorf("%+v, %v", n, err)
	}
	rows, err := c.Rows(within(t, 5*time.Second), "SELECT 1")
	if err != nil || fmt.Sprint(rows) != "[[a,b 1] [c 2]]" {
		t.Errorf("%v, %v", rows, err)
	}
	var status *StatusError
	if _, err := c.Pipeline(within(t, 5*time.Second), "unknown"); !errors.As(err, &status) || status.Status != http.StatusNotFound {
		t.Errorf("error is %v", err)
	}
}
