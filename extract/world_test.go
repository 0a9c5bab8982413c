package extract_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
	"github.com/tarn-data/tarn/table"
)

// world is the real parts below an extract.
type world struct {
	dir    string
	log    stream.Engine
	db     *metadb.DB
	store  *table.Store
	bucket lake.Bucket
	state  lake.Bucket
	duck   *duck.DB
	line   *duck.DB // keeps the order of rows
	n      int      // streams made
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	eng, err := jetstream.Start(t.Context(), jetstream.ServerOptions{Dir: filepath.Join(w.dir, "streams")})
	must(err)
	t.Cleanup(func() { _ = eng.Close() })
	w.log = eng
	w.bucket, err = fs.Open(filepath.Join(w.dir, "lake"))
	must(err)
	w.state, err = fs.Open(filepath.Join(w.dir, "state"))
	must(err)
	w.db, err = metadb.Open(t.Context(), filepath.Join(w.dir, "tarn.db"), metadb.Options{})
	must(err)
	t.Cleanup(func() { _ = w.db.Close() })
	w.store = table.Open(w.db, w.bucket, table.Options{})
	w.duck, err = duck.Open(duck.Options{AllowedDirs: []string{w.dir}, Unordered: true})
	must(err)
	t.Cleanup(func() { _ = w.duck.Close() })
	w.line, err = duck.Open(duck.Options{AllowedDirs: []string{w.dir}, Threads: 1})
	must(err)
	t.Cleanup(func() { _ = w.line.Close() })
	return w
}

// stream makes a stream of its own.
func (w *world) stream(ctx context.Context, shards int) (*stream.Stream, error) {
	w.n++
	return stream.Open(ctx, w.log, stream.Config{Name: fmt.Sprintf("s%d", w.n), Shards: shards})
}

// config is a delivery from a source under a name.
func (w *world) config(name string, from delivery.Source) delivery.Config {
	return delivery.Config{Pipeline: name, Table: name, Route: delivery.AnyRoute, Source: from, Store: w.store, Bucket: w.bucket, Duck: w.duck, Ordered: w.line,
		Dir: filepath.Join(w.dir, "staging", name), StageInterval: time.Millisecond, BufferInterval: time.Millisecond}
}

// drain delivers all that the source has, through as many sessions as the faults take.
func drain(ctx context.Context, cfg delivery.Config) error {
	var err error
	for range 200 {
		w, e := delivery.New(cfg)
		if e != nil {
			return e
		}
		if err = w.Drain(ctx); err == nil {
			return nil
		}
	}
	return err
}

// rows reads all records of a stream.
func rows(ctx context.Context, s *stream.Stream) ([]map[string]any, error) {
	var out []map[string]any
	for i := range s.Shards() {
		r, err := s.Reader(ctx, i, stream.Cursor{})
		if err != nil {
			return nil, err
		}
		defer r.Close()
		for {
			e, ok, err := r.Poll(ctx)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			for _, seg := range e.Batch.Segments {
				for _, rec := range seg.Records() {
					dec := json.NewDecoder(bytes.NewReader(rec))
					var row map[string]any
					if err := dec.Decode(&row); err != nil {
						return nil, err
					}
					out = append(out, row)
				}
			}
		}
	}
	return out, nil
}

// source is records at hand as a source; messages have a few records each.
type source struct {
	name    string
	shards  [][][]byte
	visible []int // how many of each shard are there already
	rng     *rand.Rand
}

func (s *source) Name() string { return s.name }
func (s *source) Shards() int  { return len(s.shards) }
func (s *source) end(shard int) uint64 {
	return uint64(s.visible[shard])
}

func (s *source) State(_ context.Context, shard int) (stream.ShardState, error) {
	return stream.ShardState{Next: s.end(shard)}, nil
}

func (s *source) Reader(_ context.Context, shard int, c stream.Cursor) (delivery.Reader, error) {
	return &sourceReader{s, shard, int(c.Offset)}, nil
}

type sourceReader struct {
	s     *source
	shard int
	next  int
}

func (r *sourceReader) Poll(context.Context) (stream.Entry, bool, error) {
	left := r.s.visible[r.shard] - r.next
	if left <= 0 {
		return stream.Entry{}, false, nil
	}
	n := 1 + (r.next*7+r.shard)%5 // the same messages at every reading
	n = min(n, left)
	var seg record.Segment
	seg.Lines, seg.Arrival = true, time.Unix(1e9, 0).UTC()
	for _, rec := range r.s.shards[r.shard][r.next : r.next+n] {
		seg.Payload = record.AppendRecord(seg.Payload, rec, true)
		seg.Count++
	}
	seg.ShapesOverflow = true
	e := stream.Entry{Batch: record.Batch{Base: uint64(r.next), Segments: []record.Segment{seg}}}
	r.next += n
	return e, true, nil
}

func (r *sourceReader) Close() {}

// faulty is a bucket that fails at some calls.
type faulty struct {
	lake.Bucket
	mu   sync.Mutex
	rng  *rand.Rand
	odds int // of 100
}

type fault struct{}

func (fault) Error() string { return "a fault of the test" }

func (f *faulty) fail() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rng.IntN(100) < f.odds {
		return fault{}
	}
	return nil
}

// PutFile fails before or behind its effect.
func (f *faulty) PutFile(ctx context.Context, key, path string) error {
	if err := f.fail(); err != nil {
		return err
	}
	if err := f.Bucket.PutFile(ctx, key, path); err != nil {
		return err
	}
	return f.fail()
}

func (f *faulty) Open(ctx context.Context, key string) (lake.Object, error) {
	if err := f.fail(); err != nil {
		return nil, err
	}
	o, err := f.Bucket.Open(ctx, key)
	if err != nil || f.fail() == nil {
		return o, err
	}
	return &cut{o, o.Size() / 2}, nil
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	if err := f.fail(); err != nil {
		return err
	}
	return f.Bucket.Delete(ctx, key)
}

func (f *faulty) List(ctx context.Context, prefix string) iter.Seq2[lake.Info, error] {
	return f.Bucket.List(ctx, prefix)
}

// cut is an object whose reading fails in the middle.
type cut struct {
	lake.Object
	left int64
}

func (c *cut) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fault{}
	}
	n, err := c.Object.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if err == io.EOF {
		err = nil
	}
	return n, err
}
