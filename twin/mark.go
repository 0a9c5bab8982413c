package twin

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/tarn-data/tarn/metadb"
)

// Mark is a moment of a twin in its database. A writer that keeps its progress elsewhere notes one with it, to find out
// whether the twin was put back to an earlier moment.
type Mark struct {
	Twin       string
	Generation string // another one begins from nothing
	Version    int64  // grows with every change
}

// Before reports whether the twin at m lacks something that it had at o.
func (m Mark) Before(o Mark) bool {
	return m.Twin == o.Twin && (m.Generation != o.Generation || m.Version < o.Version)
}

// Mark returns a moment behind all that this process has applied.
func (t *Twin) Mark() Mark {
	t.write.Lock()
	defer t.write.Unlock()
	return Mark{t.name, t.generation, t.version}
}

// Stored returns where the database is now.
func (t *Twin) Stored(ctx context.Context) (Mark, error) {
	m := Mark{Twin: t.name}
	err := t.s.db.QueryRow(ctx, "SELECT generation, version FROM twins WHERE name = ?", t.name).Scan(&m.Generation, &m.Version)
	if errors.Is(err, sql.ErrNoRows) {
		return m, nil
	}
	return m, err
}

// Size is how large a twin is.
type Size struct {
	Values      int64     // while not all are in memory, with those that were removed, have expired or are hidden
	MemoryBytes int64     // about
	Newest      time.Time // the time of its newest value; zero without any
}

// Size returns how large the twin is.
func (t *Twin) Size(ctx context.Context) (Size, error) {
	values, bytes, newest := t.cache.size(t.view())
	if !t.cache.coverage.Load().all {
		var at sql.NullInt64
		if err := t.s.db.QueryRow(ctx, "SELECT COUNT(*), MAX(written_at) FROM twin_values WHERE twin = ?", t.id).Scan(&values, &at); err != nil {
			return Size{}, err
		}
		newest = at.Int64
	}
	s := Size{Values: values, MemoryBytes: bytes}
	if values > 0 {
		s.Newest = metadb.Time(newest)
	}
	return s, nil
}
