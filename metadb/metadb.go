package metadb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the database/sql driver "pgx"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tarn-data/tarn"
)

// Options configures Open. The zero value is safe.
type Options struct {
	MaxConns    int           // open connections; default 4
	BusyTimeout time.Duration // how long SQLite waits for another writer; default 10 s
	// WALBytes is how large SQLite lets its log grow before it writes it back into the file; default
	// 4 MB. More of it makes many small changes all over a large table cheaper.
	WALBytes int64
	Logger   *slog.Logger // default discards
}

// DB is a metadata database. It is safe for concurrent use.
type DB struct {
	sql      *sql.DB
	postgres bool
	url      string // holds a password (I7)
	log      *slog.Logger
}

// Open opens the database at url and brings its schema up to date. A url that begins with
// postgres:// or postgresql:// names a PostgreSQL database; anything else, with or without
// sqlite://, is the path of an SQLite file, created when missing.
//
// A committed transaction survives a power cut: SQLite runs in WAL mode with synchronous=FULL.
func Open(ctx context.Context, url string, opts Options) (*DB, error) {
	if opts.MaxConns <= 0 {
		opts.MaxConns = 4
	}
	if opts.BusyTimeout <= 0 {
		opts.BusyTimeout = 10 * time.Second
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	db := &DB{log: opts.Logger, url: url, postgres: strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")}
	var err error
	if db.postgres {
		db.sql, err = sql.Open("pgx", url)
	} else {
		db.sql, err = sql.Open("sqlite", sqliteDSN(url, opts))
	}
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the metadata database cannot be opened", Hint: "give a file path or postgres://user@host/database", Err: redact(err)}
	}
	db.sql.SetMaxOpenConns(opts.MaxConns)
	db.sql.SetMaxIdleConns(opts.MaxConns)
	if err := db.ready(ctx, opts.BusyTimeout); err != nil {
		return nil, errors.Join(&tarn.Error{Code: tarn.CodeUnavailable, Detail: "the metadata database is not ready", Err: redact(err)}, db.sql.Close())
	}
	return db, nil
}

// ready brings the schema up to date. SQLite does not wait, as it does otherwise, where a file is opened while
// its last user closes it.
func (d *DB) ready(ctx context.Context, patience time.Duration) error {
	for began := time.Now(); ; {
		err := d.migrate(ctx)
		if err == nil || !IsBusy(err) || time.Since(began) > patience {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

func sqliteDSN(path string, opts Options) string {
	path = strings.TrimPrefix(path, "sqlite://")
	pragmas := []string{fmt.Sprintf("busy_timeout(%d)", opts.BusyTimeout.Milliseconds()),
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "journal_size_limit(16777216)"}
	if opts.WALBytes > 0 {
		const page = 4096
		pragmas = append(pragmas, fmt.Sprintf("wal_autocheckpoint(%d)", opts.WALBytes/page))
	}
	q := url.Values{"_txlock": {"immediate"}, "_pragma": pragmas}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

// redact hides the connection string, which may hold a password, that pgx puts in its errors (I7).
func redact(err error) error {
	var pe *pgconn.ParseConfigError
	if errors.As(err, &pe) {
		return errors.New("the connection URL does not parse")
	}
	return err
}

// Close closes the database. SQLite writes its log back into the file.
func (d *DB) Close() error { return d.sql.Close() }

// Postgres reports whether the database is PostgreSQL.
func (d *DB) Postgres() bool { return d.postgres }

// Query runs a SELECT with ? placeholders.
func (d *DB) Query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return d.sql.QueryContext(ctx, d.bind(q), args...)
}

// QueryRow runs a SELECT for at most one row; Scan gives sql.ErrNoRows for none.
func (d *DB) QueryRow(ctx context.Context, q string, args ...any) *sql.Row {
	return d.sql.QueryRowContext(ctx, d.bind(q), args...)
}

// Exec runs one statement in a transaction of its own and returns the number of rows it changed.
func (d *DB) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	return changed(d.sql.ExecContext(ctx, d.bind(q), args...))
}

// Tx is an open transaction. It is not safe for concurrent use.
type Tx struct {
	tx *sql.Tx
	db *DB
}

// Tx runs fn in one transaction: all of it commits when fn returns nil, none of it when fn returns
// an error or panics. Writers exclude each other on SQLite; on PostgreSQL they run at READ
// COMMITTED, so that guards belong in the WHERE of an UPDATE whose row count is checked.
//
// ErrCommitUnknown is wrapped when the outcome of the final COMMIT is not known.
func (d *DB) Tx(ctx context.Context, fn func(*Tx) error) (err error) {
	tx, err := d.sql.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if p := recover(); p != nil {
			_ = tx.Rollback()
			panic(p)
		}
	}()
	if err := fn(&Tx{tx: tx, db: d}); err != nil {
		if rerr := tx.Rollback(); rerr != nil && !errors.Is(rerr, sql.ErrTxDone) {
			d.log.Debug("roll back", "error", rerr)
		}
		return err
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%w: %w", ErrCommitUnknown, err)
	}
	return nil
}

// ErrCommitUnknown says that COMMIT failed and the transaction may or may not stand.
var ErrCommitUnknown = errors.New("the outcome of the commit is unknown")

// Query runs a SELECT with ? placeholders.
func (t *Tx) Query(ctx context.Context, q string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, t.db.bind(q), args...)
}

// QueryRow runs a SELECT for at most one row; Scan gives sql.ErrNoRows for none.
func (t *Tx) QueryRow(ctx context.Context, q string, args ...any) *sql.Row {
	return t.tx.QueryRowContext(ctx, t.db.bind(q), args...)
}

// Exec runs one statement and returns the number of rows it changed.
func (t *Tx) Exec(ctx context.Context, q string, args ...any) (int64, error) {
	return changed(t.tx.ExecContext(ctx, t.db.bind(q), args...))
}

// Prepare readies a statement with ? placeholders that runs several times in the transaction. The
// caller closes it.
func (t *Tx) Prepare(ctx context.Context, q string) (*sql.Stmt, error) {
	return t.tx.PrepareContext(ctx, t.db.bind(q))
}

func changed(res sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// IsDuplicate reports whether err says that a unique or primary key exists already.
func IsDuplicate(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	var se *sqlite.Error
	return errors.As(err, &se) && (se.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || se.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY)
}

// IsBusy reports whether err says that another writer held the database for too long or two
// transactions blocked each other; the same transaction may succeed when run again.
func IsBusy(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "55P03"
	}
	var se *sqlite.Error
	return errors.As(err, &se) && (se.Code()&0xff == sqlite3.SQLITE_BUSY || se.Code()&0xff == sqlite3.SQLITE_LOCKED)
}

// Micros is the stored form of a time: microseconds since 1970 in UTC.
func Micros(t time.Time) int64 { return t.UnixMicro() }

// Time is the inverse of Micros.
func Time(us int64) time.Time { return time.UnixMicro(us).UTC() }
