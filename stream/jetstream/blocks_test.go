package jetstream

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-data/tarn/stream"
)

// TestBlocks checks that the files of this version of the server are understood: every message is
// read from them as the server gives it. Where it fails after an update of the server, readers
// have fallen back to the slower protocol.
func TestBlocks(t *testing.T) {
	ctx := context.Background()
	e, err := Start(ctx, ServerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	sl, err := e.Open(ctx, stream.LogConfig{LogID: stream.LogID{Stream: "s"}})
	if err != nil {
		t.Fatal(err)
	}
	l := sl.(*log)
	rng := rand.New(rand.NewPCG(1, 2))
	sizes := []int{0, 1, 100, blockReadSize - 60, blockReadSize, 3 << 20, 10 << 20}
	var last uint64
	for last < 60 {
		size := sizes[rng.IntN(len(sizes)-2)]
		if last%20 == 10 {
			size = sizes[len(sizes)-1-rng.IntN(2)]
		}
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		r := <-l.Append(data, last, last%5 == 0)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		last = r.Seq
	}
	for _, from := range []uint64{1, 2, 30, 60} {
		b := &blocks{dir: l.dir}
		for seq := from; seq <= last; seq++ {
			got, ok := b.get(seq)
			if !ok {
				t.Fatalf("message %d was not found in the files", seq)
			}
			want, err := l.Get(ctx, seq)
			if err != nil {
				t.Fatal(err)
			}
			if got.Seq != want.Seq || !got.Time.Equal(want.Time) || !bytes.Equal(got.Data, want.Data) {
				t.Fatalf("message %d differs: %v %d bytes, want %v %d bytes", seq, got.Time, len(got.Data), want.Time, len(want.Data))
			}
		}
		if _, ok := b.get(last + 1); ok {
			t.Fatal("found a message that was never appended")
		}
		// What comes later is found too.
		r := <-l.Append([]byte("later"), last, false)
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		last = r.Seq
		if got, ok := b.get(last); !ok || string(got.Data) != "later" {
			t.Fatal(got, ok)
		}
		b.close()
	}
}

// FuzzBlocks reads files of anything: it must not panic, hang, or allocate more than the file.
func FuzzBlocks(f *testing.F) {
	f.Add([]byte("\x24\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00smsgmsg12345678"), uint64(1))
	f.Add([]byte("\x1e\x00\x00\x80\x01\x00\x00\x00\x00\x00\x00\x80"), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seq uint64) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "1.blk"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		b := &blocks{dir: dir}
		defer b.close()
		for i := range uint64(3) {
			if msg, ok := b.get(seq + i); ok && (msg.Seq != seq+i || len(msg.Data) > len(data)) {
				t.Fatal(msg)
			}
		}
	})
}
