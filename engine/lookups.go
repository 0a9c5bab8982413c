package engine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/extract"
)

// lookups keeps the tables that one extract joins, each at a snapshot.
type lookups struct {
	e       *Engine
	tables  []extract.Joined
	refresh time.Duration

	mu      sync.Mutex
	cur     *delivery.Lookups
	version string // of the snapshots in cur
	looked  time.Time
}

func (e *Engine) newLookups(q extract.Query, refresh time.Duration) *lookups {
	return &lookups{e: e, tables: q.Tables, refresh: refresh}
}

// current returns the tables as they were when they were last looked at, which is at most refresh ago.
// CodeNotFound while a table has had no rows.
func (l *lookups) current(ctx context.Context) (*delivery.Lookups, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur != nil && time.Since(l.looked) < l.refresh {
		return l.cur, nil
	}
	version, err := l.versions(ctx)
	if err != nil {
		return nil, err
	}
	l.looked = time.Now()
	if l.cur != nil && version == l.version {
		return l.cur, nil
	}
	next, err := l.take(ctx)
	if err != nil {
		return nil, err
	}
	l.cur.Release()
	l.cur, l.version = next, version
	return next, nil
}

// versions names the snapshots that the tables have now.
func (l *lookups) versions(ctx context.Context) (string, error) {
	var b strings.Builder
	for _, t := range l.tables {
		st, err := l.e.state(ctx, t.Table)
		if err != nil {
			return "", err
		}
		if st == nil || st.SnapshotID == 0 { // a table is made before its first rows are committed
			return "", &tarn.Error{Code: tarn.CodeNotFound, Detail: "the table " + t.Table + ", which the extract joins, has had no rows yet", Hint: "its records wait until it has"}
		}
		fmt.Fprintf(&b, "%s %d %d\n", st.UUID, st.SnapshotID, st.SchemaID)
	}
	return b.String(), nil
}

// take leases the newest snapshot of every table.
func (l *lookups) take(ctx context.Context) (_ *delivery.Lookups, err error) {
	var with []string
	var releases []func()
	free := func() {
		for _, r := range releases {
			r()
		}
	}
	defer func() {
		if err != nil {
			free()
		}
	}()
	for _, t := range l.tables {
		st, release, err := l.e.store.Acquire(ctx, t.Table, nil)
		if err != nil {
			return nil, err
		}
		releases = append(releases, release)
		files, err := l.e.store.Files(ctx, st)
		if err != nil {
			return nil, err
		}
		paths := make([]string, len(files))
		for i, f := range files {
			paths[i] = f.Path
		}
		with = append(with, t.As+" AS (SELECT * FROM "+duck.ReadParquet(paths, st.Schema)+")")
	}
	return delivery.NewLookups(strings.Join(with, ", "), free), nil
}

// close lets go of the tables.
func (l *lookups) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cur.Release()
	l.cur = nil
}
