package database

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/tarn-data/tarn"
)

// postgres writes with COPY in text form, so that the database itself reads the values into whatever
// types its columns have.
type postgres struct{ cfg *pgx.ConnConfig }

// connectTimeout bounds how long a new connection may take, unless the address says so.
const connectTimeout = 10 * time.Second

func newPostgres(cfg *pgx.ConnConfig) postgres {
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	cfg.RuntimeParams["timezone"] = "UTC" // times without a zone mean that, whatever the database prefers
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "tarn"
	}
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec // no prepared statements: tables change, and poolers lose them
	return postgres{cfg: cfg}
}

func (p postgres) open() (*sql.DB, error) { return stdlib.OpenDB(*p.cfg), nil }

func (postgres) begin() string { return "BEGIN" }

// bind numbers placeholders; no statement of this package has a question mark elsewhere.
func (postgres) bind(q string) string {
	var b strings.Builder
	n := 0
	for part := range strings.SplitSeq(q, "?") {
		if n > 0 {
			b.WriteString("$" + strconv.Itoa(n))
		}
		b.WriteString(part)
		n++
	}
	return b.String()
}

func (postgres) columnType(t tarn.Type) string {
	switch t.Kind {
	case tarn.Boolean:
		return "boolean"
	case tarn.Int:
		return "integer"
	case tarn.Long:
		return "bigint"
	case tarn.Float:
		return "real"
	case tarn.Double:
		return "double precision"
	case tarn.Decimal:
		return fmt.Sprintf("numeric(%d,%d)", t.Precision, t.Scale)
	case tarn.Date:
		return "date"
	case tarn.Time:
		return "time"
	case tarn.Timestamp:
		return "timestamp"
	case tarn.TimestampTZ:
		return "timestamptz"
	case tarn.UUID:
		return "uuid"
	case tarn.Binary:
		return "bytea"
	case tarn.JSON, tarn.List, tarn.Map, tarn.Struct:
		return "jsonb"
	}
	return "text"
}

func (postgres) describe(ctx context.Context, c *sql.Conn, schema, name string) ([]Column, error) {
	return columns(c.QueryContext(ctx, `SELECT attname, attnotnull AND NOT atthasdef AND attidentity = '', attgenerated <> '' OR attidentity = 'a'
		FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped ORDER BY attnum`, qualified(schema, name)))
}

func (postgres) unique(ctx context.Context, c *sql.Conn, schema, name string) ([][]string, error) {
	return groups(c.QueryContext(ctx, `SELECT i.indexrelid::text, a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
		WHERE i.indrelid = to_regclass($1) AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL AND i.indexprs IS NULL ORDER BY i.indexrelid`, qualified(schema, name)))
}

// batchTable takes the rows of an upsert first: one INSERT may not meet the same key twice, and COPY
// knows no conflicts.
const batchTable = "pg_temp.tarn_batch"

func (p postgres) insert(ctx context.Context, c *sql.Conn, s *statement, rows [][]any) error {
	if s.key == "" {
		return p.copy(ctx, c, s.table+" ("+s.names+")", s.layout.Fields, rows, false)
	}
	if _, err := c.ExecContext(ctx, "CREATE TEMP TABLE tarn_batch ON COMMIT DROP AS SELECT 0::bigint AS tarn_row, "+s.names+" FROM "+s.table+" WITH NO DATA"); err != nil {
		return err
	}
	if err := p.copy(ctx, c, batchTable+" (tarn_row, "+s.names+")", s.layout.Fields, rows, true); err != nil {
		return err
	}
	// The last row of a key in the batch wins.
	if _, err := c.ExecContext(ctx, "INSERT INTO "+s.table+" ("+s.names+") SELECT "+s.names+" FROM (SELECT DISTINCT ON ("+s.key+") * FROM "+batchTable+
		" ORDER BY "+s.key+", tarn_row DESC) AS last"+s.conflict()); err != nil {
		return err
	}
	_, err := c.ExecContext(ctx, "DROP TABLE "+batchTable)
	return err
}

// copy sends rows in the text form of COPY; numbered puts the number of each before it.
func (postgres) copy(ctx context.Context, c *sql.Conn, into string, fields []tarn.Field, rows [][]any, numbered bool) error {
	var b bytes.Buffer
	for i, row := range rows {
		if numbered {
			b.WriteString(strconv.Itoa(i))
			b.WriteByte('\t')
		}
		for k, v := range row {
			if k > 0 {
				b.WriteByte('\t')
			}
			if v == nil {
				b.WriteString(`\N`)
				continue
			}
			_, _ = copyEscape.WriteString(&b, text(v, fields[k].Type.Kind))
		}
		b.WriteByte('\n')
	}
	return c.Raw(func(dc any) error {
		_, err := dc.(*stdlib.Conn).Conn().PgConn().CopyFrom(ctx, &b, "COPY "+into+" FROM STDIN")
		return err
	})
}

// copyEscape writes a value as COPY reads it.
// Source: PostgreSQL documentation, COPY, text format.
var copyEscape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, "\r", `\r`, "\t", `\t`)

// text is a value as PostgreSQL reads it.
func text(v any, k tarn.Kind) string {
	switch v := v.(type) {
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case []byte:
		return `\x` + hex.EncodeToString(v)
	case time.Time:
		return timeText(v, k)
	}
	return fmt.Sprint(v)
}

// timeText is a date or a moment in ISO 8601; both databases read it.
func timeText(t time.Time, k tarn.Kind) string {
	switch k {
	case tarn.Date:
		return t.Format(time.DateOnly)
	case tarn.TimestampTZ:
		return t.Format("2006-01-02 15:04:05.999999Z07:00")
	}
	return t.Format("2006-01-02 15:04:05.999999")
}

// refusal goes by the class of the error: data that is not of the type, constraints, limits of a row,
// and what triggers raise.
// Source: PostgreSQL documentation, appendix A, error codes.
func (postgres) refusal(err error) string {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || len(pg.Code) < 2 {
		return ""
	}
	switch pg.Code[:2] {
	case "22", "23", "44", "54", "P0":
		return pg.Message
	}
	return ""
}
