package filedrop

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// site is a door with real stores around it.
type site struct {
	t      testing.TB
	dir    string
	o      Options
	bucket *fs.Bucket
	stream *stream.Stream
	door   *Door
	stop   func()
}

const settle = 60 * time.Millisecond

// newSite opens the stores. Change o before open.
func newSite(t testing.TB, shards int) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir()}
	ctx := context.Background()
	engine, err := jetstream.Start(ctx, jetstream.ServerOptions{Dir: filepath.Join(s.dir, "streams")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	if s.bucket, err = fs.Open(filepath.Join(s.dir, "lake")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.bucket.Close() })
	db, err := metadb.Open(ctx, filepath.Join(s.dir, "meta.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if s.stream, err = stream.Open(ctx, engine, stream.Config{Name: "users", Shards: shards, Fetch: NewOriginals(db, s.bucket).Fetch}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.stream.Close() })
	sql, err := duck.Open(duck.Options{MemoryBytes: 128 << 20, Threads: 1, AllowedDirs: []string{s.dir}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sql.Close() })
	s.o = Options{Pipeline: "users", Stream: s.stream, DB: db, Bucket: s.bucket, Spool: filepath.Join(s.dir, "spool"), SQL: func() (*duck.DB, error) { return sql, nil },
		Folder: s.bucket.URL("landing/users"), Settle: settle, Hints: decode.Hints{Format: decode.Auto}, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))}
	return s
}

// open makes the door and runs it until close or the end of the test.
func (s *site) open() *site {
	s.t.Helper()
	var err error
	if s.door, err = New(s.o); err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = s.door.Run(ctx)
	}()
	s.stop = func() { cancel(); <-ended }
	s.t.Cleanup(s.stop)
	return s
}

// drop writes a file into the landing folder the way a careful producer does.
func (s *site) drop(name, text string) {
	s.t.Helper()
	if err := os.MkdirAll(s.o.Folder, 0o755); err != nil {
		s.t.Fatal(err)
	}
	tmp := filepath.Join(s.o.Folder, "."+name)
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(s.o.Folder, name)); err != nil {
		s.t.Fatal(err)
	}
}

// until waits for a file below the landing folder and returns its content.
func (s *site) until(path string) string {
	s.t.Helper()
	path = filepath.Join(s.o.Folder, path)
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if b, err := os.ReadFile(path); err == nil {
			return string(b)
		}
	}
	s.t.Fatalf("%s does not appear; there is %v", path, s.files())
	return ""
}

// files lists what is below the landing folder.
func (s *site) files() []string {
	var names []string
	_ = filepath.WalkDir(s.o.Folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, strings.TrimPrefix(path, s.o.Folder+"/"))
		}
		return nil
	})
	return names
}

// records reads the stream from its beginning.
func (s *site) records() (all []string, segments []record.Segment) {
	s.t.Helper()
	ctx := context.Background()
	for shard := range s.stream.Shards() {
		r, err := s.stream.Reader(ctx, shard, stream.Cursor{})
		if err != nil {
			s.t.Fatal(err)
		}
		for {
			e, ok, err := r.Poll(ctx)
			if err != nil {
				s.t.Fatal(err)
			}
			if !ok {
				break
			}
			for _, seg := range e.Batch.Segments {
				segments = append(segments, seg)
				for _, rec := range seg.Records() {
					all = append(all, string(rec))
				}
			}
		}
		r.Close()
	}
	return all, segments
}

// values reads the stream and returns "FILE:LINE a" of each record, sorted.
func (s *site) values() []string {
	s.t.Helper()
	all, _ := s.records()
	var out []string
	for _, rec := range all {
		var v struct {
			A    any    `json:"a"`
			File string `json:"_file"`
			Line int    `json:"_line"`
			Hash string `json:"_file_hash"`
		}
		if err := json.Unmarshal([]byte(rec), &v); err != nil || len(v.Hash) != hashDigits {
			s.t.Fatalf("%v: %s", err, rec)
		}
		out = append(out, fmt.Sprintf("%s:%d %v", v.File, v.Line, v.A))
	}
	slices.Sort(out)
	return out
}

func (s *site) want(values ...string) {
	s.t.Helper()
	if d := cmp.Diff(values, s.values()); d != "" {
		s.t.Errorf("the records are not those of the files:\n%s", d)
	}
}
