package database_test

import (
	"bytes"
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/database"
	"github.com/tarn-data/tarn/metadb/metadbtest"
)

var benchFields = []tarn.Field{field("id", tarn.Long), field("device", tarn.String), field("at", tarn.Timestamp), field("speed", tarn.Double), field("ok", tarn.Boolean)}

const benchRows = 20_000

// benchRow is a row of about 60 bytes.
func benchRow(i int) []any {
	return []any{int64(i), fmt.Sprintf("wagon-%04d", i%2000), time.Unix(1_795_000_000+int64(i), 0).UTC(), float64(i) / 7, i%2 == 0}
}

// benchWrite writes batches of rows, each in a transaction of its own that moves the progress.
func benchWrite(b *testing.B, o database.Options) {
	o.Table, o.Delivery = "rows_"+fmt.Sprint(o.Upsert), fmt.Sprint(o.Upsert)
	target, err := database.New(o)
	if err != nil {
		b.Fatal(err)
	}
	s, p, err := target.Begin(b.Context(), "events", 1)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	l, err := s.Ensure(b.Context(), benchFields, true)
	if err != nil {
		b.Fatal(err)
	}
	rows := make([][]any, benchRows)
	for i := range rows {
		rows[i] = benchRow(i)
	}
	next := p[0].Next
	for b.Loop() {
		err := s.Write(b.Context(), func(tx *database.Tx) ([]database.Move, error) {
			return []database.Move{{From: next, Next: next + benchRows}}, tx.Insert(b.Context(), l, rows)
		})
		if err != nil {
			b.Fatal(err)
		}
		next += benchRows
	}
	b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkPostgres writes rows; the floor is COPY of text that is ready, in one transaction.
func BenchmarkPostgres(b *testing.B) {
	url := metadbtest.Postgres(b).Database(b)
	b.Run("floor", func(b *testing.B) {
		conn, err := pgx.Connect(b.Context(), url)
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close(b.Context())
		if _, err := conn.Exec(b.Context(), "CREATE TABLE floor (id bigint, device text, at timestamp, speed double precision, ok boolean)"); err != nil {
			b.Fatal(err)
		}
		var text bytes.Buffer
		for i := range benchRows {
			r := benchRow(i)
			fmt.Fprintf(&text, "%d\t%s\t%s\t%g\t%t\n", r[0], r[1], r[2].(time.Time).Format(time.DateTime), r[3], r[4])
		}
		for b.Loop() {
			if _, err := conn.PgConn().CopyFrom(b.Context(), bytes.NewReader(text.Bytes()), "COPY floor FROM STDIN"); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("append", func(b *testing.B) { benchWrite(b, database.Options{URL: url}) })
	b.Run("upsert", func(b *testing.B) { benchWrite(b, database.Options{URL: url, Key: []string{"id"}, Upsert: true}) })
}

// BenchmarkSQLite writes rows; the floor is a prepared INSERT for each, in one transaction.
func BenchmarkSQLite(b *testing.B) {
	path := filepath.Join(b.TempDir(), "app.db")
	b.Run("floor", func(b *testing.B) {
		db, err := sql.Open("sqlite", "file:"+path+"?_pragma=synchronous(FULL)")
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		if _, err := db.ExecContext(b.Context(), "CREATE TABLE floor (id INTEGER, device TEXT, at TEXT, speed REAL, ok INTEGER)"); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			tx, err := db.BeginTx(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			stmt, err := tx.PrepareContext(b.Context(), "INSERT INTO floor VALUES (?, ?, ?, ?, ?)")
			for i := 0; i < benchRows && err == nil; i++ {
				r := benchRow(i)
				_, err = stmt.ExecContext(b.Context(), r[0], r[1], r[2].(time.Time).Format(time.DateTime), r[3], 1)
			}
			if err == nil {
				err = tx.Commit()
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*benchRows/b.Elapsed().Seconds(), "rows/s")
	})
	b.Run("append", func(b *testing.B) { benchWrite(b, database.Options{URL: path}) })
	b.Run("upsert", func(b *testing.B) { benchWrite(b, database.Options{URL: path, Key: []string{"id"}, Upsert: true}) })
}
