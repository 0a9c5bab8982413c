package cleaned

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

// Archive is the objects under one name. It is safe for concurrent use.
type Archive struct {
	db     *metadb.DB
	bucket lake.Bucket
	name   string
	retry  bool // objects get names of their own
}

// Open returns the archive of a name, which may be empty. It has no effects.
func Open(db *metadb.DB, bucket lake.Bucket, name string) *Archive {
	return &Archive{db: db, bucket: bucket, name: name}
}

// Retrying is the archive for records that are tried again beside the delivery. Its objects have names that
// nothing else ever has, so that what the delivery sweeps is never what a later retry has put.
func (a *Archive) Retrying() *Archive {
	r := *a
	r.retry = true
	return &r
}

// Names lists the archives that have objects, in order; also those whose last objects wait for their deletion.
func Names(ctx context.Context, db *metadb.DB) ([]string, error) {
	return metadb.Column[string](db.Query(ctx, "SELECT DISTINCT name FROM cleaned_objects ORDER BY name"))
}

// Name is the NAME of cleaned.NAME.
func (a *Archive) Name() string { return a.name }

// Object is one object. Records between First and Last may be missing.
type Object struct {
	Key                       string // of the bucket
	Stream                    string
	Shard                     int
	First, Last               uint64 // offsets
	Records                   int64
	Bytes                     int64 // of the object
	RawBytes                  int64 // decompressed
	FirstArrival, LastArrival time.Time
}

// The states of a row.
const (
	announced = "announced"
	live      = "live"
	swept     = "swept"
	removed   = "removed"
)

const columns = "object_key, stream, shard, first_offset, last_offset, records, bytes, raw_bytes, first_arrival, last_arrival"

// Announce notes objects that are about to be put, so that they are deleted if they never become live.
func (a *Archive) Announce(ctx context.Context, objects []Object) error {
	return a.db.Tx(ctx, func(tx *metadb.Tx) error {
		for _, o := range objects {
			if _, err := tx.Exec(ctx, "INSERT INTO cleaned_objects (name, state, "+columns+", changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
				a.name, announced, o.Key, o.Stream, o.Shard, int64(o.First), int64(o.Last), o.Records, o.Bytes, o.RawBytes,
				metadb.Micros(o.FirstArrival), metadb.Micros(o.LastArrival), now()); err != nil {
				return err
			}
		}
		return nil
	})
}

func now() int64 { return metadb.Micros(time.Now()) }

// Register makes announced objects live, within the transaction that moves the progress.
//
// tarn.CodeConflict when one is not announced any more: another session has taken over.
func (a *Archive) Register(ctx context.Context, tx *metadb.Tx, objects []Object) error {
	for _, o := range objects {
		n, err := tx.Exec(ctx, "UPDATE cleaned_objects SET state = ?, changed_at = ? WHERE name = ? AND object_key = ? AND state = ?", live, now(), a.name, o.Key, announced)
		if err != nil {
			return err
		}
		if n != 1 {
			return &tarn.Error{Code: tarn.CodeConflict, Detail: "another process delivers to cleaned." + a.name, Hint: "run one lake with this data folder"}
		}
	}
	return nil
}

// Sweep deletes announced objects: those of a session that has ended, or of a retry, which finds that it
// cannot register them any more. The next session calls it first.
func (a *Archive) Sweep(ctx context.Context) error {
	if _, err := a.db.Exec(ctx, "UPDATE cleaned_objects SET state = ? WHERE name = ? AND state = ?", swept, a.name, announced); err != nil {
		return err
	}
	keys, err := a.keys(ctx, swept, now())
	if err != nil {
		return err
	}
	return a.delete(ctx, keys)
}

// keys returns the objects in a state since a moment or longer.
func (a *Archive) keys(ctx context.Context, state string, since int64) ([]string, error) {
	return metadb.Column[string](a.db.Query(ctx, "SELECT object_key FROM cleaned_objects WHERE name = ? AND state = ? AND changed_at <= ?", a.name, state, since))
}

// delete deletes objects that are not live, then forgets them (I4).
func (a *Archive) delete(ctx context.Context, keys []string) error {
	for _, k := range keys {
		if err := a.bucket.Delete(ctx, k); err != nil {
			return fmt.Errorf("delete %s: %w", k, err)
		}
		if _, err := a.db.Exec(ctx, "DELETE FROM cleaned_objects WHERE name = ? AND object_key = ? AND state <> ?", a.name, k, live); err != nil {
			return err
		}
	}
	return nil
}

// Objects returns the live objects in order of stream, shard and offset.
func (a *Archive) Objects(ctx context.Context) ([]Object, error) {
	rows, err := a.db.Query(ctx, "SELECT "+columns+" FROM cleaned_objects WHERE name = ? AND state = ? ORDER BY stream, shard, first_offset", a.name, live)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Object
	for rows.Next() {
		var o Object
		var first, last int64
		if err := rows.Scan(&o.Key, &o.Stream, &o.Shard, &o.First, &o.Last, &o.Records, &o.Bytes, &o.RawBytes, &first, &last); err != nil {
			return nil, err
		}
		o.FirstArrival, o.LastArrival = metadb.Time(first), metadb.Time(last)
		out = append(out, o)
	}
	return out, rows.Err()
}

// Removed is what Expire and RemoveOrphans did.
type Removed struct {
	Objects int
	Bytes   int64
}

// Grace is how long an object outlives its lifecycle, for queries that read it.
const Grace = 15 * time.Minute

// Expire ends the lives of objects whose records all arrived before olderThan, and deletes those that
// have been out of sight for Grace. Removed counts the former.
func (a *Archive) Expire(ctx context.Context, olderThan time.Time) (Removed, error) {
	var done Removed
	err := a.db.Tx(ctx, func(tx *metadb.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT COUNT(*), COALESCE(SUM(bytes), 0) FROM cleaned_objects WHERE name = ? AND state = ? AND last_arrival < ?",
			a.name, live, metadb.Micros(olderThan)).Scan(&done.Objects, &done.Bytes); err != nil || done.Objects == 0 {
			return err
		}
		_, err := tx.Exec(ctx, "UPDATE cleaned_objects SET state = ?, changed_at = ? WHERE name = ? AND state = ? AND last_arrival < ?",
			removed, now(), a.name, live, metadb.Micros(olderThan))
		return err
	})
	if err != nil {
		return Removed{}, err
	}
	keys, err := a.keys(ctx, removed, metadb.Micros(time.Now().Add(-Grace)))
	if err != nil {
		return done, err
	}
	return done, a.delete(ctx, keys)
}

// RemoveOrphans deletes objects that no row knows and that were written before olderThan. They come
// only from a session that lost its place to another while it put an object.
func (a *Archive) RemoveOrphans(ctx context.Context, olderThan time.Time) (Removed, error) {
	var done Removed
	for info, err := range a.bucket.List(ctx, prefix(a.name)) {
		if err != nil {
			return done, err
		}
		if !info.Modified.Before(olderThan) {
			continue
		}
		var one int
		err := a.db.QueryRow(ctx, "SELECT 1 FROM cleaned_objects WHERE name = ? AND object_key = ?", a.name, info.Key).Scan(&one)
		if err == nil {
			continue
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return done, err
		}
		if err := a.bucket.Delete(ctx, info.Key); err != nil {
			return done, err
		}
		done.Objects++
		done.Bytes += info.Size
	}
	return done, nil
}

// Verify calls bad for every live object that is missing or has another size than its row says.
func (a *Archive) Verify(ctx context.Context, bad func(o Object, why string)) error {
	objects, err := a.Objects(ctx)
	if err != nil {
		return err
	}
	for _, o := range objects {
		info, err := a.bucket.Stat(ctx, o.Key)
		switch {
		case errors.Is(err, lake.ErrNotFound):
			bad(o, "it is missing")
		case err != nil:
			return err
		case info.Size != o.Bytes:
			bad(o, fmt.Sprintf("it has %d bytes, its row counts %d", info.Size, o.Bytes))
		}
	}
	return nil
}

// URL returns where an object is, for readers of files.
func (a *Archive) URL(o Object) string { return a.bucket.URL(o.Key) }
