package crashtest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// fetch answers numbers that go on where the state ended, sometimes more than one request to the stream.
const fetch = `def handler(event, context):
    since = event['detail']['state'] or 0
    n = 1 + since * 7919 % 9000
    return {'records': [{'n': since + i, 'slot': event['time'], 'pad': 'p' * 300} for i in range(n)], 'state': since + n}
`

// TestSourceFunctions kills the server at random moments while functions bring records in, on a schedule
// and again and again. Afterwards each run's records are in the table exactly once, no slot ran twice,
// and the numbers have no hole: the state went on with the records and not without.
func TestSourceFunctions(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	rounds := int(setting(t, "TARN_CRASH_ROUNDS", 8))
	seed := setting(t, "TARN_CRASH_SEED", time.Now().UnixNano())
	t.Logf("%d rounds; TARN_CRASH_SEED=%d repeats the choices", rounds, seed)
	rng := rand.New(rand.NewPCG(uint64(seed), 11))
	project, data := t.TempDir(), t.TempDir()
	if err := os.Chmod(filepath.Dir(project), 0o755); err != nil { // the sandbox is another user
		t.Fatal(err)
	}
	pipeline := func(name, when string) string {
		return "pipeline: " + name + "\nsource: {function: fetch, " + when + "}\nstream: {shards: 2, partition_key: slot}\n" +
			"deliver:\n  - table: curated." + name + "\n    buffer: {size: 8MiB, interval: 1s}\n"
	}
	for name, text := range map[string]string{
		"tarn.yaml":                     "version: 1\nname: crash\n",
		"functions/fetch/function.yaml": "runtime: python\nhandler: app.handler\n",
		"functions/fetch/app.py":        fetch,
		"pipelines/timed.yaml":          pipeline("timed", "every: 1s, catch_up: all"),
		"pipelines/steady.yaml":         pipeline("steady", "continuous: true"),
	} {
		path := filepath.Join(project, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range rounds {
		p := start(t, project, data)
		if _, err := p.Ready(within(t, 20*time.Second)); err != nil {
			t.Fatalf("%v\n%s", err, p.Log())
		}
		time.Sleep(time.Duration(50+rng.IntN(1200)) * time.Millisecond)
		select {
		case <-p.Exited():
			t.Fatalf("the server died by itself\n%s", p.Log())
		default:
		}
		p.Kill()
	}
	p, c := startReady(t, project, data)
	time.Sleep(2 * time.Second) // what was missed is caught up with
	for _, name := range []string{"timed", "steady"} {
		one := func(sql string) []string {
			t.Helper()
			rows, err := c.Rows(within(t, 60*time.Second), sql)
			if err != nil || len(rows) != 1 {
				t.Fatalf("%s: %v %v\n%s", sql, rows, err, p.Log())
			}
			return rows[0]
		}
		// The runs that have ended; those after them go on meanwhile.
		ended := one(fmt.Sprintf(`SELECT count(*), count(DISTINCT slot), sum(records), max(run), count(*) FILTER (state <> 'done' OR rejected > 0) FROM system.runs
			WHERE pipeline = '%s' AND finished_at IS NOT NULL`, name))
		want, err := strconv.ParseInt(ended[2], 10, 64)
		if err != nil || want == 0 || ended[0] != ended[1] || ended[0] != ended[3] || ended[4] != "0" {
			t.Errorf("%s: runs, slots, records, last run and not done are %v\n%s", name, ended, p.Log())
		}
		for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			got := one(fmt.Sprintf(`SELECT count(*), count(DISTINCT n), min(n), max(n) FROM curated.%s WHERE n < %d`, name, want))
			if fmt.Sprint(got) == fmt.Sprintf("[%d %d 0 %d]", want, want, want-1) {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("%s: records, distinct, first and last are %v of %d", name, got, want)
				break
			}
		}
		if twice := one(fmt.Sprintf(`SELECT count(*) - count(DISTINCT n) FROM curated.%s`, name)); twice[0] != "0" {
			t.Errorf("%s: %s records are there more than once", name, twice[0])
		}
		t.Logf("%s: %s runs, %d records", name, ended[0], want)
	}
	verify(t, c.Base)
}
