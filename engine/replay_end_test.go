package engine_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/server"
)

// TestReplayCanceled: a replay that is cancelled leaves neither a table nor a file nor a changed row.
func TestReplayCanceled(t *testing.T) {
	l := newHours(t, "sql: SELECT *, 1 AS code FROM records")
	for h := range 6 {
		l.postHours(h, h, 800)
	}
	l.mend("sql: SELECT *, 2 AS code FROM records WHERE length(list_aggregate(range(1000 + abs(id) % 7), 'string_agg', '')) > 0") // slow
	files := l.tableFiles()
	for _, into := range []string{"curated.again", ""} {
		d, err := l.StartReplay(t.Context(), "events", server.ReplayRequest{From: "earliest", Into: into})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Millisecond)
		if d, err = l.CancelReplay(t.Context(), d.ID); err != nil || d.State != "canceled" {
			t.Fatalf("%+v, %v", d, err)
		}
		if _, err := l.Table(t.Context(), "curated.again"); tarn.CodeOf(err) != tarn.CodeNotFound {
			t.Errorf("the new table: %v", err)
		}
		if n := l.tableFiles(); n != files {
			t.Errorf("%d files, %d before", n, files)
		}
		if got := l.sql("SELECT count(*), min(code), max(code) FROM curated.events"); got != "4800,1,1" {
			t.Errorf("rows: %s", got)
		}
		if _, err := l.CancelReplay(t.Context(), d.ID); tarn.CodeOf(err) != tarn.CodeConflict {
			t.Errorf("cancelled twice: %v", err)
		}
	}
	if _, err := l.RetryFailed(t.Context(), server.FailedFilter{}); err != nil {
		t.Errorf("the table is not free: %v", err)
	}
	l.verify()
}

// TestReplayOfEditedCode: a pipeline that is edited during a replay makes it begin anew.
func TestReplayOfEditedCode(t *testing.T) {
	l := newHours(t, "sql: SELECT *, 1 AS code FROM records")
	for h := range 6 {
		l.postHours(h, h, 800)
	}
	for i, into := range []string{"curated.again", ""} {
		l.mend("sql: SELECT *, 2 AS code FROM records WHERE length(list_aggregate(range(1000 + abs(id) % 7), 'string_agg', '')) > 0") // slow
		d, err := l.StartReplay(t.Context(), "events", server.ReplayRequest{From: "earliest", Into: into})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(30 * time.Millisecond)
		l.mend("sql: SELECT *, 3 AS code FROM records")
		if d = l.ended(d.ID); d.State != "done" {
			t.Fatalf("%+v", d)
		}
		table := []string{"curated.again", "curated.events"}[i]
		if got := l.sql("SELECT count(*), count(DISTINCT id), min(code), max(code) FROM " + table); got != "4800,4800,3,3" {
			t.Errorf("%s: %s", table, got)
		}
	}
	l.verify()
}

// TestReplayIncomplete: where retention has taken records of the table, nothing is replaced from the stream,
// and the raw backup has them.
func TestReplayIncomplete(t *testing.T) {
	text := strings.Replace(hours("sql: SELECT id, ts, v, 1 AS code FROM records"), "shards: 2", "max_bytes: 64MiB", 1)
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": text}), t.TempDir())
	l.postHours(1, 3, 40)
	pad := strings.Repeat("x", 900_000)
	for i := range 90 { // they push the first ones out
		l.post("events", fmt.Sprintf(`{"id":%d,"ts":"2026-11-20T09:00:00Z","v":1,"pad":"%s"}`, -i, pad))
	}
	l.postHours(4, 4, 40)
	d := l.replay(server.ReplayRequest{From: "0:200"})
	if d.State != "failed" || !strings.Contains(d.Error, "the history of events is not complete") || !strings.Contains(d.Error, "--source raw") {
		t.Errorf("from the stream: %+v", d)
	}
	l.verify()
	l.edit("pipelines/events.yaml", strings.Replace(text, "1 AS code", "2 AS code", 1))
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d = l.replay(server.ReplayRequest{From: "earliest", Source: "raw"}); d.State != "done" || d.Rows != 250 {
		t.Errorf("from the backup: %+v", d)
	}
	if got := l.sql("SELECT count(*), count(DISTINCT id), min(code) FROM curated.events"); got != "250,250,2" {
		t.Errorf("rows: %s", got)
	}
	l.verify()
}

// TestReplayProgress: a replay says how far it is long before its first commit, which is at its end here.
func TestReplayProgress(t *testing.T) {
	l := newHours(t, "sql: SELECT *, 1 AS code FROM records")
	l.postHours(1, 3, 200)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	l.edit("functions/enrich/function.yaml", "runtime: python\nhandler: app.handler\nconcurrency: 1\nbatch: {records: 20}\n")
	l.edit("functions/enrich/app.py", strings.Replace(enrich, "    out = []\n", "    import time\n    time.sleep(0.05)\n    out = []\n", 1))
	l.mend("function: enrich")
	d, err := l.StartReplay(t.Context(), "events", server.ReplayRequest{From: "earliest", Into: "curated.again"})
	if err != nil {
		t.Fatal(err)
	}
	var seen []uint64
	for d.State == "running" {
		time.Sleep(20 * time.Millisecond)
		if d, err = l.Replay(t.Context(), d.ID); err != nil {
			t.Fatal(err)
		}
		if d.State == "running" && d.Done > 0 && d.Done < d.Records && (len(seen) == 0 || seen[len(seen)-1] != d.Done) {
			seen = append(seen, d.Done)
		}
	}
	if d.State != "done" || len(seen) < 3 || !slices.IsSorted(seen) {
		t.Errorf("progress %v of %d; %+v", seen, d.Records, d)
	}
	l.verify()
}
