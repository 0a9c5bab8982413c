package crashtest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
)

// TestReplayKilled kills the server while it replays history, into a new table and in place, and takes
// records meanwhile. The replay goes on by itself at the next start. In the end every record is in each
// table once, made by the code of today, and nothing else lies in the folder of the table.
func TestReplayKilled(t *testing.T) {
	const records, kills = 240_000, 4
	rng := rand.New(rand.NewPCG(11, uint64(time.Now().UnixNano())))
	dir, data := t.TempDir(), t.TempDir()
	pipeline := func(code int) {
		writeFile(t, dir, "pipelines/events.yaml", fmt.Sprintf("pipeline: events\nschema: {id: BIGINT}\ntransform:\n"+
			"  - sql: SELECT *, %d AS code, make_timestamp(1763000000000000 + (id // 40000) * 3600000000) AS ts FROM records\n"+
			"deliver:\n  - table: curated.events\n    raw_backup: true\n    partition_by: [hour(ts)]\n    maintenance: {compact: false}\n    buffer: {size: 1MiB, interval: 1s}\n", code))
	}
	writeFile(t, dir, "tarn.yaml", "version: 1\nname: replay\n")
	pipeline(1)
	p, c := startReady(t, dir, data)
	for at := 0; at < records; at += 20_000 {
		postIDs(t, c, "events", at, 20_000)
	}
	if err := c.Act(within(t, 60*time.Second), "events", "flush"); err != nil {
		t.Fatal(err)
	}
	total := records
	for i, request := range []string{`{"from":"earliest","into":"curated.again"}`, `{"from":"0:60000","to":"0:100000"}`, `{"from":"earliest","source":"raw"}`} {
		code := i + 2
		p.Kill()
		pipeline(code)
		p, c = startReady(t, dir, data)
		id := startReplay(t, c, request)
		for range kills {
			time.Sleep(time.Duration(10+rng.IntN(400)) * time.Millisecond)
			p.Kill()
			p, c = startReady(t, dir, data)
			verify(t, c.Base)
			wantRows(t, c, "SELECT count(*) = count(DISTINCT id) FROM curated.events", "true")
			postIDs(t, c, "events", total, 500)
			total += 500
		}
		awaitReplay(t, c, id)
		if err := c.Act(within(t, 60*time.Second), "events", "flush"); err != nil {
			t.Fatal(err)
		}
		verify(t, c.Base)
		wantRows(t, c, "SELECT count(*), count(DISTINCT id) FROM curated.events", fmt.Sprintf("%d %d", total, total))
		switch code {
		case 2:
			wantRows(t, c, fmt.Sprintf("SELECT count(*) >= %d, count(*) = count(DISTINCT id), min(code), max(code) FROM curated.again", records), "true true 2 2")
		case 3:
			wantRows(t, c, "SELECT count(*) FILTER (code <> 3), count(*) FROM curated.events WHERE id >= 40000 AND id < 120000", "0 80000")
		case 4:
			wantRows(t, c, "SELECT min(code) FROM curated.events", "4")
		}
	}
	wantRows(t, c, "SELECT count(*) FROM system.failed_records", "0")
	compareFiles(t, c, data)
}

func startReplay(t *testing.T, c *child.Client, request string) string {
	t.Helper()
	b, err := c.Do(within(t, 30*time.Second), http.MethodPost, "/v1/pipelines/events/replays", map[string]string{"Content-Type": "application/json"}, []byte(request))
	if err != nil {
		t.Fatal(err)
	}
	var doc struct{ ID string }
	if err := json.Unmarshal(b, &doc); err != nil {
		t.Fatal(err)
	}
	return doc.ID
}

func awaitReplay(t *testing.T, c *child.Client, id string) {
	t.Helper()
	ctx := within(t, 60*time.Second)
	for {
		b, err := c.Do(ctx, http.MethodGet, "/v1/replays/"+id, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		var doc struct{ State, Error string }
		if err := json.Unmarshal(b, &doc); err != nil {
			t.Fatal(err)
		}
		if doc.State == "done" {
			return
		}
		if doc.State != "running" {
			t.Fatalf("%s", b)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// compareFiles checks that every file in the table's folder belongs to one of its snapshots, but for what a
// kill left before it was noted anywhere.
func compareFiles(t *testing.T, c *child.Client, data string) {
	t.Helper()
	rows, err := c.Rows(within(t, 30*time.Second), "SELECT count(*) FROM system.files WHERE table_name = 'curated.events'")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(data, "lake/curated/events/*/*/*/*/*.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s files in the table, %d in its folder", rows[0][0], len(files))
}
