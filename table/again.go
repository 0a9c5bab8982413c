package table

import (
	"context"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// again writes what a retry of failed records came to: those that failed again, and the counters of those
// that did not.
func again(ctx context.Context, tx *metadb.Tx, table string, c Commit, now int64) error {
	for _, f := range c.Again {
		if f.Code == "" {
			f.Code = tarn.CodeInternal
		}
		n, err := tx.Exec(ctx, "UPDATE failed_records SET stage = ?, reason = ?, code = ?, attempts = attempts + 1, failed_at = ? WHERE id = ? AND table_name = ?",
			f.Stage, storable(f.Reason), string(f.Code), now, f.ID, table)
		if err != nil {
			return err
		}
		if n != 1 {
			return noFailedRecord(f.ID)
		}
	}
	for _, b := range c.Book {
		if _, err := tx.Exec(ctx, "UPDATE progress SET rows_out = rows_out + ?, records_dropped = records_dropped + ? WHERE table_name = ? AND stream = ? AND shard = ?",
			int64(b.Rows), int64(b.Dropped), table, b.Stream, b.Shard); err != nil {
			return err
		}
	}
	return nil
}

// storable is a reason without what texts of a database cannot hold.
func storable(reason string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(reason, "\x00", ""), "\uFFFD")
}

// FailedIDs returns the ids that f selects, in order; After and Limit page through them.
func (s *Store) FailedIDs(ctx context.Context, f FailedFilter) ([]int64, error) {
	if f.Limit <= 0 {
		f.Limit = 100
	}
	where, args := f.where(true)
	return metadb.Column[int64](s.db.Query(ctx, "SELECT id FROM failed_records WHERE "+where+" ORDER BY id LIMIT ?", append(args, f.Limit)...))
}

// FailedTables returns the tables that have failed records which f selects, in order of name.
func (s *Store) FailedTables(ctx context.Context, f FailedFilter) ([]string, error) {
	where, args := f.where(false)
	return metadb.Column[string](s.db.Query(ctx, "SELECT DISTINCT table_name FROM failed_records WHERE "+where+" ORDER BY table_name", args...))
}
