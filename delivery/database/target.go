package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tarn-data/tarn"
)

// Options describes a table of a database outside of Tarn. Fields without a default are required.
type Options struct {
	URL      string   // postgres://…, or the path of an SQLite file, created when missing
	Table    string   // may hold a schema: app.users
	Delivery string   // names the progress; unlike that of any other delivery into the same database
	Key      []string // of Upsert
	Upsert   bool     // a row with the key of another replaces it; otherwise every row is added
}

// Target is a table of a database. It has no connection; sessions have.
type Target struct {
	opts         Options
	dialect      dialect
	schema, name string // of the table; no schema where none is given
	table        string // quoted, with its schema
	progress     string // likewise
	place        string // for messages: never with a password
	delivery     string // of the progress
	retry        bool   // failed records of the delivery are tried again
}

// dialect is what differs between the two databases.
type dialect interface {
	// open returns the database without connecting to it.
	open() (*sql.DB, error)
	// begin is the statement that begins a transaction which is going to write.
	begin() string
	// bind rewrites ? placeholders.
	bind(q string) string
	// columnType is how a column for values of a type is declared.
	columnType(t tarn.Type) string
	// describe returns the columns of a table in order, none when there is no such table.
	describe(ctx context.Context, c *sql.Conn, schema, name string) ([]Column, error)
	// unique returns the lists of columns that have a unique index.
	unique(ctx context.Context, c *sql.Conn, schema, name string) ([][]string, error)
	// insert adds rows within a savepoint.
	insert(ctx context.Context, c *sql.Conn, s *statement, rows [][]any) error
	// refusal returns why the database does not take a row, "" when the error is about anything else.
	refusal(err error) string
}

// New checks the options. It has no effects.
func New(o Options) (*Target, error) {
	if o.URL == "" || o.Table == "" || o.Delivery == "" || o.Upsert && len(o.Key) == 0 {
		return nil, errors.New("delivery to a database: url, table, delivery and, to upsert, a key are required")
	}
	t := &Target{opts: o, name: o.Table, delivery: o.Delivery}
	if before, after, ok := strings.Cut(o.Table, "."); ok {
		t.schema, t.name = before, after
	}
	t.table, t.progress = qualified(t.schema, t.name), qualified(t.schema, progressTable)
	if strings.HasPrefix(o.URL, "postgres://") || strings.HasPrefix(o.URL, "postgresql://") {
		cfg, err := pgx.ParseConfig(o.URL)
		if err != nil { // its text may hold the password (I7)
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the address of the database does not parse", Hint: "write postgres://USER:${PASSWORD}@HOST/DATABASE"}
		}
		t.dialect, t.place = newPostgres(cfg), fmt.Sprintf("the database %s on %s", cfg.Database, cfg.Host)
		return t, nil
	}
	path := strings.TrimPrefix(o.URL, "sqlite://")
	t.dialect, t.place = sqlite{path: path}, "the database "+path
	return t, nil
}

// Retrying is the target for failed records of the delivery that are tried again, in sessions beside
// those of the delivery. They have a progress of their own, whose positions count the records tried;
// what became of them is counted for the delivery.
func (t *Target) Retrying() *Target {
	r := *t
	r.delivery, r.retry = t.opts.Delivery+"/retry", true
	return &r
}

// qualified is the quoted name of a table.
func qualified(schema, name string) string {
	if schema == "" {
		return tarn.QuoteIdent(name)
	}
	return tarn.QuoteIdent(schema) + "." + tarn.QuoteIdent(name)
}

// Place names the database and the table for people, without secrets.
func (t *Target) Place() string { return "the table " + t.opts.Table + " of " + t.place }

// unavailable is the error for a database that does not answer or does not let us in.
func (t *Target) unavailable(doing string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	return &tarn.Error{Code: tarn.CodeUnavailable, Detail: fmt.Sprintf("%s: %s: %s", t.place, doing, reason(err)),
		Hint: "it is tried again by itself; the records wait in the stream"}
}

// reason is the part of an error that may be shown: pgx writes addresses into some of its errors (I7).
func reason(err error) string {
	var pg *pgconn.PgError
	var parse *pgconn.ParseConfigError
	var connect *pgconn.ConnectError
	var op *net.OpError
	switch {
	case errors.As(err, &pg):
		return fmt.Sprintf("%s (%s)", pg.Message, pg.Code)
	case errors.As(err, &op):
		return op.Error()
	case errors.As(err, &parse), errors.As(err, &connect):
		return "no connection"
	}
	return err.Error()
}
