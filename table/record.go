package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// record writes what commits together with the pointer.
func (s *Store) record(ctx context.Context, tx *metadb.Tx, table string, c Commit) error {
	now := metadb.Micros(s.opts.Clock())
	for _, p := range c.Progress {
		if err := advance(ctx, tx, table, p, now); err != nil {
			return err
		}
	}
	for _, f := range c.Failed {
		if err := s.fail(ctx, tx, table, f, now); err != nil {
			return err
		}
	}
	for _, id := range c.Expect {
		if err := expectFailed(ctx, tx, id, table); err != nil {
			return err
		}
	}
	for _, id := range c.Resolve {
		if err := takeFailed(ctx, tx, id, table, "records_failed = records_failed - 1"); err != nil {
			return err
		}
	}
	if err := again(ctx, tx, table, c, now); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(c.Documents)) {
		var err error
		if v := c.Documents[key]; v == nil {
			_, err = tx.Exec(ctx, "DELETE FROM table_state WHERE table_name = ? AND key = ?", table, key)
		} else {
			_, err = tx.Exec(ctx, "INSERT INTO table_state (table_name, key, value) VALUES (?, ?, ?) ON CONFLICT (table_name, key) DO UPDATE SET value = excluded.value", table, key, v)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// advance moves the progress of one shard. The WHERE is the fence: of two deliverers that read the
// same offset one finds it moved (I2).
func advance(ctx context.Context, tx *metadb.Tx, table string, p Progress, now int64) error {
	n, err := tx.Exec(ctx, `UPDATE progress SET next_offset = ?, next_seq = ?, records_in = records_in + ?, rows_out = rows_out + ?,
		records_failed = records_failed + ?, records_dropped = records_dropped + ?, records_expired = records_expired + ?, updated_at = ?
		WHERE table_name = ? AND stream = ? AND shard = ? AND next_offset = ?`,
		int64(p.Next), int64(p.NextSeq), int64(p.RecordsIn), int64(p.RowsOut), int64(p.Failed), int64(p.Dropped), int64(p.Expired), now,
		table, p.Stream, p.Shard, int64(p.From))
	if err != nil || n == 1 {
		return err
	}
	n, err = tx.Exec(ctx, `INSERT INTO progress (table_name, stream, shard, next_offset, next_seq, records_in, rows_out, records_failed, records_dropped, records_expired, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (table_name, stream, shard) DO NOTHING`,
		table, p.Stream, p.Shard, int64(p.Next), int64(p.NextSeq), int64(p.RecordsIn), int64(p.RowsOut), int64(p.Failed), int64(p.Dropped), int64(p.Expired), now)
	if err != nil || n == 1 {
		return err
	}
	return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the progress of table %s in stream %s shard %d is not at offset %d", table, p.Stream, p.Shard, p.From),
		Hint: "another delivery committed: read the progress and go on from there"}
}

// fail keeps a failed record. One that failed before, as in a replay, counts one more attempt.
func (s *Store) fail(ctx context.Context, tx *metadb.Tx, table string, f FailedRecord, now int64) error {
	at := now
	if !f.FailedAt.IsZero() {
		at = metadb.Micros(f.FailedAt)
	}
	if f.Record == nil {
		f.Record = []byte{}
	}
	if f.Code == "" {
		f.Code = tarn.CodeInternal
	}
	_, err := tx.Exec(ctx, `INSERT INTO failed_records (pipeline, table_name, stream, shard, record_offset, stage, reason, code, attempts, arrival, failed_at, record)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (table_name, stream, shard, record_offset, stage) DO UPDATE SET
		attempts = failed_records.attempts + excluded.attempts, reason = excluded.reason, code = excluded.code, failed_at = excluded.failed_at`,
		f.Pipeline, table, f.Stream, f.Shard, int64(f.Offset), f.Stage, storable(f.Reason), string(f.Code), max(f.Attempts, 1), metadb.Micros(f.Arrival), at, f.Record)
	return err
}

// takeFailed deletes one failed record and books it out of the progress of its shard. CodeConflict
// when it is gone: somebody else settled it.
func takeFailed(ctx context.Context, tx *metadb.Tx, id int64, table, book string) error {
	var name, stream string
	var shard int
	err := tx.QueryRow(ctx, "SELECT table_name, stream, shard FROM failed_records WHERE id = ?", id).Scan(&name, &stream, &shard)
	if errors.Is(err, sql.ErrNoRows) || err == nil && table != "" && name != table {
		return noFailedRecord(id)
	}
	if err != nil {
		return err
	}
	n, err := tx.Exec(ctx, "DELETE FROM failed_records WHERE id = ?", id)
	if err != nil {
		return err
	}
	if n != 1 {
		return noFailedRecord(id)
	}
	_, err = tx.Exec(ctx, "UPDATE progress SET "+book+" WHERE table_name = ? AND stream = ? AND shard = ?", name, stream, shard)
	return err
}

// expectFailed returns CodeConflict when a failed record is gone.
func expectFailed(ctx context.Context, tx *metadb.Tx, id int64, table string) error {
	var one int
	err := tx.QueryRow(ctx, "SELECT 1 FROM failed_records WHERE id = ? AND table_name = ?", id, table).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return noFailedRecord(id)
	}
	return err
}

func noFailedRecord(id int64) error {
	return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("there is no failed record %d", id), Hint: "it has been replayed or dropped already"}
}

// Progress returns where the table stands in every shard that feeds it; all tables when empty.
func (s *Store) Progress(ctx context.Context, table string) ([]ProgressRow, error) {
	rows, err := s.db.Query(ctx, `SELECT table_name, stream, shard, next_offset, next_seq, records_in, rows_out, records_failed, records_dropped, records_expired, updated_at
		FROM progress WHERE ? = '' OR table_name = ? ORDER BY table_name, stream, shard`, table, table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []ProgressRow
	for rows.Next() {
		var r ProgressRow
		var n [7]int64
		var at int64
		if err := rows.Scan(&r.Table, &r.Stream, &r.Shard, &n[0], &n[1], &n[2], &n[3], &n[4], &n[5], &n[6], &at); err != nil {
			return nil, err
		}
		r.Next, r.NextSeq, r.RecordsIn, r.RowsOut = uint64(n[0]), uint64(n[1]), uint64(n[2]), uint64(n[3])
		r.Failed, r.Dropped, r.Expired, r.UpdatedAt = uint64(n[4]), uint64(n[5]), uint64(n[6]), metadb.Time(at)
		out = append(out, r)
	}
	return out, rows.Err()
}

// where returns the condition of a filter.
func (f FailedFilter) where(paging bool) (string, []any) {
	cond, args := []string{"1 = 1"}, []any(nil)
	for _, c := range []struct{ column, value string }{{"pipeline", f.Pipeline}, {"table_name", f.Table}, {"stream", f.Stream}, {"stage", f.Stage}} {
		if c.value != "" {
			cond, args = append(cond, c.column+" = ?"), append(args, c.value)
		}
	}
	if f.Tables != nil {
		cond = append(cond, "table_name IN (NULL"+strings.Repeat(", ?", len(f.Tables))+")")
		for _, name := range f.Tables {
			args = append(args, name)
		}
	}
	if len(f.IDs) > 0 {
		cond = append(cond, "id IN (?"+strings.Repeat(", ?", len(f.IDs)-1)+")")
		for _, id := range f.IDs {
			args = append(args, id)
		}
	}
	if !f.Since.IsZero() {
		cond, args = append(cond, "failed_at >= ?"), append(args, metadb.Micros(f.Since))
	}
	if paging {
		cond, args = append(cond, "id > ?"), append(args, f.After)
	}
	return strings.Join(cond, " AND "), args
}

// FailedRecords returns failed records in order of their ids.
func (s *Store) FailedRecords(ctx context.Context, f FailedFilter) ([]FailedRecord, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	where, args := f.where(true)
	rows, err := s.db.Query(ctx, `SELECT id, pipeline, table_name, stream, shard, record_offset, stage, reason, code, attempts, arrival, failed_at, record
		FROM failed_records WHERE `+where+" ORDER BY id LIMIT ?", append(args, f.Limit)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []FailedRecord
	for rows.Next() {
		var r FailedRecord
		var offset, arrival, failed int64
		if err := rows.Scan(&r.ID, &r.Pipeline, &r.Table, &r.Stream, &r.Shard, &offset, &r.Stage, &r.Reason, &r.Code, &r.Attempts, &arrival, &failed, &r.Record); err != nil {
			return nil, err
		}
		r.Offset, r.Arrival, r.FailedAt = uint64(offset), metadb.Time(arrival), metadb.Time(failed)
		out = append(out, r)
	}
	return out, rows.Err()
}

// CountFailed returns how many failed records f selects; After and Limit do not count.
func (s *Store) CountFailed(ctx context.Context, f FailedFilter) (int64, error) {
	where, args := f.where(false)
	var n int64
	err := s.db.QueryRow(ctx, "SELECT COUNT(*) FROM failed_records WHERE "+where, args...).Scan(&n)
	return n, err
}

// DropFailed deletes failed records for good, all of them or none; progress counts them as dropped.
// CodeConflict when one does not exist.
func (s *Store) DropFailed(ctx context.Context, ids []int64) (int, error) {
	err := s.db.Tx(ctx, func(tx *metadb.Tx) error {
		for _, id := range ids {
			if err := takeFailed(ctx, tx, id, "", "records_failed = records_failed - 1, records_dropped = records_dropped + 1"); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(ids), nil
}

// Documents returns the documents committed with the table.
func (s *Store) Documents(ctx context.Context, table string) (map[string][]byte, error) {
	return documents(s.db.Query(ctx, "SELECT key, value FROM table_state WHERE table_name = ?", table))
}

// documents reads rows of names and contents.
func documents(rows *sql.Rows, err error) (map[string][]byte, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out := map[string][]byte{}
	for rows.Next() {
		var key string
		var value []byte
		if err := rows.Scan(&key, &value); err != nil {
			return nil, err
		}
		out[key] = value
	}
	return out, rows.Err()
}
