package stream_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// TestAmbiguous runs two writers on one log through an engine that loses messages and
// acknowledgements and writes some late. Whatever happens: every acknowledged record is at its
// position, offsets have no gaps, and no record is there twice.
func TestAmbiguous(t *testing.T) {
	t.Parallel()
	for _, seed := range []uint64{1, 2, 3} {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) { testAmbiguous(t, seed) })
	}
}

func testAmbiguous(t *testing.T, seed uint64) {
	e := embedded(t, t.TempDir())
	defer e.Close()
	f := &faultyEngine{Engine: e, shared: true}
	writers := []*stream.Stream{open(t, f, stream.Config{CommitTimeout: 5 * time.Second}), open(t, f, stream.Config{CommitTimeout: 5 * time.Second})}
	f.rng = rand.New(rand.NewPCG(seed, 0))

	var mu sync.Mutex
	acked := map[uint64]string{}
	sent, failed := 0, 0
	var wg sync.WaitGroup
	for w, s := range writers {
		for c := range 8 {
			wg.Go(func() {
				for i := range 25 {
					name := fmt.Sprintf("w%d-c%d-i%d", w, c, i)
					key := ""
					if i%3 == 0 {
						key = name
					}
					ack, err := s.Append(context.Background(), 0, lines(name, 2), key)
					mu.Lock()
					sent++
					if err != nil {
						failed++
					} else {
						for j := range 2 {
							at := ack.First.Offset + uint64(j)
							if other, ok := acked[at]; ok {
								t.Errorf("offset %d is acknowledged for %s and %s", at, other, name)
							}
							acked[at] = fmt.Sprintf(`{"id":"%s-%d"}`, name, j)
						}
					}
					mu.Unlock()
					if err != nil && tarn.CodeOf(err) != tarn.CodeUnavailable {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	f.late.Wait()
	f.mu.Lock()
	f.rng = nil
	f.mu.Unlock()
	for _, s := range writers {
		_, got := readAll(t, s, 0, stream.Cursor{}) // fails on a gap
		times := map[string]int{}
		for off, rec := range got {
			if times[rec]++; times[rec] > 1 {
				t.Errorf("%s is in the stream twice", rec)
			}
			if want, ok := acked[uint64(off)]; ok && want != rec {
				t.Errorf("offset %d holds %s, acknowledged for %s", off, rec, want)
			}
		}
		for off, rec := range acked {
			if off >= uint64(len(got)) {
				t.Errorf("%s was acknowledged at %d and is lost", rec, off)
			}
		}
		s.Close()
	}
	if failed > sent/2 {
		t.Errorf("%d of %d appends failed", failed, sent)
	}
	t.Logf("%d appends, %d failed, faults %v", sent, failed, f.count)
}

// TestForeignRequest: a request that another process has added meanwhile is not added again, even
// if it was already on its way.
func TestForeignRequest(t *testing.T) {
	e := embedded(t, t.TempDir())
	defer e.Close()
	f := &faultyEngine{Engine: e, shared: true}
	a, b := open(t, e, stream.Config{}), open(t, f, stream.Config{})
	defer a.Close()
	defer b.Close()
	mustAppend(t, a, 0, lines("first", 2), "")
	mustAppend(t, b, 0, lines("own", 1), "") // b has followed

	f.hold()
	type answer struct {
		ack stream.Ack
		err error
	}
	answers := make([]chan answer, 4)
	for i := range answers {
		answers[i] = make(chan answer, 1)
		go func() {
			ack, err := b.Append(context.Background(), 0, lines(fmt.Sprint("b", i), 3), fmt.Sprint("key", i))
			answers[i] <- answer{ack, err}
		}()
		time.Sleep(2 * time.Millisecond)
	}
	var firsts []stream.Ack
	for i := range 3 {
		firsts = append(firsts, mustAppend(t, a, 0, lines(fmt.Sprint("a", i), 3), fmt.Sprint("key", i)))
	}
	f.letGo()
	for i, ch := range answers {
		got := <-ch
		if got.err != nil {
			t.Fatal(got.err)
		}
		if i < 3 && (!got.ack.Duplicate || got.ack.First != firsts[i].First || got.ack.Last != firsts[i].Last) {
			t.Errorf("request %d: got %+v, want those of %+v", i, got.ack, firsts[i])
		}
		if i == 3 && (got.ack.Duplicate || got.ack.First.Offset != 12) {
			t.Errorf("request %d: %+v", i, got.ack)
		}
	}
	if _, got := readAll(t, b, 0, stream.Cursor{}); len(got) != 15 || got[12] != `{"id":"b3-0"}` {
		t.Fatal(got)
	}
}

// TestStorageFull: an engine whose storage is full fails appends at once, and takes them again when
// there is room.
func TestStorageFull(t *testing.T) {
	ctx := context.Background()
	e, err := jetstream.Start(ctx, jetstream.ServerOptions{Dir: t.TempDir(), MaxBytes: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ahead := time.Duration(0)
	s := open(t, e, stream.Config{Retention: time.Hour, Clock: func() time.Time { return time.Now().Add(ahead) }})
	defer s.Close()
	for n := 0; ; n++ {
		began := time.Now()
		_, err := s.Append(ctx, 0, body(500), "")
		if err == nil && n < 100 {
			continue
		}
		if tarn.CodeOf(err) != tarn.CodeUnavailable || time.Since(began) > 5*time.Second || n < 20 {
			t.Fatal(n, err, time.Since(began))
		}
		break
	}
	ahead = 2 * time.Hour
	if err := s.Expire(ctx); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, 0, body(500), "")
	readAll(t, s, 0, stream.Cursor{}) // fails on a gap
	if err := e.Healthy(); err != nil {
		t.Fatal(err)
	}
}

// TestStartFails: a folder that cannot be used is an error, not the end of the process.
func TestStartFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := jetstream.Start(context.Background(), jetstream.ServerOptions{Dir: file}); err == nil {
		t.Fatal("started in a file")
	}
}

// TestGivesUp: an engine that has gone fails appends after CommitTimeout.
func TestGivesUp(t *testing.T) {
	e := embedded(t, t.TempDir())
	f := &faultyEngine{Engine: e}
	s := open(t, f, stream.Config{CommitTimeout: 300 * time.Millisecond})
	defer s.Close()
	mustAppend(t, s, 0, lines("a", 1), "k")
	e.Close()
	began := time.Now()
	_, err := s.Append(context.Background(), 0, lines("b", 1), "")
	if tarn.CodeOf(err) != tarn.CodeUnavailable || time.Since(began) > 10*time.Second {
		t.Fatal(err, time.Since(began))
	}
	if ack := mustAppend(t, s, 0, lines("a", 1), "k"); !ack.Duplicate {
		t.Fatal(ack)
	}
}
