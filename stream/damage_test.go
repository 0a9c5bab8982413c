package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tarn-data/tarn/stream"
)

// readDamaged reads to the end and returns the records and the damage that was reported.
func readDamaged(t *testing.T, s *stream.Stream, c stream.Cursor) (records int, damage []*stream.DamagedError) {
	t.Helper()
	r, err := s.Reader(context.Background(), 0, c)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		en, ok, err := r.Poll(context.Background())
		var d *stream.DamagedError
		switch {
		case errors.As(err, &d):
			damage = append(damage, d)
		case err != nil:
			t.Fatal(err)
		case !ok:
			return records, damage
		default:
			records += en.Batch.Count()
		}
	}
}

// TestDamagedMessage: a message that does not decode is reported once with its offsets, and what
// follows is read.
func TestDamagedMessage(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	e := embedded(t, dir)
	s := open(t, e, stream.Config{})
	for i := range 3 {
		mustAppend(t, s, 0, lines(fmt.Sprint(i), 10), "")
	}
	s.Close()
	l, err := e.Open(ctx, stream.LogConfig{LogID: stream.LogID{Stream: "telemetry"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := <-l.Append([]byte("no batch"), 3, false); r.Err != nil {
		t.Fatal(r)
	}
	// The last message is damaged: offsets jump past what it may have held.
	s = open(t, e, stream.Config{TailBytes: 1})
	st, err := s.State(ctx, 0)
	if err != nil || st.Next <= 30 {
		t.Fatal(st, err)
	}
	n, damage := readDamaged(t, s, stream.Cursor{})
	if n != 30 || len(damage) != 1 || damage[0].From != 30 || damage[0].Next != st.Next {
		t.Fatal(n, damage)
	}
	for range 2 { // in memory, then from the log
		ack := mustAppend(t, s, 0, lines("after", 10), "")
		if ack.First.Offset < st.Next {
			t.Fatalf("%+v", ack)
		}
		n, damage = readDamaged(t, s, stream.Cursor{})
		if n%10 != 0 || n < 40 || len(damage) != 1 || damage[0].From != 30 || damage[0].Next != st.Next {
			t.Fatal(n, damage)
		}
	}
	// A reader past it, or in the gap, has nothing to report.
	if n, damage = readDamaged(t, s, stream.Cursor{Offset: st.Next}); n != 20 || len(damage) != 0 {
		t.Fatal(n, damage)
	}
	if n, damage = readDamaged(t, s, stream.Cursor{Offset: 20}); n != 30 || len(damage) != 1 {
		t.Fatal(n, damage)
	}
	s.Close()
	e.Close()
}

// TestDamagedFile flips a byte of a file of the embedded server: what cannot be read is reported,
// everything else is read.
func TestDamagedFile(t *testing.T) {
	for _, unclean := range []bool{false, true} {
		t.Run(fmt.Sprint("unclean=", unclean), func(t *testing.T) {
			dir := t.TempDir()
			e := embedded(t, dir)
			s := open(t, e, stream.Config{})
			for i := range 100 {
				seg := body(500)
				copy(seg.Payload[1000:], fmt.Sprintf("<%04d>", i))
				mustAppend(t, s, 0, seg, "")
			}
			s.Close()
			e.Close()
			files, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", "tarn_telemetry_0", "msgs", "*.blk"))
			if err != nil || len(files) < 2 {
				t.Fatal(files, err)
			}
			for _, file := range files {
				data, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				if i := bytes.Index(data, []byte("<0020>")); i >= 0 {
					data[i] ^= 1
					if err := os.WriteFile(file, data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
			}
			if unclean { // the server then reads its files at the start
				os.Remove(filepath.Join(filepath.Dir(files[0]), "index.db"))
			}
			e = embedded(t, dir)
			defer e.Close()
			s = open(t, e, stream.Config{})
			defer s.Close()
			n, damage := readDamaged(t, s, stream.Cursor{})
			lost := uint64(0)
			for _, d := range damage {
				lost += d.Next - d.From
			}
			t.Log(n, damage)
			if uint64(n)+lost != 50_000 || lost < 500 {
				t.Fatalf("%d read, %d reported lost, of 50000: %v", n, lost, damage)
			}
			if ack := mustAppend(t, s, 0, lines("after", 1), ""); ack.First.Offset != 50_000 {
				t.Fatalf("%+v", ack)
			}
		})
	}
}
