package stream_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/tarn-data/tarn/stream"
)

// TestRetentionByAge: everything expires but the last message, and offsets stay dense, over a
// restart too.
func TestRetentionByAge(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	var ahead time.Duration
	cfg := stream.Config{Retention: time.Hour, Clock: func() time.Time { return time.Now().Add(ahead) }, TailBytes: 1}
	e := embedded(t, dir)
	s := open(t, e, cfg)
	for i := range 10 {
		mustAppend(t, s, 0, lines(fmt.Sprint(i), 5), "")
	}
	r, err := s.Reader(ctx, 0, stream.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	if en, ok, err := r.Poll(ctx); err != nil || !ok || en.Batch.Base != 0 {
		t.Fatal(en, ok, err)
	}
	r.Close() // what it had read ahead

	if err := s.Expire(ctx); err != nil {
		t.Fatal(err)
	}
	if st, err := s.State(ctx, 0); err != nil || st.First != 0 || st.Messages != 10 {
		t.Fatalf("expired too early: %+v %v", st, err)
	}
	ahead = 2 * time.Hour
	if err := s.Expire(ctx); err != nil {
		t.Fatal(err)
	}
	st, err := s.State(ctx, 0)
	if err != nil || st.First != 45 || st.Next != 50 || st.Messages != 1 {
		t.Fatalf("%+v %v", st, err)
	}
	// A reader in the midst of it goes on with what is left.
	if en, ok, err := r.Poll(ctx); err != nil || !ok || en.Batch.Base != 45 || r.Expired() != 40 {
		t.Fatal(en.Batch.Base, ok, err, r.Expired())
	}
	r.Close()

	for range 2 {
		s.Close()
		e.Close()
		e = embedded(t, dir)
		s = open(t, e, cfg)
	}
	defer func() {
		s.Close()
		e.Close()
	}()
	if ack := mustAppend(t, s, 0, lines("new", 1), ""); ack.First.Offset != 50 {
		t.Fatalf("%+v", ack)
	}
	r, err = s.Reader(ctx, 0, stream.Cursor{Offset: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if en, ok, err := r.Poll(ctx); err != nil || !ok || en.Batch.Base != 45 || r.Expired() != 42 {
		t.Fatal(en.Batch.Base, ok, err, r.Expired())
	}
	if c, err := s.Seek(ctx, 0, time.Now().Add(-24*time.Hour)); err != nil || c.Offset != 45 {
		t.Fatal(c, err)
	}
}

// TestRetentionAgeClock: what expires is decided by the clock for ages, wherever the other one is.
func TestRetentionAgeClock(t *testing.T) {
	var ages time.Duration
	s := start(t, stream.Config{Retention: time.Hour, Clock: func() time.Time { return time.Now().AddDate(2, 0, 0) },
		AgeClock: func() time.Time { return time.Now().Add(ages) }})
	for i := range 3 {
		mustAppend(t, s, 0, lines(fmt.Sprint(i), 1), "")
	}
	for _, want := range []uint64{3, 1} {
		if err := s.Expire(context.Background()); err != nil {
			t.Fatal(err)
		}
		if st, err := s.State(context.Background(), 0); err != nil || st.Messages != want {
			t.Errorf("%+v %v, want %d messages", st, err, want)
		}
		ages = 2 * time.Hour
	}
}

// TestRetentionRuns checks that a stream drops by itself what is too old.
func TestRetentionRuns(t *testing.T) {
	s := start(t, stream.Config{Retention: time.Millisecond})
	for i := range 3 {
		mustAppend(t, s, 0, lines(fmt.Sprint(i), 1), "")
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		st, err := s.State(context.Background(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if st.Messages == 1 && st.First == 2 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("nothing expired: %+v", st)
		}
	}
}

// TestRetentionByBytes: the oldest go, offsets go on.
func TestRetentionByBytes(t *testing.T) {
	ctx := context.Background()
	s := start(t, stream.Config{MaxBytes: 16 << 20, TailBytes: 1})
	r, err := s.Reader(ctx, 0, stream.Cursor{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for range 200 {
		mustAppend(t, s, 0, body(500), "")
	}
	st, err := s.State(ctx, 0)
	if err != nil || st.Bytes > 16<<20 || st.Next != 100_000 || st.First == 0 || st.Messages < 5 {
		t.Fatalf("%+v %v", st, err)
	}
	n := uint64(0)
	for {
		en, ok, err := r.Poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		n += uint64(en.Batch.Count())
	}
	if r.Expired()+n != 100_000 || r.Expired() != st.First {
		t.Fatalf("%d expired and %d read of 100000", r.Expired(), n)
	}
	// An append larger than the stream is split, so that some of it stays.
	if ack, err := s.Append(ctx, 0, body(80_000), ""); err != nil || ack.Count != 80_000 || ack.Last.Offset-ack.First.Offset != 79_999 {
		t.Fatal(ack, err)
	}
	if st, err = s.State(ctx, 0); err != nil || st.Bytes > 16<<20 || st.Next != 180_000 || st.Messages < 2 {
		t.Fatalf("%+v %v", st, err)
	}
}
