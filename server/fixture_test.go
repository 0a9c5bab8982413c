package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// lake is a query.Source of one real Parquet file, curated.numbers with n from 0 to 99,999.
type lake struct{ view query.View }

func newLake(t testing.TB, dir string) *lake {
	t.Helper()
	db, err := duck.Open(duck.Options{AllowedDirs: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	schema := tarn.Schema{Fields: []tarn.Field{{ID: 1, Name: "n", Type: tarn.Type{Kind: tarn.Long}}, {ID: 2, Name: "name", Type: tarn.Type{Kind: tarn.String}}}}
	files, err := db.Copy(t.Context(), "SELECT range AS n, 'name ' || range AS name FROM range(100000)", duck.CopyOptions{Path: filepath.Join(dir, "n.parquet"), FieldIDs: schema})
	if err != nil {
		t.Fatal(err)
	}
	return &lake{query.View{Schema: schema, Files: []query.File{{URL: files[0].Path, Rows: files[0].Rows, Bytes: files[0].Bytes}}}}
}

func (l *lake) Tables(context.Context) ([]query.TableInfo, error) {
	return []query.TableInfo{{Name: "curated.numbers", Schema: l.view.Schema}}, nil
}

func (l *lake) Acquire(_ context.Context, name string, at *query.AsOf) (*query.View, error) {
	if name != "curated.numbers" {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no table " + name}
	}
	if at != nil && at.Snapshot == 7 {
		return &query.View{Schema: l.view.Schema}, nil
	}
	v := l.view
	return &v, nil
}

// fixture is a server of real parts on a real listener.
type fixture struct {
	url     string
	handler http.Handler // what url serves
	log     *lockedBuffer
	streams map[string]*stream.Stream
	queries *query.Service
	ended   chan query.LogEntry // statements that are over
	control server.Control      // replaceable before open
	guard   *govern.Guard       // the same
	server  *server.Server
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (f *fixture) open(t testing.TB, ingest http.HandlerFunc) *fixture {
	t.Helper()
	dir := t.TempDir()
	eng, err := jetstream.Start(t.Context(), jetstream.ServerOptions{Dir: filepath.Join(dir, "streams")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = eng.Close() })
	f.streams = map[string]*stream.Stream{}
	for _, name := range []string{"events", "sharded"} {
		shards := map[string]int{"events": 1, "sharded": 3}[name]
		s, err := stream.Open(t.Context(), eng, stream.Config{Name: name, Shards: shards})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		f.streams[name] = s
	}
	f.ended = make(chan query.LogEntry, 1000)
	f.queries, err = query.New(query.Options{Source: newLake(t, dir), AllowedDirs: []string{dir}, TempDir: dir, OnQuery: func(e query.LogEntry) { f.ended <- e }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.queries.Close() })
	f.log = &lockedBuffer{}
	reg := telemetry.NewRegistry()
	if ingest == nil {
		ingest = func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.PathValue("stream")) }
	}
	h, err := server.New(server.Options{
		Version: "test", Logger: slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Metrics: telemetry.New(reg), Gatherer: reg, Ingest: ingest, Query: f.queries, Control: f.control, Guard: f.guard, AnyHost: f.guard != nil,
		Stream: func(name string) (*stream.Stream, bool) { s, ok := f.streams[name]; return s, ok },
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	f.url, f.handler, f.server = srv.URL, h, h
	return f
}

// call sends a request and returns the answer with its body.
func (f *fixture) call(t testing.TB, method, path, body string, kv ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(kv); i += 2 {
		if kv[i] == "Host" {
			req.Host = kv[i+1]
			continue
		}
		req.Header.Add(kv[i], kv[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%v after %q", err, b)
	}
	return resp, string(b)
}

// problem is call for a request that must fail.
func (f *fixture) problem(t testing.TB, method, path, body string, kv ...string) (status int, p map[string]any) {
	t.Helper()
	resp, text := f.call(t, method, path, body, kv...)
	if resp.Header.Get("Content-Type") != "application/problem+json" || json.Unmarshal([]byte(text), &p) != nil {
		t.Fatalf("%d %s, no problem document: %s", resp.StatusCode, resp.Header.Get("Content-Type"), text)
	}
	if int(p["status"].(float64)) != resp.StatusCode || p["type"] != "urn:tarn:problem:"+p["code"].(string) || p["title"] == "" || p["detail"] == "" {
		t.Errorf("inconsistent problem: %d %s", resp.StatusCode, text)
	}
	return resp.StatusCode, p
}
