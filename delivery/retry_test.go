package delivery_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/replay"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/table"
)

// retry tries all failed records of a delivery again, as cfg describes it now.
func (w *world) retry(cfg delivery.Config) (replay.Outcome, error) {
	w.t.Helper()
	recs, err := w.store.FailedRecords(w.t.Context(), table.FailedFilter{Table: cfg.Table, Limit: 10_000})
	if err != nil {
		w.t.Fatal(err)
	}
	cfg.Dir += "-retry"
	return replay.Retry(w.t.Context(), cfg, w.store, recs)
}

func (w *world) retried(cfg delivery.Config, want replay.Outcome) {
	w.t.Helper()
	if got, err := w.retry(cfg); err != nil || got != want {
		w.t.Fatalf("retry: %+v, %v; want %+v", got, err, want)
	}
}

// mended is a delivery whose SQL makes good names of bad ones, except of the worst, and leaves some out.
func mended(c delivery.Config) delivery.Config {
	c.Transform = sqlSteps("SELECT id, CASE WHEN id < 90 THEN 'good' ELSE name END AS name FROM records WHERE id <> 2")
	return c
}

func (w *world) progressIn(a *app, shard int) string {
	w.t.Helper()
	got := a.values(fmt.Sprintf("SELECT records_in || ' in, ' || rows_out || ' rows, ' || records_failed || ' failed, ' || records_dropped || ' dropped' FROM tarn_progress WHERE delivery = 'lake/database.users' AND shard = %d", shard))
	return strings.Join(got, "; ")
}

// Failed records of a database move into it once, beside a delivery that goes on, and both databases count
// them alike; what is refused again stays with one more attempt.
func TestRetryDatabase(t *testing.T) {
	eachApp(t, func(t *testing.T, open func(*testing.T) *app) {
		w, a := newWorld(t, 2), open(t)
		a.exec("CREATE TABLE users (id INTEGER, name TEXT CHECK (name <> 'bad'))")
		r := w.run(w.toDatabase(a))
		w.put(0, `{"id": 0, "name": "a"}`, `{"id": 1, "name": "bad"}`, `{"id": 2, "name": "bad"}`, `{"id": 3, "name": "bad"}`, `{"id": 99, "name": "bad"}`)
		w.put(1, `{"id": 4, "name": "bad"}`)
		w.flush(r)
		w.retried(w.toDatabase(a), replay.Outcome{Tried: 5, Again: 5})
		w.retried(mended(w.toDatabase(a)), replay.Outcome{Tried: 5, Settled: 4, Rows: 3, Again: 1})
		a.want("SELECT name || id FROM users ORDER BY id", "a0", "good1", "good3", "good4")
		w.put(0, `{"id": 5, "name": "b"}`, `{"id": 98, "name": "bad"}`) // the same session goes on
		w.flush(r)
		if s := r.Status(); s.Error != "" {
			t.Errorf("%+v", s)
		}
		a.want("SELECT max(epoch) FROM tarn_progress WHERE delivery = 'lake/database.users'", "1")
		want := "7 in, 4 rows, 2 failed, 1 dropped"
		if got, there := w.account("database.users"), w.progressIn(a, 0); got != want || there != want {
			t.Errorf("here  %s\nthere %s\nwant  %s", got, there, want)
		}
		recs, err := w.store.FailedRecords(t.Context(), table.FailedFilter{Table: "database.users"})
		if err != nil || len(recs) != 2 || recs[0].Attempts != 3 || recs[0].Stage != "database" || string(recs[0].Record) != `{"id": 99, "name": "bad"}` {
			t.Errorf("%+v, %v", recs, err)
		}
		w.retried(mended(w.toDatabase(a)), replay.Outcome{Tried: 2, Again: 2})
	})
}

// A retry may end before, in and behind the commit of the database: the next retry and the next session
// of the delivery find out which, and no row is there twice (I2, I3).
func TestRetryIntent(t *testing.T) {
	raise := " BEGIN SELECT RAISE(ABORT, 'away'); END"
	for _, step := range []struct {
		name, metadata, app string
		there               bool // the rows, before anybody settles
	}{
		{"announce", "BEFORE INSERT ON table_state WHEN NEW.key = 'database_retry_intent'", "", false},
		{"commit", "", "BEFORE UPDATE ON tarn_progress", false},
		{"book", "BEFORE DELETE ON failed_records", "", true},
	} {
		for _, by := range []string{"retry", "delivery"} {
			t.Run(step.name+" then "+by, func(t *testing.T) {
				w, a := newWorld(t, 1), sqliteApp(t)
				a.exec("CREATE TABLE users (id INTEGER, name TEXT CHECK (name <> 'bad'))")
				r := w.run(w.toDatabase(a))
				w.put(0, `{"id": 1, "name": "bad"}`, `{"id": 3, "name": "bad"}`)
				w.flush(r)
				r.stop()
				if step.app != "" {
					a.exec("CREATE TRIGGER away " + step.app + raise)
				} else if _, err := w.db.Exec(t.Context(), "CREATE TRIGGER away "+step.metadata+raise); err != nil {
					t.Fatal(err)
				}
				if out, err := w.retry(mended(w.toDatabase(a))); err == nil || out.Tried != 0 {
					t.Fatalf("%+v, %v", out, err)
				}
				if step.app != "" {
					a.exec("DROP TRIGGER away")
				} else if _, err := w.db.Exec(t.Context(), "DROP TRIGGER away"); err != nil {
					t.Fatal(err)
				}
				if got := len(a.values("SELECT id FROM users")); (got > 0) != step.there {
					t.Fatalf("%d rows", got)
				}
				if by == "delivery" {
					w.flush(w.run(w.toDatabase(a)))
					if left := len(w.failures("database.users")); (left == 0) != step.there {
						t.Errorf("%d failed records behind the next session", left)
					}
				}
				if _, err := w.retry(mended(w.toDatabase(a))); err != nil {
					t.Fatal(err)
				}
				a.want("SELECT id FROM users ORDER BY id", "1", "3")
				docs, err := w.store.Documents(t.Context(), "database.users")
				if got := w.account("database.users"); err != nil || got != "2 in, 2 rows, 0 failed, 0 dropped" || delivery.RetryAnnounced(docs) {
					t.Errorf("%s; %v, %v", got, err, docs)
				}
				if got := w.progressIn(a, 0); got != "2 in, 2 rows, 0 failed, 0 dropped" {
					t.Errorf("there: %s", got)
				}
			})
		}
	}
}

// Failed records that somebody else has settled are not written to a database again.
func TestRetrySettledElsewhere(t *testing.T) {
	w, a := newWorld(t, 1), sqliteApp(t)
	a.exec("CREATE TABLE users (id INTEGER, name TEXT CHECK (name <> 'bad'))")
	w.put(0, `{"id": 1, "name": "bad"}`, `{"id": 3, "name": "bad"}`)
	w.flush(w.run(w.toDatabase(a)))
	recs, err := w.store.FailedRecords(t.Context(), table.FailedFilter{Table: "database.users"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.DropFailed(t.Context(), []int64{recs[0].ID}); err != nil {
		t.Fatal(err)
	}
	c := mended(w.toDatabase(a))
	for _, want := range []replay.Outcome{{Tried: 1, Settled: 1, Rows: 1}, {}} {
		if got, err := replay.Retry(t.Context(), c, w.store, recs); err != nil || got != want {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	a.want("SELECT id FROM users", "3")
	if got := w.account("database.users"); got != "2 in, 1 rows, 0 failed, 1 dropped" {
		t.Error(got)
	}
}

// A retried record is the last that writes its key.
func TestRetryUpsert(t *testing.T) {
	eachApp(t, func(t *testing.T, open func(*testing.T) *app) {
		w, a := newWorld(t, 1), open(t)
		a.exec("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT CHECK (name <> 'bad'))")
		r := w.run(w.toDatabase(a, "id"))
		w.put(0, `{"id": 1, "name": "bad"}`)
		w.flush(r)
		w.put(0, `{"id": 1, "name": "b"}`, `{"id": 3, "name": "c"}`)
		w.flush(r)
		w.retried(mended(w.toDatabase(a, "id")), replay.Outcome{Tried: 1, Settled: 1, Rows: 1})
		a.want("SELECT name FROM users ORDER BY id", "good", "c")
	})
}

// Failed records of the zone cleaned get objects of their own, beside a delivery that ends and begins.
func TestRetryCleaned(t *testing.T) {
	w := newWorld(t, 2)
	rule := func(c string) project.Transform {
		return project.Transform{Validate: []project.Rule{{Name: "rule", Condition: c, OnFail: project.FailRecord}}}
	}
	r := w.run(w.toCleaned(rule("v > 10")))
	w.put(0, `{"v":1}`, `{"v": 2}`, `{"v":11}`, `{"v":-1}`)
	w.put(1, `{"v":3}`)
	w.flush(r)
	w.retried(w.toCleaned(rule("v > 10")), replay.Outcome{Tried: 4, Again: 4})
	w.retried(w.toCleaned(project.Transform{Filter: "v <> 1"}, rule("v > 0")), replay.Outcome{Tried: 4, Settled: 3, Rows: 2, Again: 1})
	w.put(0, `{"v":12}`)
	w.flush(r)
	got := w.lines()
	slices.Sort(got)
	if want := []string{`{"v": 2}`, `{"v":11}`, `{"v":12}`, `{"v":3}`}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := w.account("cleaned.events"); got != "5 in, 3 rows, 1 failed, 1 dropped" {
		t.Error(got)
	}
	if got := w.failures("cleaned.events"); !slices.Equal(got, []string{`3 validate {"v":-1}`}) {
		t.Errorf("failed %q", got)
	}
}

// Retries of many records run while the delivery does, and while its sessions end and begin.
func TestRetryBesideSessions(t *testing.T) {
	for _, to := range []string{"sqlite", "cleaned"} {
		t.Run(to, func(t *testing.T) {
			w := newWorld(t, 1)
			a := sqliteApp(t)
			a.exec("CREATE TABLE users (id INTEGER, name TEXT CHECK (name <> 'bad'))")
			config := func() delivery.Config {
				if to == "sqlite" {
					return w.toDatabase(a)
				}
				return w.toCleaned(project.Transform{Validate: []project.Rule{{Name: "rule", Condition: "name <> 'bad'", OnFail: project.FailRecord}}})
			}
			var lines []string
			for i := range 300 {
				lines = append(lines, fmt.Sprintf(`{"id": %d, "name": "bad"}`, i*1000))
			}
			w.put(0, lines...)
			r := w.run(config())
			w.flush(r)
			again := config()
			again.Transform = sqlSteps("SELECT id, 'good' AS name FROM records")
			done := make(chan error, 1)
			go func() {
				for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
					recs, err := w.store.FailedRecords(t.Context(), table.FailedFilter{Table: again.Table, Limit: 20})
					if err != nil || len(recs) == 0 {
						done <- err
						return
					}
					again.Dir += "r"
					_, _ = replay.Retry(t.Context(), again, w.store, recs) // a session that begins may take its place
				}
				done <- fmt.Errorf("the retries do not end")
			}()
			for i := range 12 {
				w.put(0, fmt.Sprintf(`{"id": %d, "name": "x"}`, i*1000+1))
				w.flush(r)
				if i%3 == 2 {
					r.stop()
					r = w.run(config())
				}
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			w.flush(r)
			if got := w.account(again.Table); got != "312 in, 312 rows, 0 failed, 0 dropped" {
				t.Error(got)
			}
			if to == "sqlite" {
				a.want("SELECT count(*) || ' ' || count(DISTINCT id) FROM users", "312 312")
			} else if got := w.lines(); len(got) != 312 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 312 {
				t.Errorf("%d records", len(got))
			}
		})
	}
}
