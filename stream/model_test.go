package stream_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/stream"
)

// model is what a stream must hold.
type model struct {
	t     *testing.T
	dir   string
	e     stream.Engine
	s     *stream.Stream
	ahead atomic.Int64 // of the clock, in nanoseconds

	shards   [2][]string
	requests map[string]stream.Ack
	number   int
	readers  []*modelReader
}

type modelReader struct {
	r     *stream.Reader
	shard int
	at    uint64
}

// TestModel drives a stream with random appends, repeats, readers, purges and restarts, and
// compares it with the model.
func TestModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "model")
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{t: t, dir: dir, requests: map[string]stream.Ack{}}
		m.open(rapid.SampledFrom([]int{1, 4 << 10, 16 << 20}).Draw(rt, "tail"))
		defer m.close()
		rt.Repeat(map[string]func(*rapid.T){
			"append":     m.append,
			"appends":    m.append,
			"concurrent": m.concurrent,
			"request":    m.request,
			"reader":     m.reader,
			"read":       m.read,
			"expire":     m.expire,
			"restart":    m.restart,
			"":           m.check,
		})
		for len(m.readers) > 0 {
			m.drain(rt, 0)
		}
	})
}

func (m *model) open(tail int) {
	m.e = embedded(m.t, m.dir)
	m.s = open(m.t, m.e, stream.Config{Shards: len(m.shards), Retention: time.Hour, TailBytes: tail, GroupBytes: 2000,
		Clock: func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }})
}

func (m *model) close() {
	for _, r := range m.readers {
		r.r.Close()
	}
	m.readers = nil
	m.s.Close()
	m.e.Close()
}

func (m *model) name() string {
	m.number++
	return fmt.Sprint("r", m.number)
}

// added notes what an append must have done.
func (m *model) added(rt *rapid.T, shard int, name string, n int, ack stream.Ack) {
	if ack.First != (tarn.Position{Shard: shard, Offset: uint64(len(m.shards[shard]))}) || ack.Count != n ||
		ack.Last.Offset != ack.First.Offset+uint64(n)-1 {
		rt.Fatalf("append of %d after %d records was acknowledged as %+v", n, len(m.shards[shard]), ack)
	}
	for i := range n {
		m.shards[shard] = append(m.shards[shard], fmt.Sprintf(`{"id":"%s-%d"}`, name, i))
	}
}

func (m *model) append(rt *rapid.T) {
	shard, n := rapid.IntRange(0, 1).Draw(rt, "shard"), rapid.IntRange(1, 30).Draw(rt, "records")
	name := m.name()
	ack, err := m.s.Append(context.Background(), shard, lines(name, n), "")
	if err != nil || ack.Duplicate {
		rt.Fatal(ack, err)
	}
	m.added(rt, shard, name, n, ack)
}

// concurrent appends to one shard from several callers: the order is that of the answers.
func (m *model) concurrent(rt *rapid.T) {
	type result struct {
		name string
		n    int
		ack  stream.Ack
	}
	shard := rapid.IntRange(0, 1).Draw(rt, "shard")
	results := make([]result, rapid.IntRange(2, 20).Draw(rt, "callers"))
	var wg sync.WaitGroup
	for i := range results {
		results[i] = result{name: m.name(), n: 1 + i%7}
		wg.Go(func() {
			var err error
			if results[i].ack, err = m.s.Append(context.Background(), shard, lines(results[i].name, results[i].n), ""); err != nil {
				m.t.Error(err)
			}
		})
	}
	wg.Wait()
	byOffset := map[uint64]result{}
	for _, r := range results {
		byOffset[r.ack.First.Offset] = r
	}
	for range results {
		r, ok := byOffset[uint64(len(m.shards[shard]))]
		if !ok {
			rt.Fatalf("no append was acknowledged at offset %d: %+v", len(m.shards[shard]), results)
		}
		m.added(rt, shard, r.name, r.n, r.ack)
	}
}

func (m *model) request(rt *rapid.T) {
	shard, key := rapid.IntRange(0, 1).Draw(rt, "shard"), rapid.StringMatching(`[a-d]`).Draw(rt, "key")
	name := m.name()
	ack, err := m.s.Append(context.Background(), shard, lines(name, 2), key)
	if err != nil {
		rt.Fatal(err)
	}
	id := fmt.Sprint(shard, key)
	first, repeated := m.requests[id]
	if ack.Duplicate != repeated || repeated && (ack.First != first.First || ack.Last != first.Last || ack.Count != first.Count) {
		rt.Fatalf("request %s was acknowledged as %+v, first as %+v", id, ack, first)
	}
	if !repeated {
		m.added(rt, shard, name, 2, ack)
		m.requests[id] = ack
	}
}

func (m *model) reader(rt *rapid.T) {
	shard := rapid.IntRange(0, 1).Draw(rt, "shard")
	c := stream.Cursor{Offset: uint64(rapid.IntRange(0, len(m.shards[shard])).Draw(rt, "offset")), Seq: rapid.Uint64Range(0, 20).Draw(rt, "hint")}
	r, err := m.s.Reader(context.Background(), shard, c)
	if err != nil {
		rt.Fatal(err)
	}
	m.readers = append(m.readers, &modelReader{r: r, shard: shard, at: c.Offset})
}

func (m *model) read(rt *rapid.T) {
	if len(m.readers) == 0 {
		rt.Skip()
	}
	i := rapid.IntRange(0, len(m.readers)-1).Draw(rt, "reader")
	if rapid.Bool().Draw(rt, "to the end") {
		m.drain(rt, i)
		return
	}
	m.step(rt, m.readers[i])
}

// drain reads to the end and closes the reader.
func (m *model) drain(rt *rapid.T, i int) {
	r := m.readers[i]
	for m.step(rt, r) {
	}
	if want := uint64(len(m.shards[r.shard])); r.at != want {
		rt.Fatalf("shard %d: read to %d of %d", r.shard, r.at, want)
	}
	r.r.Close()
	m.readers = append(m.readers[:i], m.readers[i+1:]...)
}

func (m *model) step(rt *rapid.T, r *modelReader) bool {
	before := r.r.Expired()
	en, ok, err := r.r.Poll(context.Background())
	if err != nil {
		rt.Fatal(err)
	}
	if !ok {
		return false
	}
	r.at += r.r.Expired() - before
	off := en.Batch.Base
	if off > r.at {
		rt.Fatalf("shard %d: entry from %d follows offset %d", r.shard, off, r.at)
	}
	for _, seg := range en.Batch.Segments {
		for _, rec := range seg.Records() {
			if off >= r.at {
				if want := m.shards[r.shard]; off >= uint64(len(want)) || want[off] != string(rec) {
					rt.Fatalf("shard %d offset %d holds %s", r.shard, off, rec)
				}
				r.at++
			}
			off++
		}
	}
	if c := r.r.Cursor(); c.Offset != r.at {
		rt.Fatalf("cursor %+v, at %d", c, r.at)
	}
	return true
}

// expire drops all but the last message of each shard.
func (m *model) expire(rt *rapid.T) {
	m.ahead.Store(int64(2 * time.Hour))
	err := m.s.Expire(context.Background())
	m.ahead.Store(0)
	if err != nil {
		rt.Fatal(err)
	}
	for i, recs := range m.shards {
		st, err := m.s.State(context.Background(), i)
		if err != nil || len(recs) > 0 && (st.Messages != 1 || st.First >= st.Next) {
			rt.Fatal(st, err)
		}
	}
}

func (m *model) restart(rt *rapid.T) {
	firsts := map[int]uint64{}
	for i := range m.shards {
		st, err := m.s.State(context.Background(), i)
		if err != nil {
			rt.Fatal(err)
		}
		firsts[i] = st.First
	}
	m.close()
	m.open(1)
	// Requests whose records retention has dropped are forgotten with them.
	for id, ack := range m.requests {
		if ack.First.Offset < firsts[ack.First.Shard] {
			delete(m.requests, id)
		}
	}
}

func (m *model) check(rt *rapid.T) {
	for i, recs := range m.shards {
		st, err := m.s.State(context.Background(), i)
		if err != nil || st.Next != uint64(len(recs)) || st.First > st.Next {
			rt.Fatalf("shard %d of %d records: %+v %v", i, len(recs), st, err)
		}
	}
}
