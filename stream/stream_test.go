package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"testing"

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
