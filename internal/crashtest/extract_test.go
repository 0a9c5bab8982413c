package crashtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
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
	"extracts/placed.yaml":  "extract: placed\nfrom: events\nsql: SELECT device, n, ts, record_shard AS s, record_offset AS o FROM records\nto: {table: curated.placed}\n",
	"extracts/copies.yaml":  "extract: copies\nfrom: events\nsql: SELECT * FROM records\nto: {stream: copied, shards: 2, partition_key: device}\n",
	"extracts/copied.yaml":  "extract: copied\nfrom: copied\nsql: SELECT device, n, ts FROM records\nto: {table: curated.copied}\n",
	"extracts/latest.yaml":  "extract: latest\nfrom: events\nsql: SELECT device AS component, 'n' AS metric, n AS value, ts AS at FROM records\nto: {twin: fleet}\n",
	"extracts/minutes.yaml": "extract: minutes\nfrom: events\nsql: SELECT window_start, device, count(*) AS c, sum(n)::BIGINT AS s FROM records GROUP BY window_start, device\nto: {table: curated.minutes}\nwindow: {tumbling: 1m, time: ts, lateness: 30s}\n",
	"extracts/trips.yaml":   "extract: trips\nfrom: events\nsql: SELECT device AS component, 'trip' AS metric, count(*) AS value, window_end AS at FROM records GROUP BY window_start, window_end, device\nto: {twin: fleet}\nwindow: {session: {gap: 40s}, key: device, time: ts, lateness: 30s}\n",
}

// inTime is the accepted records that windows take: those that lie no further than the lateness behind what came before
// them in their shard, without the last ones.
const inTime = "(SELECT * FROM (SELECT *, max(ts) OVER (PARTITION BY s ORDER BY o ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS newest FROM curated.placed) " +
	"WHERE ts < TIMESTAMP '2027-01-01' AND (newest IS NULL OR ts >= newest - INTERVAL '30 seconds'))"

// latest is the newest value of each device: by time, and of one time by position.
const latest = "SELECT device, n FROM curated.placed QUALIFY row_number() OVER (PARTITION BY device ORDER BY ts DESC, s DESC, o DESC) = 1"

// extractChecks compare what extracts gave with one query over all accepted records; each must be 0.
var extractChecks = map[string]string{
	"placed":  difference("SELECT device, n, ts FROM curated.placed", "SELECT device, n, ts FROM curated.events"),
	"copied":  difference("SELECT device, n, ts FROM curated.copied", "SELECT device, n, ts FROM curated.events"),
	"minutes": difference("SELECT window_start, device, c, s FROM curated.minutes", "SELECT date_trunc('minute', ts), device, count(*), sum(n)::BIGINT FROM "+inTime+" GROUP BY ALL"),
	"latest":  difference("SELECT component, value_number::BIGINT FROM twin.fleet WHERE metric = 'n'", latest),
	"trips": difference("SELECT component, value_number::BIGINT, \"at\" FROM twin.fleet WHERE metric = 'trip'", `SELECT device, c, e FROM (
		SELECT device, count(*) AS c, max(ts) + INTERVAL '40 seconds' AS e, row_number() OVER (PARTITION BY device ORDER BY max(ts) DESC) AS r FROM (
			SELECT *, sum(f) OVER (PARTITION BY device ORDER BY ts, s, o) AS g FROM (
				SELECT *, CASE WHEN ts - lag(ts) OVER (PARTITION BY device ORDER BY ts, s, o) < INTERVAL '40 seconds' THEN 0 ELSE 1 END AS f FROM `+inTime+`))
		GROUP BY device, g) WHERE r = 1`),
}

func difference(a, b string) string {
	return fmt.Sprintf("SELECT count(*) FROM ((%[1]s EXCEPT ALL %[2]s) UNION ALL (%[2]s EXCEPT ALL %[1]s))", "("+a+")", "("+b+")")
}

// extractProducer posts records of its own, each request until it is acknowledged.
type extractProducer struct {
	name    string
	rng     *rand.Rand
	waiting string // a request that was not acknowledged
	request int
}

// body is some records whose times go back and forth, some of them twice, some at one time. n is shared by the producers.
func (p *extractProducer) body(n *atomic.Int64) string {
	var b strings.Builder
	for range 1 + p.rng.IntN(400) {
		i := int(n.Add(1))
		at := epoch.Add(time.Duration(i)*20*time.Millisecond + time.Duration(i/3000)*time.Minute - time.Duration(p.rng.IntN(5000))*time.Millisecond)
		if i%10 == 0 {
			at = at.Truncate(10 * time.Second)
		}
		for range 1 + p.rng.IntN(20)/19 {
			fmt.Fprintf(&b, `{"device":"d%d","n":%d,"ts":"%s"}`+"\n", i%8, i, at.Format("2006-01-02T15:04:05.000000Z"))
		}
	}
	return b.String()
}

// post sends a request, and reports whether it was acknowledged.
func (p *extractProducer) post(ctx context.Context, c *child.Client) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	header := map[string]string{"Content-Type": "application/x-ndjson", "Idempotency-Key": fmt.Sprint(p.name, "-", p.request)}
	if _, err := c.Do(ctx, "POST", "/v1/streams/events/records", header, []byte(p.waiting)); err != nil {
		return false
	}
	p.waiting, p.request = "", p.request+1
	return true
}

// TestExtracts has several producers post records, out of order and some twice, and kills the server at random moments
// while extracts run. Afterwards each extract has given what one query over all accepted records gives, and the twin answers so over
// HTTP.
func TestExtracts(t *testing.T) {
	rounds := int(setting(t, "TARN_CRASH_ROUNDS", 10))
	seed := setting(t, "TARN_CRASH_SEED", time.Now().UnixNano())
	t.Logf("%d rounds; TARN_CRASH_SEED=%d repeats the choices", rounds, seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 11))
	project, data := t.TempDir(), t.TempDir()
	for name, text := range extractFiles {
		writeFile(t, project, name, text)
	}
	var n atomic.Int64
	var producers []*extractProducer
	for i := range 3 {
		producers = append(producers, &extractProducer{name: fmt.Sprint("producer-", i), rng: rand.New(rand.NewPCG(uint64(seed), uint64(100+i)))})
	}
	for range rounds {
		p, c := startReady(t, project, data)
		killed := time.AfterFunc(time.Duration(100+rng.IntN(900))*time.Millisecond, p.Kill)
		var posting sync.WaitGroup
		for _, from := range producers {
			posting.Go(func() {
				for {
					if from.waiting == "" {
						from.waiting = from.body(&n)
					}
					if !from.post(t.Context(), c) {
						return
					}
				}
			})
		}
		posting.Wait()
		killed.Stop()
		p.Kill()
	}
	p, c := startReady(t, project, data)
	for _, from := range producers {
		if from.waiting != "" && !from.post(t.Context(), c) {
			t.Fatal("the last request is not acknowledged")
		}
	}
	var last strings.Builder // completes all windows before, in every shard
	for i := range 64 {
		fmt.Fprintf(&last, `{"device":"end%d","n":%d,"ts":"2027-02-01T00:00:00Z"}`+"\n", i, i)
	}
	if end := (&extractProducer{name: "end", waiting: last.String()}); !end.post(t.Context(), c) {
		t.Fatal("the last records are not acknowledged")
	}
	settle := func() (wrong []string) {
		for name, q := range extractChecks {
			rows, err := c.Rows(within(t, 30*time.Second), q)
			if err != nil || rows[0][0] != "0" {
				wrong = append(wrong, fmt.Sprint(name, rows, err))
			}
		}
		return append(wrong, latestOverHTTP(t, c)...)
	}
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		wrong := settle()
		if len(wrong) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d records: %v\n%s", n.Load(), wrong, p.Log())
		}
	}
	t.Logf("%d records", n.Load())
	verify(t, c.Base)
}

// latestOverHTTP compares what the twin answers over HTTP with one query over all accepted records.
func latestOverHTTP(t *testing.T, c *child.Client) (wrong []string) {
	t.Helper()
	want, err := c.Rows(within(t, 30*time.Second), latest)
	if err != nil {
		return []string{err.Error()}
	}
	for _, row := range want {
		var m struct {
			Value   float64
			Lineage struct{ Stream, Pipeline, Position string }
		}
		answer, err := c.Do(within(t, 30*time.Second), "GET", "/v1/twins/fleet/components/"+row[0]+"/metrics/n", nil, nil)
		if err == nil {
			err = json.Unmarshal(answer, &m)
		}
		if err != nil || fmt.Sprint(int(m.Value)) != row[1] || m.Lineage.Stream != "events" || m.Lineage.Pipeline != "latest" || m.Lineage.Position == "" {
			wrong = append(wrong, fmt.Sprintf("%s is %s over HTTP, want %s (%v)", row[0], answer, row[1], err))
		}
	}
	return wrong
}
