package engine_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/server"
)

// TestFailedRecords lists failed records page by page and in SQL, where the records behind the first
// 32 MiB are NULL but counted.
func TestFailedRecords(t *testing.T) {
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": `pipeline: events
source: {http: {}}
schema: {id: BIGINT}
deliver:
  - table: curated.events
`}), t.TempDir())
	var small strings.Builder
	for i := range 150 {
		fmt.Fprintf(&small, `{"id":"no %d"}`+"\n", i)
	}
	l.post("events", small.String())
	for range 4 { // together 36 MB
		l.post("events", strings.Repeat(`{"id":"no","pad":"`+strings.Repeat("x", 900_000)+`"}`+"\n", 10))
	}
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT count(*), count(DISTINCT id), count(record) BETWEEN 180 AND 189, sum(record_bytes) > 36000000 FROM system.failed_records"); got != "190,190,true,true" {
		t.Errorf("in SQL: %s", got)
	}
	var last int64
	n := 0
	for {
		page, err := l.Failed(t.Context(), server.FailedFilter{After: last, Limit: 40})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, f := range page {
			if f.ID <= last {
				t.Fatalf("%d after %d", f.ID, last)
			}
			last = f.ID
			n++
		}
	}
	if n != 190 {
		t.Errorf("%d records in pages", n)
	}
	l.verify()
}
