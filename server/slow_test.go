package server_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/twin"
)

// doors is a server on a real listener with every door open, and little patience. It returns its address and the routes
// of its description, as METHOD PATH with names that exist.
func doors(t *testing.T) (addr string, routes []string) {
	t.Helper()
	f := (&fixture{control: server.Control{
		Invoke: func(context.Context, string, function.Invocation) ([]byte, error) { return []byte("{}"), nil },
		RetryFailed: func(context.Context, server.FailedFilter) (server.RetryDoc, error) {
			return server.RetryDoc{}, nil
		},
	}}).open(t, nil)
	db, err := metadb.Open(t.Context(), filepath.Join(t.TempDir(), "twins.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	store := twin.Open(db, twin.Options{})
	if err := store.Configure(t.Context(), []twin.Spec{{Name: "fleet"}}); err != nil {
		t.Fatal(err)
	}
	reg := telemetry.NewRegistry()
	h, err := server.New(server.Options{Version: "test", Logger: slog.New(slog.DiscardHandler), Metrics: telemetry.New(reg), Gatherer: reg, Twins: store, Query: f.queries, Control: f.control,
		Ingest: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }), Patience: 300 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	addr = serve(t, h, nil)
	var doc struct {
		Paths map[string]map[string]any
	}
	resp, err := http.Get("http://" + addr + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil {
		t.Fatal(err)
	}
	for path, ops := range doc.Paths {
		for method := range ops {
			routes = append(routes, strings.ToUpper(method)+" "+strings.NewReplacer("{stream}", "events", "{twin}", "fleet", "{", "", "}", "").Replace(path))
		}
	}
	slices.Sort(routes)
	return addr, routes
}

// serve answers connections until the test ends, through a listener that wrap may change.
func serve(t *testing.T, h http.Handler, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	ln, err := server.Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if wrap != nil {
		ln = wrap(ln)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, ln, h, time.Second, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return addr
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// trickle sends a byte now and then, and returns how long the other end took that.
func trickle(conn net.Conn, atMost time.Duration) time.Duration {
	began := time.Now()
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, conn)
		close(gone)
	}()
	for time.Since(began) < atMost {
		if _, err := conn.Write([]byte(" ")); err != nil {
			break
		}
		select {
		case <-gone:
			return time.Since(began)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return time.Since(began)
}

// TestSlowBodies: no door waits for a body that comes a byte at a time, not even one that reads none.
func TestSlowBodies(t *testing.T) {
	addr, routes := doors(t)
	var wg sync.WaitGroup
	for _, route := range routes {
		if strings.HasSuffix(route, "/changes") || strings.HasSuffix(route, "/logs") {
			continue // an answer without end, whatever the request sends
		}
		for _, length := range []string{"Content-Length: 100000", "Transfer-Encoding: chunked"} {
			wg.Go(func() {
				conn := dial(t, addr)
				fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n%s\r\n\r\n", route, length)
				if length[0] == 'T' {
					fmt.Fprint(conn, "ffff\r\n")
				}
				if took := trickle(conn, 8*time.Second); took > 5*time.Second {
					t.Errorf("%s with %s: the connection is held for %v", route, length, took)
				}
			})
		}
	}
	wg.Wait()
}

// TestOversizedBodies: no door takes a body of any size into its memory.
func TestOversizedBodies(t *testing.T) {
	addr, routes := doors(t)
	body := append(bytes.Repeat([]byte(" "), 8<<20), "{}"...)
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		if method == "GET" || method == "DELETE" || strings.HasSuffix(path, "/records") || strings.HasSuffix(path, "/runs") {
			continue // read none, or have limits of their own, and tests
		}
		req, err := http.NewRequestWithContext(t.Context(), method, "http://"+addr+path, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", route, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode < 400 || resp.StatusCode == http.StatusInternalServerError {
			t.Errorf("%s takes 8 MiB: %d", route, resp.StatusCode)
		}
	}
}

// TestSlowReaders: who asks and takes no answer is cut off, and who takes it slowly is not.
func TestSlowReaders(t *testing.T) {
	written := make(chan int, 2)
	h, err := server.New(server.Options{Logger: slog.New(slog.DiscardHandler), Metrics: telemetry.New(telemetry.NewRegistry()), Gatherer: telemetry.NewRegistry(), Patience: 300 * time.Millisecond,
		Ingest: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			n := 0
			for range 2000 {
				k, err := w.Write(make([]byte, 32<<10))
				if n += k; err != nil {
					break
				}
			}
			written <- n
		})})
	if err != nil {
		t.Fatal(err)
	}
	addr := serve(t, h, nil)
	const all = 2000 * 32 << 10
	stuck := dial(t, addr)
	_, _ = io.WriteString(stuck, "POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
	select {
	case n := <-written:
		if n >= all {
			t.Error("all was sent to a client that reads nothing")
		}
	case <-time.After(10 * time.Second):
		t.Error("a client that reads nothing is waited for")
	}
	resp, err := http.Post("http://"+addr+"/v1/streams/events/records", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for buf, got := make([]byte, 2<<20), 0; ; { // for longer than the patience
		n, err := io.ReadFull(resp.Body, buf)
		if got += n; err != nil {
			if got != all {
				t.Errorf("%d bytes of %d came: %v", got, all, err)
			}
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// TestSlowHeaders: a connection that never gets to its first request ends, over HTTP and HTTPS.
func TestSlowHeaders(t *testing.T) {
	t.Parallel()
	certFile, keyFile := writeCertificate(t, t.TempDir(), 1)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	plain := serve(t, http.NotFoundHandler(), nil)
	secure := serve(t, http.NotFoundHandler(), func(ln net.Listener) net.Listener {
		return tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{cert}})
	})
	var wg sync.WaitGroup
	for name, c := range map[string]struct{ addr, begin string }{
		"nothing": {plain, ""}, "half a line": {plain, "GET / HT"}, "headers without end": {plain, "GET / HTTP/1.1\r\nHost: localhost\r\nX: "}, "no handshake": {secure, ""},
	} {
		wg.Go(func() {
			conn := dial(t, c.addr)
			_, _ = io.WriteString(conn, c.begin)
			began := time.Now()
			if c.begin != "" {
				trickle(conn, 20*time.Second)
			} else {
				_, _ = io.Copy(io.Discard, conn)
			}
			if took := time.Since(began); took > 15*time.Second {
				t.Errorf("%s: the connection is held for %v", name, took)
			}
		})
	}
	wg.Wait()
}
