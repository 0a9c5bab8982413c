package raw_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
)

// world is the real parts around a backup.
type world struct {
	dir    string
	engine *jetstream.Engine
	stream *stream.Stream
	db     *metadb.DB
	bucket *fs.Bucket
	runs   int
}

// tester is what testing.T and rapid.T have in common.
type tester interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func newWorld(t testing.TB, cfg stream.Config) *world {
	t.Helper()
	w := openWorld(t.TempDir(), cfg)
	t.Cleanup(w.close)
	return w
}

func openWorld(dir string, cfg stream.Config) *world {
	ctx := context.Background()
	cfg.Name = "events"
	w := &world{dir: dir}
	w.engine = must(jetstream.Start(ctx, jetstream.ServerOptions{Dir: filepath.Join(dir, "streams")}))
	w.stream = must(stream.Open(ctx, w.engine, cfg))
	w.db = must(metadb.Open(ctx, filepath.Join(dir, "tarn.db"), metadb.Options{}))
	w.bucket = must(fs.Open(filepath.Join(dir, "lake")))
	return w
}

func (w *world) close() {
	_ = w.stream.Close()
	_ = w.engine.Close()
	_ = w.db.Close()
	_ = w.bucket.Close()
}

func (w *world) config() raw.Config {
	w.runs++
	return raw.Config{Stream: w.stream, DB: w.db, Bucket: w.bucket, Dir: filepath.Join(w.dir, fmt.Sprintf("scratch-%d", w.runs)), FlushInterval: time.Hour}
}

// running is a writer that runs until stop, which drains it.
type running struct {
	*raw.Writer
	stop func()
}

func start(cfg raw.Config) *running {
	w := must(raw.New(cfg))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.Run(ctx)
	}()
	return &running{Writer: w, stop: func() { cancel(); <-done }}
}

func flush(t tester, r *running) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		t.Fatalf("flush: %v; status %+v", err, r.Status())
	}
}

// kept is a record as it was appended or read back.
type kept struct {
	at      tarn.Position
	arrival time.Time
	key     string
	routes  string
	bytes   string
}

// put appends a segment and returns its records.
func (w *world) put(t tester, shard int, seg record.Segment) []kept {
	t.Helper()
	ack, err := w.stream.Append(context.Background(), shard, seg, "")
	if err != nil {
		t.Fatal(err)
	}
	var out []kept
	for i, rec := range seg.Records() {
		out = append(out, kept{tarn.Position{Shard: shard, Offset: ack.First.Offset + uint64(i)}, seg.Arrival, seg.Key, fmt.Sprintf("%#v", seg.Routes), string(rec)})
	}
	return out
}

// segment makes a segment; lines only where the records allow it.
func segment(format record.Format, arrival time.Time, key string, recs ...string) record.Segment {
	seg := record.Segment{Format: format, Arrival: arrival, Key: key, Count: len(recs), Lines: format == record.JSON}
	for _, r := range recs {
		seg.Lines = seg.Lines && !strings.ContainsAny(r, "\r\n")
	}
	for _, r := range recs {
		seg.Payload = record.AppendRecord(seg.Payload, []byte(r), seg.Lines)
	}
	return seg
}

func (w *world) archive() *raw.Archive { return raw.Open(w.db, w.bucket, "events") }

func read(a *raw.Archive, s raw.Select) ([]kept, error) {
	var out []kept
	for r, err := range a.Records(context.Background(), s) {
		if err != nil {
			return out, err
		}
		out = append(out, kept{r.Position, r.Arrival, r.Key, fmt.Sprintf("%#v", r.Routes), string(r.Bytes)})
	}
	return out, nil
}

func objects(t tester, a *raw.Archive) []raw.Object {
	t.Helper()
	var out []raw.Object
	for o, err := range a.Objects(context.Background(), raw.Select{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, o)
	}
	return out
}

// same compares records in order of position.
func same(t tester, got, want []kept) {
	t.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, func(a, b kept) int {
		if a.at.Shard != b.at.Shard {
			return a.at.Shard - b.at.Shard
		}
		return int(int64(a.at.Offset) - int64(b.at.Offset))
	})
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("record %d is %+v\nwant %+v", i, got[i], want[i])
		}
	}
}

// whole checks that an archive is proved whole.
func whole(t tester, a *raw.Archive) {
	t.Helper()
	_, problems, err := a.Verify(context.Background(), func(raw.Object) {})
	if err != nil || len(problems) > 0 {
		t.Fatalf("verify: %v %+v", err, problems)
	}
}

var noon = time.Date(2026, 11, 20, 11, 59, 0, 123456000, time.UTC)

// hostile are records that a careless backup would alter.
var hostile = []string{
	`{}`, `{"a":1}`, "{\n  \"pretty\": true\n}", "{\r\n\"crlf\":1\r\n}", "{\"tab\":\t1 }", `{"a":1,"a":2}`, `{"nul":"\u0000","half":"\\"}`,
	`{"n":123456789012345678901234567890.10}`, `{"ü":"日本"}`, `{"long":"` + strings.Repeat("x", 70_000) + `"}`, "{\"sep\":\"\u2028\"}",
}

func TestBytesComeBack(t *testing.T) {
	w := newWorld(t, stream.Config{Shards: 2})
	r := start(w.config())
	defer r.stop()
	var want []kept
	for i, rec := range hostile {
		want = append(want, w.put(t, i%2, segment(record.JSON, noon.Add(time.Duration(i)*time.Second), fmt.Sprintf("key %d\n", i/3), rec))...)
	}
	want = append(want, w.put(t, 0, segment(record.JSON, noon, "", hostile[0], hostile[1], hostile[5]))...)
	routed := segment(record.JSON, noon, "", hostile...)
	routed.Routes = []string{"curated.a", ""}
	want = append(want, w.put(t, 1, routed)...)
	routed.Routes = []string{}
	want = append(want, w.put(t, 1, routed)...)
	for _, rec := range []string{"\x00\xff\n\r\n", "", "plain text\n", strings.Repeat("\n", 3<<20)} {
		want = append(want, w.put(t, 1, segment(record.Opaque, noon, "bytes", rec))...)
	}
	flush(t, r)
	got, err := read(w.archive(), raw.Select{})
	if err != nil {
		t.Fatal(err)
	}
	same(t, got, want)
	whole(t, w.archive())
	for _, o := range objects(t, w.archive()) {
		plain(t, w.bucket, o, got)
	}
}

// plain checks that ordinary tools give the records and nothing else.
func plain(t *testing.T, bucket lake.Bucket, o raw.Object, all []kept) {
	t.Helper()
	var want []byte
	for _, k := range all {
		if k.at.Shard == o.Shard && k.at.Offset >= o.First && k.at.Offset < o.Next {
			want = record.AppendRecord(want, []byte(k.bytes), o.Form == raw.NDJSON)
		}
	}
	comp := must(lake.ReadAll(t.Context(), bucket, o.Key))
	dec := must(zstd.NewReader(bytes.NewReader(comp)))
	defer dec.Close()
	if got, err := io.ReadAll(dec); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s decompresses to %d bytes, want %d: %v", o.Key, len(got), len(want), err)
	}
	if _, err := exec.LookPath("zstd"); err == nil {
		cmd := exec.Command("zstd", "-dc", bucket.URL(o.Key))
		if got, err := cmd.Output(); err != nil || !bytes.Equal(got, want) {
			t.Errorf("zstd -d %s gives %d bytes, want %d: %v", o.Key, len(got), len(want), err)
		}
	}
}

// TestObjects: what begins an object, and what it is called.
func TestObjects(t *testing.T) {
	line, pretty := `{"a":1}`, "{\n}"
	big := strings.Repeat(" ", 1<<20)
	type put struct {
		after time.Duration
		recs  []string
	}
	for name, c := range map[string]struct {
		puts []put
		keys []string
	}{
		"one": {[]put{{0, []string{line, line}}, {time.Second, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000002.ndjson.zst"}},
		"a later hour begins another": {[]put{{0, []string{line}}, {2 * time.Minute, []string{line}}, {0, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000000.ndjson.zst", "hour=12/0000-00000000000000000001-00000000000000000002.ndjson.zst"}},
		"mixed records": {[]put{{0, []string{line}}, {0, []string{pretty}}, {0, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000000.ndjson.zst", "hour=11/0000-00000000000000000001-00000000000000000002.frames.zst"}},
		"lines again after many others": {[]put{{0, []string{pretty, big, big, big, big}}, {0, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000004.frames.zst", "hour=11/0000-00000000000000000005-00000000000000000005.ndjson.zst"}},
		"full": {[]put{{0, []string{line + big + big}}, {0, []string{line + big + big}}, {0, []string{line}}},
			[]string{"hour=11/0000-00000000000000000000-00000000000000000001.ndjson.zst", "hour=11/0000-00000000000000000002-00000000000000000002.ndjson.zst"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, stream.Config{})
			for _, p := range c.puts {
				w.put(t, 0, segment(record.JSON, noon.Add(p.after), "", p.recs...))
			}
			cfg := w.config()
			cfg.FlushBytes = 4 << 20
			r := start(cfg)
			defer r.stop()
			flush(t, r)
			var keys []string
			for _, o := range objects(t, w.archive()) {
				keys = append(keys, strings.TrimPrefix(o.Key, "raw/events/year=2026/month=11/day=20/"))
			}
			if !slices.Equal(keys, c.keys) {
				t.Errorf("objects\n%s\nwant\n%s", strings.Join(keys, "\n"), strings.Join(c.keys, "\n"))
			}
			whole(t, w.archive())
		})
	}
}

func TestSelect(t *testing.T) {
	w := newWorld(t, stream.Config{Shards: 2})
	r := start(w.config())
	defer r.stop()
	var all []kept
	for i := range 30 {
		var recs []string
		for j := range 50 {
			recs = append(recs, fmt.Sprintf(`{"i":%d,"j":%d,"pad":%q}`, i, j, strings.Repeat("x", 2000)))
		}
		all = append(all, w.put(t, i%2, segment(record.JSON, noon.Add(time.Duration(i)*time.Minute), "", recs...))...)
		if i%4 == 3 {
			flush(t, r)
		}
	}
	flush(t, r)
	at := func(m int) time.Time { return noon.Add(time.Duration(m) * time.Minute) }
	for name, c := range map[string]struct {
		s    raw.Select
		want func(kept) bool
	}{
		"all":     {raw.Select{}, func(kept) bool { return true }},
		"shard":   {raw.Select{Shards: []int{1}}, func(k kept) bool { return k.at.Shard == 1 }},
		"offsets": {raw.Select{From: 120, To: 455}, func(k kept) bool { return k.at.Offset >= 120 && k.at.Offset < 455 }},
		"times": {raw.Select{Since: at(5), Until: at(22)},
			func(k kept) bool { return !k.arrival.Before(at(5)) && k.arrival.Before(at(22)) }},
		"both":  {raw.Select{From: 51, Since: at(3)}, func(k kept) bool { return k.at.Offset >= 51 && !k.arrival.Before(at(3)) }},
		"none":  {raw.Select{From: 10_000}, func(kept) bool { return false }},
		"other": {raw.Select{Shards: []int{7}}, func(kept) bool { return false }},
	} {
		t.Run(name, func(t *testing.T) {
			var want []kept
			for _, k := range all {
				if c.want(k) {
					want = append(want, k)
				}
			}
			got, err := read(w.archive(), c.s)
			if err != nil {
				t.Fatal(err)
			}
			same(t, got, want)
		})
	}
}

// TestDamage: whatever byte of an object is changed, reading yields nothing false, and names the
// object if it can not yield everything.
func TestDamage(t *testing.T) {
	w := newWorld(t, stream.Config{})
	r := start(w.config())
	defer r.stop()
	var all []kept
	for i := range 20 {
		all = append(all, w.put(t, 0, segment(record.JSON, noon, fmt.Sprint(i), fmt.Sprintf(`{"i":%d}`, i)))...)
	}
	flush(t, r)
	o := objects(t, w.archive())[0]
	path := w.bucket.URL(o.Key)
	good := must(os.ReadFile(path))
	check := func(what string, b []byte) {
		t.Helper()
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := read(w.archive(), raw.Select{})
		if err == nil && len(b) == len(good) { // a bit that means nothing, of a window's size for example
			same(t, got, all)
			return
		}
		var e *tarn.Error
		if err == nil || !errors.As(err, &e) || !strings.Contains(e.Detail, o.Key) || strings.Contains(e.Detail, w.dir) {
			t.Fatalf("%s: error %v", what, err)
		}
		for i, k := range got {
			if k != all[i] {
				t.Fatalf("%s: record %d is %+v", what, i, k)
			}
		}
		_, problems, err := w.archive().Verify(t.Context(), func(raw.Object) {})
		if err != nil || len(problems) != 1 || problems[0].Subject != o.Key {
			t.Fatalf("%s: verify says %+v, %v", what, problems, err)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x40
		check(fmt.Sprintf("byte %d of %d", i, len(b)), b)
	}
	check("short", good[:len(good)-1])
	check("long", append(bytes.Clone(good), 0))
	check("empty", nil)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := read(w.archive(), raw.Select{}); err == nil || !strings.Contains(err.Error(), o.Key) {
		t.Errorf("a missing object: %v", err)
	}
}
