package database

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"net/url"
	"strings"
	"time"

	sqlitedriver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/tarn-data/tarn"
)

// sqlite writes row by row, which costs little where the database is in the process.
type sqlite struct{ path string }

func (s sqlite) open() (*sql.DB, error) {
	q := url.Values{"_pragma": {"busy_timeout(10000)", "synchronous(FULL)", "foreign_keys(ON)"}}
	return sql.Open("sqlite", "file:"+(&url.URL{Path: s.path}).EscapedPath()+"?"+q.Encode())
}

// begin takes the lock for writing at once: a transaction that wants it later may not get it.
func (sqlite) begin() string { return "BEGIN IMMEDIATE" }

func (sqlite) bind(q string) string { return q }

// columnType names the affinities that keep values as they are. Decimals are text: SQLite's numbers
// would round them.
func (sqlite) columnType(t tarn.Type) string {
	switch t.Kind {
	case tarn.Boolean, tarn.Int, tarn.Long:
		return "INTEGER"
	case tarn.Float, tarn.Double:
		return "REAL"
	case tarn.Binary:
		return "BLOB"
	}
	return "TEXT"
}

func (sqlite) describe(ctx context.Context, c *sql.Conn, schema, name string) ([]Column, error) {
	return columns(c.QueryContext(ctx, `SELECT name, "notnull" AND dflt_value IS NULL AND NOT (pk > 0 AND lower(type) = 'integer'), hidden IN (2, 3)
		FROM pragma_table_xinfo(?, ?) ORDER BY cid`, name, cmp.Or(schema, "main")))
}

func (sqlite) unique(ctx context.Context, c *sql.Conn, schema, name string) ([][]string, error) {
	return groups(c.QueryContext(ctx, `SELECT l.name, i.name FROM pragma_index_list(?1, ?2) AS l, pragma_index_info(l.name, ?2) AS i
		WHERE l."unique" AND NOT l.partial AND NOT EXISTS (SELECT 1 FROM pragma_index_info(l.name, ?2) AS e WHERE e.name IS NULL)
		UNION ALL SELECT '', name FROM pragma_table_xinfo(?1, ?2) WHERE pk > 0 ORDER BY 1`, name, cmp.Or(schema, "main")))
}

func (s sqlite) insert(ctx context.Context, c *sql.Conn, st *statement, rows [][]any) error {
	stmt, err := c.PrepareContext(ctx, "INSERT INTO "+st.table+" ("+st.names+") VALUES (?"+strings.Repeat(", ?", len(st.quoted)-1)+")"+st.conflict())
	if err != nil {
		return err
	}
	defer stmt.Close()
	args := make([]any, len(st.quoted))
	for _, row := range rows {
		for k, v := range row {
			args[k] = s.value(v, st.layout.Fields[k].Type.Kind)
		}
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return err
		}
	}
	return nil
}

// value is a value as SQLite keeps it: true is 1, and times are text.
func (sqlite) value(v any, k tarn.Kind) any {
	switch v := v.(type) {
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case time.Time:
		return timeText(v, k)
	}
	return v
}

func (sqlite) refusal(err error) string {
	var e *sqlitedriver.Error
	if !errors.As(err, &e) {
		return ""
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG:
		return e.Error()
	}
	return ""
}
