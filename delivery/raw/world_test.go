package raw_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/raw"
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
