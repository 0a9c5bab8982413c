package raw

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// session is the right of one writer to change an archive, until another begins.
type session struct {
	*Archive
	epoch int64
	now   func() int64 // microseconds
}

// errFenced says that another writer has taken over.
func (a *Archive) errFenced() error {
	return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("another writer backs up the stream %s", a.stream), Hint: "run one process with raw_backup for a stream"}
}

// begin takes the archive over from any other writer, deletes what an earlier session left behind,
// and returns the progress of the shards.
func (a *Archive) begin(ctx context.Context, shards int, now func() int64) (*session, []Progress, error) {
	s := &session{Archive: a, now: now}
	err := a.db.Tx(ctx, func(tx *metadb.Tx) error {
		if _, err := tx.Exec(ctx, `INSERT INTO raw_writers (stream, epoch, updated_at) VALUES (?, 1, ?)
			ON CONFLICT (stream) DO UPDATE SET epoch = raw_writers.epoch + 1, updated_at = excluded.updated_at`, a.stream, now()); err != nil {
			return err
		}
		for i := range shards {
			if _, err := tx.Exec(ctx, `INSERT INTO raw_progress (stream, shard, first_offset, next_offset, next_seq, records, records_expired, records_damaged, updated_at)
				VALUES (?, ?, 0, 0, 0, 0, 0, 0, ?) ON CONFLICT (stream, shard) DO NOTHING`, a.stream, i, now()); err != nil {
				return err
			}
		}
		return tx.QueryRow(ctx, "SELECT epoch FROM raw_writers WHERE stream = ?", a.stream).Scan(&s.epoch)
	})
	if err != nil {
		return nil, nil, fmt.Errorf("take over the raw backup of %s: %w", a.stream, err)
	}
	if err := a.sweep(ctx); err != nil { // behind the epoch: the writer before can not register them any more
		return nil, nil, err
	}
	p, err := a.Progress(ctx)
	return s, p, err
}

// guard fails unless the session is the last that began, and keeps others from beginning until the
// transaction ends.
func (s *session) guard(ctx context.Context, tx *metadb.Tx) error {
	n, err := tx.Exec(ctx, "UPDATE raw_writers SET updated_at = ? WHERE stream = ? AND epoch = ?", s.now(), s.stream, s.epoch)
	if err == nil && n != 1 {
		return s.errFenced()
	}
	return err
}

// claim notes the keys of objects that are about to be put, so that they are deleted if they are
// never registered.
func (s *session) claim(ctx context.Context, objects []Object) error {
	return s.db.Tx(ctx, func(tx *metadb.Tx) error {
		if err := s.guard(ctx, tx); err != nil {
			return err
		}
		for _, o := range objects {
			if err := unname(ctx, tx, s.stream, o.Key, s.now()); err != nil {
				return err
			}
		}
		return nil
	})
}

func unname(ctx context.Context, tx *metadb.Tx, stream, key string, now int64) error {
	_, err := tx.Exec(ctx, "INSERT INTO raw_unnamed (stream, object_key, since) VALUES (?, ?, ?) ON CONFLICT (stream, object_key) DO NOTHING", stream, key, now)
	return err
}

// advance is what one commit does to a shard: its ranges in order, from the committed offset on.
type advance struct {
	shard   int
	nextSeq uint64
	ranges  []Object
}

// register names durable objects and moves the progress over them in one transaction (I2).
func (s *session) register(ctx context.Context, moves []advance) error {
	return s.db.Tx(ctx, func(tx *metadb.Tx) error {
		if err := s.guard(ctx, tx); err != nil {
			return err
		}
		for _, m := range moves {
			if err := s.advance(ctx, tx, m); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *session) advance(ctx context.Context, tx *metadb.Tx, m advance) error {
	var records, expired, damaged int64
	for _, o := range m.ranges {
		var first, last int64
		switch o.Form {
		case Expired:
			expired += int64(o.Next - o.First)
		case Damaged:
			damaged += int64(o.Next - o.First)
		default:
			records += o.Records
			first, last = metadb.Micros(o.FirstArrival), metadb.Micros(o.LastArrival)
			if _, err := tx.Exec(ctx, "DELETE FROM raw_unnamed WHERE stream = ? AND object_key = ?", s.stream, o.Key); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "INSERT INTO raw_objects (stream, "+objectColumns+", created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
			s.stream, o.Shard, int64(o.First), int64(o.Next), string(o.Form), o.Key, o.Records, o.Bytes, o.RawBytes, first, last, s.now()); err != nil {
			return err
		}
	}
	from, next := m.ranges[0].First, m.ranges[len(m.ranges)-1].Next
	// Compare and swap: the records are those that follow the committed ones, or nothing happens.
	n, err := tx.Exec(ctx, `UPDATE raw_progress SET next_offset = ?, next_seq = ?, records = records + ?, records_expired = records_expired + ?,
		records_damaged = records_damaged + ?, updated_at = ? WHERE stream = ? AND shard = ? AND next_offset = ?`,
		int64(next), int64(m.nextSeq), records, expired, damaged, s.now(), s.stream, m.shard, int64(from))
	if err == nil && n != 1 {
		return s.errFenced()
	}
	return err
}

// sweep deletes the objects that no row names (I4).
func (a *Archive) sweep(ctx context.Context) error {
	keys, err := metadb.Column[string](a.db.Query(ctx, "SELECT object_key FROM raw_unnamed WHERE stream = ?", a.stream))
	if err != nil {
		return err
	}
	return a.deleteUnnamed(ctx, keys)
}

// deleteUnnamed deletes objects, then forgets them.
func (a *Archive) deleteUnnamed(ctx context.Context, keys []string) error {
	for _, k := range keys {
		if err := a.bucket.Delete(ctx, k); err != nil {
			return fmt.Errorf("delete %s: %w", k, err)
		}
		if _, err := a.db.Exec(ctx, "DELETE FROM raw_unnamed WHERE stream = ? AND object_key = ?", a.stream, k); err != nil {
			return err
		}
	}
	return nil
}

// named reports whether a row or a writer claims the key.
func (a *Archive) named(ctx context.Context, key string, o Object) (bool, error) {
	var one int
	err := a.db.QueryRow(ctx, `SELECT 1 FROM raw_objects WHERE stream = ? AND shard = ? AND first_offset = ? AND object_key = ?
		UNION SELECT 1 FROM raw_unnamed WHERE stream = ? AND object_key = ?`, a.stream, o.Shard, int64(o.First), key, a.stream, key).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}
