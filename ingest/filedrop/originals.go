package filedrop

import (
	"context"
	"fmt"
	"math"
	"regexp"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

// originalsPrefix is where the originals are: raw/files/PIPELINE/HASH/NAME.
const originalsPrefix = "raw/files/"

// Originals are the copies of taken files in the zone raw, of all pipelines that run or ever ran. Doors
// make them; nothing else deletes them (I4). It is safe for concurrent use, and all doors of a process
// share one: a file is taken by one of them at a time, and not while its copy is removed.
type Originals struct {
	// Held reports whether the record at a position of a stream, appended at that time or before, may
	// still be read: an original that holds it is kept. nil keeps none. Set it before the first use.
	Held func(ctx context.Context, stream string, at tarn.Position, appended time.Time) (bool, error)

	db     *metadb.DB
	bucket lake.Bucket

	pieces sync.Pool // of *[]byte, for Fetch

	mu   sync.Mutex
	busy map[string]chan struct{} // PIPELINE/HASH of files under way; closed when done
}

// NewOriginals returns the originals in a bucket. It has no effects.
func NewOriginals(db *metadb.DB, bucket lake.Bucket) *Originals {
	return &Originals{db: db, bucket: bucket, busy: map[string]chan struct{}{}, pieces: sync.Pool{New: func() any { return new([]byte) }}}
}

// claim makes the caller the only one that works on the file of that hash, until it calls release.
func (o *Originals) claim(ctx context.Context, pipeline, hash string) (release func(), err error) {
	for {
		release, other := o.tryClaim(pipeline, hash)
		if release != nil {
			return release, nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryClaim is claim without waiting: without release, other is closed when who has the file is done.
func (o *Originals) tryClaim(pipeline, hash string) (release func(), other <-chan struct{}) {
	key := pipeline + "/" + hash
	o.mu.Lock()
	defer o.mu.Unlock()
	if other := o.busy[key]; other != nil {
		return nil, other
	}
	mine := make(chan struct{})
	o.busy[key] = mine
	return func() {
		o.mu.Lock()
		delete(o.busy, key)
		o.mu.Unlock()
		close(mine)
	}, nil
}

// Removed is what Expire and RemoveOrphans deleted.
type Removed struct {
	Objects int
	Bytes   int64
}

// original is one object: the copy of a file that came once or more under one name.
type original struct {
	pipeline, hash, name string
	algorithm            algorithm // set where it is verified
	size                 int64
	at                   int64 // when it was taken last, microseconds
}

func (x original) key() string {
	return originalsPrefix + x.pipeline + "/" + x.hash + "/" + safeName(x.name)
}

// expirePage is how many originals are removed in one transaction.
const expirePage = 500

// Expire removes the originals of files that were taken before olderThan, and those that have at least
// versions newer ones of the same pipeline and name; zero values remove none. First the rows say so,
// then the objects are deleted (I4); what a crash leaves between is an orphan. The rows stay: the same
// bytes are a duplicate for ever. Files that are being taken, and those that a stream refers to, are left
// for the next time.
func (o *Originals) Expire(ctx context.Context, olderThan time.Time, versions int) (Removed, error) {
	var done Removed
	after := original{at: math.MinInt64}
	for {
		due, err := o.due(ctx, olderThan, versions, after)
		if err != nil {
			return done, err
		}
		r, err := o.expire(ctx, due)
		done.Objects += r.Objects
		done.Bytes += r.Bytes
		if err != nil || len(due) < expirePage {
			return done, err
		}
		after = due[len(due)-1]
	}
}

// due lists the next originals to remove, behind one.
func (o *Originals) due(ctx context.Context, olderThan time.Time, versions int, after original) ([]original, error) {
	before := int64(-1) // nothing was taken before 1970
	if !olderThan.IsZero() {
		before = metadb.Micros(olderThan)
	}
	if versions <= 0 {
		versions = 1 << 31
	}
	rows, err := o.db.Query(ctx, `
		WITH kept AS (
			SELECT pipeline, hash, name, size, max(taken_at) AS at, max(CASE state WHEN 'taking' THEN 1 ELSE 0 END) AS under
			FROM taken_files WHERE original_gone = 0 GROUP BY pipeline, hash, name, size),
		versions AS (
			SELECT pipeline, hash, name, size, at, under, row_number() OVER (PARTITION BY pipeline, name ORDER BY at DESC, hash) AS version FROM kept)
		SELECT pipeline, hash, name, size, at FROM versions
		WHERE under = 0 AND (at < ? OR version > ?) AND (at, pipeline, hash, name) > (?, ?, ?, ?) ORDER BY at, pipeline, hash, name LIMIT ?`,
		before, versions, after.at, after.pipeline, after.hash, after.name, expirePage)
	if err != nil {
		return nil, fmt.Errorf("find originals to remove: %w", err)
	}
	defer rows.Close()
	var out []original
	for rows.Next() {
		var x original
		if err := rows.Scan(&x.pipeline, &x.hash, &x.name, &x.size, &x.at); err != nil {
			return nil, err
		}
		out = append(out, x)
	}
	return out, rows.Err()
}

// expire removes those of the originals that nobody is working on or refers to.
func (o *Originals) expire(ctx context.Context, due []original) (done Removed, err error) {
	var gone []original
	claimed := map[string]bool{}
	for _, x := range due {
		if held, err := o.held(ctx, x); err != nil {
			return done, err
		} else if held {
			continue
		}
		if id := x.pipeline + "/" + x.hash; !claimed[id] {
			release, _ := o.tryClaim(x.pipeline, x.hash)
			if release == nil {
				continue
			}
			defer release()
			claimed[id] = true
		}
		gone = append(gone, x)
	}
	if gone, err = o.forget(ctx, gone); err != nil {
		return done, err
	}
	for _, x := range gone {
		deleted, err := o.deleteUnnamed(ctx, x.pipeline, x.hash, x.key())
		if err != nil {
			return done, err
		}
		if deleted {
			done.Objects++
			done.Bytes += x.size
		}
	}
	return done, nil
}

// forget notes that the originals are gone, and returns those of which that is so: the others came once
// more since they were looked up.
func (o *Originals) forget(ctx context.Context, all []original) (gone []original, err error) {
	now := metadb.Micros(time.Now())
	err = o.db.Tx(ctx, func(tx *metadb.Tx) error {
		gone = gone[:0]
		for _, x := range all {
			n, err := tx.Exec(ctx, `UPDATE taken_files SET original_gone = ? WHERE pipeline = ? AND hash = ? AND name = ? AND original_gone = 0
				AND NOT EXISTS (SELECT 1 FROM taken_files t WHERE t.pipeline = ? AND t.hash = ? AND (t.state = 'taking' OR t.name = ? AND t.taken_at > ?))`,
				now, x.pipeline, x.hash, x.name, x.pipeline, x.hash, x.name, x.at)
			if err != nil {
				return err
			}
			if n > 0 {
				gone = append(gone, x)
			}
		}
		return nil
	})
	return gone, err
}

// deleteUnnamed deletes an object unless a row names it still. The caller has claimed the file.
func (o *Originals) deleteUnnamed(ctx context.Context, pipeline, hash, key string) (bool, error) {
	if named, err := o.named(ctx, pipeline, hash, key); err != nil || named {
		return false, err
	}
	return true, o.bucket.Delete(ctx, key)
}

// named reports whether a row names the object.
func (o *Originals) named(ctx context.Context, pipeline, hash, key string) (named bool, err error) {
	rows, err := o.db.Query(ctx, "SELECT name FROM taken_files WHERE pipeline = ? AND hash = ? AND original_gone = 0", pipeline, hash)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		x := original{pipeline: pipeline, hash: hash}
		if err := rows.Scan(&x.name); err != nil {
			return false, err
		}
		named = named || x.key() == key // two names may make one key
	}
	return named, rows.Err()
}

var originalKey = regexp.MustCompile(`^` + originalsPrefix + `([^/]+)/([0-9a-f]{32})/[^/]+$`)

// RemoveOrphans deletes originals that no row names and that were written before olderThan: of files
// that a crash kept from being taken, and of removals that it broke off.
func (o *Originals) RemoveOrphans(ctx context.Context, olderThan time.Time) (done Removed, err error) {
	for info, err := range o.bucket.List(ctx, originalsPrefix) {
		if err != nil {
			return done, err
		}
		parts := originalKey.FindStringSubmatch(info.Key)
		if parts == nil || !info.Modified.Before(olderThan) {
			continue
		}
		release, _ := o.tryClaim(parts[1], parts[2])
		if release == nil {
			continue
		}
		deleted, err := o.deleteUnnamed(ctx, parts[1], parts[2], info.Key)
		release()
		if err != nil {
			return done, err
		}
		if deleted {
			done.Objects++
			done.Bytes += info.Size
		}
	}
	return done, nil
}
