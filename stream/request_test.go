package stream_test

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/stream"
)

// TestIdempotent checks repeats: in sequence, concurrent, after a restart, after the window.
func TestIdempotent(t *testing.T) {
	dir := t.TempDir()
	e := embedded(t, dir)
	var mu sync.Mutex
	var ahead time.Duration
	cfg := stream.Config{Clock: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return time.Now().Add(ahead)
	}}
	s := open(t, e, cfg)
	mustAppend(t, s, 0, lines("before", 5), "")
	first := mustAppend(t, s, 0, lines("a", 3), "key-a")
	if first.Duplicate || first.First.Offset != 5 {
		t.Fatalf("%+v", first)
	}
	repeat := func(s *stream.Stream) {
		t.Helper()
		ack := mustAppend(t, s, 0, lines("other", 9), "key-a")
		if !ack.Duplicate || ack.First != first.First || ack.Last != first.Last || ack.Count != 3 {
			t.Fatalf("%+v", ack)
		}
	}
	repeat(s)

	// Concurrent repeats wait for the one that is under way.
	var wg sync.WaitGroup
	acks := make([]stream.Ack, 20)
	for i := range acks {
		wg.Go(func() { acks[i] = mustAppend(t, s, 0, lines("b", 2), "key-b") })
	}
	wg.Wait()
	fresh := 0
	for _, ack := range acks {
		if !ack.Duplicate {
			fresh++
		}
		if ack.First != acks[0].First || ack.Count != 2 {
			t.Fatalf("%+v and %+v", ack, acks[0])
		}
	}
	if fresh != 1 {
		t.Fatalf("%d of the repeats were taken", fresh)
	}

	// Many requests that share messages, and one whose caller has gone.
	for i := range 50 {
		wg.Go(func() { mustAppend(t, s, 0, lines(fmt.Sprint("many", i), 1), fmt.Sprint("many", i)) })
	}
	wg.Wait()
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	s.Append(gone, 0, lines("gone", 1), "gone")

	s.Close()
	e.Close()
	e = embedded(t, dir)
	defer func() { e.Close() }()
	s = open(t, e, cfg)
	defer func() { s.Close() }()
	repeat(s)
	for i := range 50 {
		if ack := mustAppend(t, s, 0, lines("x", 1), fmt.Sprint("many", i)); !ack.Duplicate {
			t.Fatalf("request %d was taken again: %+v", i, ack)
		}
	}
	mustAppend(t, s, 0, lines("x", 1), "gone")
	_, got := readAll(t, s, 0, stream.Cursor{})
	if len(got) != 5+3+2+50+1 {
		t.Fatalf("%d records", len(got))
	}

	mu.Lock()
	ahead = stream.RequestWindow + time.Second
	mu.Unlock()
	if ack := mustAppend(t, s, 0, lines("late", 1), "key-a"); ack.Duplicate {
		t.Fatalf("remembered after the window: %+v", ack)
	}
}

// TestRequestBound checks that remembered requests are bounded (I8).
func TestRequestBound(t *testing.T) {
	s := start(t, stream.Config{MaxRequests: 10})
	for i := range 10 {
		mustAppend(t, s, 0, lines("a", 1), fmt.Sprint(i))
	}
	if _, err := s.Append(context.Background(), 0, lines("a", 1), "10"); err == nil {
		t.Fatal("took more than the bound")
	}
	if ack := mustAppend(t, s, 0, lines("a", 1), "3"); !ack.Duplicate {
		t.Fatal(ack)
	}
	mustAppend(t, s, 0, lines("a", 1), "")
}

// TestBegin: segments keep the order in which they were begun, and one with a request id of its own is
// taken once.
func TestBegin(t *testing.T) {
	s := open(t, embedded(t, t.TempDir()), stream.Config{})
	defer s.Close()
	ctx := t.Context()
	var waits []func(context.Context) (stream.Ack, error)
	for i := range 20 {
		seg := lines(fmt.Sprint("b", i), 3)
		seg.Request[0] = byte(i%10 + 1)
		wait, err := s.Begin(ctx, 0, seg)
		if err != nil {
			t.Fatal(err)
		}
		waits = append(waits, wait)
	}
	for i, wait := range waits {
		ack, err := wait(ctx)
		if err != nil || ack.First.Offset != uint64(i%10*3) || ack.Count != 3 || ack.Duplicate != (i >= 10) {
			t.Fatalf("%d: %+v, %v", i, ack, err)
		}
	}
	large := lines("large", 1)
	large.Payload = append(bytes.Repeat([]byte("x"), s.MaxMessage()), '\n')
	if _, err := s.Begin(ctx, 0, large); tarn.CodeOf(err) != tarn.CodeTooLarge {
		t.Fatal(err)
	}
	large.Payload[len(large.Payload)/2], large.Count = '\n', 2
	large.Request[0] = 99 // which its pieces would have, and pass for each other
	if _, err := s.Append(ctx, 0, large, ""); tarn.CodeOf(err) != tarn.CodeTooLarge {
		t.Fatal(err)
	}
	if _, err := s.Begin(ctx, 9, lines("x", 1)); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Fatal(err)
	}
}
