package engine

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/ingest/httpdoor"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/table"
)

// doors finds the streams that take records.
type doors struct{ e *Engine }

// Lookup implements httpdoor.Streams.
func (d doors) Lookup(name string) (httpdoor.Target, bool) {
	p := d.e.running.Load().streams[name]
	if p == nil || !p.spec.Source.HTTP {
		return httpdoor.Target{}, false
	}
	l, kind := d.e.limits, httpdoor.RecordsJSON
	if p.spec.Records == project.RecordsOpaque {
		kind = httpdoor.RecordsOpaque
	}
	return httpdoor.Target{Stream: p.stream, Shards: p.spec.Stream.Shards, Records: kind, KeyPath: p.spec.Stream.PartitionKey,
		Limits: record.Limits{RecordBytes: int(l.RecordBytes), BodyBytes: int(l.BodyBytes)}}, true
}

// source gives the SQL service the tables: committed files and the hot tail at one instant.
type source struct{ e *Engine }

// Tables implements query.Source.
func (s source) Tables(ctx context.Context) ([]query.TableInfo, error) {
	names, err := s.e.tableNames(ctx)
	if err != nil {
		return nil, err
	}
	infos := make([]query.TableInfo, 0, len(names))
	for _, n := range names {
		st, err := s.e.store.State(ctx, n)
		if tarn.CodeOf(err) == tarn.CodeNotFound {
			continue // dropped in between
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, query.TableInfo{Name: n, Schema: st.Schema})
	}
	archived, err := s.e.rawInfos(ctx)
	if err != nil {
		return nil, err
	}
	external, err := s.e.externalInfos(ctx)
	if err != nil {
		return nil, err
	}
	passed, err := s.e.cleanedInfos(ctx)
	if err != nil {
		return nil, err
	}
	infos = slices.Concat(infos, archived, external, passed, s.e.twinInfos())
	slices.SortFunc(infos, func(a, b query.TableInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos, nil
}

// firstRows is how long a query waits for the first rows of a table whose records have been
// acknowledged: as long as records may take to be visible.
const firstRows = time.Second

// tableNames lists the tables. One that is about to get its first rows is waited for, once.
func (e *Engine) tableNames(ctx context.Context) ([]string, error) {
	for {
		names, err := e.store.Names(ctx)
		if err != nil || !e.expecting(ctx, names) {
			return names, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// hasRows reports whether a delivery has brought anything to its table.
func (e *Engine) hasRows(ctx context.Context, d *runningDelivery) bool {
	st, err := e.store.State(ctx, d.spec.Table)
	w := d.worker.Status()
	return err != nil || st.Rows > 0 || w.TailRows > 0 || w.TailFailed > 0
}

// expecting reports whether a delivery has records and no rows yet, and has not been waited for long
// enough.
func (e *Engine) expecting(ctx context.Context, names []string) bool {
	for p, d := range e.running.Load().eachDelivery() {
		if d.spec.Table == "" || d.settled.Load() {
			continue
		}
		if slices.Contains(names, d.spec.Table) && e.hasRows(ctx, d) {
			d.settled.Store(true)
			continue
		}
		var records uint64
		for i := range p.stream.Shards() {
			st, err := p.stream.State(ctx, i)
			if err != nil {
				return false
			}
			records += st.Next
		}
		if records == 0 {
			continue
		}
		now := time.Now().UnixNano()
		d.awaited.CompareAndSwap(0, now)
		st := d.worker.Status()
		if st.Paused || st.Error != "" || now-d.awaited.Load() > int64(firstRows) {
			d.settled.Store(true)
			continue
		}
		return true
	}
	return false
}

// Acquire implements query.Source.
func (s source) Acquire(ctx context.Context, name string, at *query.AsOf) (*query.View, error) {
	if t, err := s.e.rawTable(ctx, name); err != nil {
		return nil, err
	} else if t != nil {
		return s.e.acquireRaw(ctx, t, at)
	}
	if t, err := s.e.cleanedTable(ctx, name); err != nil {
		return nil, err
	} else if t != nil {
		return acquireCleaned(ctx, t, at)
	}
	if t := s.e.twinTable(name); t != nil {
		return s.e.acquireTwin(ctx, t, at)
	}
	if t, err := s.e.external(ctx, name); err != nil || t != nil {
		if err != nil {
			return nil, err
		}
		return acquireExternal(t, at)
	}
	var v delivery.View
	var err error
	if w := s.e.worker(name); w != nil && at == nil {
		v, err = w.View(ctx)
	} else {
		var as *table.AsOf
		if at != nil {
			as = &table.AsOf{Time: at.Time, Snapshot: at.Snapshot}
		}
		v.State, v.Release, err = s.e.store.Acquire(ctx, name, as)
	}
	if err != nil {
		return nil, err
	}
	c, err := s.e.files(ctx, v.State)
	if err != nil {
		v.Release()
		return nil, err
	}
	view := &query.View{Schema: v.State.Schema, Files: c.files, Plain: c.plain, Release: v.Release}
	if len(v.Tail) > 0 {
		tail := queryFiles(v.Tail, true)
		view.Files = append(c.files[:len(c.files):len(c.files)], tail...)
		view.Plain = c.plain && allHold(tail, c.leaves)
	}
	return view, nil
}

// files returns the files of a state as queries want them, and remembers the last answer for each
// table: the same state is asked for again and again.
func (e *Engine) files(ctx context.Context, st *table.State) (cachedFiles, error) {
	e.views.mu.Lock()
	c, ok := e.views.last[st.Name]
	e.views.mu.Unlock()
	if ok && c.uuid == st.UUID && c.version == st.Version && c.snapshot == st.SnapshotID {
		return c, nil
	}
	files, err := e.store.Files(ctx, st)
	if err != nil {
		return c, err
	}
	c = cachedFiles{uuid: st.UUID, version: st.Version, snapshot: st.SnapshotID, files: queryFiles(files, false)}
	var mapped bool // some leaf needs the mapping whatever the files are
	c.leaves, mapped = leaves(nil, st.Schema.Fields)
	promoted, err := st.Promoted()
	if err != nil {
		return c, err
	}
	c.plain = !mapped && !promoted && allHold(c.files, c.leaves)
	if len(c.files) > e.budget.files { // I8: made anew for every query rather than kept
		return c, nil
	}
	e.views.mu.Lock()
	if e.views.last == nil {
		e.views.last = map[string]cachedFiles{}
	}
	e.views.last[st.Name] = c
	e.views.mu.Unlock()
	return c, nil
}

// leaves appends the ids of all leaf fields. mapped reports a JSON field: files hold it as text.
func leaves(ids []int, fields []tarn.Field) (_ []int, mapped bool) {
	for _, f := range fields {
		var m bool
		switch f.Type.Kind {
		case tarn.Struct:
			ids, m = leaves(ids, f.Type.Fields)
		case tarn.List:
			ids, m = leaves(ids, []tarn.Field{*f.Type.Elem})
		case tarn.Map:
			ids, m = leaves(ids, []tarn.Field{*f.Type.Key, *f.Type.Elem})
		default:
			ids, m = append(ids, f.ID), f.Type.Kind == tarn.JSON
		}
		mapped = mapped || m
	}
	return ids, mapped
}

// allHold reports whether every file has statistics, and so a column, for each of the leaf fields.
func allHold(files []query.File, leaves []int) bool {
	for _, f := range files {
		for _, id := range leaves {
			if _, ok := f.Stats[id]; !ok {
				return false
			}
		}
	}
	return true
}

// views is the cache of Engine.files.
type views struct {
	mu   sync.Mutex
	last map[string]cachedFiles
}

type cachedFiles struct {
	uuid              string
	version, snapshot int64
	files             []query.File
	leaves            []int // ids of the schema's leaf fields
	plain             bool  // see query.View.Plain
}

func queryFiles(files []table.DataFile, tail bool) []query.File {
	out := make([]query.File, len(files))
	for i, f := range files {
		stats := make(map[int]query.Bounds, len(f.Columns))
		for id, c := range f.Columns {
			stats[id] = query.Bounds{Values: c.Values, Nulls: c.Nulls, NaNs: c.NaNs, Lower: c.Lower, Upper: c.Upper}
		}
		out[i] = query.File{URL: f.Path, Rows: f.Rows, Bytes: f.Bytes, Stats: stats, Tail: tail}
	}
	return out
}

// state returns a table's state, nil when there is no such table yet.
func (e *Engine) state(ctx context.Context, name string) (*table.State, error) {
	st, err := e.store.State(ctx, name)
	if tarn.CodeOf(err) == tarn.CodeNotFound {
		return nil, nil
	}
	return st, err
}
