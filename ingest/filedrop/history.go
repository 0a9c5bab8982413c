package filedrop

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tarn-data/tarn/metadb"
)

// TakenFile is what is known of a file that was taken, or is being taken.
type TakenFile struct {
	Pipeline   string
	Outcome           // of a file that is being taken only File, Hash, Bytes, Take and Format
	Algorithm  string // of the hash: blake3, or sha256 for a file that an older version took first
	State      string // taking, done or failed
	ModifiedAt time.Time
	TakenAt    time.Time
	FinishedAt time.Time // zero while it is being taken
	Original   string    // key in the lake; empty when its lifecycle has removed it
}

// Count returns how many files were taken.
func (o *Originals) Count(ctx context.Context) (n int, err error) {
	err = o.db.QueryRow(ctx, "SELECT count(*) FROM taken_files").Scan(&n)
	return n, err
}

// Each calls f with every file that was taken, in order of pipeline and time, until f returns an error.
func (o *Originals) Each(ctx context.Context, f func(TakenFile) error) error {
	rows, err := o.db.Query(ctx, "SELECT pipeline, hash, algorithm, take, name, size, modified, state, outcome, taken_at, finished_at, original_gone FROM taken_files ORDER BY pipeline, taken_at, hash, take")
	if err != nil {
		return fmt.Errorf("read taken files: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var t TakenFile
		var x original
		var take int
		var modified, taken, finished, gone int64
		var outcome []byte
		if err := rows.Scan(&t.Pipeline, &x.hash, &t.Algorithm, &take, &x.name, &x.size, &modified, &t.State, &outcome, &taken, &finished, &gone); err != nil {
			return fmt.Errorf("read taken files: %w", err)
		}
		if err := json.Unmarshal(outcome, &t.Outcome); err != nil {
			return fmt.Errorf("read taken files: %w", err)
		}
		t.Outcome.File, t.Outcome.Hash, t.Outcome.Bytes, t.Outcome.Take = x.name, x.hash, x.size, take
		t.ModifiedAt, t.TakenAt = time.Unix(0, modified).UTC(), metadb.Time(taken)
		if finished != 0 {
			t.FinishedAt = metadb.Time(finished)
		}
		if x.pipeline = t.Pipeline; gone == 0 {
			t.Original = x.key()
		}
		if err := f(t); err != nil {
			return err
		}
	}
	return rows.Err()
}
