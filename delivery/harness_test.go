package delivery_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/stream/jetstream"
	"github.com/tarn-data/tarn/table"
)

const tableName = "curated.events"

// world is the real parts below a delivery.
type world struct {
	t      *testing.T
	stream *stream.Stream
	store  *table.Store
	db     *metadb.DB
	bucket lake.Bucket
	duck   *duck.DB
	dir    string
	far    sync.Map     // reference to record.Segment: records that lie elsewhere
	gotten atomic.Int64 // how often some were fetched
}

func newWorld(t *testing.T, shards int) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir()}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	eng, err := jetstream.Start(t.Context(), jetstream.ServerOptions{Dir: filepath.Join(w.dir, "streams")})
	must(err)
	t.Cleanup(func() { _ = eng.Close() })
	w.stream, err = stream.Open(t.Context(), eng, stream.Config{Name: "events", Shards: shards, Fetch: w.fetch})
	must(err)
	t.Cleanup(func() { _ = w.stream.Close() })
	bucket, err := fs.Open(filepath.Join(w.dir, "lake"))
	must(err)
	w.bucket = bucket
	db, err := metadb.Open(t.Context(), filepath.Join(w.dir, "tarn.db"), metadb.Options{})
	must(err)
	t.Cleanup(func() { _ = db.Close() })
	w.db = db
	w.store = table.Open(db, bucket, table.Options{})
	w.duck, err = duck.Open(duck.Options{AllowedDirs: []string{w.dir}, Unordered: true})
	must(err)
	t.Cleanup(func() { _ = w.duck.Close() })
	return w
}

// fetch gets records that lie elsewhere.
func (w *world) fetch(_ context.Context, q stream.FetchRequest) (stream.Fetched, error) {
	w.gotten.Add(1)
	found, ok := w.far.Load(string(q.Ref))
	if !ok {
		return stream.Fetched{}, fmt.Errorf("%w: %s", record.ErrCorrupt, q.Ref)
	}
	seg := found.(record.Segment)
	if q.Later && len(seg.Common) > 0 && strings.HasSuffix(seg.Common[0].Value, "csv") {
		return stream.Fetched{Later: marked{w, seg}, Common: seg.Common}, nil
	}
	return stream.Fetched{Lines: append(q.Buf[:0], seg.Payload...), Common: seg.Common}, w.lost(seg)
}

// marked are records that lie elsewhere behind marks, which no reader of JSON takes.
type marked struct {
	w   *world
	seg record.Segment
}

func (m marked) Size() int64 { return int64(len(m.seg.Payload)) }

func (m marked) Load(_ context.Context, buf []byte) ([]byte, error) {
	buf = buf[:0]
	for _, rec := range m.seg.Records() {
		buf = append(append(append(buf, '!'), rec...), '\n')
	}
	n := len(buf)
	return append(buf, make([]byte, record.Padding)...)[:n], m.w.lost(m.seg)
}

func (m marked) Lines(_ context.Context, buf []byte) ([]byte, error) {
	return append(buf[:0], m.seg.Payload...), m.w.lost(m.seg)
}

func (m marked) Columns(columns []*column.Column) record.RowReader {
	return &markedReader{r: record.NewShredder(columns)}
}

// lost says that records of a file whose name says so cannot be read.
func (w *world) lost(seg record.Segment) error {
	if len(seg.Common) > 0 && strings.HasPrefix(seg.Common[0].Value, "lost") {
		return fmt.Errorf("%w: it is lost", record.ErrCorrupt)
	}
	return nil
}

type markedReader struct{ r *record.Shredder }

// Shred takes one line at a time, so that there are many batches.
func (m *markedReader) Shred(to *column.Batch, b []byte, next, n int) (rows, end int, err error) {
	if b[next] != '!' {
		return 0, 0, errors.New("the line has no mark")
	}
	end = next + bytes.IndexByte(b[next:n], '\n') + 1
	rows, _, err = m.r.Shred(to, b, next+1, end)
	return rows, end, err
}

// config is a delivery that stages at once and commits when told.
func (w *world) config() delivery.Config {
	return delivery.Config{Pipeline: "events", Table: tableName, Stream: w.stream, Store: w.store, Bucket: w.bucket, Duck: w.duck,
		Dir: filepath.Join(w.dir, "staging"), StageInterval: time.Millisecond, BufferInterval: time.Hour,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError + 4}))}
}

// sqlSteps are steps of the user's SQL that may give any number of rows.
func sqlSteps(sql ...string) []delivery.Step {
	var steps []delivery.Step
	for _, s := range sql {
		steps = append(steps, delivery.Step{Transform: project.Transform{SQL: s}})
	}
	return steps
}

// rowByRow says of steps that they give one row for every record.
func rowByRow(steps []delivery.Step) []delivery.Step {
	for i := range steps {
		steps[i].RowByRow = true
	}
	return steps
}

// running is a worker that runs until stop, which drains it.
type running struct {
	*delivery.Worker
	stop func()
}

func (w *world) run(cfg delivery.Config) *running {
	w.t.Helper()
	d, err := delivery.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx)
	}()
	r := &running{Worker: d, stop: func() { cancel(); <-done }}
	w.t.Cleanup(r.stop)
	return r
}

// put appends records, one a line, to a shard as one request.
func (w *world) put(shard int, lines ...string) {
	w.t.Helper()
	w.append(shard, nil, lines)
}

// putRouted appends records for some deliveries.
func (w *world) putRouted(routes []string, lines ...string) {
	w.t.Helper()
	w.append(0, routes, lines)
}

func (w *world) append(shard int, routes, lines []string) {
	w.t.Helper()
	f, err := record.Frame([]byte(strings.Join(lines, "\n")), record.KindAuto, record.FrameOptions{})
	if err != nil || len(f.Rejected) > 0 {
		w.t.Fatal(err, f.Rejected)
	}
	for _, p := range f.Parts {
		p.Segment.Routes = routes
		if _, err := w.stream.Append(w.t.Context(), shard, p.Segment, ""); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) flush(r *running) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	if err := r.Flush(ctx); err != nil {
		w.t.Fatalf("flush: %v; status %+v", err, r.Status())
	}
}

// rows returns a query's rows over the relation t, the table with its tail, as sorted text.
func (w *world) rows(r *running, query string) []string {
	w.t.Helper()
	v, err := r.View(w.t.Context())
	if err != nil {
		w.t.Fatalf("view: %v; status %+v", err, r.Status())
	}
	defer v.Release()
	files, err := w.store.Files(w.t.Context(), v.State)
	if err != nil {
		w.t.Fatal(err)
	}
	var paths []string
	for _, f := range append(append([]table.DataFile(nil), files...), v.Tail...) {
		paths = append(paths, f.Path)
	}
	got, err := w.duck.Values(w.t.Context(), strings.Replace(query, "FROM t", "FROM "+duck.ReadParquet(paths, v.State.Schema)+" AS t", 1))
	if err != nil {
		w.t.Fatalf("%s: %v", query, err)
	}
	var out []string
	for _, row := range got {
		out = append(out, strings.Trim(fmt.Sprint(row), "[]"))
	}
	sort.Strings(out)
	return out
}

// want waits until a query has the rows.
func (w *world) want(r *running, query string, rows ...string) {
	w.t.Helper()
	sort.Strings(rows)
	var got []string
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := w.store.State(w.t.Context(), tableName); tarn.CodeOf(err) == tarn.CodeNotFound {
			continue
		}
		if got = w.rows(r, query); strings.Join(got, "\n") == strings.Join(rows, "\n") {
			return
		}
	}
	w.t.Fatalf("%s\ngot  %q\nwant %q\nstatus %+v", query, got, rows, r.Status())
}

// failed returns the failed records as "offset stage reason".
func (w *world) failed() []table.FailedRecord {
	w.t.Helper()
	recs, err := w.store.FailedRecords(w.t.Context(), table.FailedFilter{Table: tableName, Limit: 100_000})
	if err != nil {
		w.t.Fatal(err)
	}
	return recs
}

// balance checks I3 for one shard: every offset is in the table, failed or dropped.
func (w *world) balance(shard int, in, rows, failed, dropped uint64) {
	w.t.Helper()
	all, err := w.store.Progress(w.t.Context(), tableName)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range all {
		if p.Shard == shard {
			if p.RecordsIn != in || p.RowsOut != rows || p.Failed != failed || p.Dropped != dropped || p.Next != in+p.Expired {
				w.t.Fatalf("shard %d: %+v, want %d in, %d rows, %d failed, %d dropped", shard, p, in, rows, failed, dropped)
			}
			return
		}
	}
	w.t.Fatalf("no progress of shard %d", shard)
}

func (w *world) putOpaque(shard int, key string, records ...string) {
	w.t.Helper()
	for _, rec := range records {
		f, err := record.Frame([]byte(rec), record.KindOpaque, record.FrameOptions{Key: key})
		if err != nil {
			w.t.Fatal(err)
		}
		if _, err := w.stream.Append(w.t.Context(), shard, f.Parts[0].Segment, ""); err != nil {
			w.t.Fatal(err)
		}
	}
}
