package engine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
)

// archives are the raw backups of all streams that have or had one, as tables of SQL.
type archives struct {
	mu     sync.Mutex
	cache  *raw.Cache
	byName map[string]*raw.Table // raw.STREAM; nil before the first look
}

// rawTables returns the tables in order of name.
func (e *Engine) rawTables(ctx context.Context) ([]*raw.Table, error) {
	a := &e.archives
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.byName == nil {
		cache, err := raw.NewCache(raw.CacheConfig{Dir: e.path("staging", "raw"), Duck: e.convert, Heavy: e.heavy})
		if err != nil {
			return nil, err
		}
		streams, err := raw.Streams(ctx, e.db)
		if err != nil {
			return nil, err
		}
		a.cache, a.byName = cache, map[string]*raw.Table{}
		for _, s := range streams {
			a.byName["raw."+s] = raw.NewTable(raw.Open(e.db, e.bucket, s), cache)
		}
	}
	tables := make([]*raw.Table, 0, len(a.byName))
	for _, t := range a.byName {
		tables = append(tables, t)
	}
	slices.SortFunc(tables, func(x, y *raw.Table) int { return strings.Compare(x.Stream(), y.Stream()) })
	return tables, nil
}

// rawTable finds a table by its full name, nil when there is none.
func (e *Engine) rawTable(ctx context.Context, name string) (*raw.Table, error) {
	if !strings.HasPrefix(name, "raw.") {
		return nil, nil
	}
	if _, err := e.rawTables(ctx); err != nil {
		return nil, err
	}
	e.archives.mu.Lock()
	defer e.archives.mu.Unlock()
	return e.archives.byName[name], nil
}

// newBackup returns the writer of a pipeline's raw backup, and makes the table known.
func (e *Engine) newBackup(ctx context.Context, spec project.Pipeline, s *stream.Stream) (*raw.Writer, error) {
	if _, err := e.rawTables(ctx); err != nil {
		return nil, err
	}
	m, name := e.metrics, s.Name()
	records, written, stored := m.RawRecords.WithLabelValues(name), m.RawBytes.WithLabelValues(name), m.RawFlushSeconds.WithLabelValues(name)
	w, err := raw.New(raw.Config{
		Stream: s, DB: e.db, Bucket: e.bucket, Dir: e.path("staging", fmt.Sprintf("raw-%s-%d", name, e.workers.Add(1))), Logger: e.log.With("pipeline", spec.Name),
		Metrics: raw.Metrics{
			Written: func(_ int, n, _, bytes int64, took time.Duration) {
				records.Add(float64(n))
				written.Add(float64(bytes))
				stored.Observe(took.Seconds())
			},
			Lost: func(form raw.Form, n uint64) { m.RawLost.WithLabelValues(name, string(form)).Add(float64(n)) },
		},
	})
	if err != nil {
		return nil, err
	}
	e.archives.mu.Lock()
	defer e.archives.mu.Unlock()
	if e.archives.byName["raw."+name] == nil {
		e.archives.byName["raw."+name] = raw.NewTable(w.Archive(), e.archives.cache)
	}
	return w, nil
}

// rawInfos lists the tables for the SQL service.
func (e *Engine) rawInfos(ctx context.Context) ([]query.TableInfo, error) {
	tables, err := e.rawTables(ctx)
	if err != nil {
		return nil, err
	}
	var infos []query.TableInfo
	for _, t := range tables {
		schema, err := t.Describe(ctx)
		if err != nil {
			return nil, err
		}
		infos = append(infos, query.TableInfo{Name: "raw." + t.Stream(), Schema: schema})
	}
	return infos, nil
}

// acquireRaw fixes a raw table for a statement. Its files are made when it is known which of them the
// statement looks at.
func (e *Engine) acquireRaw(ctx context.Context, t *raw.Table, at *query.AsOf) (*query.View, error) {
	if at != nil {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "raw." + t.Stream() + " has no snapshots", Hint: "leave AT out and write WHERE arrival < …"}
	}
	v, err := t.View(ctx)
	if err != nil {
		return nil, err
	}
	view := &query.View{Schema: v.Schema, Files: make([]query.File, len(v.Runs))}
	runs := make(map[string]raw.Run, len(v.Runs))
	for i, r := range v.Runs {
		url := fmt.Sprintf("raw/%s/%d/%d", t.Stream(), r.Shard, r.First)
		runs[url] = r
		view.Files[i] = query.File{URL: url, Rows: r.Records, Bytes: r.Bytes, Stats: rawStats(r)}
	}
	var mu sync.Mutex
	var releases []func() // one for every place of the statement that names the table
	view.Read = func(ctx context.Context, files []query.File) (string, error) {
		if len(files) == 0 {
			return duck.Empty(v.Schema), nil
		}
		var wanted []raw.Run
		for _, f := range files {
			wanted = append(wanted, runs[f.URL])
		}
		made, release, err := t.Parquet(ctx, v, wanted)
		if err != nil {
			return "", err
		}
		mu.Lock()
		releases = append(releases, release)
		mu.Unlock()
		var paths []string
		for _, f := range made {
			paths = append(paths, f.Path)
		}
		return duck.ReadPlainParquet(paths), nil
	}
	view.Release = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, release := range releases {
			release()
		}
	}
	return view, nil
}

// rawStats is what is known of a run without reading it.
func rawStats(r raw.Run) map[int]query.Bounds {
	bounds := func(lower, upper any) query.Bounds {
		return query.Bounds{Values: r.Records, Lower: lower, Upper: upper}
	}
	lower, upper := r.Bounds()
	return map[int]query.Bounds{
		raw.PositionID: bounds(lower, upper),
		raw.ShardID:    bounds(int64(r.Shard), int64(r.Shard)),
		raw.OffsetID:   bounds(int64(r.First), int64(r.Next-1)),
		raw.ArrivalID:  bounds(r.FirstArrival, r.LastArrival),
	}
}

// rawDocs lists the tables for tarn tables ls.
func (e *Engine) rawDocs(ctx context.Context) ([]server.TableDoc, error) {
	tables, err := e.rawTables(ctx)
	if err != nil {
		return nil, err
	}
	var docs []server.TableDoc
	for _, t := range tables {
		d, err := e.rawDoc(ctx, t)
		if err != nil {
			return nil, err
		}
		docs = append(docs, d)
	}
	return docs, nil
}

func (e *Engine) rawDoc(ctx context.Context, t *raw.Table) (server.TableDoc, error) {
	d := server.TableDoc{Name: "raw." + t.Stream(), Kind: kindBackup, Location: e.bucket.URL("raw/" + t.Stream()), Partition: []string{}, UpdatedAt: e.started}
	sums, err := t.Totals(ctx)
	if err != nil {
		return d, err
	}
	progress, err := t.Progress(ctx)
	if err != nil {
		return d, err
	}
	d.Rows, d.Files, d.Bytes = sums.Records, int(sums.Objects), sums.Bytes
	for i, p := range progress {
		if i == 0 || p.UpdatedAt.After(d.UpdatedAt) {
			d.UpdatedAt = p.UpdatedAt
		}
	}
	if p := e.running.Load().streams[t.Stream()]; p != nil {
		d.Pipeline = p.spec.Name
	}
	return d, nil
}

// rawTableDoc describes one raw table in full.
func (e *Engine) rawTableDoc(ctx context.Context, t *raw.Table) (server.TableDoc, error) {
	d, err := e.rawDoc(ctx, t)
	if err != nil {
		return d, err
	}
	schema, err := t.Describe(ctx)
	for _, f := range schema.Fields {
		d.Columns = append(d.Columns, server.ColumnDoc{ID: f.ID, Name: f.Name, Type: f.Type.SQL(), Doc: f.Doc})
	}
	return d, err
}

// describeBackup says how far the raw backup of a pipeline is; nil without one.
func describeBackup(ctx context.Context, p *pipe) (*server.RawBackupDoc, error) {
	if p.backup == nil {
		return nil, nil
	}
	s := p.backup.Status()
	d := &server.RawBackupDoc{Table: "raw." + s.Stream, State: "running", LastError: s.Error}
	if s.Error != "" {
		d.State = "retrying"
	}
	progress, err := p.backup.Archive().Progress(ctx)
	if err != nil {
		return nil, err
	}
	next := map[int]uint64{}
	for _, r := range progress {
		next[r.Shard] = r.Next
		d.Records += r.Records
		d.Expired += r.Expired
		d.Damaged += r.Damaged
		if r.Next > 0 && (d.LastObject == nil || r.UpdatedAt.After(*d.LastObject)) {
			at := r.UpdatedAt
			d.LastObject = &at
		}
	}
	for i := range p.stream.Shards() {
		st, err := p.stream.State(ctx, i)
		if err != nil {
			return nil, err
		}
		d.LagRecords += st.Next - min(st.Next, max(next[i], st.First))
	}
	return d, nil
}

// verifyRaw proves that the archives are whole and hold what their streams accepted.
func (e *Engine) verifyRaw(ctx context.Context, v *server.VerifyDoc, deep *reading, problem func(string, string, ...any)) error {
	tables, err := e.rawTables(ctx)
	if err != nil {
		return err
	}
	for _, t := range tables {
		var read func(raw.Object)
		if deep != nil {
			read = func(o raw.Object) { deep.checked("raw."+t.Stream(), o.Bytes) }
		}
		accounts, problems, err := t.Verify(ctx, read)
		if err != nil {
			return err
		}
		for _, p := range problems {
			problem(p.Subject, "%s", p.Detail)
		}
		p := e.running.Load().streams[t.Stream()]
		if p == nil || p.backup == nil {
			continue // nothing is added to it; what it holds has been counted
		}
		for _, acc := range accounts {
			a, err := rawAccount(ctx, p, acc.Progress, problem)
			if err != nil {
				return err
			}
			a.OK = a.OK && len(problems) == 0
			v.Accounts = append(v.Accounts, a)
			add(&v.Totals, a)
		}
	}
	return nil
}

// rawAccount balances one shard against its archive.
func rawAccount(ctx context.Context, p *pipe, r raw.Progress, problem func(string, string, ...any)) (server.VerifyAccount, error) {
	a := server.VerifyAccount{Stream: p.stream.Name(), Shard: r.Shard, Table: "raw." + p.stream.Name(), InTable: r.Records, Expired: r.Expired, Lost: r.Damaged, OK: true}
	st, err := p.stream.State(ctx, r.Shard) // behind the progress, which it may only be ahead of
	if err != nil {
		return a, err
	}
	a.Accepted = st.Next
	if r.Next > st.Next {
		a.OK = false
		problem(a.Table, "shard %d is backed up to offset %d, the stream ends at %d", r.Shard, r.Next, st.Next)
		return a, nil
	}
	a.Pending = st.Next - r.Next
	if st.First > r.Next { // retention went past the backup
		gone := min(st.First, st.Next) - r.Next
		a.Expired += gone
		a.Pending -= gone
	}
	if sum := a.InTable + a.Expired + a.Lost + a.Pending; sum != a.Accepted {
		a.OK = false
		problem(a.Table, "shard %d: %d accounted for, %d accepted", r.Shard, sum, a.Accepted)
	}
	return a, nil
}

// maintainRaw applies the lifecycle of the zone raw. last notes when each task ran.
func (e *Engine) maintainRaw(last map[string]time.Time) {
	tables, err := e.rawTables(e.ctx)
	if err != nil {
		e.log.Error("maintenance of raw backups failed", "error", err)
		return
	}
	keep := e.running.Load().project.Zones.Raw.ExpireAfter
	for _, t := range tables {
		name := "raw." + t.Stream()
		for _, task := range []struct {
			name  string
			every time.Duration
			due   bool
			run   func(context.Context, time.Time) (raw.Removed, error)
			age   time.Duration
		}{{"expire", expireEvery, keep > 0, t.Expire, keep}, {"orphans", orphansEvery, true, t.RemoveOrphans, orphanAge}} {
			now, key := time.Now(), name+" "+task.name
			if !task.due || now.Sub(last[key]) < task.every {
				continue
			}
			last[key] = now
			e.maintenance.Lock()
			done, err := task.run(e.ctx, now.Add(-task.age))
			e.maintenance.Unlock()
			if err != nil && e.ctx.Err() == nil {
				e.log.Error("maintenance of a raw backup failed", "table", name, "task", task.name, "error", err)
			} else if done.Objects > 0 {
				e.log.Info("raw objects removed", "table", name, "task", task.name, "objects", done.Objects, "bytes", done.Bytes)
			}
		}
	}
}
