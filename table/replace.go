package table

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// ErrStaleSchema says that files built aside lack a column that got a new type since: they have to be
// built again.
var ErrStaleSchema = errors.New("a column of the table got a new type meanwhile")

// Replacement says how an Aside takes the place of a part of its table.
type Replacement struct {
	Snapshot int64                                   // must be the current one
	Remove   []DataFile                              // of that snapshot
	Add      []AsideFile                             // of the aside
	Shards   []Account                               // one for every shard that feeds the table
	Also     func(context.Context, *metadb.Tx) error // statements of the same transaction, may be nil
}

// Account is what the records of one shard have become, all of them: it takes the place of the counters
// of the progress. Failed records with offsets from From on and before To are replaced by those of the
// aside; others stay.
type Account struct {
	Stream                                       string
	Shard                                        int
	Next                                         uint64 // the stored next offset must equal this, and stays
	RecordsIn, RowsOut, Failed, Dropped, Expired uint64
	From, To                                     uint64
}

// Replace puts the aside in the place of a part of the table, in one commit together with the counters
// and the failed records (I2, I3). The files of the aside that are not among r.Add stay in it for Drop.
// CodeConflict when the table or its progress have moved; ErrStaleSchema.
func (a *Aside) Replace(ctx context.Context, r Replacement) (*State, error) {
	c := Commit{Remove: r.Remove, Summary: map[string]string{"tarn.operation": "replay"}}
	for _, f := range r.Add {
		if c.SchemaID == 0 || f.SchemaID < c.SchemaID {
			c.SchemaID = f.SchemaID
		}
		c.Add = append(c.Add, f.DataFile)
	}
	if err := c.validate(); err != nil {
		return nil, err
	}
	return a.s.change(ctx, a.table, func(ctx context.Context, cur *State) (*draft, error) {
		if r.Snapshot != cur.SnapshotID {
			return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("table %s is at snapshot %d, not %d", a.table, cur.SnapshotID, r.Snapshot)}
		}
		d := &draft{}
		if len(c.Add) > 0 && cur.accepts(c.SchemaID) != nil {
			return nil, ErrStaleSchema
		}
		if len(c.Add)+len(c.Remove) > 0 {
			var err error
			if d, err = a.s.draftFiles(ctx, cur, opOverwrite, c); err != nil {
				return nil, err
			}
		}
		d.also = func(ctx context.Context, tx *metadb.Tx) error { return a.settle(ctx, tx, r) }
		return d, nil
	})
}

// settle writes what commits together with the replaced files.
func (a *Aside) settle(ctx context.Context, tx *metadb.Tx, r Replacement) error {
	for _, s := range r.Shards {
		n, err := tx.Exec(ctx, `UPDATE progress SET records_in = ?, rows_out = ?, records_failed = ?, records_dropped = ?, records_expired = ?, updated_at = ?
			WHERE table_name = ? AND stream = ? AND shard = ? AND next_offset = ?`,
			int64(s.RecordsIn), int64(s.RowsOut), int64(s.Failed), int64(s.Dropped), int64(s.Expired), metadb.Micros(a.s.opts.Clock()),
			a.table, s.Stream, s.Shard, int64(s.Next))
		if err != nil {
			return err
		}
		if n != 1 {
			return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the progress of table %s in stream %s shard %d is not at offset %d any more", a.table, s.Stream, s.Shard, s.Next)}
		}
		// Those that fail as before keep their ids, and count the attempt.
		if _, err := tx.Exec(ctx, `DELETE FROM failed_records WHERE table_name = ? AND stream = ? AND shard = ? AND record_offset >= ? AND record_offset < ?
			AND NOT EXISTS (SELECT 1 FROM aside_failed a WHERE a.aside = ? AND a.stream = failed_records.stream AND a.shard = failed_records.shard
				AND a.record_offset = failed_records.record_offset AND a.stage = failed_records.stage)`,
			a.table, s.Stream, s.Shard, int64(s.From), int64(s.To), a.id); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(ctx, `INSERT INTO failed_records (pipeline, table_name, stream, shard, record_offset, stage, reason, code, attempts, arrival, failed_at, record)
		SELECT pipeline, CAST(? AS TEXT), stream, shard, record_offset, stage, reason, code, 1, arrival, failed_at, record FROM aside_failed WHERE aside = ?
		ON CONFLICT (table_name, stream, shard, record_offset, stage) DO UPDATE SET
		attempts = failed_records.attempts + 1, reason = excluded.reason, code = excluded.code, failed_at = excluded.failed_at`, a.table, a.id); err != nil {
		return err
	}
	for _, f := range r.Add { // named by the table now
		if _, err := tx.Exec(ctx, "DELETE FROM aside_files WHERE aside = ? AND path = ?", a.id, f.Path); err != nil {
			return err
		}
	}
	if r.Also != nil {
		return r.Also(ctx, tx)
	}
	return nil
}

// FailedOffsets returns the offsets of the failed records of a table in one shard from an offset on, in
// order, at most limit.
func (s *Store) FailedOffsets(ctx context.Context, table, stream string, shard int, from uint64, limit int) ([]uint64, error) {
	return metadb.Column[uint64](s.db.Query(ctx, `SELECT DISTINCT record_offset FROM failed_records WHERE table_name = ? AND stream = ? AND shard = ? AND record_offset >= ?
		ORDER BY record_offset LIMIT ?`, table, stream, shard, int64(from), limit))
}

// Drop deletes a table with everything that belongs to it: rows of the database in one transaction, then
// its files. Statements that read it meanwhile fail. A table that is not there is no error.
func (s *Store) Drop(ctx context.Context, name string) error {
	h := s.handle(name)
	h.commit.Lock()
	defer h.commit.Unlock()
	st, err := s.State(ctx, name)
	if tarn.CodeOf(err) == tarn.CodeNotFound {
		return nil
	}
	if err != nil {
		return err
	}
	err = s.db.Tx(ctx, func(tx *metadb.Tx) error {
		for _, t := range []string{"progress", "failed_records", "table_state"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+t+" WHERE table_name = ?", name); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, "DELETE FROM removed_files WHERE table_uuid = ?", st.UUID); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "DELETE FROM tables WHERE name = ? AND uuid = ?", name, st.UUID)
		return err
	})
	if err != nil {
		return err
	}
	h.cur.Store(nil)
	var errs []error
	for info, err := range s.bucket.List(ctx, st.Prefix+"/") {
		if err != nil {
			return err
		}
		errs = append(errs, s.bucket.Delete(ctx, info.Key))
	}
	return errors.Join(errs...)
}

// Partitions groups files by their partition, as PartitionPath names it.
func (st *State) Partitions(files []DataFile) map[string][]DataFile {
	out := map[string][]DataFile{}
	for _, f := range files {
		p := PartitionPath(st.Partition, f.Partition)
		out[p] = append(out[p], f)
	}
	return out
}
