package engine_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/metadb"
)

const backedUp = `pipeline: events
source: {http: {}}
stream: {shards: 2, partition_key: id}
deliver:
  - table: curated.events
    raw_backup: true
`

// filesOpened is what the last statement over raw.events opened, of how many.
func (l *lake) filesOpened() string {
	return l.sql("SELECT files_opened, files_total FROM system.query_log WHERE sql LIKE '%raw.events%' AND sql NOT LIKE '%query_log%' ORDER BY started_at DESC LIMIT 1")
}

func TestRawBackup(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": backedUp}), t.TempDir()
	l := start(t, project, data)
	if got := l.sql("SELECT count(*) FROM raw.events"); got != "0" {
		t.Errorf("%s rows before the first", got)
	}
	var body strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&body, `{"id": "%d",  "v":%d}`+"\n", i%2, i)
	}
	l.post("events", body.String())
	if status, answer := l.do(http.MethodPost, "/v1/streams/events/records", "application/json", "", []byte("{\n\"id\":\"0\", \"odd\" : \"line\"}")); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]string{
		"SELECT count(*), count(DISTINCT position), count(DISTINCT shard), count(arrival) FROM raw.events": "1001,1001,2,1001",
		"SELECT DISTINCT shard, partition_key FROM raw.events ORDER BY 1":                                  "0,\n1,",
		"SELECT record FROM raw.events WHERE position = '0:3'":                                             `"{""id"": ""1"",  ""v"":7}"`,
		"SELECT length(record), ascii(record[2]) FROM raw.events WHERE record LIKE '%odd%'":                "27,10",
		"SELECT count(*) FROM raw.events a JOIN raw.events b USING (position) WHERE a.shard = 0":           "500",
		"SELECT count(*) FROM raw.events WHERE arrival > now()::TIMESTAMP + INTERVAL 1 HOUR":               "0",
	} {
		if got := l.sql(query); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", query, got, want)
		}
	}
	l.sql("SELECT sum(record_offset) FROM raw.events WHERE shard = 1")
	if got := l.filesOpened(); got != "1,2" {
		t.Errorf("files opened, total: %s", got)
	}
	l.verify()

	status, answer := l.do(http.MethodGet, "/v1/pipelines", "", "", nil)
	if want := `"raw_backup":{"table":"raw.events","state":"running","lag_records":0,"records":1001,`; status != http.StatusOK || !strings.Contains(compact(t, answer), want) {
		t.Errorf("%d %s", status, answer)
	}
	status, answer = l.do(http.MethodGet, "/v1/tables/raw.events", "", "", nil)
	if status != http.StatusOK || !strings.Contains(compact(t, answer), `"rows":1001,`) || !strings.Contains(string(answer), `"arrival"`) {
		t.Errorf("%d %s", status, answer)
	}
	_, answer = l.do(http.MethodGet, "/v1/tables", "", "", nil)
	if !strings.Contains(string(answer), "raw.events") {
		t.Errorf("%s", answer)
	}

	// Without raw_backup the archive stays, and its table.
	if err := os.WriteFile(filepath.Join(project, "pipelines/events.yaml"), []byte(strings.Replace(backedUp, "true", "false", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.post("events", `{"id":"x"}`)
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT count(*) FROM raw.events"); got != "1001" {
		t.Errorf("%s rows without backup", got)
	}
	l.verify()
}

func compact(t *testing.T, doc []byte) string {
	t.Helper()
	var v json.RawMessage
	if err := json.Unmarshal(doc, &v); err != nil {
		t.Fatalf("%v: %s", err, doc)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestRawBackupDrains: what was read is backed up on the way out, and verify finds what is missing.
func TestRawBackupDrains(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": backedUp}), t.TempDir()
	e, err := engine.New(engine.Options{Project: project, Data: data, Listen: "127.0.0.1:0", Maintenance: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := &lake{Engine: e, t: t}
	l.post("events", `{"id":"a"}`)
	l.eventually("SELECT count(*) FROM curated.events", "1")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	l = start(t, project, data)
	if got := l.sql("SELECT record FROM raw.events"); got != `"{""id"":""a""}"` {
		t.Errorf("got %s", got)
	}
	l.verify()
	objects, err := filepath.Glob(filepath.Join(data, "lake/raw/events/*/*/*/*/*.zst"))
	if err != nil || len(objects) != 1 {
		t.Fatalf("%v %v", objects, err)
	}
	if err := os.Remove(objects[0]); err != nil {
		t.Fatal(err)
	}
	v, err := l.Verify(t.Context())
	if err != nil || v.OK || len(v.Problems) != 1 || !strings.Contains(v.Problems[0].Subject, filepath.Base(objects[0])) {
		t.Errorf("verify without an object: %+v, %v", v.Problems, err)
	}
}

// TestRawBackupExpires: the lifecycle of the zone raw is applied.
func TestRawBackupExpires(t *testing.T) {
	project, data := writeProject(t, map[string]string{"tarn.yaml": projectFile + "zones: {raw: {expire_after: 1h}}\n", "pipelines/events.yaml": backedUp}), t.TempDir()
	open := func(maintenance time.Duration) *lake {
		e, err := engine.New(engine.Options{Project: project, Data: data, Listen: "127.0.0.1:0", Maintenance: maintenance})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		return &lake{Engine: e, t: t}
	}
	l := open(-1)
	l.post("events", `{"id":"a"}`)
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT count(*) FROM raw.events"); got != "1" {
		t.Errorf("%s rows", got)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := metadb.Open(t.Context(), filepath.Join(data, "meta/tarn.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	// An hour passes.
	if _, err := db.Exec(t.Context(), "UPDATE raw_objects SET last_arrival = last_arrival - ?", time.Hour.Microseconds()); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	l = open(20 * time.Millisecond)
	defer l.Close()
	l.eventually("SELECT count(*) FROM raw.events", "0")
	l.verify()
	if left, _ := filepath.Glob(filepath.Join(data, "lake/raw/events/*/*/*/*/*.zst")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}
