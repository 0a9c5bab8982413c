package stream_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/stream"
)

// TestFind: whatever else is in the stream, the requests of a series that came behind the cursors are found
// where they are, also by a process that knows nothing of them.
func TestFind(t *testing.T) {
	ctx := t.Context()
	e := embedded(t, t.TempDir())
	defer e.Close()
	world := 0
	rapid.Check(t, func(rt *rapid.T) {
		world++
		cfg := stream.Config{Name: fmt.Sprint("w", world), Shards: 2, TailBytes: rapid.SampledFrom([]int{1, 1 << 20}).Draw(rt, "tail")}
		s := open(t, e, cfg)
		defer func() { s.Close() }()
		ours, other := stream.Series{1, 2, 3}, stream.Series{1, 2, 4}
		want := map[stream.Place]stream.Span{}
		var from []stream.Cursor
		add := func(number uint32, shard int) {
			seg := lines("x", rapid.IntRange(1, 5).Draw(rt, "records"))
			switch rapid.IntRange(0, 4).Draw(rt, "kind") {
			case 0:
			case 1:
				seg.Request = other.Request(number)
			case 2: // nobody needs what it refers to
				seg.Ref, seg.Payload = []byte("far away"), nil
				fallthrough
			default:
				seg.Request = ours.Request(number)
			}
			ack, err := s.Append(ctx, shard, seg, "")
			if err != nil {
				rt.Fatal(err)
			}
			if from != nil && seg.Request == ours.Request(number) {
				want[stream.Place{Number: number, Shard: shard}] = stream.Span{First: ack.First.Offset, Count: ack.Count}
			}
		}
		before, behind := rapid.IntRange(0, 8).Draw(rt, "before"), rapid.IntRange(0, 12).Draw(rt, "behind")
		for i := range before + behind {
			if i == before {
				from = cursors(rt, s)
			}
			add(uint32(i)*0x01010101, rapid.IntRange(0, 1).Draw(rt, "shard"))
		}
		if rapid.Bool().Draw(rt, "again") {
			s.Close()
			s = open(t, e, cfg)
		}
		got, err := s.Find(ctx, ours, from)
		if err != nil || len(got.Gaps) > 0 || !maps.Equal(got.At, want) {
			rt.Fatalf("%+v %v, want %v", got, err, want)
		}
	})
}

func cursors(t rapid.TB, s *stream.Stream) []stream.Cursor {
	t.Helper()
	c, err := s.Cursors(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestFindGaps: a shard that has lost records since says so, once, and what is left of the series is found.
func TestFindGaps(t *testing.T) {
	ours := stream.Series{7}
	var ages time.Duration
	cfg := stream.Config{Shards: 2, Retention: time.Hour, AgeClock: func() time.Time { return time.Now().Add(ages) }}
	add := func(t *testing.T, s *stream.Stream, shard int, number uint32) {
		seg := lines("x", 5)
		seg.Request = ours.Request(number)
		mustAppend(t, s, shard, seg, "")
	}
	for _, c := range []struct {
		name   string
		breaks func(t *testing.T, e stream.Engine, s *stream.Stream) *stream.Stream
		from   uint64 // where shard 1 is read
		left   int    // requests of shard 1
		kind   func(error) bool
	}{
		{"expired", func(t *testing.T, _ stream.Engine, s *stream.Stream) *stream.Stream {
			ages = 2 * time.Hour
			if err := s.Expire(t.Context()); err != nil {
				t.Fatal(err)
			}
			return s
		}, 0, 1, func(err error) bool { return err == nil }},
		{"shorter", func(_ *testing.T, _ stream.Engine, s *stream.Stream) *stream.Stream { return s }, 1000, 0,
			func(err error) bool { return tarn.CodeOf(err) == tarn.CodeConflict }},
		{"damaged twice", func(t *testing.T, e stream.Engine, s *stream.Stream) *stream.Stream {
			for range 2 {
				s.Close()
				l, err := e.Open(t.Context(), stream.LogConfig{LogID: stream.LogID{Stream: "telemetry", Shard: 1}})
				if err != nil {
					t.Fatal(err)
				}
				last, err := l.State(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if r := <-l.Append([]byte("no batch"), last.LastSeq, false); r.Err != nil {
					t.Fatal(r)
				}
				s = open(t, e, cfg)
				add(t, s, 1, uint32(last.LastSeq)+10)
			}
			return s
		}, 0, 5, func(err error) bool { var d *stream.DamagedError; return errors.As(err, &d) && !d.Lost }},
		{"lost", func(t *testing.T, e stream.Engine, s *stream.Stream) *stream.Stream {
			s.Close()
			behind := cfg
			behind.Floors = []uint64{0, 100}
			return open(t, e, behind)
		}, 0, 3, func(err error) bool { var d *stream.DamagedError; return errors.As(err, &d) && d.Lost }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ages = 0
			e := embedded(t, t.TempDir())
			defer e.Close()
			s := open(t, e, cfg)
			defer func() { s.Close() }()
			add(t, s, 0, 0)
			for n := range uint32(3) {
				add(t, s, 1, n)
			}
			s = c.breaks(t, e, s)
			got, err := s.Find(t.Context(), ours, []stream.Cursor{{}, {Offset: c.from}, {Offset: 9}}) // of more shards than there are
			if err != nil || len(got.Gaps) != 1 || got.Gaps[0].Shard != 1 || !c.kind(got.Gaps[0].Err) || len(got.At) != 1+c.left {
				t.Fatalf("%+v %v", got, err)
			}
		})
	}
}

// lagging is an engine whose scans are behind for the first calls, as those of a replica may be.
type lagging struct{ stream.Engine }

func (lagging) Exclusive() bool { return false }

func (e lagging) Open(ctx context.Context, cfg stream.LogConfig) (stream.Log, error) {
	l, err := e.Engine.Open(ctx, cfg)
	return laggingLog{l}, err
}

type laggingLog struct{ stream.Log }

func (l laggingLog) Scan(from uint64, o stream.ScanOptions) stream.Scanner {
	return &laggingScanner{l.Log.Scan(from, o), 3}
}

type laggingScanner struct {
	stream.Scanner
	behind int
}

func (s *laggingScanner) Next(ctx context.Context) (stream.Message, bool, error) {
	if s.behind > 0 {
		s.behind--
		return stream.Message{}, false, nil
	}
	return s.Scanner.Next(ctx)
}

// TestFindBehind: what a scan does not show yet does not pass for missing.
func TestFindBehind(t *testing.T) {
	e := embedded(t, t.TempDir())
	defer e.Close()
	ours := stream.Series{9}
	seg := lines("x", 2)
	seg.Request = ours.Request(1)
	s := open(t, e, stream.Config{})
	mustAppend(t, s, 0, seg, "")
	s.Close()
	s = open(t, lagging{e}, stream.Config{})
	defer s.Close()
	got, err := s.Find(t.Context(), ours, []stream.Cursor{{}})
	if err != nil || len(got.Gaps) > 0 || got.At[stream.Place{Number: 1}] != (stream.Span{Count: 2}) {
		t.Fatalf("%+v %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Find(ctx, ours, []stream.Cursor{{}}); err == nil {
		t.Fatal("found all without waiting")
	}
}

// TestPatiently: what is refused for now is tried again, everything else ends it.
func TestPatiently(t *testing.T) {
	busy, full, bad := &tarn.Error{Code: tarn.CodeBusy}, &tarn.Error{Code: tarn.CodeUnavailable}, errors.New("broken")
	for _, c := range []struct {
		name        string
		admit, try  []error
		want        error
		admits, all int
	}{
		{"at once", []error{nil}, []error{nil}, nil, 1, 1},
		{"a full disk and a busy stream", []error{full, full, nil, nil}, []error{busy, nil}, nil, 4, 2},
		{"an error", []error{nil}, []error{bad}, bad, 1, 1},
		{"unavailable", []error{nil}, []error{full}, full, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			admits, tries := 0, 0
			err := stream.Patiently(t.Context(),
				func() error { admits++; return c.admit[admits-1] },
				func() error { tries++; return c.try[tries-1] })
			if !errors.Is(err, c.want) || admits != c.admits || tries != c.all {
				t.Fatal(err, admits, tries)
			}
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := stream.Patiently(ctx, nil, func() error { return busy }); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
