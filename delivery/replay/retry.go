package replay

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// Outcome is what became of failed records.
type Outcome struct {
	Tried   int64 // of them Settled and Again
	Settled int64 // in the table now, or left out by the pipeline
	Rows    int64 // that the settled ones gave
	Again   int64 // failed again
	NoBytes int64 // not tried: their bytes are gone
}

// Add sums outcomes.
func (o *Outcome) Add(p Outcome) {
	o.Tried += p.Tried
	o.Settled += p.Settled
	o.Rows += p.Rows
	o.Again += p.Again
	o.NoBytes += p.NoBytes
}

// conflictAttempts bounds how often a batch is tried again because the table changed meanwhile.
const conflictAttempts = 5

// Retry runs failed records of the delivery of cfg through it, as cfg describes it. The new rows are
// committed in the same transaction that settles the records (I2), or for a database in one that is
// announced before and booked after; those that fail again stay, with one more attempt and the new reason.
// Records that somebody else has settled meanwhile are left out. The caller bounds how many there are,
// for they are in memory, and for anything but a table of the lake makes one call at a time.
func Retry(ctx context.Context, cfg delivery.Config, store *table.Store, recs []table.FailedRecord) (Outcome, error) {
	var out Outcome
	for attempt := 1; ; attempt++ {
		once, err := retryOnce(ctx, cfg, store, recs)
		out.Add(once)
		code := tarn.CodeOf(err)
		// A database that went away may have the rows; the next attempt asks it first.
		lost := cfg.Database != nil && code == tarn.CodeUnavailable && attempt == 1
		if err == nil || code != tarn.CodeConflict && !lost || attempt == conflictAttempts {
			return out, err
		}
		ids := make([]int64, len(recs))
		for i, r := range recs {
			ids[i] = r.ID
		}
		left, err := store.FailedRecords(ctx, table.FailedFilter{Table: cfg.Table, IDs: ids, Limit: len(ids)})
		if err != nil {
			return out, err
		}
		recs = slices.DeleteFunc(left, func(r table.FailedRecord) bool { return len(r.Record) == 0 }) // counted
	}
}

func retryOnce(ctx context.Context, cfg delivery.Config, store *table.Store, recs []table.FailedRecord) (Outcome, error) {
	var out Outcome
	b := &batch{}
	for _, r := range recs {
		if len(r.Record) == 0 {
			out.NoBytes++
			continue
		}
		if b.stream == "" {
			b.stream = r.Stream
		}
		if r.Table != cfg.Table || r.Stream != b.stream {
			return out, fmt.Errorf("the failed record %d is of table %s and stream %s", r.ID, r.Table, r.Stream)
		}
		b.recs = append(b.recs, r)
		b.shards = max(b.shards, r.Shard+1)
	}
	if len(b.recs) == 0 {
		return out, nil
	}
	slices.SortFunc(b.recs, func(x, y table.FailedRecord) int {
		return cmp.Or(cmp.Compare(x.Shard, y.Shard), cmp.Compare(x.Offset, y.Offset), cmp.Compare(x.ID, y.ID))
	})
	s := &settling{Store: store, batch: b}
	cfg.Source, cfg.Store, cfg.Ledger, cfg.Retry, cfg.Stream = b, s, s, b.settle, nil
	if cfg.Database != nil {
		cfg.Database = cfg.Database.Retrying()
	}
	if cfg.Cleaned != nil {
		cfg.Cleaned = cfg.Cleaned.Retrying()
	}
	if cfg.Sink != nil {
		cfg.Sink = cfg.Sink.Retrying(s, b.settle)
	}
	cfg.StageInterval, cfg.BufferInterval = time.Millisecond, time.Hour
	w, err := delivery.New(cfg)
	if err == nil {
		err = w.Drain(ctx)
	}
	out.Add(s.out)
	return out, err
}

// batch is failed records of one stream as a source, in order of their positions.
type batch struct {
	stream string
	shards int
	recs   []table.FailedRecord
}

// Name implements delivery.Source.
func (b *batch) Name() string { return b.stream }

// Shards implements delivery.Source.
func (b *batch) Shards() int { return b.shards }

// of returns the records of a shard with offsets from from on and before next.
func (b *batch) of(shard int, from, next uint64) []table.FailedRecord {
	at := func(offset uint64) int {
		i, _ := slices.BinarySearchFunc(b.recs, offset, func(r table.FailedRecord, offset uint64) int {
			return cmp.Or(cmp.Compare(r.Shard, shard), cmp.Compare(r.Offset, offset))
		})
		return i
	}
	i := at(from)
	return b.recs[i:max(i, at(next))]
}

// everything is above every offset.
const everything = 1 << 62

// State implements delivery.Source.
func (b *batch) State(_ context.Context, shard int) (stream.ShardState, error) {
	st := stream.ShardState{Shard: shard}
	if recs := b.of(shard, 0, everything); len(recs) > 0 {
		st.First, st.Next = recs[0].Offset, recs[len(recs)-1].Offset+1
	}
	return st, nil
}

// Reader implements delivery.Source.
func (b *batch) Reader(_ context.Context, shard int, c stream.Cursor) (delivery.Reader, error) {
	return &batchReader{recs: b.of(shard, c.Offset, everything)}, nil
}

type batchReader struct{ recs []table.FailedRecord }

// Poll implements delivery.Reader.
func (r *batchReader) Poll(context.Context) (stream.Entry, bool, error) {
	if len(r.recs) == 0 {
		return stream.Entry{}, false, nil
	}
	f := r.recs[0]
	r.recs = r.recs[1:]
	return stream.Entry{Batch: record.Batch{Base: f.Offset, Segments: []record.Segment{segmentOf(f.Arrival, "", f.Record)}}}, true, nil
}

// Close implements delivery.Reader.
func (r *batchReader) Close() {}

// segmentOf is one record as a segment that leaves looking at it to the worker.
func segmentOf(arrival time.Time, key string, rec []byte) record.Segment {
	seg := record.Segment{Format: record.JSON, Arrival: arrival, Key: key, Count: 1, Payload: record.AppendRecord(nil, rec, false), ShapesOverflow: true}
	if _, err := record.Shape(rec); err != nil {
		seg.Format, seg.ShapesOverflow = record.Opaque, false
	}
	return seg
}

// settle makes a commit settle the records of the batch that it is about. The documents belong to the
// worker that reads the stream, which goes on meanwhile.
func (b *batch) settle(c table.Commit) (table.Commit, error) {
	settle := table.Commit{Add: c.Add, SchemaID: c.SchemaID, Summary: map[string]string{"tarn.operation": "retry"}}
	again := make(map[tarn.Position]table.FailedRecord, len(c.Failed))
	for _, f := range c.Failed {
		again[tarn.Position{Shard: f.Shard, Offset: f.Offset}] = f
	}
	for _, p := range c.Progress {
		recs := b.of(p.Shard, p.From, p.Next)
		failed := 0
		for _, r := range recs {
			f, bad := again[tarn.Position{Shard: r.Shard, Offset: r.Offset}]
			if !bad {
				settle.Resolve = append(settle.Resolve, r.ID)
				continue
			}
			f.ID = r.ID
			settle.Again = append(settle.Again, f)
			failed++
		}
		if uint64(len(recs)) != p.RecordsIn || uint64(failed) != p.Failed { // I3
			return c, fmt.Errorf("%d failed records gave %d, of which %d of %d failed again", len(recs), p.RecordsIn, failed, p.Failed)
		}
		settle.Book = append(settle.Book, table.Booking{Stream: p.Stream, Shard: p.Shard, Rows: p.RowsOut, Dropped: p.Dropped})
	}
	return settle, nil
}

// settling counts what a batch of failed records came to as it is committed.
type settling struct {
	*table.Store
	batch *batch
	out   Outcome
}

// Progress implements delivery.Store: the batch is read from its beginning.
func (s *settling) Progress(context.Context, string) ([]table.ProgressRow, error) {
	var rows []table.ProgressRow
	for shard := range s.batch.shards {
		rows = append(rows, table.ProgressRow{Stream: s.batch.stream, Shard: shard})
	}
	return rows, nil
}

// Commit implements delivery.Store.
func (s *settling) Commit(ctx context.Context, name string, c table.Commit) (*table.State, error) {
	st, err := s.Store.Commit(ctx, name, c)
	if err == nil {
		s.count(c)
	}
	return st, err
}

// Record implements delivery.Ledger.
func (s *settling) Record(ctx context.Context, name string, c table.Commit, also func(*metadb.Tx) error) error {
	err := s.Store.Record(ctx, name, c, also)
	if err == nil {
		s.count(c)
	}
	return err
}

func (s *settling) count(c table.Commit) {
	settled, again := int64(len(c.Resolve)), int64(len(c.Again))
	s.out.Add(Outcome{Tried: settled + again, Settled: settled, Again: again})
	for _, b := range c.Book {
		s.out.Rows += int64(b.Rows)
	}
}
