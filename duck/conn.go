package duck

import (
	"context"
	"time"

	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
)

// Conn is one connection: a place for temporary tables and transactions. It belongs to one
// goroutine at a time.
type Conn struct {
	d      *DB
	in     *instance
	c      capi.Connection
	closed bool
	stale  bool // interrupted: not given to another
	broken bool // the instance failed
	fault  error
}

// Close gives up the connection and everything temporary in it. It is idempotent.
func (c *Conn) Close() error { c.end(false); return nil }

// Release is Close for a connection in which nothing temporary was made: another may use it next.
func (c *Conn) Release() { c.end(!c.stale && !c.broken) }

func (c *Conn) end(keep bool) {
	if !c.closed {
		c.closed = true
		c.d.put(c, keep)
	}
}

// interrupting runs f, a call into DuckDB, and interrupts it when ctx is done. The interruption is
// repeated: DuckDB forgets one that arrives before its statement has begun.
func (c *Conn) interrupting(ctx context.Context, f func()) {
	if ctx.Done() == nil {
		f()
		return
	}
	done, finished := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(finished)
		wait := time.Millisecond
		for {
			capi.Interrupt(c.c)
			t := time.NewTimer(wait)
			select {
			case <-done:
				t.Stop()
				return
			case <-t.C:
				wait = min(2*wait, 50*time.Millisecond)
			}
		}
	})
	f()
	close(done)
	if !stop() {
		<-finished // a late interrupt would hit the connection's next statement
		c.stale = true
	}
}

func (c *Conn) fail(ctx context.Context, msg string) error {
	if f := newFault(msg); f.fatal() {
		c.broken, c.fault = true, f
	}
	return userError(ctx, msg)
}

// Exec runs one or more statements and discards their results. Arguments bind to the last one.
func (c *Conn) Exec(ctx context.Context, sql string, args ...any) error {
	return c.each(ctx, sql, args, func(s *stmt) error {
		res, err := s.run(ctx, false)
		if err == nil {
			capi.DestroyResult(res)
		}
		return err
	})
}

// Query starts a statement and streams its rows; statements before the last run to their end first.
// The connection is busy until the Rows are closed.
func (c *Conn) Query(ctx context.Context, sql string, args ...any) (*Rows, error) {
	return c.query(ctx, sql, args, true)
}

// query returns the rows of the last statement of sql, made while they are read when it is streaming.
func (c *Conn) query(ctx context.Context, sql string, args []any, streaming bool) (*Rows, error) {
	var rows *Rows
	err := c.each(ctx, sql, args, func(s *stmt) error {
		res, err := s.run(ctx, streaming && s.last)
		if err != nil {
			return err
		}
		if !s.last {
			capi.DestroyResult(res)
			return nil
		}
		s.kept = true
		rows, err = newRows(ctx, c, s, res)
		return err
	})
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// Values is DB.Values on this connection.
func (c *Conn) Values(ctx context.Context, sql string, args ...any) ([][]any, error) {
	done, err := c.d.admit(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer done()
	rows, err := c.query(ctx, sql, args, false)
	if err != nil {
		return nil, err
	}
	return rows.All(ctx)
}

// stmt is one prepared statement of a text.
type stmt struct {
	c    *Conn
	p    capi.PreparedStatement
	last bool
	kept bool // closed by its Rows

	sql  string // of the only statement of a text, with its arguments; empty where there are several
	args []any
}

func (s *stmt) close() { capi.DestroyPrepare(&s.p) }

// each prepares the statements of sql one after another and hands each to f, arguments bound.
func (c *Conn) each(ctx context.Context, sql string, args []any, f func(*stmt) error) error {
	if c.closed {
		return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the connection is closed"}
	}
	if err := ctxError(ctx, nil); err != nil {
		return err
	}
	if err := checkText(sql); err != nil {
		return err
	}
	var ex capi.ExtractedStatements
	n := capi.ExtractStatements(c.c, sql, &ex)
	defer capi.DestroyExtracted(&ex)
	if n == 0 {
		if msg := capi.ExtractStatementsError(ex); msg != "" {
			return c.fail(ctx, msg)
		}
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "there is no statement"}
	}
	for i := range n {
		s := &stmt{c: c, last: i == n-1}
		if n == 1 {
			s.sql, s.args = sql, args
		}
		if err := s.prepare(ctx, ex, i, args); err != nil {
			return err
		}
		err := f(s)
		if !s.kept {
			s.close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stmt) prepare(ctx context.Context, ex capi.ExtractedStatements, i capi.IdxT, args []any) error {
	var state capi.State
	s.c.interrupting(ctx, func() { state = capi.PrepareExtractedStatement(s.c.c, ex, i, &s.p) })
	if state == capi.StateError {
		err := s.c.fail(ctx, capi.PrepareError(s.p))
		s.close()
		return err
	}
	if !s.last {
		return nil
	}
	if err := bind(s.p, args); err != nil {
		s.close()
		return err
	}
	return nil
}

// run executes the statement. A streaming result is produced while it is fetched.
func (s *stmt) run(ctx context.Context, streaming bool) (*capi.Result, error) {
	var pending capi.PendingResult
	var res capi.Result
	var msg string
	s.c.interrupting(ctx, func() {
		var state capi.State
		if streaming {
			state = capi.PendingPreparedStreaming(s.p, &pending)
		} else {
			state = capi.PendingPrepared(s.p, &pending)
		}
		defer capi.DestroyPending(&pending)
		if state == capi.StateError {
			msg = capi.PendingError(pending)
			return
		}
		if capi.ExecutePending(pending, &res) == capi.StateError {
			msg = capi.ResultError(&res)
			capi.DestroyResult(&res)
			if msg == "" {
				msg = interruptClass + ": Interrupted!"
			}
		}
	})
	if msg != "" {
		return nil, s.c.fail(ctx, msg)
	}
	return &res, nil
}

// reason returns why a statement failed of which DuckDB only says that it was interrupted, though nobody did: its
// thread that fails interrupts the others, and a fetch that notices this first never asks for the error. The
// statement runs once more, with its rows thrown away; without fetches the error arrives.
func (s *stmt) reason(ctx context.Context) error {
	if s.sql != "" && capi.PreparedStatementType(s.p) == capi.StatementTypeSelect {
		err := s.c.Exec(ctx, "EXPLAIN ANALYZE "+s.sql, s.args...)
		if f := FaultOf(err); ctx.Err() != nil || f != nil && f.Class != transactionClass {
			return err
		}
	}
	return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the statement failed and the SQL engine does not say why", Hint: "run it again"}
}

// Bind resolves every name and type of the last statement of sql without running it. Parameters may
// stand in it.
func (c *Conn) Bind(ctx context.Context, sql string) error {
	if err := checkText(sql); err != nil {
		return err
	}
	var p capi.PreparedStatement
	var state capi.State
	c.interrupting(ctx, func() { state = capi.Prepare(c.c, sql, &p) })
	defer capi.DestroyPrepare(&p)
	if state == capi.StateError {
		return c.fail(ctx, capi.PrepareError(p))
	}
	return nil
}
