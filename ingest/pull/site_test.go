package pull

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

func TestMain(m *testing.M) {
	function.Child()
	_ = flag.Set("rapid.checks", "40") // each takes fsyncs; the command line overrides it
	os.Exit(m.Run())
}

// stores are a real database and a real log engine.
type stores struct {
	db     *metadb.DB
	engine *jetstream.Engine
}

func openStores(t testing.TB) stores {
	t.Helper()
	dir := t.TempDir()
	engine, err := jetstream.Start(context.Background(), jetstream.ServerOptions{Dir: filepath.Join(dir, "streams")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = engine.Close() })
	db, err := metadb.Open(context.Background(), filepath.Join(dir, "meta.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return stores{db, engine}
}

// open opens a stream; its clock may be ahead, so that it has forgotten every request.
func (s stores) open(t testing.TB, name string, shards int, clock func() time.Time) *stream.Stream {
	t.Helper()
	st, err := stream.Open(context.Background(), s.engine, stream.Config{Name: name, Shards: shards, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// contents returns the records of a stream, shard by shard.
func contents(t testing.TB, s *stream.Stream) (out []string) {
	t.Helper()
	for shard := range s.Shards() {
		c, err := s.Earliest(context.Background(), shard)
		if err != nil {
			t.Fatal(err)
		}
		r, err := s.Reader(context.Background(), shard, c)
		if err != nil {
			t.Fatal(err)
		}
		for {
			e, ok, err := r.Poll(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			for i := range e.Batch.Segments {
				for _, rec := range e.Batch.Segments[i].Records() {
					out = append(out, string(rec))
				}
			}
		}
		r.Close()
	}
	return out
}

// event is what a function reads of its event.
type event struct {
	ID     string    `json:"id"`
	Time   time.Time `json:"time"`
	Detail struct {
		State int `json:"state"`
	} `json:"detail"`
}

func readEvent(b []byte) (e event) {
	if err := json.Unmarshal(b, &e); err != nil {
		panic(err)
	}
	return e
}

// count answers n records that go on where the last run ended.
func count(e event, n int) []byte {
	b := []byte(`{"records":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"n":%d,"key":"k%d"}`, e.Detail.State+i, i%3)
	}
	return fmt.Appendf(b, `],"state":%d}`, e.Detail.State+n)
}

// bench is a puller under test, driven step by step by a clock of its own.
type bench struct {
	t      *testing.T
	o      Options
	p      *Puller
	now    time.Time
	stream *stream.Stream
	events []event
	answer func(event) ([]byte, error)
}

func newBench(t *testing.T, table Timetable) *bench {
	t.Helper()
	s := openStores(t)
	b := &bench{t: t, now: at("03:00:30"), stream: s.open(t, "s", 1, nil)}
	t.Cleanup(func() { _ = b.stream.Close() })
	b.answer = func(e event) ([]byte, error) { return count(e, 2), nil }
	if table.Continuous { // it would go on for ever by a clock that stands
		b.answer = func(event) ([]byte, error) { return []byte(`[]`), nil }
	}
	b.o = Options{Pipeline: "p", Function: "f", Timetable: table, Stream: b.stream, DB: s.db, Clock: func() time.Time { return b.now }, RetryPause: time.Nanosecond,
		Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Invoke: func(_ context.Context, payload []byte, _ string) ([]byte, error) {
			e := readEvent(payload)
			b.events = append(b.events, e)
			return b.answer(e)
		}}
	return b.restart()
}

// restart makes a new puller of what is stored.
func (b *bench) restart() *bench {
	b.t.Helper()
	var err error
	if b.p, err = New(b.o); err != nil {
		b.t.Fatal(err)
	}
	b.step()
	return b
}

// step does all that is due.
func (b *bench) step() time.Duration {
	b.t.Helper()
	for {
		wait, err := b.p.step(b.t.Context())
		if err != nil {
			b.t.Fatal(err)
		}
		if wait > 0 {
			return wait
		}
	}
}

// after lets time pass and does what is due.
func (b *bench) after(d time.Duration) *bench {
	b.t.Helper()
	b.now = b.now.Add(d)
	b.step()
	return b
}

func (b *bench) runs() []Run {
	b.t.Helper()
	runs, err := Runs(b.t.Context(), b.o.DB, 100)
	if err != nil {
		b.t.Fatal(err)
	}
	return runs
}

var errCrash = errors.New("the process stopped")
