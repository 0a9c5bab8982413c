package twin

import (
	"context"
	"slices"
	"strings"
	"time"
)

// tend does what is due for a twin: loading, seeing others' writes, deleting what has expired. more
// says that loading goes on.
func (t *Twin) tend(ctx context.Context) (more bool, err error) {
	t.write.Lock()
	defer t.write.Unlock()
	if t.s.o.Shared {
		if err := t.refresh(ctx); err != nil {
			return false, err
		}
	}
	if more, err = t.load(ctx); err != nil || more {
		return more, err
	}
	return false, t.sweep(ctx)
}

// load brings the next components into memory. Reads go to the database for those that have not come
// yet.
func (t *Twin) load(ctx context.Context) (more bool, err error) {
	at := t.cache.coverage.Load()
	if at.all || t.stopped {
		return false, nil
	}
	rows, end, err := t.chunk(ctx, []byte(at.upTo+"\x01"), nil)
	if err != nil {
		return false, err
	}
	next := &coverage{all: end}
	if len(rows) > 0 {
		next.upTo = rows[len(rows)-1].component
	}
	t.cache.fill(rows)
	t.cache.coverage.Store(next)
	t.cache.shrink()
	t.stopped = t.cache.coverage.Load() != next // I8: it shrank
	if t.stopped {
		t.s.o.Logger.Info("a twin is larger than the memory for it; what is not read often comes from the database", "twin", t.name, "bytes", t.s.used.Load())
	}
	return !end && !t.stopped, nil
}

// refresh sees what has been written since version, by whichever node. The caller holds write.
func (t *Twin) refresh(ctx context.Context) error {
	var version int64
	if err := t.s.db.QueryRow(ctx, "SELECT version FROM twins WHERE id = ?", t.id).Scan(&version); err != nil {
		return err
	}
	for t.version < version {
		rows, err := t.rows(ctx, t.s.db, selectRows+"AND version > ? AND version <= ? ORDER BY version, name LIMIT ?", t.id, t.version, version, MaxUpdates)
		if err != nil {
			return err
		}
		full := len(rows) == MaxUpdates
		for i := 0; i < len(rows); {
			end := i
			for end < len(rows) && rows[end].version == rows[i].version {
				end++
			}
			if full && end == len(rows) && i > 0 {
				break // the rest of this version is on the next page; none is longer than a page
			}
			changes := make([]change, 0, end-i)
			for _, r := range rows[i:end] {
				changes = append(changes, r.change)
			}
			t.show(changes)
			t.version = rows[i].version
			t.feed.add(t.version, changes)
			i = end
		}
		if !full {
			t.version = version // all of the last versions has been written over or deleted
		}
	}
	t.cache.shrink()
	return nil
}

// sweepEvery is how often what has expired is deleted. It is hidden before.
const sweepEvery = time.Minute

// sweep deletes what has expired. Who would have lost against it has expired too, so its absence
// changes nothing. Where not everything is in memory it goes through the rows, a chunk at a time.
func (t *Twin) sweep(ctx context.Context) error {
	now, expire := t.s.o.Clock(), t.spec.Load().ExpireAfter
	if expire <= 0 || len(t.sweepFrom) == 0 && now.Sub(t.swept) < min(sweepEvery, expire) {
		return nil
	}
	horizon := t.horizon()
	if t.cache.coverage.Load().all {
		t.swept, t.sweepFrom = now, nil
		return t.bury(ctx, t.cache.expired(horizon), horizon)
	}
	rows, end, err := t.chunk(ctx, t.sweepFrom, nil)
	if err != nil {
		return err
	}
	if t.swept, t.sweepFrom = now, nil; !end {
		t.sweepFrom = []byte(rows[len(rows)-1].component + "\x01")
	}
	var gone []change
	for i := range rows {
		if rows[i].entry.at <= horizon {
			gone = append(gone, rows[i].change)
		}
	}
	return t.bury(ctx, gone, horizon)
}

// bury deletes values that have expired, unless something newer has taken their place since, and tells
// the watchers.
func (t *Twin) bury(ctx context.Context, gone []change, horizon int64) error {
	slices.SortFunc(gone, compareChanges)
	for group := range slices.Chunk(gone, 500) {
		args := []any{t.id, horizon}
		for i := range group {
			args = append(args, storedName(group[i].key()))
		}
		if _, err := t.s.db.Exec(ctx, "DELETE FROM twin_values WHERE twin = ? AND written_at <= ? AND name IN (?"+strings.Repeat(", ?", len(group)-1)+")", args...); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		t.cache.drop(horizon)
	}
	t.feed.expire(slices.DeleteFunc(gone, func(c change) bool { return c.entry.kind == Removed }))
	return nil
}

// forget drops what is in memory, because it may be older than the database. The caller holds write.
func (t *Twin) forget() {
	t.cache.reset()
	t.stopped = false
	t.feed.gap(t.version)
	t.s.nudge()
}
