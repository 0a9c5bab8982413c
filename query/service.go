package query

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// Service runs SELECT statements. It is safe for concurrent use.
type Service struct {
	o       Options
	db      *duck.DB
	exports string // folder of Parquet results on their way
	planner *planner
	slots   chan struct{} // statements running
	queue   chan struct{} // statements running or waiting
	texts   *cache[string, *statement]
	plans   *cache[string, filters]
	log     *queryLog
	guard   *guard
	wg      sync.WaitGroup
}

// New starts the service. Errors: tarn.CodeInvalid for options.
func New(o Options) (*Service, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	exports, err := os.MkdirTemp(o.TempDir, "tarn-export-")
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the temporary folder can not be written", Err: err}
	}
	db, err := duck.Open(duck.Options{MemoryBytes: o.MemoryBytes, Threads: o.Threads, TempDir: o.TempDir,
		AllowedDirs: append([]string{exports}, o.AllowedDirs...), MaxConns: o.MaxConcurrent + 4, CacheMetadata: true, Logger: o.Logger})
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(exports))
	}
	p, err := newPlanner()
	if err != nil {
		return nil, errors.Join(err, db.Close(), os.RemoveAll(exports))
	}
	s := &Service{o: o, db: db, exports: exports, planner: p, log: newQueryLog(),
		slots: make(chan struct{}, o.MaxConcurrent), queue: make(chan struct{}, 2*o.MaxConcurrent),
		texts: newCache[string, *statement](1000), plans: newCache[string, filters](1000)}
	s.guard = newGuard(o.MaxResidentBytes)
	return s, nil
}

// Close waits for the results that are open to be closed, then frees the instance. No statement may
// be started after it.
func (s *Service) Close() error {
	s.wg.Wait()
	s.guard.close()
	return errors.Join(s.db.Close(), s.planner.db.Close(), os.RemoveAll(s.exports))
}

// Memory returns the bytes DuckDB uses for statements now.
func (s *Service) Memory(ctx context.Context) (int64, error) { return s.db.Memory(ctx) }

// Run starts a statement. The rows are made while the Result is read; it must be closed. When ctx
// is done the statement ends at once. Errors: tarn.CodeInvalid (syntax, names of columns, types,
// parameters; with line and column), tarn.CodeNotFound (a table), tarn.CodeForbidden (anything but
// reading tables), tarn.CodeTimeout, tarn.CodeTooLarge (memory, text), tarn.CodeBusy, tarn.CodeCanceled.
func (s *Service) Run(ctx context.Context, req Request) (*Result, error) {
	r := &run{s: s, req: req, started: s.o.Clock(), entry: LogEntry{SQL: req.SQL}}
	s.wg.Add(1)
	res, err := r.start(ctx)
	if err != nil {
		r.finish(err)
		return nil, err
	}
	return res, nil
}

// run is one statement on its way.
type run struct {
	s       *Service
	req     Request
	started time.Time
	ctx     context.Context
	ends    []func() // undone in reverse when the statement is over
	once    sync.Once
	entry   LogEntry
	st      *statement
	views   []view

	temporary bool // tables were made in the connection
}

// view is a target as one ref sees it.
type view struct {
	target target
	at     *AsOf
	schema tarn.Schema
	files  []File
	kept   []File
	plain  bool // see View.Plain
	read   func(context.Context, []File) (string, error)
	sql    string // what stands for the table in the statement
	stub   string
}

func (r *run) finish(err error) {
	r.once.Do(func() {
		for i := len(r.ends) - 1; i >= 0; i-- {
			r.ends[i]()
		}
		r.entry.Started = r.started
		r.entry.Elapsed = r.s.o.Clock().Sub(r.started)
		if err != nil {
			r.entry.Code, r.entry.Error = tarn.CodeOf(err), userText(err)
		}
		r.s.log.add(r.entry)
		if r.s.o.OnQuery != nil {
			r.s.o.OnQuery(r.entry)
		}
		r.s.wg.Done()
	})
}

func (r *run) start(ctx context.Context) (*Result, error) {
	timeout := r.s.o.Timeout
	if r.req.Timeout > 0 {
		timeout = min(timeout, r.req.Timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	r.ends = append(r.ends, cancel)
	if err := r.admit(ctx); err != nil {
		return nil, err
	}
	ctx, done := r.s.guard.watch(ctx)
	r.ends = append(r.ends, done)
	r.ctx = ctx
	res, err := r.execute(ctx)
	if err != nil {
		return nil, r.explain(ctx, err)
	}
	return res, nil
}

// admit waits for one of the places; the line is bounded.
func (r *run) admit(ctx context.Context) error {
	select {
	case r.s.queue <- struct{}{}:
	default:
		return &tarn.Error{Code: tarn.CodeBusy, Detail: "too many statements are running", Hint: "try again in a moment"}
	}
	select {
	case r.s.slots <- struct{}{}:
		r.ends = append(r.ends, func() { <-r.s.slots; <-r.s.queue })
		return nil
	case <-ctx.Done():
		<-r.s.queue
		return ended(ctx, nil)
	}
}

func ended(ctx context.Context, cause error) error {
	if errors.Is(context.Cause(ctx), errResident) {
		return &tarn.Error{Code: tarn.CodeTooLarge, Detail: "the statement needs more memory than the server has",
			Hint: "read fewer rows or columns, or filter earlier", Err: cause}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &tarn.Error{Code: tarn.CodeTimeout, Detail: "the statement took longer than it may", Hint: "read less data, or raise limits.query_timeout in tarn.yaml", Err: cause}
	}
	return &tarn.Error{Code: tarn.CodeCanceled, Detail: "the statement was cancelled", Err: cause}
}

func (r *run) execute(ctx context.Context) (*Result, error) {
	s := r.s
	st, ok := s.texts.get(r.req.SQL)
	if !ok {
		var err error
		if st, err = analyze(ctx, s.planner.db, r.req.SQL); err != nil {
			return nil, HintAt(err, r.req.SQL)
		}
		if len(r.req.SQL) <= maxCachedBytes {
			s.texts.put(r.req.SQL, st)
		}
	}
	r.st = st
	params, err := st.literals(r.req.Params)
	if err != nil {
		return nil, err
	}
	if err := r.reach(ctx, st); err != nil {
		return nil, err
	}
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	r.ends = append(r.ends, func() {
		if r.temporary {
			conn.Close()
			return
		}
		conn.Release()
	})
	if st.lists {
		return r.listTables(ctx, conn, st)
	}
	if err := r.acquire(ctx, conn, st, params); err != nil {
		return nil, err
	}
	if err := r.prune(ctx, st, params); err != nil {
		return nil, err
	}
	for i := range r.views {
		if v := &r.views[i]; v.sql == "" && v.read != nil {
			if v.sql, err = v.read(ctx, v.kept); err != nil {
				return nil, err
			}
		} else if v.sql == "" {
			v.sql = readFiles(v.kept, v.schema, v.plain)
		}
	}
	sql := st.explain + fill(st.pieces, params, func(i int) string { return r.views[i].sql })
	if st.explain != "" {
		return r.explained(ctx, conn, sql)
	}
	return r.output(ctx, conn, sql)
}

func readFiles(files []File, schema tarn.Schema, plain bool) string {
	urls := make([]string, len(files))
	for i, f := range files {
		urls[i] = f.URL
	}
	if plain && len(urls) > 0 {
		return duck.ReadPlainParquet(urls)
	}
	return duck.ReadParquet(urls, schema)
}

// fill puts tables and parameters into their places.
func fill(pieces []piece, params []string, table func(int) string) string {
	var b strings.Builder
	for _, p := range pieces {
		switch {
		case p.ref >= 0:
			b.WriteString(table(p.ref))
		case p.param > 0:
			b.WriteString(params[p.param-1])
		default:
			b.WriteString(p.text)
		}
	}
	return b.String()
}
