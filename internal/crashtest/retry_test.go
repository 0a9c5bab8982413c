package crashtest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
	"github.com/tarn-data/tarn/metadb/metadbtest"
)

// TestRetryKilled kills the server while it retries failed records and delivers others: every record is
// in the table once or among the failed ones, at every start, and in the end all are in the table.
func TestRetryKilled(t *testing.T) {
	const records, rounds = 40_000, 5
	rng := rand.New(rand.NewPCG(7, uint64(time.Now().UnixNano())))
	dir, data := t.TempDir(), t.TempDir()
	pipeline := func(check string) {
		writeFile(t, dir, "pipelines/events.yaml", "pipeline: events\nschema: {id: BIGINT}\ntransform:\n  - validate: [{name: rule, check: "+check+"}]\n"+
			"deliver:\n  - table: curated.events\n    buffer: {size: 1MiB, interval: 1s}\n")
	}
	writeFile(t, dir, "tarn.yaml", "version: 1\nname: retry\n")
	pipeline("id >= 40000")
	p, c := startReady(t, dir, data)
	for at := 0; at < records; at += 10_000 {
		postIDs(t, c, "events", at, 10_000)
	}
	if err := c.Act(within(t, 60*time.Second), "events", "flush"); err != nil {
		t.Fatal(err)
	}
	wantRows(t, c, "SELECT count(*) FROM system.failed_records", fmt.Sprint(records))
	pipeline("id >= 0")
	for round := range rounds {
		p.Kill()
		p, c = startReady(t, dir, data)
		verify(t, c.Base)
		wantRows(t, c, "SELECT count(DISTINCT id) = count(*) FROM curated.events", "true")
		wantRows(t, c, fmt.Sprintf("SELECT count(*) = %d FROM (SELECT id FROM curated.events WHERE id < %d UNION ALL SELECT id FROM system.failed_records)", records, records), "true")
		postIDs(t, c, "events", records+round*100, 100)
		go func() {
			_, _ = c.Do(context.Background(), http.MethodPost, "/v1/failed/retry", map[string]string{"Content-Type": "application/json"}, []byte(`{"limit":10000}`))
		}()
		time.Sleep(time.Duration(30+rng.IntN(600)) * time.Millisecond)
	}
	p.Kill()
	_, c = startReady(t, dir, data)
	for range 5 {
		if _, err := c.Do(within(t, 60*time.Second), http.MethodPost, "/v1/failed/retry", map[string]string{"Content-Type": "application/json"}, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Act(within(t, 60*time.Second), "events", "flush"); err != nil {
		t.Fatal(err)
	}
	total := records + rounds*100
	wantRows(t, c, "SELECT count(*), count(DISTINCT id) FROM curated.events", fmt.Sprintf("%d %d", total, total))
	wantRows(t, c, "SELECT count(*) FROM system.failed_records", "0")
	verify(t, c.Base)
}

// TestRetryTargetsKilled kills the server, and cuts the connections of its database, while failed records of
// databases and of the zone cleaned are retried and others are delivered: each is in its target once or
// among the failed ones, and in the end all are in the targets.
func TestRetryTargetsKilled(t *testing.T) {
	const records, rounds, most = 20_000, 6, 30
	seed := setting(t, "TARN_CRASH_SEED", time.Now().UnixNano())
	t.Logf("TARN_CRASH_SEED=%d repeats the choices", seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 8))
	url := metadbtest.Postgres(t).Database(t)
	dir, data := t.TempDir(), t.TempDir()
	pipeline := func(check string) {
		writeFile(t, dir, "pipelines/events.yaml", fmt.Sprintf("pipeline: events\nschema: {id: BIGINT}\ntransform:\n  - validate: [{name: rule, check: %s}]\n"+
			"deliver:\n  - cleaned: events\n    buffer: {interval: 1s}\n  - database: {url: %q, table: events, name: postgres, mode: append}\n"+
			"  - database: {url: app.db, table: events, name: sqlite, mode: append}\n", check, url))
	}
	writeFile(t, dir, "tarn.yaml", "version: 1\nname: retry\n")
	pipeline(fmt.Sprint("id >= ", records))
	p, c := startReady(t, dir, data)
	pg, lite := open(t, "pgx", url), open(t, "sqlite", "file:"+filepath.Join(dir, "app.db")+"?_pragma=busy_timeout(10000)")
	flush := func() {
		t.Helper()
		if err := c.Act(within(t, 60*time.Second), "events", "flush"); err != nil {
			t.Fatal(err)
		}
	}
	postIDs(t, c, "events", 0, records)
	flush()
	// once checks that every record is delivered or failed, once.
	once := func(total int) {
		t.Helper()
		for name, ids := range map[string]map[string]int{"cleaned.events": idsIn(t, c, "SELECT id FROM cleaned.events"),
			"database.postgres": rowIDs(t, pg, "SELECT id FROM events"), "database.sqlite": rowIDs(t, lite, "SELECT id FROM events")} {
			ids = merge(ids, idsIn(t, c, idsOf("system.failed_records")+" WHERE table_name = '"+name+"'"))
			for id, n := range ids {
				if n != 1 {
					t.Errorf("%s has %s %d times", name, id, n)
					break
				}
			}
			if len(ids) != total {
				t.Errorf("%s: %d of %d records", name, len(ids), total)
			}
		}
		verify(t, c.Base)
	}
	retry := func(ctx context.Context, c *child.Client, body string) error {
		_, err := c.Do(ctx, http.MethodPost, "/v1/failed/retry", map[string]string{"Content-Type": "application/json"}, []byte(body))
		return err
	}
	postIDs(t, c, "events", records, 1) // makes the tables
	flush()
	pipeline("id >= 0")
	total := records + 1
	cut := 0 // kills between the announcement of a retry and its end
	for round := 0; round < rounds || cut < 2 && round < most; round++ {
		p.Kill()
		meta, err := sql.Open("sqlite", filepath.Join(data, "meta", "tarn.db"))
		if err != nil {
			t.Fatal(err)
		}
		cut += len(rowIDs(t, meta, "SELECT table_name FROM table_state WHERE key = 'database_retry_intent'"))
		if err := meta.Close(); err != nil {
			t.Fatal(err)
		}
		p, c = startReady(t, dir, data)
		flush()
		once(total)
		postIDs(t, c, "events", total, 100)
		total += 100
		for _, name := range []string{"cleaned.events", "database.postgres", "database.sqlite"} {
			go func(c *child.Client) {
				for retry(context.Background(), c, fmt.Sprintf(`{"table": %q, "limit": 400}`, name)) == nil {
				}
			}(c)
		}
		time.Sleep(time.Duration(50+rng.IntN(900)) * time.Millisecond)
		if round%2 == 1 {
			if _, err := pg.ExecContext(t.Context(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tarn'"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Duration(rng.IntN(300)) * time.Millisecond)
		}
	}
	p.Kill()
	t.Logf("%d retries were cut off in the middle", cut)
	_, c = startReady(t, dir, data)
	for range 12 {
		if err := retry(within(t, 60*time.Second), c, `{}`); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	wantRows(t, c, "SELECT count(*) FROM system.failed_records", "0")
	once(total)
}

func writeFile(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// postIDs posts n records with ids from from on.
func postIDs(t *testing.T, c *child.Client, stream string, from, n int) {
	t.Helper()
	var body []byte
	for i := range n {
		body = fmt.Appendf(body, `{"id":%d}`+"\n", from+i)
	}
	if _, err := c.Do(within(t, 30*time.Second), http.MethodPost, "/v1/streams/"+stream+"/records", map[string]string{"Content-Type": "application/x-ndjson"}, body); err != nil {
		t.Fatal(err)
	}
}

// wantRows compares the one row of a query.
func wantRows(t *testing.T, c *child.Client, query, want string) {
	t.Helper()
	rows, err := c.Rows(within(t, 60*time.Second), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	if len(rows) != 1 || strings.Join(rows[0], " ") != want {
		t.Errorf("%s: %v, want %s", query, rows, want)
	}
}
