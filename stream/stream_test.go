package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// embedded starts a server in dir; the caller closes it.
func embedded(t testing.TB, dir string) *jetstream.Engine {
	t.Helper()
	e, err := jetstream.Start(context.Background(), jetstream.ServerOptions{Dir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func open(t testing.TB, e stream.Engine, cfg stream.Config) *stream.Stream {
	t.Helper()
	if cfg.Name == "" {
		cfg.Name = "telemetry"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	s, err := stream.Open(context.Background(), e, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// start opens a stream on a server of its own for the length of the test.
func start(t testing.TB, cfg stream.Config) *stream.Stream {
	t.Helper()
	e := embedded(t, t.TempDir())
	s := open(t, e, cfg)
	t.Cleanup(func() {
		s.Close()
		e.Close()
	})
	return s
}

// lines makes a segment of n records that carry the given name and their number.
func lines(name string, n int) record.Segment {
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"id":"%s-%d"}`+"\n", name, i)
	}
	return record.Segment{Format: record.JSON, Lines: true, Count: n, Payload: b.Bytes()}
}

func mustAppend(t testing.TB, s *stream.Stream, shard int, seg record.Segment, key string) stream.Ack {
	t.Helper()
	ack, err := s.Append(context.Background(), shard, seg, key)
	if err != nil {
		t.Fatal(err)
	}
	return ack
}

// readAll returns the records of a shard from the cursor to the end, by offset.
func readAll(t testing.TB, s *stream.Stream, shard int, c stream.Cursor) (first uint64, records []string) {
	t.Helper()
	r, err := s.Reader(context.Background(), shard, c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	at := c.Offset
	first = at
	for {
		e, ok, err := r.Poll(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return first, records
		}
		off := e.Batch.Base
		for _, seg := range e.Batch.Segments {
			for _, rec := range seg.Records() {
				if len(records) == 0 && off > at {
					first, at = off, off
				}
				if off >= at {
					if off != at {
						t.Fatalf("record at offset %d follows %d", off, at-1)
					}
					records = append(records, string(rec))
					at++
				}
				off++
			}
		}
	}
}

func TestAppendRead(t *testing.T) {
	s := start(t, stream.Config{Shards: 2})
	ack := mustAppend(t, s, 1, lines("a", 3), "")
	if want := (stream.Ack{First: tarn.Position{Shard: 1}, Last: tarn.Position{Shard: 1, Offset: 2}, Count: 3}); ack != want {
		t.Fatalf("got %+v, want %+v", ack, want)
	}
	mustAppend(t, s, 1, lines("b", 2), "")
	_, got := readAll(t, s, 1, stream.Cursor{Offset: 1})
	if want := `[{"id":"a-1"} {"id":"a-2"} {"id":"b-0"} {"id":"b-1"}]`; fmt.Sprint(got) != want {
		t.Fatalf("got %v, want %v", got, want)
	}
	if _, got := readAll(t, s, 0, stream.Cursor{}); len(got) != 0 {
		t.Fatalf("shard 0 has %v", got)
	}
}

// TestGroupCommit checks that concurrent appends share messages and get distinct, dense offsets.
func TestGroupCommit(t *testing.T) {
	var commits, requests, records int
	s := start(t, stream.Config{OnCommit: func(c stream.Commit) { commits++; requests += c.Requests; records += c.Records }})
	const callers, each = 64, 50
	var mu sync.Mutex
	seen := map[uint64]string{}
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				name := fmt.Sprintf("%d-%d", c, i)
				ack, err := s.Append(context.Background(), 0, lines(name, 1), "")
				if err != nil || ack.Count != 1 || ack.First != ack.Last {
					t.Error(ack, err)
					return
				}
				mu.Lock()
				seen[ack.First.Offset] = fmt.Sprintf(`{"id":"%s-0"}`, name)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	_, got := readAll(t, s, 0, stream.Cursor{})
	if len(got) != callers*each || len(seen) != callers*each || records != callers*each || requests != callers*each {
		t.Fatalf("%d records, %d positions, %d counted, %d requests", len(got), len(seen), records, requests)
	}
	for off, rec := range seen {
		if got[off] != rec {
			t.Fatalf("offset %d holds %s, acknowledged for %s", off, got[off], rec)
		}
	}
	if commits > callers*each/4 {
		t.Fatalf("%d appends took %d messages", callers*each, commits)
	}
	t.Logf("%.1f appends share a message", float64(requests)/float64(commits))
}

func TestInvalid(t *testing.T) {
	s := start(t, stream.Config{})
	for name, c := range map[string]struct {
		shard int
		seg   record.Segment
		code  tarn.Code
	}{
		"shard":   {shard: 1, seg: lines("a", 1), code: tarn.CodeNotFound},
		"minus":   {shard: -1, seg: lines("a", 1), code: tarn.CodeNotFound},
		"nothing": {seg: record.Segment{}, code: tarn.CodeInvalid},
	} {
		if _, err := s.Append(context.Background(), c.shard, c.seg, ""); tarn.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, cfg := range []stream.Config{{Name: "a.b"}, {Name: ""}, {Name: "a", Shards: -1}, {Name: "a", Retention: -1}, {Name: "a", MaxBytes: 5}} {
		if err := cfg.Validate(); tarn.CodeOf(err) != tarn.CodeInvalid {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	if _, err := s.Reader(context.Background(), 0, stream.Cursor{Offset: 7}); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("reading past the end: %v", err)
	}
}

// TestShardsNeverShrink: records of all shards stay readable when the configuration says fewer.
func TestShardsNeverShrink(t *testing.T) {
	dir := t.TempDir()
	e := embedded(t, dir)
	defer e.Close()
	s := open(t, e, stream.Config{Shards: 3})
	mustAppend(t, s, 2, lines("a", 1), "")
	s.Close()
	s = open(t, e, stream.Config{Shards: 1})
	defer s.Close()
	if s.Shards() != 3 {
		t.Fatalf("%d shards", s.Shards())
	}
	if _, got := readAll(t, s, 2, stream.Cursor{}); len(got) != 1 {
		t.Fatal(got)
	}
}

// TestClose: what is under way finishes, what comes later is refused, readers end.
func TestClose(t *testing.T) {
	s := start(t, stream.Config{})
	r, err := s.Reader(context.Background(), 0, stream.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		for {
			if _, err := r.Next(context.Background()); err != nil {
				ended <- err
				return
			}
		}
	}()
	acks := make(chan error, 100)
	for range cap(acks) {
		go func() {
			_, err := s.Append(context.Background(), 0, lines("a", 1), "")
			acks <- err
		}()
	}
	ok := 0
	for range 10 {
		if err := <-acks; err != nil {
			t.Fatal(err)
		}
		ok++
	}
	s.Close()
	for range cap(acks) - 10 {
		if err := <-acks; err == nil {
			ok++
		} else if tarn.CodeOf(err) != tarn.CodeUnavailable {
			t.Fatal(err)
		}
	}
	if err := <-ended; tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Fatal(err)
	}
	if _, err := s.Append(context.Background(), 0, lines("a", 1), ""); tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Fatal(err)
	}
	if st, err := s.State(context.Background(), 0); err != nil || st.Next < uint64(ok) {
		t.Fatalf("%d acknowledged, %d in the stream, %v", ok, st.Next, err)
	}
}

// TestSeek checks the cursors by time and place.
func TestSeek(t *testing.T) {
	s := start(t, stream.Config{TailBytes: 1})
	ctx := context.Background()
	if c, err := s.Earliest(ctx, 0); err != nil || c.Offset != 0 {
		t.Fatal(c, err)
	}
	var times []time.Time
	for i := range 20 {
		time.Sleep(2 * time.Millisecond)
		times = append(times, time.Now())
		mustAppend(t, s, 0, lines(fmt.Sprint(i), 10), "")
	}
	for i, at := range times {
		c, err := s.Seek(ctx, 0, at)
		if err != nil || c.Offset != uint64(10*i) {
			t.Fatalf("time of append %d: %+v %v", i, c, err)
		}
	}
	latest, err := s.Latest(ctx, 0)
	if err != nil || latest.Offset != 200 {
		t.Fatal(latest, err)
	}
	if c, err := s.Seek(ctx, 0, time.Now()); err != nil || c != latest {
		t.Fatal(c, err)
	}
	// Any offset is found with any hint.
	for off := uint64(0); off < 200; off += 7 {
		for hint := uint64(0); hint < 24; hint += 3 {
			r, err := s.Reader(ctx, 0, stream.Cursor{Offset: off, Seq: hint})
			if err != nil {
				t.Fatal(err)
			}
			e, ok, err := r.Poll(ctx)
			if err != nil || !ok || e.Seq != off/10+1 || r.Expired() != 0 {
				t.Fatalf("offset %d hint %d: sequence %d, %v %v", off, hint, e.Seq, ok, err)
			}
			r.Close()
		}
	}
	st, err := s.State(ctx, 0)
	if err != nil || st.First != 0 || st.Next != 200 || st.Messages != 20 || st.FirstSeq != 1 || st.LastSeq != 20 || st.LastTime.Before(times[19].Add(-time.Second)) {
		t.Fatalf("%+v %v", st, err)
	}
}

// TestBusy checks that the bytes waiting are bounded (I8).
func TestBusy(t *testing.T) {
	e := embedded(t, t.TempDir())
	defer e.Close()
	f := &faultyEngine{Engine: e}
	s := open(t, f, stream.Config{MaxPending: 1 << 20})
	defer s.Close()
	f.hold()
	results := make(chan error, 40)
	for range cap(results) {
		go func() {
			_, err := s.Append(context.Background(), 0, body(250), "") // 87 kB
			results <- err
		}()
	}
	busy := 0
	for range cap(results) - 11 { // 11 fit
		if err := <-results; tarn.CodeOf(err) != tarn.CodeBusy {
			t.Fatal(err)
		}
		busy++
	}
	f.letGo()
	for range 11 {
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, 0, body(5000), "") // larger than the bound, but alone
}
