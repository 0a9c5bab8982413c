package engine_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/server"
)

// settle posts a filter to retry or discard.
func settle[T any](l *lake, what string, f server.FailedFilter) T {
	l.t.Helper()
	body, err := json.Marshal(f)
	if err != nil {
		l.t.Fatal(err)
	}
	status, answer := l.do(http.MethodPost, "/v1/failed/"+what, "application/json", "", body)
	if status != http.StatusOK {
		l.t.Fatalf("%s: %d %s", what, status, answer)
	}
	var doc T
	if err := json.Unmarshal(answer, &doc); err != nil {
		l.t.Fatal(err)
	}
	return doc
}

// eventsWith is a pipeline with one step.
func eventsWith(step string) string {
	return "pipeline: events\nschema: {id: BIGINT, name: VARCHAR}\ntransform:\n  - " + step + "\ndeliver:\n  - table: curated.events\n    buffer: {interval: 1s}\n"
}

// change edits the pipeline and waits until it runs so.
func (l *lake) change(step string) {
	l.t.Helper()
	l.edit("pipelines/events.yaml", eventsWith(step))
	if _, err := l.Reload(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// postMany posts n records with ids from from on, and commits them.
func (l *lake) postMany(from, n int, name string) {
	l.t.Helper()
	var body strings.Builder
	for i := range n {
		fmt.Fprintf(&body, `{"id":%d,  "name":"%s"}`+"\n", from+i, name)
	}
	l.post("events", body.String())
	if err := l.Flush(l.t.Context(), "events"); err != nil {
		l.t.Fatal(err)
	}
}

// TestRetry: after the code is mended, failed records move into the table, and the sums hold all the time.
func TestRetry(t *testing.T) {
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile,
		"pipelines/events.yaml": eventsWith("sql: SELECT *, CASE WHEN id % 2 = 0 THEN error('even') ELSE id END AS n FROM records")}), t.TempDir())
	l.post("events", `{"id":"x"}`)
	l.postMany(0, 400, "a")
	l.verify()
	if got := settle[server.RetryDoc](l, "retry", server.FailedFilter{Pipeline: "events"}); got != (server.RetryDoc{Tried: 201, FailedAgain: 201}) {
		t.Errorf("with the same code: %+v", got)
	}
	if got := l.sql("SELECT count(*), min(attempts), max(attempts) FROM system.failed_records"); got != "201,2,2" {
		t.Errorf("failed: %s", got)
	}
	l.verify()

	l.change("sql: SELECT *, id AS n FROM records WHERE id % 4 <> 0")
	if got := settle[server.RetryDoc](l, "retry", server.FailedFilter{Stage: "sql", Limit: 150}); got.Settled != 150 || got.Rows != 75 || got.NextAfter == 0 {
		t.Errorf("a page: %+v", got)
	}
	l.verify()
	if got := settle[server.RetryDoc](l, "retry", server.FailedFilter{}); got != (server.RetryDoc{Tried: 51, Settled: 50, Rows: 25, FailedAgain: 1}) {
		t.Errorf("the rest: %+v", got)
	}
	if got := l.sql("SELECT count(*), count(DISTINCT id), count(*) FILTER (id % 4 = 2) FROM curated.events"); got != "300,300,100" {
		t.Errorf("rows: %s", got)
	}
	if got := l.sql("SELECT stage, attempts, record FROM system.failed_records"); got != `convert,3,"{""id"":""x""}"` {
		t.Errorf("left: %s", got)
	}
	l.verify()
	if got := settle[server.DiscardDoc](l, "discard", server.FailedFilter{Stage: "sql"}); got.Discarded != 0 {
		t.Errorf("%+v", got)
	}
	if got := settle[server.DiscardDoc](l, "discard", server.FailedFilter{Since: time.Now().Add(-time.Hour)}); got.Discarded != 1 {
		t.Errorf("%+v", got)
	}
	l.verify()
	if v, err := l.Verify(t.Context()); err != nil || v.Totals.Dropped != 101 || v.Totals.Failed != 0 || v.Totals.InTable != 300 {
		t.Errorf("%+v, %v", v.Totals, err)
	}
}

// TestRetryBesideDelivery: several retry the same records while others are delivered.
func TestRetryBesideDelivery(t *testing.T) {
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile,
		"pipelines/events.yaml": eventsWith("sql: SELECT *, CASE WHEN name = 'bad' THEN error('bad') ELSE id END AS n FROM records")}), t.TempDir())
	l.postMany(0, 300, "bad")
	l.change("sql: SELECT *, id AS n FROM records")
	done := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := l.RetryFailed(t.Context(), server.FailedFilter{})
			done <- err
		}()
	}
	for i := range 20 {
		l.postMany(1000+i*50, 50, "good")
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := l.sql("SELECT count(*), count(DISTINCT id) FROM curated.events"); got != "1300,1300" {
		t.Errorf("rows: %s", got)
	}
	l.verify()
}

// TestRetryTargets: failed records of every kind of delivery are retried by one request; several retry the same
// ones, and the sums hold.
func TestRetryTargets(t *testing.T) {
	pipeline := func(check string) string {
		return "pipeline: events\nschema: {id: BIGINT, name: VARCHAR}\ntransform:\n  - validate: [{name: rule, check: " + check + "}]\ndeliver:\n" +
			"  - table: curated.events\n  - cleaned: events\n  - database: {url: app.db, table: events, mode: append}\n"
	}
	dir := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": pipeline("id < 0")})
	data := t.TempDir()
	l := start(t, dir, data)
	l.postMany(0, 300, "a")
	l.edit("pipelines/events.yaml", pipeline("id >= 10"))
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := l.RetryFailed(t.Context(), server.FailedFilter{})
			done <- err
		}()
	}
	for i := range 5 {
		l.postMany(1000+i*50, 50, "good")
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	app, err := sql.Open("sqlite", filepath.Join(dir, "app.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	var rows, ids int
	if err := app.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT id) FROM events").Scan(&rows, &ids); err != nil || rows != 540 || ids != 540 {
		t.Errorf("%d rows, %d ids: %v", rows, ids, err)
	}
	for query, want := range map[string]string{
		"SELECT count(*), count(DISTINCT id) FROM cleaned.events":                                         "540,540",
		"SELECT count(*), count(DISTINCT id) FROM curated.events":                                         "540,540",
		"SELECT table_name, count(*), min(attempts) > 1 FROM system.failed_records GROUP BY 1 ORDER BY 1": "cleaned.events,10,true\ncurated.events,10,true\ndatabase.events,10,true",
	} {
		if got := l.sql(query); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", query, got, want)
		}
	}
	l.verify()

	// What a killed retry may have brought into the database is not discarded before the database was asked.
	meta, err := sql.Open("sqlite", "file:"+filepath.Join(data, "meta", "tarn.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer meta.Close()
	if _, err := meta.ExecContext(t.Context(), `INSERT INTO table_state (table_name, key, value) VALUES ('database.events', 'database_retry_intent', '{"Tried":[{"Shard":0,"Next":1}]}')`); err != nil {
		t.Fatal(err)
	}
	if _, err := l.DiscardFailed(t.Context(), server.FailedFilter{}); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("discard: %v", err)
	}
	if got := settle[server.RetryDoc](l, "retry", server.FailedFilter{Table: "database.events"}); got != (server.RetryDoc{Tried: 10, FailedAgain: 10}) {
		t.Errorf("%+v", got)
	}
	if got := settle[server.DiscardDoc](l, "discard", server.FailedFilter{}); got.Discarded != 30 {
		t.Errorf("%+v", got)
	}
	l.verify()
}

// TestManyRetries: a hundred thousand failed records are retried in bounded batches.
func TestManyRetries(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile,
		"pipelines/events.yaml": eventsWith("validate: [{name: none, check: id < 0}]")}), t.TempDir())
	for at := 0; at < 100_000; at += 20_000 {
		l.postMany(at, 20_000, "x")
	}
	l.change("validate: [{name: all, check: id >= 0}]")
	began := time.Now()
	var settled int64
	for f := (server.FailedFilter{}); settled == 0 || f.After != 0; {
		doc, err := l.RetryFailed(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		settled += doc.Settled
		f.After = doc.NextAfter
	}
	t.Logf("%d records retried in %s", settled, time.Since(began))
	if got := l.sql("SELECT count(*), count(DISTINCT id) FROM curated.events"); got != "100000,100000" {
		t.Errorf("rows: %s", got)
	}
	l.verify()
}
