package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/server"
)

// replays starts a replay and waits for its end.
func (l *lake) replay(req server.ReplayRequest) server.ReplayDoc {
	l.t.Helper()
	d, err := l.StartReplay(l.t.Context(), "events", req)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.ended(d.ID)
}

func (l *lake) ended(id string) server.ReplayDoc {
	l.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		d, err := l.Replay(l.t.Context(), id)
		if err != nil {
			l.t.Fatal(err)
		}
		if d.State != "running" && d.State != "canceling" {
			return d
		}
		if time.Now().After(end) {
			l.t.Fatalf("%+v", d)
		}
	}
}

// hours is a pipeline into partitions of an hour, with one step.
func hours(step string) string {
	return "pipeline: events\nstream: {shards: 2}\nschema: {id: BIGINT, ts: TIMESTAMP, v: BIGINT}\ntransform:\n  - " + step +
		"\ndeliver:\n  - table: curated.events\n    raw_backup: true\n    partition_by: [hour(ts)]\n    buffer: {interval: 1s}\n"
}

// postHours posts n records for each of the hours from to to, with ids from 1000 × hour on.
func (l *lake) postHours(from, to, n int) {
	l.t.Helper()
	for h := from; h <= to; h++ {
		for part := range 2 { // requests go to the shards in turn
			var body strings.Builder
			for i := part; i < n; i += 2 {
				fmt.Fprintf(&body, `{"id":%d,"ts":"2026-11-20T%02d:%02d:00Z","v":%d}`+"\n", h*1000+i, h, i%60, i)
			}
			l.post("events", body.String())
		}
	}
	if err := l.Flush(l.t.Context(), "events"); err != nil {
		l.t.Fatal(err)
	}
}

func newHours(t *testing.T, step string) *lake {
	return start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": hours(step)}), t.TempDir())
}

func (l *lake) mend(step string) {
	l.t.Helper()
	l.edit("pipelines/events.yaml", hours(step))
	if _, err := l.Reload(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// files lists what lies under the folder of the table.
func (l *lake) tableFiles() int {
	files, err := filepath.Glob(filepath.Join(l.data, "lake/curated/events/*/*/*/*/*.parquet"))
	if err != nil {
		l.t.Fatal(err)
	}
	return len(files)
}

func TestReplayIntoTable(t *testing.T) {
	l := newHours(t, "sql: SELECT *, v * 2 AS w FROM records")
	l.postHours(1, 5, 60)
	l.mend("sql: SELECT *, v * 3 AS w FROM records WHERE v <> 7")
	for _, source := range []string{"stream", "raw"} {
		into := "curated.again_" + source
		d := l.replay(server.ReplayRequest{From: "earliest", Into: into, Source: source})
		if d.State != "done" || d.Records != 300 || d.Done != 300 || d.Rows != 295 {
			t.Fatalf("%+v", d)
		}
		if got := l.sql("SELECT count(*), count(DISTINCT id), sum(w - 3 * v) FROM " + into); got != "295,295,0" {
			t.Errorf("%s: %s", source, got)
		}
		if got := l.sql("SELECT partition_by FROM system.tables WHERE name = '" + into + "'"); got != "hour(ts)" {
			t.Errorf("partitioned by %s", got)
		}
	}
	if got := l.sql("SELECT count(*), sum(w - 2 * v) FROM curated.events"); got != "300,0" {
		t.Errorf("the old table: %s", got)
	}
	for _, bad := range []server.ReplayRequest{{From: "earliest", Into: "curated.again_raw"}, {From: "earliest", Into: "curated.events"}, {From: "earliest", Into: "raw.x"},
		{From: "yesterday"}, {From: "0:100000"}, {From: "earliest", Table: "curated.other"}} {
		if d, err := l.StartReplay(t.Context(), "events", bad); err == nil {
			t.Errorf("%+v: %+v", bad, d)
		}
	}
	l.verify()
}

// TestReplayInPlace: partitions of the range are made again from all their records; others stay.
func TestReplayInPlace(t *testing.T) {
	l := newHours(t, "sql: SELECT *, v * 2 AS w FROM records WHERE v <> 9")
	l.postHours(1, 5, 60)
	l.post("events", `{"id":-1,"ts":"2026-11-20T02:30:00Z","v":"x"}`) // outside the range, failed
	l.postHours(3, 3, 20)                                             // late ones
	l.mend("sql: SELECT *, v * 3 AS w FROM records WHERE v <> 9")
	// Hour 3 of shard 0: its first 30 records begin behind those of hours 1 and 2.
	d := l.replay(server.ReplayRequest{From: "0:60", To: "0:90"})
	if d.State != "done" || d.Partitions != 1 || d.Whole || d.Failed != 1 {
		t.Fatalf("%+v", d)
	}
	if got := l.sql("SELECT count(*), sum(w - 3 * v) FROM curated.events WHERE hour(ts) = 3"); got != "78,0" {
		t.Errorf("replaced: %s", got)
	}
	if got := l.sql("SELECT count(*), sum(w - 2 * v) FROM curated.events WHERE hour(ts) <> 3"); got != "236,0" {
		t.Errorf("others: %s", got)
	}
	l.verify()
	if got := l.sql("SELECT count(*), max(attempts) FROM system.failed_records"); got != "1,1" {
		t.Errorf("failed: %s", got)
	}

	// All of it, from the raw backup: the failed record succeeds, a rule makes others fail.
	l.edit("pipelines/events.yaml", strings.Replace(hours("sql: SELECT * REPLACE (coalesce(try_cast(v AS BIGINT), 0) AS v), 1 AS w FROM records"), "v: BIGINT", "v: VARCHAR", 1))
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d = l.replay(server.ReplayRequest{From: "earliest", Source: "raw"}); d.State != "done" || !d.Whole || d.Failed != 0 || d.Rows != 321 {
		t.Fatalf("%+v", d)
	}
	if got := l.sql("SELECT count(*), count(*) FILTER (w <> 1), count(*) FILTER (id = -1) FROM curated.events"); got != "321,0,1" {
		t.Errorf("all: %s", got)
	}
	l.verify()
	l.mend("validate: [{name: even, check: v % 2 = 0}]")
	if d = l.replay(server.ReplayRequest{From: "2026-01-01T00:00:00Z"}); d.State != "done" || d.Failed != 161 {
		t.Fatalf("%+v", d)
	}
	l.verify()
	if got := l.sql("SELECT count(*) FROM curated.events"); got != "160" {
		t.Errorf("kept: %s", got)
	}
	// The same again: those that fail have one more attempt, and nothing else changes.
	if d = l.replay(server.ReplayRequest{From: "earliest"}); d.State != "done" || d.Failed != 161 {
		t.Fatalf("%+v", d)
	}
	if got := l.sql("SELECT count(*), min(attempts) FROM system.failed_records"); got != "161,2" {
		t.Errorf("failed: %s", got)
	}
	l.verify()
}

// TestReplayMovesRows: rows that leave their partitions are neither lost nor doubled, also when as many
// come as go.
func TestReplayMovesRows(t *testing.T) {
	l := newHours(t, "sql: SELECT * FROM records")
	l.postHours(1, 6, 40)
	l.mend("sql: SELECT * REPLACE (ts + INTERVAL 1 HOUR AS ts) FROM records")
	d := l.replay(server.ReplayRequest{From: "0:40", To: "0:60"})
	if d.State != "done" || !d.Whole {
		t.Fatalf("%+v", d)
	}
	if got := l.sql("SELECT count(*), count(DISTINCT id), count(*) FILTER (hour(ts) <> id // 1000 + 1) FROM curated.events"); got != "240,240,0" {
		t.Errorf("rows: %s", got)
	}
	l.verify()
}

// TestReplayBesideDelivery: what is delivered during a replay is neither lost nor doubled.
func TestReplayBesideDelivery(t *testing.T) {
	l := newHours(t, "sql: SELECT *, 1 AS code FROM records")
	l.postHours(1, 3, 60)
	l.mend("sql: SELECT *, 2 AS code FROM records")
	d, err := l.StartReplay(t.Context(), "events", server.ReplayRequest{From: "earliest"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.RetryFailed(t.Context(), server.FailedFilter{}); err != nil { // there are none
		t.Error(err)
	}
	for h := 4; h < 14; h++ {
		l.postHours(h, h, 60)
	}
	if d = l.ended(d.ID); d.State != "done" {
		t.Fatalf("%+v", d)
	}
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT count(*), count(DISTINCT id), min(code) FROM curated.events"); got != "780,780,2" {
		t.Errorf("rows: %s", got)
	}
	l.verify()
}

// TestReplayIsRefused: nothing is replaced when records outside the range would leave the table.
func TestReplayIsRefused(t *testing.T) {
	l := newHours(t, "sql: SELECT * FROM records")
	l.postHours(1, 2, 20)
	l.mend("validate: [{name: none, check: 1 = 0}]")
	d := l.replay(server.ReplayRequest{From: "0:5", To: "0:6"})
	if d.State != "failed" || !strings.Contains(d.Error, "records outside the range, which would leave the table") {
		t.Errorf("code that fails on the others: %+v", d)
	}
	if got := l.sql("SELECT count(*) FROM curated.events"); got != "40" {
		t.Errorf("left in the table: %s", got)
	}
	l.verify()

	status, answer := l.do(http.MethodPost, "/v1/pipelines/events/replays", "application/json", "", []byte(`{"from":"0:5","source":"tape"}`))
	if status != http.StatusBadRequest {
		t.Errorf("%d %s", status, answer)
	}
	status, answer = l.do(http.MethodPost, "/v1/pipelines/events/replays", "application/json", "", []byte(`{"from":"0:5","table":"curated.nosuch"}`))
	if status != http.StatusBadRequest || !strings.Contains(string(answer), "does not deliver to the table curated.nosuch") {
		t.Errorf("%d %s", status, answer)
	}
	status, answer = l.do(http.MethodGet, "/v1/replays/none", "", "", nil)
	if status != http.StatusNotFound {
		t.Errorf("%d %s", status, answer)
	}
	status, answer = l.do(http.MethodGet, "/v1/replays", "", "", nil)
	var doc map[string][]any
	if err := json.Unmarshal(answer, &doc); status != http.StatusOK || err != nil || doc["replays"] == nil {
		t.Errorf("%d %s", status, answer)
	}
}
