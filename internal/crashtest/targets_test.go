package crashtest

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/tarn-data/tarn/internal/child"
	"github.com/tarn-data/tarn/metadb/metadbtest"
)

// targetsFile delivers to a table, to the zone cleaned and to two databases, which only add rows, so that a
// record that is delivered twice is there twice.
const targetsFile = `pipeline: events
deliver:
  - table: curated.events
    buffer: {size: 1MiB, interval: 1s}
  - cleaned: events
    buffer: {size: 1MiB, interval: 1s}
  - database: {url: %q, table: app.events, name: postgres, mode: append}
    buffer: {size: 1MiB, interval: 1s}
  - database: {url: app.db, table: events, name: sqlite, mode: append}
    buffer: {size: 1MiB, interval: 1s}
`

// TestTargets kills the server, and the connections of its database, again and again. Afterwards every
// acknowledged record is in each target exactly once: as a row, or as a failed record where the
// database refuses every fiftieth.
func TestTargets(t *testing.T) {
	rounds := int(setting(t, "TARN_CRASH_ROUNDS", 6))
	seed := setting(t, "TARN_CRASH_SEED", time.Now().UnixNano())
	t.Logf("%d rounds; TARN_CRASH_SEED=%d repeats the choices", rounds, seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 21))
	url := metadbtest.Postgres(t).Database(t)
	project, data := t.TempDir(), t.TempDir()
	if err := os.MkdirAll(filepath.Join(project, "pipelines"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"tarn.yaml": "version: 1\nname: crash\n", "pipelines/events.yaml": fmt.Sprintf(targetsFile, url)} {
		if err := os.WriteFile(filepath.Join(project, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	pg, lite := open(t, "pgx", url), open(t, "sqlite", "file:"+filepath.Join(project, "app.db")+"?_pragma=busy_timeout(10000)")
	for _, q := range []string{"CREATE SCHEMA app", "CREATE TABLE app.events (id text, producer text, n bigint CHECK (n % 50 <> 7))"} {
		if _, err := pg.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var (
		here      site
		stage     atomic.Int32
		stop      = make(chan struct{})
		producing sync.WaitGroup
	)
	producers := []*producer{{pipeline: "events", name: "k1", keyed: true}, {pipeline: "events", name: "k2", keyed: true}, {pipeline: "events", name: "u1"}}
	for i, p := range producers {
		p.rng = rand.New(rand.NewPCG(uint64(seed), uint64(i)+30))
		producing.Go(func() { p.run(ctx, t, &here, &stage, stop) })
	}
	producing.Go(func() { cutConnections(t, pg, rand.New(rand.NewPCG(uint64(seed), 40)), stop) })
	for round := range rounds {
		stage.Store(int32(round * 3 / rounds))
		m := moment{"under load", func(w watch) {
			w.untilReady()
			w.sleep(time.Duration(700+rng.IntN(2500)) * time.Millisecond)
		}}
		killOnce(ctx, t, m, rng, &here, project, data)
	}
	p, c := startReady(t, project, data)
	here.client.Store(c)
	time.Sleep(300 * time.Millisecond)
	close(stop)
	producing.Wait()
	if err := c.Act(within(t, 60*time.Second), "events", "flush"); err != nil {
		t.Fatalf("flush: %v\n%s", err, p.Log())
	}
	failed := idsIn(t, c, idsOf("system.failed_records")+" WHERE table_name = 'database.postgres' AND stage = 'database'")
	if len(failed) == 0 {
		t.Error("no record was refused")
	}
	for name, ids := range map[string]map[string]int{
		"the table": idsIn(t, c, "SELECT id FROM curated.events"), "cleaned": idsIn(t, c, "SELECT id FROM cleaned.events"),
		"PostgreSQL": merge(rowIDs(t, pg, "SELECT id FROM app.events"), failed), "SQLite": rowIDs(t, lite, "SELECT id FROM events"),
	} {
		checkIDs(t, name, ids, producers)
	}
	verify(t, c.Base)
}

func open(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// cutConnections ends the server's connections to PostgreSQL from time to time.
func cutConnections(t *testing.T, pg *sql.DB, rng *rand.Rand, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(300+rng.IntN(1500)) * time.Millisecond):
		}
		if _, err := pg.ExecContext(context.Background(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tarn'"); err != nil {
			t.Errorf("cut connections: %v", err)
			return
		}
	}
}

// idsIn counts the ids that a query of the lake gives in its first column.
func idsIn(t *testing.T, c *child.Client, query string) map[string]int {
	t.Helper()
	rows, err := c.Rows(within(t, 60*time.Second), "SELECT id, count(*) FROM ("+query+") GROUP BY id")
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]int{}
	for _, r := range rows {
		var n int
		if _, err := fmt.Sscan(r[1], &n); err != nil {
			t.Fatal(err)
		}
		ids[r[0]] = n
	}
	return ids
}

// rowIDs counts the ids in a database.
func rowIDs(t *testing.T, db *sql.DB, query string) map[string]int {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	ids := map[string]int{}
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			t.Fatal(err)
		}
		ids[id]++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return ids
}

func merge(a, b map[string]int) map[string]int {
	for id, n := range b {
		a[id] += n
	}
	return a
}

// checkIDs checks that acknowledged records are there once, and the others at most once.
func checkIDs(t *testing.T, name string, found map[string]int, ps []*producer) {
	t.Helper()
	var lost, twice []string
	var held int
	for _, p := range ps {
		for n, f := range p.fates {
			id := fmt.Sprintf("%s-%08d", p.name, n)
			switch {
			case f == acked && found[id] == 0:
				lost = append(lost, id)
			case found[id] > 1:
				twice = append(twice, id)
			}
			held += found[id]
			delete(found, id)
		}
	}
	t.Logf("%s has %d records", name, held)
	for what, ids := range map[string][]string{"acknowledged but lost": lost, "there more than once": twice} {
		if len(ids) > 0 {
			t.Errorf("%s: %d records %s, such as %s", name, len(ids), what, strings.Join(ids[:min(len(ids), 5)], " "))
		}
	}
	if len(found) > 0 {
		t.Errorf("%s: %d ids were never sent", name, len(found))
	}
}
