package database_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/database"
	"github.com/tarn-data/tarn/metadb/metadbtest"
)

// target is an empty database with a connection of its own for looking at it.
type target struct {
	t   *testing.T
	url string
	db  *sql.DB
}

// behaviours are what both databases do alike.
var behaviours = map[string]func(*testing.T, target){
	"append and upsert": testAppendAndUpsert, "types": testTypes, "existing table": testExistingTable, "refused": testRefused, "fence": testFence, "connection lost": testConnectionLost,
	"together": testTogether,
}

func TestSQLite(t *testing.T) {
	for name, f := range behaviours {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app data.db")
			f(t, connect(t, "sqlite", path, "file:"+strings.ReplaceAll(path, " ", "%20")+"?_pragma=busy_timeout(10000)"))
		})
	}
}

func TestPostgres(t *testing.T) {
	server := metadbtest.Postgres(t)
	for name, f := range behaviours {
		t.Run(name, func(t *testing.T) {
			url := server.Database(t)
			f(t, connect(t, "pgx", url, url))
		})
	}
}

func connect(t *testing.T, driver, url, dsn string) target {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return target{t, url, db}
}

func (d target) exec(q string) {
	d.t.Helper()
	if _, err := d.db.ExecContext(d.t.Context(), q); err != nil {
		d.t.Fatalf("%s: %v", q, err)
	}
}

// rows returns a query's rows as text.
func (d target) rows(q string) []string {
	d.t.Helper()
	rows, err := d.db.QueryContext(d.t.Context(), q)
	if err != nil {
		d.t.Fatalf("%s: %v", q, err)
	}
	defer rows.Close()
	cols, _ := rows.Columns()
	var out []string
	for rows.Next() {
		vals, ptrs := make([]any, len(cols)), make([]any, len(cols))
		for i := range vals {
			ptrs[i] = &vals[i]
		}
		if err := rows.Scan(ptrs...); err != nil {
			d.t.Fatal(err)
		}
		var text []string
		for _, v := range vals {
			switch v := v.(type) {
			case []byte:
				text = append(text, string(v))
			case time.Time:
				text = append(text, v.UTC().Format("2006-01-02 15:04:05.999999"))
			default:
				text = append(text, fmt.Sprint(v))
			}
		}
		out = append(out, strings.Join(text, "|"))
	}
	return out
}

func (d target) want(q string, rows ...string) {
	d.t.Helper()
	if got := d.rows(q); !slices.Equal(got, rows) {
		d.t.Errorf("%s\ngot  %q\nwant %q", q, got, rows)
	}
}

// open begins a session for one shard of the stream events.
func (d target) open(o database.Options) (*database.Session, []database.Progress) {
	d.t.Helper()
	o.URL = d.url
	if o.Table == "" {
		o.Table = "users"
	}
	if o.Delivery == "" {
		o.Delivery = "lake/database.users"
	}
	t, err := database.New(o)
	if err != nil {
		d.t.Fatal(err)
	}
	s, p, err := t.Begin(d.t.Context(), "events", 1)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(s.Close)
	return s, p
}

func upsert(key ...string) database.Options { return database.Options{Key: key, Upsert: true} }

func field(name string, k tarn.Kind) tarn.Field {
	return tarn.Field{Name: name, Type: tarn.Type{Kind: k}}
}

var users = []tarn.Field{field("id", tarn.Long), field("name", tarn.String)}

// write inserts rows and moves the shard to next.
func write(s *database.Session, fields []tarn.Field, from, next uint64, rows ...[]any) error {
	l, err := s.Ensure(context.Background(), fields, true)
	if err != nil {
		return err
	}
	return s.Write(context.Background(), func(tx *database.Tx) ([]database.Move, error) {
		err := tx.Insert(context.Background(), l, rows)
		return []database.Move{{From: from, Next: next, Counts: database.Counts{RecordsIn: next - from, RowsOut: uint64(len(rows))}}}, err
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testAppendAndUpsert(t *testing.T, d target) {
	s, p := d.open(database.Options{Table: "log", Delivery: "a"})
	if len(p) != 1 || p[0].Next != 0 {
		t.Fatalf("progress %+v", p)
	}
	must(t, write(s, users, 0, 3, []any{int64(1), "a\tb\\c\nd\r"}, []any{int64(1), nil}, []any{int64(2), `\N`}))
	d.want("SELECT id, name FROM log", "1|a\tb\\c\nd\r", "1|<nil>", `2|\N`)

	s, _ = d.open(upsert("id"))
	must(t, write(s, users, 0, 4, []any{int64(1), "one"}, []any{int64(2), "two"}, []any{int64(1), "uno"}, []any{int64(1), "eins"}))
	must(t, write(s, users, 4, 5, []any{int64(2), "dos"}))
	d.want("SELECT id, name FROM users ORDER BY id", "1|eins", "2|dos")
	_, p = d.open(upsert("id"))
	if p[0].Next != 5 || p[0].RecordsIn != 5 || p[0].RowsOut != 5 {
		t.Errorf("progress %+v", p)
	}
}

func testTypes(t *testing.T, d target) {
	at := time.Date(2026, 11, 20, 9, 30, 0, 123456000, time.UTC)
	fields := []tarn.Field{field("b", tarn.Boolean), field("i", tarn.Int), field("l", tarn.Long), field("d", tarn.Double),
		{Name: "n", Type: tarn.Type{Kind: tarn.Decimal, Precision: 20, Scale: 2}}, field("day", tarn.Date), field("ts", tarn.Timestamp), field("tz", tarn.TimestampTZ),
		field("t", tarn.Time), field("s", tarn.String), field("j", tarn.JSON), field("u", tarn.UUID), field("x", tarn.Binary)}
	row := []any{true, int64(-7), int64(1) << 60, 0.1, "123456789012345678.90", at.Truncate(24 * time.Hour), at, at, "09:30:00.5", "naïve", `{"a": [1, 2]}`,
		"8c5b2a0e-3a3e-4d9b-9f6e-0d4a1f7b6c21", []byte{0, 0xff, '\\'}}
	s, _ := d.open(database.Options{})
	must(t, write(s, fields, 0, 1, row))
	q := "SELECT CASE WHEN b THEN 1 END, i, l, d, CAST(n AS text), CAST(ts AS text), CAST(t AS text), s, CAST(j AS text), CAST(u AS text), %s FROM users WHERE day = '2026-11-20'"
	hex := "hex(x)"
	if strings.HasPrefix(d.url, "postgres") {
		hex = "upper(encode(x, 'hex'))"
		d.want("SELECT tz = '2026-11-20 10:30:00.123456+01' FROM users", "true")
	}
	d.want(fmt.Sprintf(q, hex), `1|-7|1152921504606846976|0.1|123456789012345678.90|2026-11-20 09:30:00.123456|09:30:00.5|naïve|{"a": [1, 2]}|8c5b2a0e-3a3e-4d9b-9f6e-0d4a1f7b6c21|00FF5C`)
}

// A table that is there is used as it is: names without regard to case, columns of its own left alone.
func testExistingTable(t *testing.T, d target) {
	d.exec("CREATE TABLE users (\"ID\" BIGINT NOT NULL, name TEXT, seen INTEGER NOT NULL DEFAULT 7, twice BIGINT GENERATED ALWAYS AS (\"ID\" * 2) STORED)")
	s, _ := d.open(upsert("id"))
	if err := write(s, users, 0, 1, []any{int64(1), "a"}); err == nil || !strings.Contains(err.Error(), "no unique index over the key ID") {
		t.Fatalf("without a unique index: %v", err)
	}
	d.exec("CREATE UNIQUE INDEX users_both ON users (\"ID\", name)")
	if err := write(s, users, 0, 1, []any{int64(1), "a"}); err == nil {
		t.Fatal("an index over more than the key is none")
	}
	d.exec("CREATE UNIQUE INDEX users_id ON users (\"ID\")")
	must(t, write(s, append(users, field("twice", tarn.Long), field("new", tarn.Double)), 0, 1, []any{int64(1), "a", 1.5}))
	d.want("SELECT * FROM users", "1|a|7|2|1.5")

	d.exec("CREATE TABLE strict (id BIGINT NOT NULL, owner TEXT NOT NULL)")
	s, _ = d.open(database.Options{Table: "strict", Delivery: "b"})
	err := write(s, users, 0, 1, []any{int64(1), "a"})
	if tarn.CodeOf(err) != tarn.CodeSchema || !strings.Contains(err.Error(), "owner must not be null") {
		t.Errorf("a column that nothing fills: %v", err)
	}
}

// A refused row leaves the transaction whole, and the reason says why.
func testRefused(t *testing.T, d target) {
	d.exec("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT NOT NULL CHECK (length(name) < 5))")
	for _, o := range []database.Options{{}, upsert("id")} {
		d.exec("DELETE FROM users")
		o.Delivery = fmt.Sprint(o.Upsert)
		s, _ := d.open(o)
		l, err := s.Ensure(t.Context(), users, true)
		must(t, err)
		must(t, s.Write(t.Context(), func(tx *database.Tx) ([]database.Move, error) {
			for _, row := range [][]any{{int64(2), nil}, {int64(2), "too long"}, {"x", "ok"}} {
				var refused *database.RefusedError
				if err := tx.Insert(t.Context(), l, [][]any{{int64(1), "a"}, row}); !errors.As(err, &refused) || refused.Reason == "" {
					t.Errorf("%v: %v", row, err)
				}
			}
			return []database.Move{{Next: 1}}, tx.Insert(t.Context(), l, [][]any{{int64(1), "kept"}})
		}))
		d.want("SELECT id, name FROM users", "1|kept")
	}
}

// Of two sessions the one that began first changes nothing any more.
func testFence(t *testing.T, d target) {
	first, _ := d.open(upsert("id"))
	must(t, write(first, users, 0, 1, []any{int64(1), "a"}))
	second, p := d.open(upsert("id"))
	if p[0].Next != 1 {
		t.Fatalf("progress %+v", p)
	}
	if err := write(first, users, 1, 2, []any{int64(2), "lost"}); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("the fenced session: %v", err)
	}
	if err := write(second, users, 0, 1, []any{int64(3), "again"}); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("positions that are committed: %v", err)
	}
	must(t, write(second, users, 1, 2, []any{int64(2), "b"}))
	other, p := d.open(database.Options{Key: []string{"id"}, Upsert: true, Delivery: "another lake"})
	if p[0].Next != 0 {
		t.Errorf("the progress of another lake: %+v", p)
	}
	must(t, write(other, users, 0, 1, []any{int64(9), "o"}))
	d.want("SELECT id, name FROM users ORDER BY id", "1|a", "2|b", "9|o")
}

// A session whose connection dies in a transaction has written nothing.
func testConnectionLost(t *testing.T, d target) {
	s, _ := d.open(upsert("id"))
	l, err := s.Ensure(t.Context(), users, true)
	must(t, err)
	err = s.Write(t.Context(), func(tx *database.Tx) ([]database.Move, error) {
		must(t, tx.Insert(t.Context(), l, [][]any{{int64(1), "gone"}}))
		if strings.HasPrefix(d.url, "postgres") {
			d.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tarn'")
			return []database.Move{{Next: 1}}, nil
		}
		return nil, errors.New("gone")
	})
	if tarn.CodeOf(err) != tarn.CodeUnavailable {
		t.Errorf("a lost connection: %v", err)
	}
	s.Close()
	s, p := d.open(upsert("id"))
	if p[0].Next != 0 {
		t.Fatalf("progress %+v", p)
	}
	must(t, write(s, users, 0, 1, []any{int64(1), "here"}))
	d.want("SELECT id, name FROM users", "1|here")
}

// No error shows a password, whatever is wrong with the address (I7).
func TestSecrets(t *testing.T) {
	for _, url := range []string{"postgres://tarn:hunter2@127.0.0.1:1/app", "postgres://tarn:hunter2@127.0.0.1:1/app?sslmode=nonsense", "postgres://tarn:hunter2%zz@h/app",
		"postgres://tarn:hunter2@no-such-host.invalid/app"} {
		target, err := database.New(database.Options{URL: url, Table: "users", Delivery: "d"})
		if err == nil {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			_, _, err = target.Begin(ctx, "events", 1)
			cancel()
		}
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v", err, err), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for _, o := range []database.Options{{}, {URL: "a.db", Table: "t"}, {URL: "a.db", Table: "t", Delivery: "d", Upsert: true}} {
		if _, err := database.New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
}
