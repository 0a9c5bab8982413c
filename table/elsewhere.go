package table

import (
	"context"
	"fmt"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// Record commits progress, failed records and documents of a delivery whose rows are not in a table
// here, under the name of the delivery. also, which may be nil, runs in the same transaction. Files of c
// are not looked at.
//
// tarn.CodeConflict when the progress is not where c begins: somebody else has delivered.
func (s *Store) Record(ctx context.Context, delivery string, c Commit, also func(*metadb.Tx) error) error {
	return s.db.Tx(ctx, func(tx *metadb.Tx) error {
		if err := s.record(ctx, tx, delivery, c); err != nil || also == nil {
			return err
		}
		return also(tx)
	})
}

// SetProgress makes the progress of a delivery what the database it delivers to says it is, for when
// one of the two was restored from a copy. Failed records from there on go: they are going to be read
// again. Those before count as failed as long as they are kept, and as dropped otherwise, so that
// nothing disappears from the account (I3).
func (s *Store) SetProgress(ctx context.Context, delivery string, rows []ProgressRow) error {
	now := metadb.Micros(s.opts.Clock())
	return s.db.Tx(ctx, func(tx *metadb.Tx) error {
		for _, r := range rows {
			if _, err := tx.Exec(ctx, "DELETE FROM failed_records WHERE table_name = ? AND stream = ? AND shard = ? AND record_offset >= ?",
				delivery, r.Stream, r.Shard, int64(r.Next)); err != nil {
				return err
			}
			var kept int64
			if err := tx.QueryRow(ctx, "SELECT COUNT(*) FROM failed_records WHERE table_name = ? AND stream = ? AND shard = ?", delivery, r.Stream, r.Shard).Scan(&kept); err != nil {
				return err
			}
			gone := int64(r.Failed+r.Dropped) - kept
			if gone < 0 {
				return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the delivery %s keeps %d failed records of stream %s shard %d and the target counts %d", delivery, kept, r.Stream, r.Shard, r.Failed+r.Dropped),
					Hint: "the target and the metadata database come from different lakes; deliver under another name"}
			}
			if _, err := tx.Exec(ctx, `INSERT INTO progress (table_name, stream, shard, next_offset, next_seq, records_in, rows_out, records_failed, records_dropped, records_expired, updated_at)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (table_name, stream, shard) DO UPDATE SET next_offset = excluded.next_offset,
				next_seq = excluded.next_seq, records_in = excluded.records_in, rows_out = excluded.rows_out, records_failed = excluded.records_failed,
				records_dropped = excluded.records_dropped, records_expired = excluded.records_expired, updated_at = excluded.updated_at`,
				delivery, r.Stream, r.Shard, int64(r.Next), int64(r.NextSeq), int64(r.RecordsIn), int64(r.RowsOut), kept, gone, int64(r.Expired), now); err != nil {
				return err
			}
		}
		return nil
	})
}

// identityKey is the document of no table that names the lake.
const identityKey = "lake_id"

// Identity returns the name this lake has for others, which is unlike that of any other lake. It is
// made when it is first asked for.
func (s *Store) Identity(ctx context.Context) (string, error) {
	if _, err := s.db.Exec(ctx, "INSERT INTO table_state (table_name, key, value) VALUES ('', ?, ?) ON CONFLICT (table_name, key) DO NOTHING", identityKey, []byte(uuid.NewString())); err != nil {
		return "", err
	}
	var id []byte
	err := s.db.QueryRow(ctx, "SELECT value FROM table_state WHERE table_name = '' AND key = ?", identityKey).Scan(&id)
	return string(id), err
}
