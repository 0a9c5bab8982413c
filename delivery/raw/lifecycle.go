package raw

import (
	"context"
	"time"

	"github.com/tarn-data/tarn/metadb"
)

// Removed is what Expire and RemoveOrphans deleted.
type Removed struct {
	Objects int
	Bytes   int64
}

// Expire removes the oldest objects of every shard whose records all arrived before olderThan: first
// their rows, then the objects (I4). It stops at the first younger object, so that what is kept has
// no holes. After a crash in between, the next session of the writer or the next Expire of the
// archive deletes the rest.
func (a *Archive) Expire(ctx context.Context, olderThan time.Time) (Removed, error) {
	var done Removed
	shards, err := a.Progress(ctx)
	if err != nil {
		return done, err
	}
	for _, p := range shards {
		for {
			r, more, err := a.expirePage(ctx, p.Shard, olderThan)
			done.Objects += r.Objects
			done.Bytes += r.Bytes
			if err != nil {
				return done, err
			}
			if !more {
				break
			}
		}
	}
	return done, nil
}

// expirePage removes a page of ranges from the front of a shard, and reports whether there may be more.
func (a *Archive) expirePage(ctx context.Context, shard int, olderThan time.Time) (Removed, bool, error) {
	var done Removed
	page, err := a.page(ctx, shard, 0, Select{})
	if err != nil {
		return done, false, err
	}
	n := 0
	var keys []string
	for _, o := range page {
		if !o.Gap() && !o.LastArrival.Before(olderThan) {
			break
		}
		n++
		if !o.Gap() {
			keys = append(keys, o.Key)
			done.Objects++
			done.Bytes += o.Bytes
		}
	}
	if n == 0 {
		return Removed{}, false, nil
	}
	from, next := page[0].First, page[n-1].Next
	err = a.db.Tx(ctx, func(tx *metadb.Tx) error {
		// The row of the progress is locked first: two of these do not do the same work.
		moved, err := tx.Exec(ctx, "UPDATE raw_progress SET first_offset = ? WHERE stream = ? AND shard = ? AND first_offset <= ?", int64(next), a.stream, shard, int64(from))
		if err != nil || moved == 0 {
			done, keys = Removed{}, nil
			return err
		}
		if _, err := tx.Exec(ctx, "DELETE FROM raw_objects WHERE stream = ? AND shard = ? AND first_offset < ?", a.stream, shard, int64(next)); err != nil {
			return err
		}
		for _, k := range keys {
			if err := unname(ctx, tx, a.stream, k, metadb.Micros(time.Now())); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Removed{}, false, err
	}
	return done, n == len(page) && n == pageRows, a.deleteUnnamed(ctx, keys)
}

// RemoveOrphans deletes objects of the stream that neither a row nor a writer knows, whose positions
// the backup has passed, and that were written before olderThan. They come only from a writer that
// was fenced while it put an object.
func (a *Archive) RemoveOrphans(ctx context.Context, olderThan time.Time) (Removed, error) {
	var done Removed
	all, err := a.Progress(ctx)
	if err != nil {
		return done, err
	}
	passed := map[int]uint64{}
	for _, p := range all {
		passed[p.Shard] = p.Next
	}
	for info, err := range a.bucket.List(ctx, prefix(a.stream)) {
		if err != nil {
			return done, err
		}
		o, ok := parseKey(a.stream, info.Key)
		if !ok || o.Next > passed[o.Shard] || !info.Modified.Before(olderThan) {
			continue
		}
		named, err := a.named(ctx, info.Key, o)
		if err != nil {
			return done, err
		}
		if named {
			continue
		}
		if err := a.bucket.Delete(ctx, info.Key); err != nil {
			return done, err
		}
		done.Objects++
		done.Bytes += info.Size
	}
	return done, nil
}
