package crashtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
)

// extractFiles have an extract to each kind of place, record by record and with windows.
var extractFiles = map[string]string{
	"tarn.yaml": "version: 1\nname: crash\n",
	"pipelines/events.yaml": `
pipeline: events
stream: {shards: 2, partition_key: device}
schema: {device: VARCHAR, n: BIGINT, ts: TIMESTAMP}
deliver: [{table: curated.events, buffer: {size: 1MiB, interval: 1s}}]
`,
	"twins/fleet.yaml":      "twin: fleet\n",
	"extracts/copies.yaml":  "extract: copies\nfrom: events\nsql: SELECT * FROM records\nto: {stream: copied, shards: 2, partition_key: device}\n",
	"extracts/copied.yaml":  "extract: copied\nfrom: copied\nsql: SELECT device, n, ts FROM records\nto: {table: curated.copied}\n",
	"extracts/latest.yaml":  "extract: latest\nfrom: events\nsql: SELECT device AS component, 'n' AS metric, n AS value, ts AS at FROM records\nto: {twin: fleet}\n",
	"extracts/minutes.yaml": "extract: minutes\nfrom: events\nsql: SELECT window_start, device, count(*) AS c, sum(n)::BIGINT AS s FROM records GROUP BY window_start, device\nto: {table: curated.minutes}\nwindow: {tumbling: 1m, time: ts, lateness: 30s}\n",
	"extracts/trips.yaml":   "extract: trips\nfrom: events\nsql: SELECT device AS component, 'trip' AS metric, count(*) AS value, window_end AS at FROM records GROUP BY window_start, window_end, device\nto: {twin: fleet}\nwindow: {session: {gap: 40s}, key: device, time: ts, lateness: 30s}\n",
}

// extractChecks compare what extracts gave with one query over all accepted records; each must be 0.
var extractChecks = map[string]string{
	"copied":  difference("SELECT device, n, ts FROM curated.copied", "SELECT device, n, ts FROM curated.events"),
	"minutes": difference("SELECT window_start, device, c, s FROM curated.minutes", "SELECT date_trunc('minute', ts), device, count(*), sum(n)::BIGINT FROM curated.events WHERE ts < TIMESTAMP '2027-01-01' GROUP BY ALL"),
	"latest": difference("SELECT component, value_number::BIGINT FROM twin.fleet WHERE metric = 'n'",
		"SELECT device, arg_max(n, ts) FROM curated.events GROUP BY ALL"),
	"trips": difference("SELECT component, value_number::BIGINT, \"at\" FROM twin.fleet WHERE metric = 'trip'", `SELECT device, c, e FROM (
		SELECT device, count(*) AS c, max(ts) + INTERVAL '40 seconds' AS e, row_number() OVER (PARTITION BY device ORDER BY max(ts) DESC) AS r FROM (
			SELECT *, sum(f) OVER (PARTITION BY device ORDER BY ts, n) AS g FROM (
				SELECT *, CASE WHEN ts - lag(ts) OVER (PARTITION BY device ORDER BY ts, n) < INTERVAL '40 seconds' THEN 0 ELSE 1 END AS f FROM curated.events WHERE ts < TIMESTAMP '2027-01-01'))
		GROUP BY device, g) WHERE r = 1`),
}

func difference(a, b string) string {
	return fmt.Sprintf("SELECT count(*) FROM ((%[1]s EXCEPT ALL %[2]s) UNION ALL (%[2]s EXCEPT ALL %[1]s))", "("+a+")", "("+b+")")
}

// TestExtracts posts records and kills the server at random moments while extracts run. Afterwards each
// has given what one query over all accepted records gives.
func TestExtracts(t *testing.T) {
	rounds := int(setting(t, "TARN_CRASH_ROUNDS", 10))
	seed := setting(t, "TARN_CRASH_SEED", time.Now().UnixNano())
	t.Logf("%d rounds; TARN_CRASH_SEED=%d repeats the choices", rounds, seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 11))
	project, data := t.TempDir(), t.TempDir()
	for name, text := range extractFiles {
		path := filepath.Join(project, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	n, request := 0, 0
	body := func(count int) string {
		var b strings.Builder
		for range count {
			at := epoch.Add(time.Duration(n)*20*time.Millisecond + time.Duration(n/3000)*time.Minute - time.Duration(rng.IntN(5000))*time.Millisecond)
			fmt.Fprintf(&b, `{"device":"d%d","n":%d,"ts":"%s"}`+"\n", n%8, n, at.Format("2006-01-02T15:04:05.000000Z"))
			n++
		}
		return b.String()
	}
	// post repeats a request until it is acknowledged or the server is gone.
	post := func(c *child.Client, text string) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		header := map[string]string{"Content-Type": "application/x-ndjson", "Idempotency-Key": fmt.Sprint("request-", request)}
		_, err := c.Do(ctx, "POST", "/v1/streams/events/records", header, []byte(text))
		return err == nil
	}
	waiting := "" // a request that was not acknowledged
	for range rounds {
		p, c := startReady(t, project, data)
		killed := time.AfterFunc(time.Duration(100+rng.IntN(900))*time.Millisecond, p.Kill)
		for {
			if waiting == "" {
				waiting = body(1 + rng.IntN(400))
			}
			if !post(c, waiting) {
				break
			}
			waiting, request = "", request+1
		}
		killed.Stop()
		p.Kill()
	}
	p, c := startReady(t, project, data)
	if waiting != "" && !post(c, waiting) {
		t.Fatal("the last request is not acknowledged")
	}
	request++
	var last strings.Builder // completes all windows before, in every shard
	for i := range 64 {
		fmt.Fprintf(&last, `{"device":"end%d","n":%d,"ts":"2027-02-01T00:00:00Z"}`+"\n", i, i)
	}
	if !post(c, last.String()) {
		t.Fatal("the last records are not acknowledged")
	}
	settle := func() (wrong []string) {
		for name, q := range extractChecks {
			rows, err := c.Rows(within(t, 30*time.Second), q)
			if err != nil || rows[0][0] != "0" {
				wrong = append(wrong, fmt.Sprint(name, rows, err))
			}
		}
		return wrong
	}
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		wrong := settle()
		if len(wrong) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records: %v\n%s", n, wrong, p.Log())
		}
	}
	t.Logf("%d records", n)
	verify(t, c.Base)
}
