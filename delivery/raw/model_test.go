package raw_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/lake/laketest"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/metadb/metadbtest"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// TestModel appends, flushes, restarts, crashes at any moment of storing, and cuts the power, in any
// order: every record is in the archive once, and no object is there that no row names.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		w := openWorld(dir, stream.Config{Shards: 2})
		defer w.close()
		root := must(filepath.EvalSymlinks(filepath.Join(dir, "lake")))
		cut := must(laketest.NewPowerCut(root))
		lake := must(fs.OpenSystem(root, cut))
		defer lake.Close()
		cfg := func() raw.Config {
			c := w.config()
			c.Bucket, c.FlushBytes = lake, 300
			return c
		}
		var want []kept
		now := noon
		put := func(rt *rapid.T) {
			now = now.Add(time.Duration(rapid.IntRange(-1, 40).Draw(rt, "minutes")) * time.Minute)
			format, recs := record.JSON, rapid.SliceOfN(rapid.SampledFrom(hostile), 1, 4).Draw(rt, "records")
			if rapid.IntRange(0, 9).Draw(rt, "opaque") == 0 {
				format, recs = record.Opaque, []string{"\xff\n"}
			}
			want = append(want, w.put(rt, rapid.IntRange(0, 1).Draw(rt, "shard"), segment(format, now, rapid.SampledFrom([]string{"", "a", "b"}).Draw(rt, "key"), recs...))...)
		}
		r := start(cfg())
		rt.Repeat(map[string]func(*rapid.T){
			"put":      put,
			"put more": put,
			"flush":    func(rt *rapid.T) { flush(rt, r) },
			"restart":  func(rt *rapid.T) { r.stop(); r = start(cfg()) },
			"crash": func(rt *rapid.T) {
				r.stop()
				c := cfg()
				c.Bucket = laketest.Wrap(lake, nil, laketest.Nth(rapid.IntRange(1, 6).Draw(rt, "moment"), laketest.Any()))
				dying := start(c)
				put(rt)
				ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
				_ = dying.Flush(ctx)
				cancel()
				dying.stop()
				if rapid.Bool().Draw(rt, "power cut") {
					if err := cut.Cut(); err != nil {
						rt.Fatal(err)
					}
					lake = must(fs.OpenSystem(root, cut))
				}
				r = start(cfg())
			},
			"expire": func(rt *rapid.T) {
				a := raw.Open(w.db, lake, "events")
				limit := now.Add(-time.Duration(rapid.IntRange(0, 200).Draw(rt, "age")) * time.Minute)
				if _, err := a.Expire(context.Background(), limit); err != nil {
					rt.Fatal(err)
				}
				want = remaining(rt, a, want)
			},
		})
		flush(rt, r)
		r.stop()
		a := raw.Open(w.db, lake, "events")
		got, err := read(a, raw.Select{})
		if err != nil {
			rt.Fatal(err)
		}
		same(rt, got, remaining(rt, a, want))
		whole(rt, a)
		named := map[string]bool{}
		for _, o := range objects(t, a) {
			named[o.Key] = true
		}
		r = start(cfg()) // sweeps what the last crash left
		flush(rt, r)
		r.stop()
		// A power cut brings back what was deleted just before.
		if _, err := a.RemoveOrphans(context.Background(), time.Now().Add(time.Hour)); err != nil {
			rt.Fatal(err)
		}
		for info, err := range lake.List(context.Background(), "") {
			if err != nil || !named[info.Key] {
				rt.Fatalf("%s is there and no row names it: %v", info.Key, err)
			}
		}
	})
}

// remaining are the records that the lifecycle has left.
func remaining(t tester, a *raw.Archive, all []kept) []kept {
	t.Helper()
	progress, err := a.Progress(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	var out []kept
	first := map[int]uint64{} // a shard that the writer has not come to yet has lost nothing
	for _, p := range progress {
		first[p.Shard] = p.First
	}
	for _, k := range all {
		if k.at.Offset >= first[k.at.Shard] {
			out = append(out, k)
		}
	}
	return out
}

// TestSecondWriterIsFenced: two writers of one stream do not undo each other's work.
func TestSecondWriterIsFenced(t *testing.T) {
	w := newWorld(t, stream.Config{})
	var want []kept
	for range 2 {
		cfg := w.config()
		cfg.FlushInterval = time.Millisecond
		r := start(cfg)
		defer r.stop()
	}
	for i := range 50 {
		want = append(want, w.put(t, 0, segment(record.JSON, noon, "", fmt.Sprintf(`{"i":%d}`, i)))...)
		time.Sleep(5 * time.Millisecond)
	}
	deadline := time.Now().Add(20 * time.Second)
	for {
		got, err := read(w.archive(), raw.Select{})
		if err == nil && len(got) == len(want) {
			same(t, got, want)
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d of %d records: %v", len(got), len(want), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	whole(t, w.archive())
}

// TestGaps: what the stream lost before the backup came is counted and passed over.
func TestGaps(t *testing.T) {
	var now time.Time
	w := newWorld(t, stream.Config{Retention: time.Hour, Clock: func() time.Time { return now }})
	now = time.Now()
	w.put(t, 0, segment(record.JSON, noon, "", `{"a":1}`, `{"a":2}`))
	now = now.Add(2 * time.Hour)
	want := w.put(t, 0, segment(record.JSON, noon, "", `{"a":3}`))
	if err := w.stream.Expire(t.Context()); err != nil {
		t.Fatal(err)
	}
	var lost uint64
	cfg := w.config()
	cfg.Metrics.Lost = func(form raw.Form, n uint64) {
		if form == raw.Expired {
			lost += n
		}
	}
	r := start(cfg)
	flush(t, r)
	r.stop()
	got, err := read(w.archive(), raw.Select{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
	whole(t, w.archive())
	p := must(w.archive().Progress(t.Context()))[0]
	if lost != 2 || p.Expired != 2 || p.Records != 1 || p.Next != 3 {
		t.Errorf("%d lost, progress %+v", lost, p)
	}
}

// TestOrphans: an object that nothing names goes when it is old, another file never.
func TestOrphans(t *testing.T) {
	w := newWorld(t, stream.Config{})
	r := start(w.config())
	defer r.stop()
	w.put(t, 0, segment(record.JSON, noon, "", `{}`, `{}`))
	flush(t, r)
	o := objects(t, w.archive())[0]
	dir := o.Key[:strings.LastIndex(o.Key, "/")+1]
	orphan, other := dir+"0000-00000000000000000000-00000000000000000000.ndjson.zst", dir+"notes.txt"
	ahead := dir + "0000-00000000000000000000-00000000000000000009.ndjson.zst" // a writer may be about to register it
	for _, k := range []string{orphan, other, ahead} {
		if err := w.bucket.Put(t.Context(), k, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		age  time.Duration
		want int
	}{{time.Hour, 0}, {-time.Hour, 1}, {-time.Hour, 0}} {
		got, err := w.archive().RemoveOrphans(t.Context(), time.Now().Add(-c.age))
		if err != nil || got.Objects != c.want {
			t.Errorf("%+v, %v, want %d", got, err, c.want)
		}
	}
	for _, k := range []string{o.Key, other, ahead} {
		if _, err := w.bucket.Stat(t.Context(), k); err != nil {
			t.Error(err)
		}
	}
}

// childDir tells the re-executed test binary that it is the child of TestCrash.
const childDir = "TARN_TEST_RAW_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		child(dir)
		return
	}
	_ = flag.Set("rapid.checks", "8") // each takes fsyncs; the command line overrides it
	os.Exit(m.Run())
}

// child appends and backs up as fast as it can, and writes a line for every acknowledged record.
func child(dir string) {
	w := openWorld(dir, stream.Config{Shards: 2})
	cfg := w.config()
	cfg.FlushInterval, cfg.FlushBytes = 20*time.Millisecond, 64<<10
	start(cfg)
	for shard := range 2 {
		go func() {
			for i := 0; ; i++ {
				rec := fmt.Sprintf(`{"run":%d,"i":%d}`, os.Getpid(), i)
				ack, err := w.stream.Append(context.Background(), shard, segment(record.JSON, time.Time{}, "", rec), "")
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				_, _ = io.WriteString(os.Stdout, ack.First.String()+" "+rec+"\n")
			}
		}()
	}
	select {}
}

// TestCrash kills a process that appends and backs up, again and again on the same folder: afterwards
// every acknowledged record is in the archive once, at its position.
func TestCrash(t *testing.T) {
	dir := t.TempDir()
	acked := map[tarn.Position]string{}
	for round := range 5 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = t.Output()
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		sc := bufio.NewScanner(stdout)
		for n := 0; sc.Scan(); n++ {
			if n == 0 {
				time.AfterFunc(time.Duration(200+37*round)*time.Millisecond, func() { _ = cmd.Process.Kill() })
			}
			if at, rec, ok := strings.Cut(sc.Text(), " "); ok && strings.HasSuffix(rec, "}") {
				acked[must(tarn.ParsePosition(at))] = rec
			}
		}
		_ = cmd.Wait()
	}
	w := openWorld(dir, stream.Config{Shards: 2})
	defer w.close()
	crashed := must(w.archive().Progress(t.Context()))
	cfg := w.config()
	r := start(cfg)
	flush(t, r)
	r.stop()
	got, err := read(w.archive(), raw.Select{})
	if err != nil {
		t.Fatal(err)
	}
	whole(t, w.archive())
	seen := map[tarn.Position]string{}
	for _, k := range got {
		if seen[k.at] != "" {
			t.Fatalf("%s is there twice", k.at)
		}
		seen[k.at] = k.bytes
	}
	for at, rec := range acked {
		if seen[at] != rec {
			t.Fatalf("%s is %q in the archive, acknowledged was %q", at, seen[at], rec)
		}
	}
	if len(acked) == 0 || crashed[0].Next == 0 {
		t.Fatalf("nothing was tested: %d acknowledged, %+v", len(acked), crashed)
	}
	t.Logf("%d acknowledged, %d in the archive, %d objects", len(acked), len(got), len(objects(t, w.archive())))
}

// TestPostgres: the same on the other metadata database.
func TestPostgres(t *testing.T) {
	url := metadbtest.Postgres(t).Database(t)
	w := newWorld(t, stream.Config{Shards: 2})
	db, err := metadb.Open(t.Context(), url, metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	cfg := w.config()
	cfg.DB = db
	a := raw.Open(db, w.bucket, "events")
	var want []kept
	for round := range 3 {
		r := start(cfg)
		for shard := range 2 {
			want = append(want, w.put(t, shard, segment(record.JSON, noon.Add(time.Duration(round)*time.Hour), "k", `{}`, `{"a":1}`))...)
		}
		flush(t, r)
		r.stop()
	}
	for _, o := range objects(t, a)[:1] { // as if a crash had left one
		if err := w.bucket.Put(t.Context(), strings.Replace(o.Key, "hour=11", "hour=10", 1), strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	got, err := read(a, raw.Select{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
	whole(t, a)
	if sums, err := a.Totals(t.Context()); err != nil || sums.Records != 12 || sums.Objects != 6 || !sums.First.Equal(noon) {
		t.Errorf("%+v, %v", sums, err)
	}
	if done, err := a.RemoveOrphans(t.Context(), time.Now().Add(time.Hour)); err != nil || done.Objects != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if done, err := a.Expire(t.Context(), noon.Add(time.Minute)); err != nil || done.Objects != 2 {
		t.Errorf("%+v, %v", done, err)
	}
	whole(t, a)
}
