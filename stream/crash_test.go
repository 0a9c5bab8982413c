package stream_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/stream"
)

// crashDir tells the re-executed test binary that it is the child of TestCrash.
const crashDir = "TARN_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		crashChild(dir)
		return
	}
	if o := os.Getenv(serverOptions); o != "" {
		serverChild(o)
		return
	}
	os.Exit(m.Run())
}

// crashChild appends as fast as it can and writes a line for every append that was acknowledged.
func crashChild(dir string) {
	t := &testing.T{}
	e := embedded(t, dir)
	s := open(t, e, stream.Config{Shards: 2, Name: "crash"})
	out := make(chan string, 1000)
	round := rand.Uint32()
	for c := range 8 {
		go func() {
			for i := 0; ; i++ {
				name := fmt.Sprintf("%d-%d-%d", round, c, i)
				seg, key := lines(name, 1+i%5), ""
				if i%10 == 0 {
					seg = body(500)
				}
				if i%3 == 0 {
					key = name
				}
				ack, err := s.Append(context.Background(), c%2, seg, key)
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				for _, rec := range seg.Records() {
					if i%10 != 0 {
						out <- fmt.Sprintf("%d %d %s %s", c%2, ack.First.Offset, rec, key)
					}
					break
				}
			}
		}()
	}
	for line := range out {
		// One write per line, unbuffered: what the parent has read is what it may hold the child to.
		if _, err := io.WriteString(os.Stdout, line+"\n"); err != nil {
			return
		}
	}
}

// TestCrash kills a process that appends, again and again on the same folder: every record that
// was acknowledged is at its position (I1), offsets have no gaps, and a repeated request is known.
func TestCrash(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	type place struct {
		shard  int
		offset uint64
	}
	acked := map[place]string{}
	keys := map[string]place{}
	for round := range 4 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = t.Output()
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		n := 0
		var timer *time.Timer
		sc := bufio.NewScanner(stdout)
		for sc.Scan() {
			if n++; n == 1 {
				timer = time.AfterFunc(time.Duration(100+rand.IntN(300))*time.Millisecond, func() { cmd.Process.Kill() })
			}
			var p place
			var rec, key string
			if c, _ := fmt.Sscan(sc.Text(), &p.shard, &p.offset, &rec, &key); c < 3 {
				break // cut short by the kill
			}
			if strings.HasSuffix(rec, "}") {
				acked[p] = rec
			}
			if key != "" {
				keys[key] = p
			}
		}
		cmd.Wait()
		if timer == nil {
			t.Fatal("the child did not start")
		}
		timer.Stop()

		began := time.Now()
		e := embedded(t, dir)
		s := open(t, e, stream.Config{Shards: 2, Name: "crash"})
		ready := time.Since(began)
		checked := 0
		for shard := range 2 {
			_, got := readAll(t, s, shard, stream.Cursor{}) // fails on a gap
			for p, rec := range acked {
				if p.shard != shard {
					continue
				}
				if p.offset >= uint64(len(got)) || got[p.offset] != rec {
					t.Errorf("round %d: %s was acknowledged at %d:%d and is not there", round, rec, p.shard, p.offset)
				}
				checked++
			}
		}
		repeats := 0
		for key, p := range keys {
			if repeats++; repeats > 20 {
				break
			}
			if ack := mustAppend(t, s, p.shard, lines("repeat", 1), key); !ack.Duplicate || ack.First.Offset != p.offset {
				t.Errorf("round %d: request %s was acknowledged at %+v, now at %+v", round, key, p, ack)
			}
		}
		t.Logf("round %d: %d acknowledged this time, %d checked, ready again in %v", round, n, checked, ready)
		s.Close()
		e.Close()
	}
}
