package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tarn-data/tarn/stream"
)

// testLog is the behaviour that every engine must have: the comment of stream.Log, sentence by
// sentence.
func testLog(t *testing.T, e stream.Engine, reopen func() stream.Engine) {
	ctx := context.Background()
	id := stream.LogID{Stream: "proto_col-1", Shard: 3}
	openLog := func(maxBytes int64) stream.Log {
		t.Helper()
		l, err := e.Open(ctx, stream.LogConfig{LogID: id, MaxBytes: maxBytes})
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := openLog(0)
	appendOne := func(data string, expect uint64, keyed bool) stream.AppendResult {
		buf := []byte(data)
		out := l.Append(buf, expect, keyed)
		clear(buf) // the message may be changed when Append has returned
		return <-out
	}

	t.Run("empty", func(t *testing.T) {
		if _, err := l.Last(ctx); !errors.Is(err, stream.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := l.Get(ctx, 1); !errors.Is(err, stream.ErrNotFound) {
			t.Fatal(err)
		}
		if _, err := l.SeqAt(ctx, time.Now().Add(-time.Hour)); !errors.Is(err, stream.ErrNotFound) {
			t.Fatal(err)
		}
		if st, err := l.State(ctx); err != nil || st.FirstSeq != 1 || st.LastSeq != 0 {
			t.Fatal(st, err)
		}
		if err := l.Purge(ctx, 10); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("listed", func(t *testing.T) {
		ids, err := e.Logs(ctx)
		if err != nil || fmt.Sprint(ids) != fmt.Sprint([]stream.LogID{id}) {
			t.Fatal(ids, err)
		}
	})
	began := time.Now()
	t.Run("append", func(t *testing.T) {
		for i := range uint64(5) {
			if r := appendOne(fmt.Sprint("m", i+1), i, i == 2); r.Err != nil || r.Seq != i+1 {
				t.Fatal(r)
			}
		}
		msg, err := l.Last(ctx)
		if err != nil || msg.Seq != 5 || string(msg.Data) != "m5" || msg.Time.Before(began.Add(-time.Second)) {
			t.Fatal(msg, err)
		}
		if msg, err = l.Get(ctx, 2); err != nil || msg.Seq != 2 || string(msg.Data) != "m2" {
			t.Fatal(msg, err)
		}
	})
	t.Run("compare and append", func(t *testing.T) {
		for _, expect := range []uint64{0, 4, 6} {
			if r := appendOne("no", expect, false); !errors.Is(r.Err, stream.ErrConflict) {
				t.Fatal(expect, r)
			}
		}
		// Of many that expect the same only one succeeds.
		var outs []<-chan stream.AppendResult
		for i := range 10 {
			outs = append(outs, l.Append([]byte(fmt.Sprint("race", i)), 5, false))
		}
		won := 0
		for _, out := range outs {
			if r := <-out; r.Err == nil && r.Seq == 6 {
				won++
			} else if !errors.Is(r.Err, stream.ErrConflict) {
				t.Fatal(r)
			}
		}
		if won != 1 {
			t.Fatalf("%d appends won", won)
		}
	})
	t.Run("pipeline", func(t *testing.T) {
		var outs []<-chan stream.AppendResult
		for i := range uint64(20) {
			outs = append(outs, l.Append(bytes.Repeat([]byte{byte(i)}, 100_000), 6+i, false))
		}
		for i, out := range outs {
			if r := <-out; r.Err != nil || r.Seq != 7+uint64(i) {
				t.Fatal(r)
			}
		}
	})
	t.Run("scan", func(t *testing.T) {
		for _, from := range []uint64{0, 1, 6, 26, 27} {
			sc := l.Scan(from, stream.ScanOptions{})
			want := max(from, 1)
			for {
				msg, ok, err := sc.Next(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					break
				}
				if msg.Seq != want {
					t.Fatalf("sequence %d, want %d", msg.Seq, want)
				}
				want++
			}
			if want != 27 {
				t.Fatalf("from %d the scan ended before %d", from, want)
			}
			sc.Close()
		}
		sc := l.Scan(1, stream.ScanOptions{Keyed: true})
		defer sc.Close()
		msg, ok, err := sc.Next(ctx)
		if err != nil || !ok || msg.Seq != 3 || string(msg.Data) != "m3" {
			t.Fatal(msg, ok, err)
		}
		if msg, ok, err = sc.Next(ctx); ok || err != nil {
			t.Fatal(msg, ok, err)
		}
		if r := appendOne("keyed", 26, true); r.Err != nil {
			t.Fatal(r)
		}
		if msg, ok, err = sc.Next(ctx); !ok || err != nil || msg.Seq != 27 {
			t.Fatal(msg, ok, err)
		}
	})
	t.Run("time", func(t *testing.T) {
		time.Sleep(5 * time.Millisecond)
		at := time.Now()
		if _, err := l.SeqAt(ctx, at); !errors.Is(err, stream.ErrNotFound) {
			t.Fatal(err)
		}
		if r := appendOne("later", 27, false); r.Err != nil {
			t.Fatal(r)
		}
		if seq, err := l.SeqAt(ctx, at); err != nil || seq != 28 {
			t.Fatal(seq, err)
		}
		if seq, err := l.SeqAt(ctx, began.Add(-time.Minute)); err != nil || seq != 1 {
			t.Fatal(seq, err)
		}
	})
	t.Run("purge", func(t *testing.T) {
		if err := l.Purge(ctx, 10); err != nil {
			t.Fatal(err)
		}
		if st, err := l.State(ctx); err != nil || st.FirstSeq != 10 || st.LastSeq != 28 || st.Messages != 19 {
			t.Fatal(st, err)
		}
		if _, err := l.Get(ctx, 9); !errors.Is(err, stream.ErrNotFound) {
			t.Fatal(err)
		}
		sc := l.Scan(1, stream.ScanOptions{})
		defer sc.Close()
		if msg, ok, err := sc.Next(ctx); err != nil || !ok || msg.Seq != 10 {
			t.Fatal(msg.Seq, ok, err)
		}
		if err := l.Purge(ctx, 1000); err != nil {
			t.Fatal(err)
		}
		if msg, err := l.Last(ctx); err != nil || string(msg.Data) != "later" {
			t.Fatal(msg, err)
		}
	})
	t.Run("reopen", func(t *testing.T) {
		if e = reopen(); e == nil {
			t.Skip("the engine stays open")
		}
		l = openLog(4 << 20)
		if msg, err := l.Last(ctx); err != nil || msg.Seq != 28 || string(msg.Data) != "later" {
			t.Fatal(msg, err)
		}
		if r := appendOne("after", 28, false); r.Err != nil || r.Seq != 29 {
			t.Fatal(r)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		if e == nil {
			t.Skip()
		}
		for i := range uint64(40) {
			if r := <-l.Append(make([]byte, 500_000), 29+i, false); r.Err != nil {
				t.Fatal(r)
			}
		}
		if st, err := l.State(ctx); err != nil || st.LastSeq != 69 || st.Bytes > 4<<20 || st.Messages < 2 {
			t.Fatal(st, err)
		}
	})
	t.Run("too large", func(t *testing.T) {
		if e == nil {
			t.Skip()
		}
		if r := <-l.Append(make([]byte, e.MaxMessage()+1<<20), 69, false); !errors.Is(r.Err, stream.ErrRefused) {
			t.Fatal(r.Err)
		}
	})
}

func TestLogEmbedded(t *testing.T) {
	dir := t.TempDir()
	e := embedded(t, dir)
	defer func() { e.Close() }()
	testLog(t, e, func() stream.Engine {
		e.Close()
		e = embedded(t, dir)
		return e
	})
}
