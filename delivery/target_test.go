package delivery_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/cleaned"
	"github.com/tarn-data/tarn/delivery/database"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/metadb/metadbtest"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/table"
)

// app is a database that records are delivered to.
type app struct {
	t   *testing.T
	url string
	db  *sql.DB
}

// eachApp runs a test against both databases.
func eachApp(t *testing.T, f func(t *testing.T, open func(*testing.T) *app)) {
	t.Run("sqlite", func(t *testing.T) { f(t, sqliteApp) })
	t.Run("postgres", func(t *testing.T) {
		server := metadbtest.Postgres(t)
		f(t, func(t *testing.T) *app {
			url := server.Database(t)
			return newApp(t, "pgx", url, url)
		})
	})
}

func sqliteApp(t *testing.T) *app {
	path := filepath.Join(t.TempDir(), "app.db")
	return newApp(t, "sqlite", path, "file:"+path+"?_pragma=busy_timeout(10000)")
}

func newApp(t *testing.T, driver, url, dsn string) *app {
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return &app{t, url, db}
}

func (a *app) exec(q string) {
	a.t.Helper()
	if _, err := a.db.ExecContext(a.t.Context(), q); err != nil {
		a.t.Fatalf("%s: %v", q, err)
	}
}

// values returns the one column of a query as text.
func (a *app) values(q string) []string {
	a.t.Helper()
	rows, err := a.db.QueryContext(a.t.Context(), q)
	if err != nil {
		a.t.Fatalf("%s: %v", q, err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s sql.NullString
		if err := rows.Scan(&s); err != nil {
			a.t.Fatal(err)
		}
		out = append(out, s.String)
	}
	return out
}

func (a *app) want(q string, values ...string) {
	a.t.Helper()
	if got := a.values(q); !slices.Equal(got, values) {
		a.t.Errorf("%s\ngot  %q\nwant %q", q, got, values)
	}
}

func (w *world) ordered() *duck.DB {
	w.t.Helper()
	db, err := duck.Open(duck.Options{MemoryBytes: 128 << 20, Threads: 1, AllowedDirs: []string{w.dir}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// toDatabase is a delivery into the table users of a database.
func (w *world) toDatabase(a *app, key ...string) delivery.Config {
	w.t.Helper()
	target, err := database.New(database.Options{URL: a.url, Table: "users", Delivery: "lake/database.users", Key: key, Upsert: len(key) > 0})
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.config()
	c.Table, c.Database, c.Ledger, c.Ordered = "database.users", target, w.store, w.ordered()
	c.Dir = filepath.Join(w.dir, "staging-users")
	return c
}

// account returns what became of the records of shard 0: in, rows, failed, dropped.
func (w *world) account(name string) string {
	w.t.Helper()
	rows, err := w.store.Progress(w.t.Context(), name)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, p := range rows {
		if p.Shard == 0 {
			return fmt.Sprintf("%d in, %d rows, %d failed, %d dropped", p.RecordsIn, p.RowsOut, p.Failed, p.Dropped)
		}
	}
	return "none"
}

func (w *world) failures(name string) []string {
	w.t.Helper()
	recs, err := w.store.FailedRecords(w.t.Context(), table.FailedFilter{Table: name, Limit: 1000})
	if err != nil {
		w.t.Fatal(err)
	}
	var out []string
	for _, r := range recs {
		out = append(out, fmt.Sprintf("%d %s %s", r.Offset, r.Stage, r.Record))
	}
	return out
}

func TestDatabaseUpsert(t *testing.T) {
	eachApp(t, func(t *testing.T, open func(*testing.T) *app) {
		w, a := newWorld(t, 1), open(t)
		r := w.run(w.toDatabase(a, "id"))
		w.put(0, `{"id": 1, "name": "a", "tags": ["x"]}`, `{"id": 2, "name": "b"}`, `{"id": 1, "name": "c", "at": {"lat": 1.5}}`)
		w.flush(r)
		a.want("SELECT name FROM users ORDER BY id", "c", "b")
		w.put(0, `{"id": 3, "name": "d", "age": 7}`, `{"id": 2, "name": "e"}`) // a new column
		w.flush(r)
		a.want("SELECT name || coalesce(CAST(age AS text), '') FROM users ORDER BY id", "c", "e", "d7")
		if got := w.account("database.users"); got != "5 in, 5 rows, 0 failed, 0 dropped" {
			t.Error(got)
		}
		r.stop()
		r = w.run(w.toDatabase(a, "id")) // another session goes on where the first was
		w.put(0, `{"id": 4, "name": "f"}`)
		w.flush(r)
		a.want("SELECT name FROM users ORDER BY id", "c", "e", "d", "f")
	})
}

// Records whose rows the database refuses fail alone, with what they were, and never stop the shard.
func TestDatabaseRefuses(t *testing.T) {
	eachApp(t, func(t *testing.T, open func(*testing.T) *app) {
		for _, exact := range []bool{true, false} {
			t.Run(fmt.Sprint("exact ", exact), func(t *testing.T) {
				w, a := newWorld(t, 1), open(t)
				a.exec("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'bad'))")
				c := w.toDatabase(a)
				if !exact {
					c.Transform = sqlSteps("SELECT id, name FROM records WHERE name <> 'dropped'")
				}
				r := w.run(c)
				lines := []string{`{"id": 0, "name": "dropped"}`}
				for i := 1; i < 200; i++ {
					lines = append(lines, fmt.Sprintf(`{"id": %d, "name": "n"}`, i))
				}
				lines[17], lines[150] = `{"id": 17, "name": "bad"}`, `{"id": 3, "name": "twice"}`
				w.put(0, lines...)
				w.flush(r)
				rows, account := 198, "200 in, 198 rows, 2 failed, 0 dropped"
				if !exact {
					rows, account = 197, "200 in, 197 rows, 2 failed, 1 dropped"
				}
				a.want("SELECT count(*) FROM users", fmt.Sprint(rows))
				if got := w.account("database.users"); got != account {
					t.Error(got)
				}
				if got, want := w.failures("database.users"), []string{`17 database {"id": 17, "name": "bad"}`, `150 database {"id": 3, "name": "twice"}`}; !slices.Equal(got, want) {
					t.Errorf("failed %q", got)
				}
			})
		}
	})
}

// ledger fails or stops at the call that settles a commit of the database.
type ledger struct {
	delivery.Ledger
	fail func(c table.Commit) bool
}

func (l ledger) Record(ctx context.Context, name string, c table.Commit, also func(*metadb.Tx) error) error {
	if l.fail(c) {
		return fmt.Errorf("the metadata database is away")
	}
	return l.Ledger.Record(ctx, name, c, also)
}

// Between the commit of the database and the booking of it, and before that commit, a session may end:
// rows and failed records are there once all the same (I2, I3).
func TestDatabaseIntent(t *testing.T) {
	for _, step := range []string{"announce", "settle"} {
		t.Run(step, func(t *testing.T) {
			w, a := newWorld(t, 1), sqliteApp(t)
			a.exec("CREATE TABLE users (id INTEGER, name TEXT CHECK (name <> 'bad'))")
			c := w.toDatabase(a)
			failures := 1
			c.Ledger = ledger{w.store, func(c table.Commit) bool {
				if hit := (len(c.Progress) > 0) == (step == "settle"); !hit || failures == 0 {
					return false
				}
				failures--
				return true
			}}
			r := w.run(c)
			w.put(0, `{"id": 1, "name": "a"}`, `{"id": 2, "name": "bad"}`)
			w.flush(r)
			a.want("SELECT id FROM users", "1")
			if got := w.account("database.users"); failures != 0 || got != "2 in, 1 rows, 1 failed, 0 dropped" {
				t.Errorf("%s; %d", got, failures)
			}
			if got := w.failures("database.users"); !slices.Equal(got, []string{`1 database {"id": 2, "name": "bad"}`}) {
				t.Errorf("failed %q", got)
			}
		})
	}
}

// A database that was restored from a copy gets what it lost again, and the account still adds up.
func TestDatabaseRestored(t *testing.T) {
	w, a := newWorld(t, 1), sqliteApp(t)
	a.exec("CREATE TABLE users (id INTEGER, name TEXT CHECK (name <> 'bad'))")
	r := w.run(w.toDatabase(a))
	w.put(0, `{"id": 1, "name": "bad"}`, `{"id": 2, "name": "a"}`)
	w.flush(r)
	a.exec("CREATE TABLE saved_progress AS SELECT * FROM tarn_progress")
	w.put(0, `{"id": 3, "name": "bad"}`, `{"id": 4, "name": "b"}`)
	w.flush(r)
	r.stop()
	a.exec("DELETE FROM users WHERE id = 4")
	a.exec("DELETE FROM tarn_progress")
	a.exec("INSERT INTO tarn_progress SELECT * FROM saved_progress")
	r = w.run(w.toDatabase(a))
	w.flush(r)
	a.want("SELECT id FROM users", "2", "4")
	if got := w.account("database.users"); got != "4 in, 2 rows, 2 failed, 0 dropped" {
		t.Error(got)
	}
	if got := w.failures("database.users"); len(got) != 2 {
		t.Errorf("failed %q", got)
	}
}

// toCleaned is a delivery to cleaned.events.
func (w *world) toCleaned(steps ...project.Transform) delivery.Config {
	c := w.config()
	c.Table, c.Cleaned, c.Ledger, c.Ordered = "cleaned.events", cleaned.Open(w.db, w.bucket, "events"), w.store, w.ordered()
	c.Dir = filepath.Join(w.dir, "staging-cleaned")
	for _, s := range steps {
		c.Transform = append(c.Transform, delivery.Step{Transform: s})
	}
	return c
}

// lines returns the records of the live objects of cleaned.events, in order.
func (w *world) lines() []string {
	w.t.Helper()
	a := cleaned.Open(w.db, w.bucket, "events")
	objects, err := a.Objects(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	defer dec.Close()
	var out []string
	for _, o := range objects {
		b, err := os.ReadFile(a.URL(o))
		if err != nil {
			w.t.Fatal(err)
		}
		text, err := dec.DecodeAll(b, nil)
		if err != nil {
			w.t.Fatal(err)
		}
		got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
		if int64(len(got)) != o.Records || int64(len(text)) != o.RawBytes || int64(len(b)) != o.Bytes {
			w.t.Errorf("%+v holds %d records in %d bytes", o, len(got), len(text))
		}
		out = append(out, got...)
	}
	if err := a.Verify(w.t.Context(), func(o cleaned.Object, why string) { w.t.Errorf("%s: %s", o.Key, why) }); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func TestCleaned(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.toCleaned(
		project.Transform{Filter: "kind <> 'noise'"},
		project.Transform{Rename: []project.Rename{{From: "v", To: "value"}}},
		project.Transform{Validate: []project.Rule{{Name: "positive", Condition: "value > 0", OnFail: project.FailRecord}, {Name: "small", Condition: "value < 100", OnFail: project.Drop}}},
		project.Transform{SQL: "SELECT value * 2 AS twice FROM records LIMIT 1"},
	))
	w.put(0, `{"kind":"a",  "v": 1.50}`, `{"kind":"noise","v":2}`, `{"kind":"a","v":-1}`, `{"kind":"b","v":500}`, `{"v":7,"kind":"c"}`)
	w.flush(r)
	w.put(0, `{"kind":"d","v":0.10}`)
	w.flush(r)
	if got, want := w.lines(), []string{`{"kind":"a",  "v": 1.50}`, `{"v":7,"kind":"c"}`, `{"kind":"d","v":0.10}`}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := w.account("cleaned.events"); got != "6 in, 3 rows, 1 failed, 2 dropped" {
		t.Error(got)
	}
	if got := w.failures("cleaned.events"); !slices.Equal(got, []string{`2 validate {"kind":"a","v":-1}`}) {
		t.Errorf("failed %q", got)
	}
}

// Misfits and values that the conditions fail on become failed records beside those that break a rule.
func TestCleanedMisfits(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.toCleaned(
		project.Transform{Filter: "CAST(n AS INTEGER) <> 3"},
		project.Transform{Validate: []project.Rule{{Name: "low", Condition: "CAST(n AS INTEGER) < 10", OnFail: project.FailRecord}}},
	))
	w.put(0, `{"n":"1"}`, `{"n":"x"}`, `{"n":"3"}`, `{"n":"11"}`, `{"n":"2"}`)
	w.flush(r)
	if got := w.lines(); !slices.Equal(got, []string{`{"n":"1"}`, `{"n":"2"}`}) {
		t.Errorf("got %q", got)
	}
	if got := w.failures("cleaned.events"); !slices.Equal(got, []string{`1 sql {"n":"x"}`, `3 validate {"n":"11"}`}) {
		t.Errorf("failed %q", got)
	}
	if got := w.account("cleaned.events"); got != "5 in, 2 rows, 2 failed, 1 dropped" {
		t.Error(got)
	}
}

// What does not fit its column is no record of the zone, also where no step asks for the column, whatever came before.
func TestCleanedFits(t *testing.T) {
	for _, steps := range [][]project.Transform{nil, {{Filter: "id > 0"}}} {
		w := newWorld(t, 1)
		cfg := w.toCleaned(steps...)
		cfg.Declared = &tarn.Schema{Fields: []tarn.Field{{Name: "id", Type: tarn.Type{Kind: tarn.Long}}, {Name: "l", Type: tarn.Type{Kind: tarn.Long}}, {Name: "at", Type: tarn.Type{Kind: tarn.Timestamp}}}}
		r := w.run(cfg)
		w.put(0, `{"id":1,"l":"5"}`)
		w.flush(r)
		w.put(0, `{"id":2,"l":"xxx"}`, `{"id":3,"l":"6"}`, `{"id":4,"at":"2026-11-20"}`, `{"id":5,"at":"soon"}`)
		w.flush(r)
		if got, want := w.lines(), []string{`{"id":1,"l":"5"}`, `{"id":3,"l":"6"}`, `{"id":4,"at":"2026-11-20"}`}; !slices.Equal(got, want) {
			t.Errorf("got  %q\nwant %q", got, want)
		}
		if got := w.account("cleaned.events"); got != "5 in, 3 rows, 2 failed, 0 dropped" {
			t.Error(got)
		}
		if got := w.failures("cleaned.events"); !slices.Equal(got, []string{`1 convert {"id":2,"l":"xxx"}`, `4 convert {"id":5,"at":"soon"}`}) {
			t.Errorf("failed %q", got)
		}
	}
}

// One pipeline, three deliveries: one that fails does not hold up the others, and catches up later.
// Each gets what is routed to it.
func TestFanOut(t *testing.T) {
	w, a := newWorld(t, 1), sqliteApp(t)
	a.exec("CREATE TABLE users (id INTEGER, owner TEXT NOT NULL)") // records have no owner: it can not go on
	lake, zone, away := w.run(w.config()), w.run(w.toCleaned()), w.run(w.toDatabase(a))
	w.put(0, `{"id":1}`)
	w.putRouted([]string{tableName, "cleaned.events"}, `{"id":2}`)
	w.putRouted([]string{"database.users"}, `{"id":3}`)
	w.flush(lake)
	w.flush(zone)
	w.want(lake, "SELECT id FROM t", "1", "2")
	if got := w.lines(); !slices.Equal(got, []string{`{"id":1}`, `{"id":2}`}) {
		t.Errorf("got %q", got)
	}
	var s delivery.Status
	for deadline := time.Now().Add(10 * time.Second); s.Error == "" && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		s = away.Status()
	}
	if !strings.Contains(s.Error, "owner must not be null") {
		t.Errorf("status %+v", s)
	}
	a.exec("DROP TABLE users")
	w.flush(away)
	a.want("SELECT id FROM users", "1", "3")
	for name, want := range map[string]string{tableName: "3 in, 2 rows, 0 failed, 1 dropped", "cleaned.events": "3 in, 2 rows, 0 failed, 1 dropped", "database.users": "3 in, 2 rows, 0 failed, 1 dropped"} {
		if got := w.account(name); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
