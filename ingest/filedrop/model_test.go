package filedrop

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// TestStopsAnywhere stops the door at random moments while files are dropped and pushed, and starts it
// again an hour later by the clock of the stream, which has then forgotten every request: each record
// of each file is in the stream once.
func TestStopsAnywhere(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := newSite(t, 1) // its stream is replaced
		shards := rapid.IntRange(1, 3).Draw(rt, "shards")
		if rapid.Bool().Draw(rt, "keyed") {
			s.o.KeyPath = "a"
		}
		refers := rapid.Bool().Draw(rt, "refers")
		engine, err := jetstream.Start(context.Background(), jetstream.ServerOptions{Dir: filepath.Join(s.dir, "model")})
		if err != nil {
			t.Fatal(err)
		}
		defer engine.Close()
		var ahead atomic.Int64
		clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
		openStream := func() {
			s.stream, err = stream.Open(context.Background(), engine, stream.Config{Name: "m", Shards: shards, Clock: clock, MaxPending: 1 << 20, Fetch: NewOriginals(s.o.DB, s.o.Bucket).Fetch})
			if err != nil {
				t.Fatal(err)
			}
			s.o.Stream = s.stream
		}
		var want []string
		files := rapid.IntRange(1, 4).Draw(rt, "files")
		for i := range files {
			name, text, values := drawFile(rt, i)
			s.drop(name, text)
			want = append(want, values...)
		}
		slices.Sort(want)
		stops := rapid.SliceOfN(rapid.IntRange(0, 60), 0, 5).Draw(rt, "stops after ms")
		upgrade := rapid.IntRange(0, len(stops)).Draw(rt, "doors that name by SHA-256") // as older versions did
		for i, ms := range append(stops, -1) {
			openStream()
			d, err := New(s.o)
			if err != nil {
				t.Fatal(err)
			}
			d.o.Settle, d.chunk = time.Millisecond, 2_000
			if refers {
				d.refers, d.chunkRefers = 1, 1
			}
			if i < upgrade {
				d.hashes = bySHA256
			}
			ctx, cancel := context.WithCancel(context.Background())
			ended := make(chan struct{})
			go func() { defer close(ended); _ = d.Run(ctx) }()
			if ms >= 0 {
				time.Sleep(time.Duration(50+ms) * time.Millisecond) // the second look comes after 50 ms
			} else {
				s.emptied(files)
			}
			cancel()
			<-ended
			if ms >= 0 {
				_ = s.stream.Close()
				ahead.Add(int64(time.Hour))
			}
		}
		defer s.stream.Close()
		if got := s.values(); !slices.Equal(got, want) {
			rt.Fatalf("%d records, want %d:\n%s", len(got), len(want), difference(got, want))
		}
		_ = os.RemoveAll(s.o.Folder)
	})
}

// TestForgotten: where the stream lost sight of what a half taken file added to it, the file fails; to
// guess would lose or double records.
func TestForgotten(t *testing.T) {
	s := newSite(t, 1).open()
	if _, err := s.door.Push(t.Context(), "f.csv", strings.NewReader("a\n1\n2\n"), PushOptions{}); err != nil {
		t.Fatal(err)
	}
	half, err := s.door.find(t.Context(), hashOf("a\n1\n2\n"))
	if err != nil {
		t.Fatal(err)
	}
	half.outcome = Outcome{File: "f.csv"}                                               // as it was before the first record
	half.state, half.note = taking, note{Cursors: []stream.Cursor{{Offset: 3, Seq: 2}}} // an end that the stream had once
	if err := s.door.insert(t.Context(), half); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		out, err := s.door.Push(t.Context(), "f.csv", strings.NewReader("a\n1\n2\n"), PushOptions{})
		if tarn.CodeOf(err) != tarn.CodeConflict || out.Fault == nil || !strings.Contains(out.Fault.Hint, "--again") {
			t.Errorf("%v %+v", err, out)
		}
	}
	out, err := s.door.Push(t.Context(), "f.csv", strings.NewReader("a\n1\n2\n"), PushOptions{Again: true})
	if err != nil || out.Accepted != 2 || out.Take != 1 {
		t.Errorf("%v %+v", err, out)
	}
}

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "12") // each takes fsyncs; the command line overrides it
	os.Exit(m.Run())
}

// drawFile makes a file with records that differ in size, some of them none.
func drawFile(rt *rapid.T, i int) (name, text string, values []string) {
	rows := rapid.IntRange(1, 3000).Draw(rt, "rows")
	bad := rapid.IntRange(2, 100).Draw(rt, "bad")
	csv := rapid.Bool().Draw(rt, "csv")
	var b strings.Builder
	name = fmt.Sprintf("f%d.ndjson", i)
	first := 1
	if csv {
		name, first = fmt.Sprintf("f%d.csv", i), 2
		b.WriteString("a,pad\n")
	}
	for n := range rows {
		pad := name + strings.Repeat("x", n*n%97) // no two files are the same
		switch {
		case n%bad == bad-1:
			b.WriteString("1,2,3\n")
			continue
		case csv:
			fmt.Fprintf(&b, "%d,%s\n", n, pad)
		default:
			fmt.Fprintf(&b, "{\"a\":%d,\"pad\":\"%s\"}\n", n, pad)
		}
		values = append(values, fmt.Sprintf("%s:%d %d", name, first+n, n))
	}
	return name, b.String(), values
}

// emptied waits until as many files are in done/ as were dropped.
func (s *site) emptied(files int) {
	s.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		done := 0
		for _, f := range s.files() {
			if strings.HasPrefix(f, doneFolder+"/") && !strings.HasSuffix(f, ".rejected.ndjson") && !strings.HasPrefix(f, doneFolder+"/.") {
				done++
			}
		}
		if done == files {
			return
		}
	}
	s.t.Fatalf("the files are not taken: %v", s.files())
}

// difference lists a few values that are in one only, or more than once.
func difference(got, want []string) string {
	count := map[string]int{}
	for _, v := range got {
		count[v]++
	}
	for _, v := range want {
		count[v]--
	}
	var out []string
	for v, n := range count {
		if n != 0 && len(out) < 10 {
			out = append(out, fmt.Sprintf("%s: %+d", v, n))
		}
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
