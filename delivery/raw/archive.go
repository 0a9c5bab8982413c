package raw

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

// Archive is the registered objects of one stream. It is safe for concurrent use.
type Archive struct {
	db     *metadb.DB
	bucket lake.Bucket
	stream string
}

// Open returns the archive of a stream, which may be empty. It has no effects.
func Open(db *metadb.DB, bucket lake.Bucket, stream string) *Archive {
	return &Archive{db: db, bucket: bucket, stream: stream}
}

// Streams lists the streams that have an archive, in order of name.
func Streams(ctx context.Context, db *metadb.DB) ([]string, error) {
	return metadb.Column[string](db.Query(ctx, "SELECT stream FROM raw_writers ORDER BY stream"))
}

// Stream is the name of the stream.
func (a *Archive) Stream() string { return a.stream }

// Progress is how far the backup of one shard is.
type Progress struct {
	Shard     int
	First     uint64 // the archive begins here; what was before is past its lifecycle
	Next      uint64 // the first offset that is not backed up
	NextSeq   uint64 // of the stream, a hint where that is
	Records   uint64 // backed up, ever
	Expired   uint64 // dropped by the stream's retention before they were backed up, ever
	Damaged   uint64 // not readable in the stream, ever
	UpdatedAt time.Time
}

// Progress returns every shard the backup has seen, in order.
func (a *Archive) Progress(ctx context.Context) ([]Progress, error) {
	rows, err := a.db.Query(ctx, `SELECT shard, first_offset, next_offset, next_seq, records, records_expired, records_damaged, updated_at
		FROM raw_progress WHERE stream = ? ORDER BY shard`, a.stream)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Progress
	for rows.Next() {
		var p Progress
		var at int64
		if err := rows.Scan(&p.Shard, &p.First, &p.Next, &p.NextSeq, &p.Records, &p.Expired, &p.Damaged, &at); err != nil {
			return nil, err
		}
		p.UpdatedAt = metadb.Time(at)
		out = append(out, p)
	}
	return out, rows.Err()
}

// Totals are the sums over an archive as it is now.
type Totals struct {
	Objects  int64
	Records  int64
	Bytes    int64 // of the objects
	RawBytes int64 // decompressed
	First    time.Time
	Last     time.Time // arrivals; zero without records
}

// Totals adds up the registered objects.
func (a *Archive) Totals(ctx context.Context) (Totals, error) {
	var t Totals
	var first, last sql.NullInt64
	err := a.db.QueryRow(ctx, `SELECT COUNT(*), COALESCE(SUM(records), 0), COALESCE(SUM(bytes), 0), COALESCE(SUM(raw_bytes), 0), MIN(first_arrival), MAX(last_arrival)
		FROM raw_objects WHERE stream = ? AND object_key <> ''`, a.stream).Scan(&t.Objects, &t.Records, &t.Bytes, &t.RawBytes, &first, &last)
	if first.Valid {
		t.First, t.Last = metadb.Time(first.Int64), metadb.Time(last.Int64)
	}
	return t, err
}

// Select says which records. The zero value is all of them.
type Select struct {
	Shards   []int     // nil for all
	From, To uint64    // offsets from From and before To; 0 is no bound
	Since    time.Time // arrived at or after; zero is no bound
	Until    time.Time // arrived before; zero is no bound
}

// pageRows is how many rows are read from the database at once (I8).
const pageRows = 500

// Objects yields the ranges that may hold selected records, gaps too, in order of shard and offset.
// Rows that are added or removed meanwhile may or may not appear.
func (a *Archive) Objects(ctx context.Context, s Select) iter.Seq2[Object, error] {
	return func(yield func(Object, error) bool) {
		shards, err := a.shards(ctx, s)
		if err != nil {
			yield(Object{}, err)
			return
		}
		for _, shard := range shards {
			at := s.From
			for {
				page, err := a.page(ctx, shard, at, s)
				if err != nil {
					yield(Object{}, err)
					return
				}
				for _, o := range page {
					if !yield(o, nil) {
						return
					}
				}
				if len(page) < pageRows {
					break
				}
				at = page[len(page)-1].Next
			}
		}
	}
}

func (a *Archive) shards(ctx context.Context, s Select) ([]int, error) {
	if s.Shards != nil {
		return s.Shards, nil
	}
	all, err := a.Progress(ctx)
	var shards []int
	for _, p := range all {
		shards = append(shards, p.Shard)
	}
	return shards, err
}

// page returns the next ranges of a shard from an offset on.
func (a *Archive) page(ctx context.Context, shard int, from uint64, s Select) ([]Object, error) {
	q := "SELECT " + objectColumns + " FROM raw_objects WHERE stream = ? AND shard = ? AND next_offset > ?"
	args := []any{a.stream, shard, int64(from)}
	if s.To > 0 {
		q, args = q+" AND first_offset < ?", append(args, int64(s.To))
	}
	if !s.Since.IsZero() {
		q, args = q+" AND (last_arrival >= ? OR object_key = '')", append(args, metadb.Micros(s.Since))
	}
	if !s.Until.IsZero() {
		q, args = q+" AND (first_arrival < ? OR object_key = '')", append(args, metadb.Micros(s.Until))
	}
	rows, err := a.db.Query(ctx, q+fmt.Sprintf(" ORDER BY first_offset LIMIT %d", pageRows), args...)
	if err != nil {
		return nil, err
	}
	return scanObjects(rows)
}

const objectColumns = "shard, first_offset, next_offset, form, object_key, records, bytes, raw_bytes, first_arrival, last_arrival"

func scanObjects(rows *sql.Rows) ([]Object, error) {
	defer rows.Close()
	var out []Object
	for rows.Next() {
		var o Object
		var first, last int64
		if err := rows.Scan(&o.Shard, &o.First, &o.Next, &o.Form, &o.Key, &o.Records, &o.Bytes, &o.RawBytes, &first, &last); err != nil {
			return nil, err
		}
		if !o.Gap() {
			o.FirstArrival, o.LastArrival = metadb.Time(first), metadb.Time(last)
		}
		out = append(out, o)
	}
	return out, rows.Err()
}

// damaged is the error for an object that can not be read. It names the object.
func (a *Archive) damaged(o Object, err error) error {
	return &tarn.Error{Code: tarn.CodeInternal, Detail: fmt.Sprintf("the raw object %s with the records %s is missing or damaged", o.Key, o.Positions()),
		Hint: "restore it from a copy of the lake; tarn verify lists all that is wrong", Err: err}
}
