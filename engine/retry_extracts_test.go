package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/twin"
)

// retryProject has an extract to each kind of place, whose SQL fails on the devices that a condition selects.
func retryProject(bad string) map[string]string {
	sql := func(list string) string {
		return "sql: SELECT " + list + ", CASE WHEN " + bad + " THEN error('bad') ELSE n END AS n FROM records\n"
	}
	return map[string]string{
		"tarn.yaml":             projectFile,
		"pipelines/events.yaml": "pipeline: events\nstream: {shards: 2, partition_key: device}\nschema: {device: VARCHAR, n: BIGINT, ts: VARCHAR}\ndeliver: []\n",
		"twins/fleet.yaml":      "twin: fleet\n",
		"extracts/copies.yaml":  "extract: copies\nfrom: events\n" + sql("device, ts") + "to: {stream: copied, shards: 2, partition_key: device}\n",
		"extracts/copied.yaml":  "extract: copied\nfrom: copied\nsql: SELECT device, n FROM records\nto: {table: curated.copied}\n",
		"extracts/rows.yaml":    "extract: rows\nfrom: events\n" + sql("device, record_offset AS place, record_arrival AS arrival") + "to: {table: curated.rows}\n",
		"extracts/latest.yaml": "extract: latest\nfrom: events\nsql: SELECT device AS component, 'n' AS metric, CASE WHEN " + bad +
			" THEN error('bad') ELSE n END AS value, ts::TIMESTAMP AS at, record_arrival::VARCHAR AS unit FROM records\nto: {twin: fleet}\n",
	}
}

// events is n records of a device each, a second apart.
func deviceEvents(from, n int) string {
	var b strings.Builder
	for i := from; i < from+n; i++ {
		fmt.Fprintf(&b, `{"device":"d%d","n":%d,"ts":%q}`+"\n", i, i, time.Date(2026, 11, 20, 3, 0, i, 0, time.UTC).Format(time.RFC3339))
	}
	return b.String()
}

// editAll changes files of the project and waits until it runs so.
func (l *lake) editAll(files map[string]string) {
	l.t.Helper()
	for name, text := range files {
		l.edit(name, text)
	}
	if _, err := l.Reload(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

// TestRetryExtracts: failed records of extracts go where they belong when the SQL is mended, once, though
// several retry them at the same time and others are delivered.
func TestRetryExtracts(t *testing.T) {
	l := start(t, writeProject(t, retryProject("n % 2 = 0")), t.TempDir())
	l.post("events", deviceEvents(0, 400))
	flush := func() {
		t.Helper()
		if err := l.Flush(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	failed := "SELECT table_name, count(*) FROM system.failed_records GROUP BY 1 ORDER BY 1"
	if got := l.sql(failed); got != "curated.rows,200\nextract.copies,200\nextract.latest,200" {
		t.Fatalf("failed: %s", got)
	}
	l.verify()
	if got := settle[server.RetryDoc](l, "retry", server.FailedFilter{}); got != (server.RetryDoc{Tried: 600, FailedAgain: 600}) {
		t.Errorf("with the same SQL: %+v", got)
	}
	l.verify()
	l.editAll(retryProject("n = 0"))
	done := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := l.RetryFailed(t.Context(), server.FailedFilter{})
			done <- err
		}()
	}
	for i := range 5 {
		l.post("events", deviceEvents(1000+20*i, 20))
	}
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	flush()
	for query, want := range map[string]string{
		failed: "curated.rows,1\nextract.copies,1\nextract.latest,1",
		"SELECT count(*), count(DISTINCT n) FROM curated.copied":                                     "499,499",
		"SELECT count(*), count(DISTINCT n), min(year(arrival)) >= 2026 FROM curated.rows":           "499,499,true",
		"SELECT count(*), count(DISTINCT value_number), min(unit) > '2026' FROM twin.fleet":          "499,499,true",
		"SELECT count(*) FROM system.failed_records WHERE record->>'$.device' IS DISTINCT FROM 'd0'": "0",
	} {
		if got := l.sql(query); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", query, got, want)
		}
	}
	tw, err := l.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := tw.Get(t.Context(), twin.Key{Component: "d2", Metric: "n"}); err != nil || m.Position.Stream != "events" {
		t.Errorf("a retried value does not know its record: %+v, %v", m, err)
	}
	l.verify()
	v, err := l.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]server.VerifyTotals{}
	for _, a := range v.Accounts {
		s := sums[a.Table]
		s.Accepted, s.InTable, s.Failed = s.Accepted+a.Accepted, s.InTable+a.InTable, s.Failed+a.Failed
		sums[a.Table] = s
	}
	for _, name := range []string{"extract.copies", "extract.latest", "curated.rows"} {
		if s := sums[name]; s.Accepted != 500 || s.InTable != 499 || s.Failed != 1 {
			t.Errorf("%s: %+v", name, s)
		}
	}
}

// TestRetryTwinRefusals: rows that a twin refused are taken when its schema allows them.
func TestRetryTwinRefusals(t *testing.T) {
	files := retryProject("false")
	files["twins/fleet.yaml"] = "twin: fleet\nunknown: reject\ntypes: {wagon: {m: number}}\n"
	l := start(t, writeProject(t, files), t.TempDir())
	l.post("events", deviceEvents(0, 30))
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT stage, count(*), min(year(arrival)) >= 2026 FROM system.failed_records GROUP BY 1"); got != "twin,30,true" {
		t.Fatalf("failed: %s", got)
	}
	l.editAll(map[string]string{"twins/fleet.yaml": "twin: fleet\n"})
	if got := settle[server.RetryDoc](l, "retry", server.FailedFilter{}); got != (server.RetryDoc{Tried: 30, Settled: 30, Rows: 30}) {
		t.Errorf("%+v", got)
	}
	if got := l.sql("SELECT count(*), min(unit) > '2026' FROM twin.fleet"); got != "30,true" {
		t.Errorf("values: %s", got)
	}
	l.verify()
}

// windowsProject gathers records into windows of each kind, by the time in a column.
func windowsProject(column string) map[string]string {
	window := func(name, key, kind, to string) string {
		return "extract: " + name + "\nfrom: events\nsql: SELECT window_start, window_end, window_revision, count(*) AS c, sum(n)::BIGINT AS s" + key + " FROM records GROUP BY ALL\nto: {table: curated." + name +
			"}\nwindow: {" + kind + ", time: " + column + ", lateness: 10s}\n" + to
	}
	return map[string]string{
		"tarn.yaml":              projectFile,
		"pipelines/events.yaml":  "pipeline: events\nschema: {device: VARCHAR, n: BIGINT, ts: VARCHAR, t2: VARCHAR}\ndeliver: [{table: curated.events}]\n",
		"extracts/tumbling.yaml": window("tumbling", "", "tumbling: 1m, late: failed", ""),
		"extracts/updates.yaml":  window("updates", "", "hopping: {size: 2m, every: 1m}, late: update, update_for: 1h", ""),
		"extracts/sessions.yaml": window("sessions", ", device", "session: {gap: 30s}, key: device", ""),
	}
}

// TestRetryWindows: failed records come into the windows that are open, or that may be delivered again, and
// stay failed where their windows have been delivered.
func TestRetryWindows(t *testing.T) {
	l := start(t, writeProject(t, windowsProject("ts")), t.TempDir())
	at := func(second int) string {
		return time.Date(2026, 11, 20, 3, 0, second, 0, time.UTC).Format(time.RFC3339)
	}
	post := func(second int, column string) {
		t.Helper()
		l.post("events", fmt.Sprintf(`{"device":"a","n":%d,%q:%q}`+"\n", second, column, at(second)))
	}
	for _, second := range []int{5, 65, 130, 200} { // to 3:03:10 without the lateness
		post(second, "ts")
	}
	for _, second := range []int{10, 185, 195, 250} { // without a usable time
		post(second, "t2")
	}
	flush := func() {
		t.Helper()
		if err := l.Flush(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
	}
	flush()
	if got := l.sql("SELECT count(*) FROM system.failed_records"); got != "12" {
		t.Fatalf("failed: %s", got)
	}
	l.editAll(windowsProject("t2"))
	flush() // now the extracts have begun anew
	if doc := settle[server.RetryDoc](l, "retry", server.FailedFilter{}); doc != (server.RetryDoc{Tried: 12, Settled: 9, Rows: 9, FailedAgain: 3}) {
		t.Errorf("%+v", doc)
	}
	flush()
	l.verify()
	// Windows up to 3:03:10 were delivered, and no session that begins before then changes.
	if got := l.sql("SELECT table_name, string_agg(record->>'$.n', ' ' ORDER BY id), min(stage) FROM system.failed_records GROUP BY 1 ORDER BY 1"); got != "windows.sessions,10 185,late\nwindows.tumbling,10,late" {
		t.Errorf("left: %s", got)
	}
	post(1000, "t2")
	flush()
	flush() // and what came of it
	for query, want := range map[string]string{
		"SELECT minute(window_start), c, s FROM curated.tumbling ORDER BY 1":                                                                                                    "0,1,5\n1,1,65\n2,1,130\n3,3,580\n4,1,250",
		"SELECT hour(window_start) * 60 + minute(window_start) - 180 AS m, arg_max(c, window_revision), arg_max(s, window_revision) FROM curated.updates GROUP BY 1 ORDER BY 1": "-1,2,15\n0,3,80\n1,2,195\n2,4,710\n3,4,830\n4,1,250",
		"SELECT second(window_start), c, s FROM curated.sessions ORDER BY window_start":                                                                                         "5,1,5\n5,1,65\n10,1,130\n15,2,395\n10,1,250",
	} {
		if got := l.sql(query); got != want {
			t.Errorf("%s\ngot  %s\nwant %s", query, got, want)
		}
	}
	l.verify()
}
