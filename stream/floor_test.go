package stream_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/stream"
)

// TestFloor: a log that ends before its floor goes on there, says so once, and everybody who reads it
// passes over what is lost.
func TestFloor(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	e := embedded(t, dir)
	defer e.Close()
	s := open(t, e, stream.Config{Shards: 2})
	mustAppend(t, s, 0, lines("before", 10), "")
	s.Close()

	var mu sync.Mutex
	var losses []stream.Loss
	cfg := stream.Config{Shards: 2, Floors: []uint64{100, 7}, OnLoss: func(l stream.Loss) error {
		mu.Lock()
		defer mu.Unlock()
		losses = append(losses, l)
		return nil
	}}
	refused := cfg
	refused.Name, refused.OnLoss = "telemetry", func(stream.Loss) error { return errors.New("no space") }
	if _, err := stream.Open(ctx, e, refused); err == nil {
		t.Fatal("a stream opens although its loss was not noted")
	}
	for range 2 { // the second time the log itself says where it goes on
		s = open(t, e, cfg)
		if len(losses) != 2 || s.End(0) != 100 || s.End(1) != 7 {
			t.Fatal(losses, s.End(0), s.End(1))
		}
		for shard, want := range []stream.Loss{{Shard: 0, From: 10, Next: 100}, {Shard: 1, From: 0, Next: 7}} {
			if losses[0].Shard != shard && losses[1].Shard != shard || losses[0] != want && losses[1] != want {
				t.Errorf("%+v, want %+v", losses, want)
			}
			// Before anything is appended, too: whoever waits for the end must get there.
			for c := range want.Next + 1 {
				_, gone := tally(t, s, shard, stream.Cursor{Offset: c, Seq: c % 3})
				if from := max(c, want.From); from < want.Next && (len(gone) != 1 || !gone[0].Lost || gone[0].From != from || gone[0].Next != want.Next) || c == want.Next && len(gone) > 0 {
					t.Errorf("shard %d read from %d: %v", shard, c, gone)
				}
			}
		}
		s.Close()
	}
	s = open(t, e, stream.Config{Shards: 2})
	defer s.Close()
	for shard, want := range []uint64{100, 7} {
		if ack := mustAppend(t, s, shard, lines("after", 5), ""); ack.First.Offset != want {
			t.Errorf("%+v", ack)
		}
	}
}

// tally reads a shard to its end and returns the records by offset and the losses reported. Records,
// losses and what has expired must make up all offsets from the cursor on.
func tally(t rapid.TB, s *stream.Stream, shard int, c stream.Cursor) (map[uint64]string, []*stream.DamagedError) {
	t.Helper()
	r, err := s.Reader(context.Background(), shard, c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var gone []*stream.DamagedError
	got, at := map[uint64]string{}, c.Offset
	for {
		expired := r.Expired()
		en, ok, err := r.Poll(context.Background())
		at += r.Expired() - expired
		var d *stream.DamagedError
		switch {
		case errors.As(err, &d):
			if d.From != at {
				t.Fatalf("at %d: %v", at, err)
			}
			gone, at = append(gone, d), d.Next
			continue
		case err != nil:
			t.Fatal(err)
		case !ok:
			if end := s.End(shard); at != end {
				t.Fatalf("read from %d to %d, the end is %d", c.Offset, at, end)
			}
			return got, gone
		}
		off := en.Batch.Base
		if off > at {
			t.Fatalf("entry from %d follows %d", off, at)
		}
		for _, seg := range en.Batch.Segments {
			for _, rec := range seg.Records() {
				if off == at {
					got[off] = string(rec)
					at++
				}
				off++
			}
		}
	}
}

// floorModel is a shard that now and then comes back from an older copy.
type floorModel struct {
	t      *testing.T
	dir    string
	e      stream.Engine
	s      *stream.Stream
	given  uint64            // the end the stream must have
	log    map[uint64]string // what the log may hold
	copied map[uint64]string // and its copy; nil: none
	ahead  atomic.Int64      // of the clock, in nanoseconds
	number int
}

// TestFloorModel drives a stream through appends, expiry, restarts, copies and restored copies: no
// offset is given twice, and whatever is not read is reported.
func TestFloorModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "floor")
		if err != nil {
			rt.Fatal(err)
		}
		m := &floorModel{t: t, dir: dir, log: map[uint64]string{}}
		m.open(0)
		defer m.close()
		rt.Repeat(map[string]func(*rapid.T){
			"append":  m.append,
			"appends": m.append,
			"expire":  m.expire,
			"reopen":  m.reopen,
			"":        m.check,
		})
	})
}

func (m *floorModel) path(name string) string { return filepath.Join(m.dir, name) }

func (m *floorModel) open(floor uint64) {
	m.e = embedded(m.t, m.path("log"))
	m.s = open(m.t, m.e, stream.Config{Retention: time.Hour, TailBytes: 1, Floors: []uint64{floor},
		Clock: func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }})
}

func (m *floorModel) close() {
	m.s.Close()
	m.e.Close()
}

func (m *floorModel) append(rt *rapid.T) {
	m.number++
	n := rapid.IntRange(1, 20).Draw(rt, "records")
	ack := mustAppend(m.t, m.s, 0, lines(fmt.Sprint(m.number), n), "")
	if ack.First.Offset != m.given {
		rt.Fatalf("%+v, want offset %d", ack, m.given)
	}
	for i := range n {
		m.log[m.given] = fmt.Sprintf(`{"id":"%d-%d"}`, m.number, i)
		m.given++
	}
}

func (m *floorModel) expire(rt *rapid.T) {
	m.ahead.Store(int64(2 * time.Hour))
	defer m.ahead.Store(0)
	if err := m.s.Expire(context.Background()); err != nil {
		rt.Fatal(err)
	}
}

// reopen is one action and not three, and mostly an append, because it takes a hundred times as long.
func (m *floorModel) reopen(rt *rapid.T) {
	if rapid.IntRange(0, 2).Draw(rt, "rarely") > 0 {
		m.append(rt)
		return
	}
	rapid.SampledFrom([]func(*rapid.T){m.restart, m.copy, m.restore}).Draw(rt, "how")(rt)
}

func (m *floorModel) restart(rt *rapid.T) {
	m.close()
	m.given += uint64(rapid.IntRange(0, 1).Draw(rt, "jump") * rapid.IntRange(0, 50).Draw(rt, "by"))
	m.open(m.given)
}

func (m *floorModel) copy(rt *rapid.T) {
	m.close()
	if err := errors.Join(os.RemoveAll(m.path("copy")), os.CopyFS(m.path("copy"), os.DirFS(m.path("log")))); err != nil {
		rt.Fatal(err)
	}
	m.copied = map[uint64]string{}
	for o, r := range m.log {
		m.copied[o] = r
	}
	m.open(0)
}

func (m *floorModel) restore(rt *rapid.T) {
	if m.copied == nil {
		rt.Skip()
	}
	m.close()
	if err := errors.Join(os.RemoveAll(m.path("log")), os.CopyFS(m.path("log"), os.DirFS(m.path("copy")))); err != nil {
		rt.Fatal(err)
	}
	m.log = map[uint64]string{}
	for o, r := range m.copied {
		m.log[o] = r
	}
	m.open(m.given)
}

func (m *floorModel) check(rt *rapid.T) {
	st, err := m.s.State(context.Background(), 0)
	if err != nil || st.Next != m.given || m.s.End(0) != m.given {
		rt.Fatalf("%+v %v, want the end %d", st, err, m.given)
	}
	c := stream.Cursor{Offset: rapid.Uint64Range(0, m.given).Draw(rt, "from"), Seq: rapid.Uint64Range(0, 10).Draw(rt, "hint")}
	got, gone := tally(rt, m.s, 0, c)
	for o, r := range got {
		if m.log[o] != r {
			rt.Fatalf("offset %d holds %s, want %s", o, r, m.log[o])
		}
	}
	for _, d := range gone {
		for o := d.From; o < d.Next; o++ {
			if m.log[o] != "" || !d.Lost {
				rt.Fatalf("%v, and %d holds %s", d, o, m.log[o])
			}
		}
	}
	for o, r := range m.log {
		if o >= max(c.Offset, st.First) && got[o] != r {
			rt.Fatalf("offset %d is kept and was not read from %d", o, c.Offset)
		}
	}
}
