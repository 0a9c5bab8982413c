package duck

import (
	"context"
	"fmt"
	"sync"

	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record/column"
)

// DB is one embedded DuckDB. It is safe for concurrent use.
type DB struct {
	opts  Options
	slots chan struct{} // one per open connection
	lines chan struct{} // one per statement that reads NDJSON

	relations *relations

	mu     sync.Mutex
	cur    *instance
	starts int64 // instances started
	closed bool
}

// instance is one DuckDB database with its ready connections. An instance that failed fatally is
// replaced; it is closed when its last connection is.
type instance struct {
	db   capi.Database
	idle []capi.Connection
	refs int  // connections open, idle ones included
	dead bool // no new connections; close at refs 0
}

// Open starts an instance. Errors: tarn.CodeInvalid for options, tarn.CodeInternal when DuckDB refuses.
func Open(o Options) (*DB, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	d := &DB{opts: o, slots: make(chan struct{}, o.MaxConns), lines: make(chan struct{}, lineReaders(o.MemoryBytes)),
		relations: &relations{open: map[int64]column.Relation{}}}
	in, err := d.start(o)
	if err != nil {
		return nil, err
	}
	d.cur, d.starts = in, 1
	return d, nil
}

func (d *DB) start(o Options) (*instance, error) {
	var cfg capi.Config
	if capi.CreateConfig(&cfg) == capi.StateError {
		return nil, &tarn.Error{Code: tarn.CodeInternal, Detail: "DuckDB can not be configured"}
	}
	defer capi.DestroyConfig(&cfg)
	in := &instance{}
	var msg string
	if capi.OpenExt("", &in.db, cfg, &msg) == capi.StateError {
		capi.Close(&in.db)
		return nil, &tarn.Error{Code: tarn.CodeInternal, Detail: "DuckDB does not start", Err: newFault(msg)}
	}
	c, err := in.connect()
	if err != nil {
		capi.Close(&in.db)
		return nil, err
	}
	for _, sql := range o.settings() {
		var res capi.Result
		state := capi.Query(c, sql, &res)
		msg := capi.ResultError(&res)
		capi.DestroyResult(&res)
		if state == capi.StateError {
			capi.Disconnect(&c)
			capi.Close(&in.db)
			return nil, &tarn.Error{Code: tarn.CodeInternal, Detail: "DuckDB refuses a setting", Err: fmt.Errorf("%s: %s", sql, msg)}
		}
	}
	if err := d.relations.register(c); err != nil {
		capi.Disconnect(&c)
		capi.Close(&in.db)
		return nil, err
	}
	in.refs, in.idle = 1, []capi.Connection{c}
	return in, nil
}

func (in *instance) connect() (capi.Connection, error) {
	var c capi.Connection
	if capi.Connect(in.db, &c) == capi.StateError {
		return c, &tarn.Error{Code: tarn.CodeInternal, Detail: "DuckDB refuses a connection"}
	}
	return c, nil
}

// Close ends the instance. Connections in use keep it alive until they are closed. Close is
// idempotent; later calls of other methods fail with tarn.CodeUnavailable.
func (d *DB) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.closed {
		d.closed = true
		d.retire(d.cur)
	}
	return nil
}

// retire closes the idle connections of in, and in itself once no connection is left. d.mu is held.
func (d *DB) retire(in *instance) {
	if in == nil || in.dead {
		return
	}
	in.dead = true
	for i := range in.idle {
		capi.Disconnect(&in.idle[i])
		in.refs--
	}
	in.idle = nil
	if in.refs == 0 {
		capi.Close(&in.db)
	}
}

// Conn takes a connection, for statements that must share one (temporary tables, transactions).
// It waits while MaxConns are in use. The caller closes it.
func (d *DB) Conn(ctx context.Context) (*Conn, error) {
	select {
	case d.slots <- struct{}{}:
	default:
		select {
		case d.slots <- struct{}{}:
		case <-ctx.Done():
			return nil, ctxError(ctx, nil)
		}
	}
	c, err := d.take()
	if err != nil {
		<-d.slots
	}
	return c, err
}

func (d *DB) take() (*Conn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the SQL engine is closed"}
	}
	if d.cur.dead { // replaced after a fatal error
		in, err := d.start(d.opts)
		if err != nil {
			return nil, err
		}
		d.cur = in
		d.starts++
	}
	in := d.cur
	if n := len(in.idle); n > 0 {
		c := &Conn{d: d, in: in, c: in.idle[n-1]}
		in.idle = in.idle[:n-1]
		return c, nil
	}
	mc, err := in.connect()
	if err != nil {
		return nil, err
	}
	in.refs++
	return &Conn{d: d, in: in, c: mc}, nil
}

// put gives a connection back; a used one is kept for the next taker unless keep is false.
func (d *DB) put(c *Conn, keep bool) {
	d.mu.Lock()
	in := c.in
	if c.broken && !in.dead {
		d.opts.Logger.Error("DuckDB instance failed and is replaced", "error", c.fault)
		d.retire(in)
	}
	if keep && !in.dead && len(in.idle) < 8 {
		in.idle = append(in.idle, c.c)
	} else {
		capi.Disconnect(&c.c)
		if in.refs--; in.dead && in.refs == 0 {
			capi.Close(&in.db)
		}
	}
	d.mu.Unlock()
	<-d.slots
}

// Starts returns how many instances there have been: it changes when one that failed was replaced,
// and with it every table that was made.
func (d *DB) Starts() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.starts
}

// Exec runs one or more statements and discards their results. Arguments bind to the last one.
func (d *DB) Exec(ctx context.Context, sql string, args ...any) error {
	c, err := d.Conn(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	return c.Exec(ctx, sql, args...)
}

// Query starts a statement and streams its rows. ctx ends the statement whenever it is done, until
// the Rows are closed. Arguments bind to the last statement of sql.
func (d *DB) Query(ctx context.Context, sql string, args ...any) (*Rows, error) {
	c, err := d.Conn(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := c.Query(ctx, sql, args...)
	if err != nil {
		c.Release()
		return nil, err
	}
	rows.own = c
	return rows, nil
}

// Memory returns the bytes DuckDB's buffers use now, of at most Options.MemoryBytes.
func (d *DB) Memory(ctx context.Context) (int64, error) {
	v, err := d.Values(ctx, "SELECT coalesce(sum(memory_usage_bytes), 0)::BIGINT FROM duckdb_memory()")
	if err != nil {
		return 0, err
	}
	n, _ := v[0][0].(int64)
	return n, nil
}

// Values runs a statement and returns its whole result as Go values: for small results only. The
// forms are those of Rows.Row.
func (d *DB) Values(ctx context.Context, sql string, args ...any) ([][]any, error) {
	c, err := d.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer c.Release()
	rows, err := c.query(ctx, sql, args, false)
	if err != nil {
		return nil, err
	}
	return rows.All(ctx)
}
