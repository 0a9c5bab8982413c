package crashtest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
)

// retryExtracts writes a project whose extracts fail on the records below bad, and those of windows on all that
// have no time in a column.
func retryExtracts(t *testing.T, dir string, bad int, column string) {
	t.Helper()
	id := fmt.Sprintf("CASE WHEN id < %d THEN error('bad') ELSE id END", bad)
	for name, text := range map[string]string{
		"tarn.yaml":             "version: 1\nname: retry\n",
		"pipelines/events.yaml": "pipeline: events\nstream: {shards: 2}\nschema: {id: BIGINT, ts: VARCHAR, t2: VARCHAR}\ndeliver: []\n",
		"twins/fleet.yaml":      "twin: fleet\n",
		"extracts/copies.yaml":  "extract: copies\nfrom: events\nsql: SELECT " + id + " AS id FROM records\nto: {stream: copied, shards: 2}\n",
		"extracts/copied.yaml":  "extract: copied\nfrom: copied\nsql: SELECT id FROM records\nto: {table: curated.copied}\n",
		"extracts/rows.yaml":    "extract: rows\nfrom: events\nsql: SELECT " + id + " AS id FROM records\nto: {table: curated.rows}\n",
		"extracts/latest.yaml":  "extract: latest\nfrom: events\nsql: SELECT 'd' || id AS component, 'n' AS metric, " + id + " AS value, t2::TIMESTAMP AS at FROM records\nto: {twin: fleet}\n",
		"extracts/minutes.yaml": "extract: minutes\nfrom: events\nsql: SELECT window_start, count(*) AS n, list_sort(list(id)) AS ids FROM records GROUP BY window_start\nto: {table: curated.minutes}\n" +
			"window: {tumbling: 1m, time: " + column + ", late: failed}\n",
	} {
		writeFile(t, dir, name, text)
	}
}

// TestRetryExtractsKilled kills the server while failed records of extracts to streams, tables, twins and windows are
// retried and others come: each is in its place once or among the failed ones, and in the end all are in
// their places.
func TestRetryExtractsKilled(t *testing.T) {
	const records, rounds, most = 400, 5, 20
	seed := setting(t, "TARN_CRASH_SEED", time.Now().UnixNano())
	t.Logf("TARN_CRASH_SEED=%d repeats the choices", seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 9))
	dir, data := t.TempDir(), t.TempDir()
	retryExtracts(t, dir, records, "ts")
	p, c := startReady(t, dir, data)
	total := 0
	post := func(n int, column string) {
		t.Helper()
		var body strings.Builder
		for range n {
			fmt.Fprintf(&body, `{"id":%d,%q:"2026-11-20T03:%02d:%02dZ","t2":"2026-11-20T03:00:00Z"}`+"\n", total, column, total/60%60, total%60)
			total++
		}
		if _, err := c.Do(within(t, 30*time.Second), http.MethodPost, "/v1/streams/events/records", map[string]string{"Content-Type": "application/x-ndjson"}, []byte(body.String())); err != nil {
			t.Fatal(err)
		}
	}
	post(records, "none")
	wait := func(query, want string) {
		t.Helper()
		var rows [][]string
		var err error
		for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			if rows, err = c.Rows(within(t, 60*time.Second), query); err == nil && len(rows) == 1 && strings.Join(rows[0], " ") == want {
				return
			}
		}
		t.Fatalf("%s: %v %v, want %s\n%s", query, rows, err, want, p.Log())
	}
	retryExtracts(t, dir, records-1, "ts") // extracts that change commit what they have
	if _, err := c.Do(within(t, 60*time.Second), http.MethodPost, "/v1/reload", nil, nil); err != nil {
		t.Fatal(err)
	}
	wait("SELECT count(*) FROM system.failed_records", fmt.Sprint(4*records))
	// once checks that every record is delivered or failed, once. A retry into a twin that is cut off may have
	// written values, the same again, of records that are among the failed ones until the next retry.
	once := func(last bool) {
		t.Helper()
		for name, query := range map[string]string{"extract.copies": "SELECT id FROM curated.copied", "curated.rows": "SELECT id FROM curated.rows", "extract.latest": "SELECT value_number::BIGINT AS id FROM twin.fleet"} {
			all := "(" + query + " UNION ALL SELECT (record->>'$.id')::BIGINT FROM system.failed_records WHERE table_name = '" + name + "')"
			if name == "extract.latest" && !last {
				wait("SELECT count(DISTINCT id) FROM "+all, fmt.Sprint(total))
				continue
			}
			wait("SELECT count(*), count(DISTINCT id) FROM "+all, fmt.Sprint(total, total))
		}
		verify(t, c.Base)
	}
	retry := func(ctx context.Context, c *child.Client, body string) error {
		_, err := c.Do(ctx, http.MethodPost, "/v1/failed/retry", map[string]string{"Content-Type": "application/json"}, []byte(body))
		return err
	}
	post(20, "ts") // makes the tables
	cut := 0       // kills between the announcement of a retry and its end
	for round := 0; round < rounds || cut < 1 && round < most; round++ {
		p.Kill()
		meta, err := sql.Open("sqlite", filepath.Join(data, "meta", "tarn.db"))
		if err != nil {
			t.Fatal(err)
		}
		cut += len(rowIDs(t, meta, "SELECT table_name FROM table_state WHERE key = 'announced_retry'"))
		if err := meta.Close(); err != nil {
			t.Fatal(err)
		}
		retryExtracts(t, dir, 0, "t2")
		p, c = startReady(t, dir, data)
		if round > 0 {
			once(false)
		}
		post(20, "ts")
		for _, name := range []string{"extract.copies", "curated.rows", "extract.latest", "windows.minutes"} {
			go func(c *child.Client) {
				for retry(context.Background(), c, fmt.Sprintf(`{"table": %q, "limit": 20}`, name)) == nil {
				}
			}(c)
		}
		time.Sleep(time.Duration(100+rng.IntN(300)) * time.Millisecond)
	}
	p.Kill()
	t.Logf("%d retries were cut off in the middle", cut)
	_, c = startReady(t, dir, data)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if err := retry(within(t, 60*time.Second), c, `{}`); err == nil {
			break
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	wantRows(t, c, "SELECT count(*) FROM system.failed_records", "0")
	once(true)
	accepted := total
	end := `{"id":-1,"t2":"2027-01-01T00:00:00Z"}` + "\n"
	for range 2 { // completes the windows, in both shards
		if _, err := c.Do(within(t, 30*time.Second), http.MethodPost, "/v1/streams/events/records", map[string]string{"Content-Type": "application/x-ndjson"}, []byte(strings.Repeat(end, 64))); err != nil {
			t.Fatal(err)
		}
	}
	wait("SELECT sum(n)::BIGINT, sum(len(list_distinct(ids)))::BIGINT, sum(len(ids))::BIGINT FROM curated.minutes", fmt.Sprint(accepted, accepted, accepted))
	verify(t, c.Base)
}
