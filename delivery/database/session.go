package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
)

// Progress is how far the rows of one shard are, as the target knows it. The counters are cumulative.
type Progress struct {
	Shard         int
	Next, NextSeq uint64
	Counts
}

// Counts is what became of records.
type Counts struct {
	RecordsIn, RowsOut, Failed, Dropped, Expired uint64
}

// Session is the right to deliver into a target, until another session begins. Its methods are safe
// for concurrent use, and wait for each other: it has one connection.
type Session struct {
	t      *Target
	mu     sync.Mutex
	db     *sql.DB
	conn   *sql.Conn
	stream string
	epoch  int64
}

// progressTable holds the progress of all deliveries into a schema of a database.
const progressTable = "tarn_progress"

const createProgress = `CREATE TABLE IF NOT EXISTS %s (
	delivery TEXT NOT NULL, stream TEXT NOT NULL, shard INTEGER NOT NULL, epoch BIGINT NOT NULL,
	next_offset BIGINT NOT NULL, next_seq BIGINT NOT NULL, records_in BIGINT NOT NULL, rows_out BIGINT NOT NULL,
	records_failed BIGINT NOT NULL, records_dropped BIGINT NOT NULL, records_expired BIGINT NOT NULL, updated_at BIGINT NOT NULL,
	PRIMARY KEY (delivery, stream, shard))`

// Begin connects, takes the delivery over from any other session and returns the progress of all
// shards. A transaction of an earlier session that is still open has ended when Begin returns, or it
// can not commit any more.
func (t *Target) Begin(ctx context.Context, stream string, shards int) (_ *Session, _ []Progress, err error) {
	db, err := t.dialect.open()
	if err != nil {
		return nil, nil, t.unavailable("it cannot be opened", err)
	}
	s := &Session{t: t, db: db, stream: stream}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if s.conn, err = db.Conn(ctx); err != nil {
		return nil, nil, t.unavailable("it cannot be reached", err)
	}
	if err := s.ensureProgress(ctx); err != nil {
		return nil, nil, t.unavailable("the table "+progressTable+" cannot be made", err)
	}
	var all []Progress
	err = s.within(ctx, func() error {
		for i := range shards {
			// The row is locked until the end: behind it comes no advance of an older epoch.
			if err := s.exec(ctx, "INSERT INTO "+t.progress+` AS p VALUES (?, ?, ?, 1, 0, 0, 0, 0, 0, 0, 0, ?)
				ON CONFLICT (delivery, stream, shard) DO UPDATE SET epoch = p.epoch + 1`, t.delivery, stream, i, now()); err != nil {
				return err
			}
		}
		all, err = s.read(ctx)
		return err
	})
	if err != nil {
		return nil, nil, t.unavailable("the progress in "+progressTable+" cannot be read", err)
	}
	return s, all, nil
}

// ensureProgress makes the table of the progress. Where it is there, no right to make tables is needed.
func (s *Session) ensureProgress(ctx context.Context) error {
	have, err := s.t.dialect.describe(ctx, s.conn, s.t.schema, progressTable)
	if err != nil || len(have) > 0 {
		return err
	}
	return s.create(ctx, progressTable, fmt.Sprintf(createProgress, s.t.progress))
}

// create makes a table of the target's schema, unless another session has made it meanwhile: of two that
// do so at once PostgreSQL gives one an error, although both say IF NOT EXISTS.
func (s *Session) create(ctx context.Context, name, statement string) error {
	err := s.exec(ctx, statement)
	if err == nil {
		return nil
	}
	if have, derr := s.t.dialect.describe(ctx, s.conn, s.t.schema, name); derr == nil && len(have) > 0 {
		return nil
	}
	return err
}

func now() int64 { return time.Now().UnixMicro() }

// read returns the progress of the shards and notes the epoch.
func (s *Session) read(ctx context.Context) ([]Progress, error) {
	rows, err := s.conn.QueryContext(ctx, s.t.dialect.bind(`SELECT shard, epoch, next_offset, next_seq, records_in, rows_out, records_failed, records_dropped, records_expired
		FROM `+s.t.progress+" WHERE delivery = ? AND stream = ? ORDER BY shard"), s.t.delivery, s.stream)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Progress
	for rows.Next() {
		var p Progress
		var epoch int64
		if err := rows.Scan(&p.Shard, &epoch, &p.Next, &p.NextSeq, &p.RecordsIn, &p.RowsOut, &p.Failed, &p.Dropped, &p.Expired); err != nil {
			return nil, err
		}
		s.epoch = max(s.epoch, epoch)
		all = append(all, p)
	}
	return all, rows.Err()
}

// Close gives the connection back. It works on a session that has not begun.
func (s *Session) Close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
	_ = s.db.Close()
}

func (s *Session) exec(ctx context.Context, q string, args ...any) error {
	_, err := s.conn.ExecContext(ctx, s.t.dialect.bind(q), args...)
	return err
}

// within runs f in a transaction.
func (s *Session) within(ctx context.Context, f func() error) error {
	if err := s.exec(ctx, s.t.dialect.begin()); err != nil {
		return err
	}
	if err := f(); err != nil {
		s.rollback(ctx)
		return err
	}
	if err := s.exec(ctx, "COMMIT"); err != nil {
		s.rollback(ctx)
		return err
	}
	return nil
}

// rollback ends the transaction; an error of it means that the connection is gone, and the
// transaction with it.
func (s *Session) rollback(ctx context.Context) {
	_ = s.exec(context.WithoutCancel(ctx), "ROLLBACK")
}

// Move is a step of a shard: from the committed offset to the next, and what became of the records.
type Move struct {
	Shard               int
	From, Next, NextSeq uint64
	Counts
}

// Tx is one transaction of the target.
type Tx struct {
	s    *Session
	stmt *statement
}

// Write runs f in one transaction of the target, then moves the progress by what f returns and
// commits: rows and progress together, or nothing (I2). After an error whether the transaction stands
// is known only to the next Begin.
func (s *Session) Write(ctx context.Context, f func(*Tx) ([]Move, error)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.within(ctx, func() error {
		moves, err := f(&Tx{s: s})
		if err != nil {
			return err
		}
		for _, m := range moves {
			if err := s.advance(ctx, m); err != nil {
				return err
			}
		}
		return nil
	})
	var told *tarn.Error
	if err == nil || errors.As(err, &told) {
		return err
	}
	return s.t.unavailable("rows cannot be written", err)
}

// advance moves one shard. The WHERE is the fence: of two who deliver, the one that began first finds
// another epoch, and of two with the same positions one finds them moved.
func (s *Session) advance(ctx context.Context, m Move) error {
	res, err := s.conn.ExecContext(ctx, s.t.dialect.bind("UPDATE "+s.t.progress+` SET next_offset = ?, next_seq = ?, records_in = records_in + ?, rows_out = rows_out + ?,
		records_failed = records_failed + ?, records_dropped = records_dropped + ?, records_expired = records_expired + ?, updated_at = ?
		WHERE delivery = ? AND stream = ? AND shard = ? AND next_offset = ? AND epoch = ?`),
		int64(m.Next), int64(m.NextSeq), int64(m.RecordsIn), int64(m.RowsOut), int64(m.Failed), int64(m.Dropped), int64(m.Expired), now(),
		s.t.delivery, s.stream, m.Shard, int64(m.From), s.epoch)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	switch {
	case err != nil:
		return err
	case n == 1 && s.t.retry:
		return s.settle(ctx, m)
	case n == 1:
		return nil
	}
	return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("another process delivers %s into %s", s.stream, s.t.Place()), Hint: "run one lake with this data folder"}
}

// settle counts for the delivery what became of its failed records.
func (s *Session) settle(ctx context.Context, m Move) error {
	settled := int64(m.RecordsIn - m.Failed)
	res, err := s.conn.ExecContext(ctx, s.t.dialect.bind("UPDATE "+s.t.progress+` SET rows_out = rows_out + ?, records_failed = records_failed - ?, records_dropped = records_dropped + ?, updated_at = ?
		WHERE delivery = ? AND stream = ? AND shard = ? AND records_failed >= ?`),
		int64(m.RowsOut), settled, int64(m.Dropped), now(), s.t.opts.Delivery, s.stream, m.Shard, settled)
	if err != nil {
		return err
	}
	if n, err := res.RowsAffected(); err != nil || n == 1 {
		return err
	}
	return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("%s does not know of %d failed records of shard %d", s.t.Place(), settled, m.Shard),
		Hint: "one of the two databases was restored from a copy: look whether the rows are there, then discard the failed records"}
}

// RefusedError says that the database does not take one of the rows. The transaction goes on.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "the database refuses it: " + e.Reason }

// Insert writes rows, in their order, or none of them. columns are those of Layout. A *RefusedError
// says that at least one of the rows is at fault.
func (x *Tx) Insert(ctx context.Context, l *Layout, rows [][]any) error {
	if len(rows) == 0 {
		return nil
	}
	if x.stmt == nil || x.stmt.layout != l {
		x.stmt = x.s.t.statement(l)
	}
	s := x.s
	if err := s.exec(ctx, "SAVEPOINT tarn_rows"); err != nil {
		return err
	}
	err := s.t.dialect.insert(ctx, s.conn, x.stmt, rows)
	if err == nil {
		return s.exec(ctx, "RELEASE SAVEPOINT tarn_rows")
	}
	why := s.t.dialect.refusal(err)
	if why == "" {
		return err
	}
	if err := errors.Join(s.exec(ctx, "ROLLBACK TO SAVEPOINT tarn_rows"), s.exec(ctx, "RELEASE SAVEPOINT tarn_rows")); err != nil {
		return err
	}
	return &RefusedError{Reason: why}
}
