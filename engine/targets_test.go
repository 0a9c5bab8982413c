package engine_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/delivery/cleaned"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/server"
)

const fannedOut = `pipeline: users
transform:
  - filter: kind <> 'noise'
  - validate: [{name: adult, check: age >= 18, on_fail: fail_record}]
  - sql: SELECT *, age * 12 AS months FROM records
deliver:
  - table: curated.users
  - cleaned: users
  - database: {url: app.db, table: users, key: id, mode: upsert}
  - database: {url: app.db, table: log, name: log, mode: append}
`

// One pipeline brings its records to a table, to the zone cleaned and to two tables of a database; each
// account adds up for itself (I3).
func TestTargets(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/users.yaml": fannedOut}), t.TempDir()
	app, err := sql.Open("sqlite", filepath.Join(project, "app.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	if _, err := app.ExecContext(t.Context(), "CREATE TABLE users (id TEXT PRIMARY KEY, age BIGINT CHECK (age < 150), months BIGINT)"); err != nil {
		t.Fatal(err)
	}
	l := start(t, project, data)
	if got := l.sql("SELECT count(*) FROM system.tables WHERE name = 'cleaned.users'"); got != "0" {
		t.Errorf("%s tables before the first record", got)
	}
	l.post("users", strings.Join([]string{`{"id":"a", "kind":"x","age":20,"geo":{"lat":1.5}}`, `{"id":"b","kind":"noise","age":20}`, `{"id":"c","kind":"x","age":9}`,
		`{"id":"a","kind":"x","age":21}`, `{"id":"d","kind":"x","age":200}`}, "\n"))
	if err := l.Flush(t.Context(), "users"); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"SELECT count(*), sum(months) FROM curated.users":                                           "3,2892",
		"SELECT count(*), sum(age), count(geo.lat) FROM cleaned.users":                              "3,241,1",
		"SELECT id FROM cleaned.users WHERE age = 200":                                              "d",
		"SELECT kind, rows, files FROM system.tables WHERE name = 'cleaned.users'":                  "cleaned,3,1",
		"SELECT count(*) FROM system.columns WHERE table_name = 'cleaned.users'":                    "4",
		"SELECT table_name, stage FROM system.failed_records WHERE stage = 'database'":              "database.users,database",
		"SELECT table_name FROM system.failed_records WHERE stage = 'validate' ORDER BY table_name": "cleaned.users\ncurated.users\ndatabase.log\ndatabase.users",
		"SELECT delivery, count(*) FROM system.failed_records GROUP BY ALL ORDER BY ALL":            "cleaned,1\ndatabase,3\ntable,1",
		"SELECT table_name, rows, failed, lag_records FROM system.pipelines ORDER BY table_name":    "cleaned.users,3,1,0\ncurated.users,3,1,0\ndatabase.log,3,1,0\ndatabase.users,2,2,0",
	} {
		if got := l.sql(query); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", query, got, want)
		}
	}
	var rows, months, logged int
	if err := app.QueryRowContext(t.Context(), "SELECT count(*), sum(months), (SELECT count(*) FROM log) FROM users").Scan(&rows, &months, &logged); err != nil {
		t.Fatal(err)
	}
	if rows != 1 || months != 252 || logged != 3 {
		t.Errorf("%d rows, %d months, %d logged", rows, months, logged)
	}
	l.verify()
	for _, kind := range []string{"table", "database", "cleaned", "extract"} {
		page, err := l.Failed(t.Context(), server.FailedFilter{Delivery: kind, Limit: 10})
		if want := map[string]int{"table": 1, "database": 3, "cleaned": 1}[kind]; err != nil || len(page.Failed) != want {
			t.Errorf("%d failed in deliveries of the kind %s, %v", len(page.Failed), kind, err)
		}
		for _, f := range page.Failed {
			if f.Delivery != kind {
				t.Errorf("%s asked for: %+v", kind, f)
			}
		}
	}
	for _, path := range []string{"/v1/tables", "/v1/tables/cleaned.users", "/v1/pipelines"} {
		if status, answer := l.do(http.MethodGet, path, "", "", nil); status != http.StatusOK || !strings.Contains(string(answer), "cleaned.users") {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}

	// After a restart all go on where they were.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = start(t, project, data)
	l.post("users", `{"id":"a","kind":"x","age":30}`)
	if err := l.Flush(t.Context(), "users"); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT (SELECT count(*) FROM curated.users), (SELECT count(*) FROM cleaned.users)"); got != "4,4" {
		t.Error(got)
	}
	l.verify()
}

// The lifecycle of the zone ends the lives of objects, and verify finds one that is missing.
func TestCleanedLifecycle(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/users.yaml": "pipeline: users\ndeliver:\n  - cleaned: users\n"}), t.TempDir()
	l := start(t, project, data)
	l.post("users", `{"id":1}`)
	if err := l.Flush(t.Context(), "users"); err != nil {
		t.Fatal(err)
	}
	l.verify()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := metadb.Open(t.Context(), filepath.Join(data, "meta", "tarn.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	bucket, err := fs.Open(filepath.Join(data, "lake"))
	if err != nil {
		t.Fatal(err)
	}
	a := cleaned.Open(db, bucket, "users")
	objects, err := a.Objects(t.Context())
	if err != nil || len(objects) != 1 || !strings.HasPrefix(objects[0].Key, "cleaned/users/year=") {
		t.Fatalf("%+v %v", objects, err)
	}
	if done, err := a.Expire(t.Context(), objects[0].LastArrival); err != nil || done.Objects != 0 {
		t.Errorf("%+v %v", done, err)
	}
	if done, err := a.Expire(t.Context(), time.Now().Add(time.Second)); err != nil || done.Objects != 1 {
		t.Errorf("%+v %v", done, err)
	}
	if _, err := bucket.Stat(t.Context(), objects[0].Key); err != nil {
		t.Errorf("deleted under queries: %v", err)
	}
	if names, err := cleaned.Names(t.Context(), db); err != nil || len(names) != 1 {
		t.Errorf("who would delete it later? %v %v", names, err)
	}
	if _, err := db.Exec(t.Context(), "UPDATE cleaned_objects SET changed_at = ?", metadb.Micros(time.Now().Add(-2*cleaned.Grace))); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Expire(t.Context(), time.Time{}); err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Stat(t.Context(), objects[0].Key); err == nil {
		t.Error("the object is still there")
	}
	if err := bucket.Put(t.Context(), objects[0].Key, strings.NewReader("nobody's")); err != nil {
		t.Fatal(err)
	}
	if done, err := a.RemoveOrphans(t.Context(), time.Now().Add(time.Minute)); err != nil || done.Objects != 1 {
		t.Errorf("%+v %v", done, err)
	}
	if left, err := a.Objects(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("%+v %v", left, err)
	}
	l = start(t, project, data)
	if got := l.sql("SELECT count(*), count(id) FROM cleaned.users"); got != "0,0" {
		t.Errorf("a table whose records have expired gives %s", got)
	}
}
