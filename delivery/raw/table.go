package raw

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
)

// Run is some consecutive objects of one shard: what becomes one Parquet file. Small objects are
// taken together, because many small files make queries slow.
type Run struct {
	Shard                     int
	First, Next               uint64
	Objects                   int
	Records                   int64
	Bytes, RawBytes           int64 // of the objects, and decompressed
	FirstArrival, LastArrival time.Time
}

// The bounds of a run; a larger object is a run of its own.
const (
	runObjects  = 64
	runRawBytes = 64 << 20
)

// Bounds are the least and the greatest text of a position in the run, as text is compared.
func (r Run) Bounds() (lower, upper string) {
	first, last := strconv.FormatUint(r.First, 10), strconv.FormatUint(r.Next-1, 10)
	shard := strconv.Itoa(r.Shard) + ":"
	if len(first) == len(last) {
		return shard + first, shard + last
	}
	return shard + "0", shard + strings.Repeat("9", len(last))
}

// Table is an archive as SQL sees it: raw.STREAM. It shows what is registered when a statement
// begins; records the writer has not stored yet are not in it. It is safe for concurrent use.
type Table struct {
	*Archive
	cache *Cache

	mu     sync.Mutex
	runs   map[int][]Run // by shard, in order
	next   map[int]uint64
	opaque bool
	known  bool // View has run
}

// NewTable returns the table of an archive. It has no effects.
func NewTable(a *Archive, c *Cache) *Table {
	return &Table{Archive: a, cache: c, runs: map[int][]Run{}, next: map[int]uint64{}}
}

// The ids of the columns of a table.
const (
	PositionID = iota + 1
	ShardID
	OffsetID
	ArrivalID
	KeyID
	RecordID
)

// View is a table at one moment.
type View struct {
	Schema tarn.Schema
	Runs   []Run
	opaque bool
}

// View brings the table up to date: it reads the rows of objects it has not seen. In memory it keeps
// a Run for up to 64 objects or 64 MiB of records.
func (t *Table) View(ctx context.Context) (View, error) {
	progress, err := t.Progress(ctx)
	if err != nil {
		return View{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var v View
	for _, p := range progress {
		if err := t.refresh(ctx, p); err != nil {
			return View{}, err
		}
		v.Runs = append(v.Runs, t.runs[p.Shard]...)
	}
	v.Schema, v.opaque, t.known = schema(t.opaque), t.opaque, true
	return v, nil
}

// refresh drops runs past their lifecycle and adds new ones; the caller holds mu.
func (t *Table) refresh(ctx context.Context, p Progress) error {
	runs := t.runs[p.Shard]
	for len(runs) > 0 && runs[0].Next <= p.First {
		runs = runs[1:]
	}
	if len(runs) > 0 && runs[0].First < p.First { // cut through: its numbers are not known any more
		runs, t.next[p.Shard] = nil, 0
	}
	from := max(t.next[p.Shard], p.First)
	if from < p.Next {
		runs = append([]Run(nil), runs...) // views hold the old ones
		for o, err := range t.Objects(ctx, Select{Shards: []int{p.Shard}, From: from, To: p.Next}) {
			if err != nil {
				return err
			}
			if o.Gap() {
				continue
			}
			t.opaque = t.opaque || o.Form == Opaque
			runs = extend(runs, o)
		}
		t.next[p.Shard] = p.Next
	}
	t.runs[p.Shard] = runs
	return nil
}

// extend adds an object to the last run, or as a new one.
func extend(runs []Run, o Object) []Run {
	one := Run{Shard: o.Shard, First: o.First, Next: o.Next, Objects: 1, Records: o.Records, Bytes: o.Bytes, RawBytes: o.RawBytes,
		FirstArrival: o.FirstArrival, LastArrival: o.LastArrival}
	if len(runs) == 0 {
		return append(runs, one)
	}
	r := &runs[len(runs)-1]
	if r.Objects >= runObjects || r.RawBytes+o.RawBytes > runRawBytes {
		return append(runs, one)
	}
	r.Next, r.Objects, r.Records = o.Next, r.Objects+1, r.Records+o.Records
	r.Bytes, r.RawBytes = r.Bytes+o.Bytes, r.RawBytes+o.RawBytes
	if o.FirstArrival.Before(r.FirstArrival) {
		r.FirstArrival = o.FirstArrival
	}
	if o.LastArrival.After(r.LastArrival) {
		r.LastArrival = o.LastArrival
	}
	return runs
}

// schema is the columns of a table. Where a record may be bytes it is a BLOB.
func schema(opaque bool) tarn.Schema {
	field := func(id int, name string, k tarn.Kind, doc string) tarn.Field {
		return tarn.Field{ID: id, Name: name, Type: tarn.Type{Kind: k}, Doc: doc}
	}
	rec := field(RecordID, "record", tarn.String, "the bytes as they were accepted")
	if opaque {
		rec.Type.Kind = tarn.Binary
	}
	return tarn.Schema{Fields: []tarn.Field{
		field(PositionID, "position", tarn.String, "shard:offset"), field(ShardID, "shard", tarn.Int, ""),
		field(OffsetID, "record_offset", tarn.Long, "in the shard"), field(ArrivalID, "arrival", tarn.Timestamp, "UTC"),
		field(KeyID, "partition_key", tarn.String, "given by the producer; NULL without one"), rec,
	}}
}

// File is a run as a Parquet file.
type File struct {
	Path  string // absolute
	Bytes int64
}

// Parquet returns the runs of a view as Parquet files with the columns of its schema, converting
// those that are not in the cache. The files stay until release, which is called exactly once.
//
// Errors: tarn.CodeTooLarge when the runs do not fit the cache together, tarn.CodeInternal naming
// an object that is missing or damaged.
func (t *Table) Parquet(ctx context.Context, v View, runs []Run) (files []File, release func(), err error) {
	var bytes int64
	for _, r := range runs {
		bytes += r.Bytes
	}
	if bytes > t.cache.cfg.MaxBytes {
		return nil, nil, t.cache.tooLarge(t.stream, bytes)
	}
	jobs := make([]job, len(runs))
	for i, r := range runs {
		jobs[i] = job{
			key:   fmt.Sprintf("%s/%d/%d/%d/%t", t.stream, r.Shard, r.First, r.Next, v.opaque),
			build: func(ctx context.Context, path string) (int64, error) { return t.convert(ctx, r, v, path) },
		}
	}
	return t.cache.files(ctx, t.stream, jobs)
}

// Describe returns the columns of the table. It reads the archive only the first time: whether records may
// be bytes is brought up to date by View.
func (t *Table) Describe(ctx context.Context) (tarn.Schema, error) {
	t.mu.Lock()
	known, opaque := t.known, t.opaque
	t.mu.Unlock()
	if known {
		return schema(opaque), nil
	}
	v, err := t.View(ctx)
	return v.Schema, err
}
