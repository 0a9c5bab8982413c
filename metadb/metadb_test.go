package metadb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/metadb/metadbtest"
)

// Every behaviour holds on both databases.
func TestConformance(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		conformance(t, func(t *testing.T) string { return filepath.Join(t.TempDir(), "meta data?.db") })
	})
	t.Run("postgres", func(t *testing.T) {
		server := metadbtest.Postgres(t)
		conformance(t, func(t *testing.T) string { return server.Database(t) })
	})
}

func conformance(t *testing.T, newURL func(*testing.T) string) {
	for _, c := range []struct {
		name string
		test func(*testing.T, *metadb.DB)
	}{
		{"a transaction is all or nothing", atomic}, {"a panic rolls back", panics}, {"compare and swap", compareAndSwap},
		{"duplicates are recognised", duplicates}, {"types come back as they went in", types}, {"an abandoned context rolls back", canceled},
		{"question marks in literals", literals}, {"one column", column},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t, newURL(t))) })
	}
	t.Run("opening again keeps the data", func(t *testing.T) {
		url := newURL(t)
		first := open(t, url)
		insert(t, first, "a")
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if n := count(t, open(t, url)); n != 1 {
			t.Errorf("%d rows", n)
		}
	})
	t.Run("several open at once", func(t *testing.T) {
		url := newURL(t)
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				db, err := metadb.Open(t.Context(), url, metadb.Options{})
				if err != nil {
					t.Error(err)
					return
				}
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	t.Run("a newer schema is refused", func(t *testing.T) {
		url := newURL(t)
		db := open(t, url)
		if _, err := db.Exec(t.Context(), "INSERT INTO schema_migrations (version, name, applied_at) VALUES (?, ?, ?)", 9999, "future", 0); err != nil {
			t.Fatal(err)
		}
		if _, err := metadb.Open(t.Context(), url, metadb.Options{}); tarn.CodeOf(err) != tarn.CodeUnavailable || !strings.Contains(err.Error(), "newer program") {
			t.Errorf("Open = %v", err)
		}
	})
}

func open(t *testing.T, url string) *metadb.DB {
	t.Helper()
	db, err := metadb.Open(t.Context(), url, metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

const insertSQL = "INSERT INTO tables (name, uuid, location, metadata_location, version, created_at, updated_at) VALUES (?, 'u', 'l', 'm', 1, 0, 0)"

func insert(t *testing.T, db *metadb.DB, name string) {
	t.Helper()
	if n, err := db.Exec(t.Context(), insertSQL, name); err != nil || n != 1 {
		t.Fatalf("insert: %d, %v", n, err)
	}
}

func count(t *testing.T, db *metadb.DB) (n int) {
	t.Helper()
	if err := db.QueryRow(t.Context(), "SELECT COUNT(*) FROM tables").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func atomic(t *testing.T, db *metadb.DB) {
	boom := errors.New("boom")
	err := db.Tx(t.Context(), func(tx *metadb.Tx) error {
		for _, name := range []string{"a", "b"} {
			if _, err := tx.Exec(t.Context(), insertSQL, name); err != nil {
				return err
			}
		}
		return boom
	})
	if !errors.Is(err, boom) || count(t, db) != 0 {
		t.Errorf("err %v, %d rows", err, count(t, db))
	}
	err = db.Tx(t.Context(), func(tx *metadb.Tx) error {
		_, err := tx.Exec(t.Context(), insertSQL, "a")
		var n int
		if err == nil {
			err = tx.QueryRow(t.Context(), "SELECT COUNT(*) FROM tables").Scan(&n)
		}
		if n != 1 {
			t.Errorf("the transaction sees %d rows of its own", n)
		}
		return err
	})
	if err != nil || count(t, db) != 1 {
		t.Errorf("err %v, %d rows", err, count(t, db))
	}
}

func panics(t *testing.T, db *metadb.DB) {
	func() {
		defer func() {
			if recover() != "stop" {
				t.Error("the panic was swallowed")
			}
		}()
		_ = db.Tx(t.Context(), func(tx *metadb.Tx) error {
			if _, err := tx.Exec(t.Context(), insertSQL, "a"); err != nil {
				return err
			}
			panic("stop")
		})
	}()
	if count(t, db) != 0 {
		t.Error("the row stands")
	}
	insert(t, db, "b") // no lock is left
}

// Of many writers that move a row from a version exactly one wins each version.
func compareAndSwap(t *testing.T, db *metadb.DB) {
	insert(t, db, "a")
	const writers, moves = 8, 15
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for won := 0; won < moves; {
				var v int64
				if err := db.QueryRow(t.Context(), "SELECT version FROM tables WHERE name = ?", "a").Scan(&v); err != nil {
					t.Error(err)
					return
				}
				var n int64
				err := db.Tx(t.Context(), func(tx *metadb.Tx) (err error) {
					n, err = tx.Exec(t.Context(), "UPDATE tables SET version = version + 1 WHERE name = ? AND version = ?", "a", v)
					return err
				})
				if err != nil {
					t.Error(err)
					return
				}
				won += int(n)
			}
		})
	}
	wg.Wait()
	var v int64
	if err := db.QueryRow(t.Context(), "SELECT version FROM tables").Scan(&v); err != nil || v != 1+writers*moves {
		t.Errorf("version %d, want %d (%v)", v, 1+writers*moves, err)
	}
}

func duplicates(t *testing.T, db *metadb.DB) {
	insert(t, db, "a")
	_, err := db.Exec(t.Context(), insertSQL, "a")
	if !metadb.IsDuplicate(err) || metadb.IsBusy(err) {
		t.Errorf("a repeated primary key gives %v", err)
	}
	if _, err := db.Exec(t.Context(), "SELECT nonsense"); err == nil || metadb.IsDuplicate(err) {
		t.Errorf("nonsense gives %v", err)
	}
	if metadb.IsDuplicate(nil) || metadb.IsBusy(nil) {
		t.Error("nil is an error")
	}
	var name string
	if err := db.QueryRow(t.Context(), "SELECT name FROM tables WHERE name = ?", "none").Scan(&name); !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no row gives %v", err)
	}
}

func types(t *testing.T, db *metadb.DB) {
	at := time.Date(2026, 11, 20, 3, 4, 5, 678901000, time.FixedZone("x", 3600))
	blob := []byte{0, 1, 0xff, '\''}
	for _, offset := range []int64{0, 1<<63 - 1} {
		if _, err := db.Exec(t.Context(), `INSERT INTO failed_records (pipeline, table_name, stream, shard, record_offset, stage, reason, code, attempts, arrival, failed_at, record)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, "p", "t", "s", 3, offset, "sql", "wörks?", "schema", 1, metadb.Micros(at), 0, blob); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := db.Query(t.Context(), "SELECT id, record_offset, reason, arrival, record FROM failed_records ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	last := int64(0)
	for rows.Next() {
		var id, offset, arrival int64
		var reason string
		var record []byte
		if err := rows.Scan(&id, &offset, &reason, &arrival, &record); err != nil {
			t.Fatal(err)
		}
		if id <= last || reason != "wörks?" || !metadb.Time(arrival).Equal(at) || string(record) != string(blob) {
			t.Errorf("row %d %d %q %v %v", id, offset, reason, metadb.Time(arrival), record)
		}
		last = id
	}
	if err := rows.Err(); err != nil || last == 0 {
		t.Errorf("rows: %v", err)
	}
}

func canceled(t *testing.T, db *metadb.DB) {
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Tx(ctx, func(tx *metadb.Tx) error {
		_, err := tx.Exec(ctx, insertSQL, "a")
		cancel()
		return err
	})
	if err == nil || count(t, db) != 0 {
		t.Errorf("err %v, %d rows", err, count(t, db))
	}
	insert(t, db, "b")
}

func literals(t *testing.T, db *metadb.DB) {
	var a, b string
	if err := db.QueryRow(t.Context(), `SELECT 'what?' AS "why?", CAST(? AS TEXT)`, "this").Scan(&a, &b); err != nil || a != "what?" || b != "this" {
		t.Errorf("%q %q %v", a, b, err)
	}
}

func column(t *testing.T, db *metadb.DB) {
	insert(t, db, "b")
	insert(t, db, "a")
	const names = "SELECT name FROM tables ORDER BY name"
	if got, err := metadb.Column[string](db.Query(t.Context(), names)); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q %v", got, err)
	}
	if got, err := metadb.Column[int64](db.Query(t.Context(), "SELECT 1 FROM tables WHERE name = ?", "c")); err != nil || len(got) > 0 {
		t.Errorf("%v %v", got, err)
	}
	if _, err := metadb.Column[string](db.Query(t.Context(), "SELECT name FROM nowhere")); err == nil {
		t.Error("a query that fails is no error")
	}
	if got, err := metadb.Column[int64](db.Query(t.Context(), names)); err == nil {
		t.Errorf("names are numbers: %v", got)
	}
}

// SQLite commits must survive a power cut: the settings are what the design asks for.
func TestSQLiteIsDurable(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "m.db"))
	for pragma, want := range map[string]string{"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "10000"} {
		var got string
		if err := db.QueryRow(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("%s = %s, %v; want %s", pragma, got, err, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for _, url := range []string{filepath.Join(t.TempDir(), "no", "such", "folder", "m.db"), "postgres://user:hunter2@127.0.0.1:1/none?connect_timeout=1", "postgres://user:hunter2@:::/x"} {
		_, err := metadb.Open(t.Context(), url, metadb.Options{})
		var e *tarn.Error
		if !errors.As(err, &e) {
			t.Errorf("Open(%s) = %v", url, err)
		}
		if strings.Contains(fmt.Sprint(err), "hunter2") { // I7
			t.Errorf("the error shows the password: %v", err)
		}
	}
}
