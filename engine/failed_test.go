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
	// The race detector makes a process several times as large as it is.
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile + "limits: {memory: 8GiB}\n", "pipelines/events.yaml": `pipeline: events
source: {http: {}}
schema: {id: BIGINT}
deliver:
  - table: curated.events
`}), t.TempDir())
	for range 4 { // together 36 MB
		l.post("events", strings.Repeat(`{"id":"no","pad":"`+strings.Repeat("x", 900_000)+`"}`+"\n", 10))
	}
	var small strings.Builder
	for i := range 150 {
		fmt.Fprintf(&small, `{"id":"no %d"}`+"\n", i)
	}
	l.post("events", small.String())
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT count(*), count(DISTINCT id), count(record) BETWEEN 180 AND 189, sum(record_bytes) > 36000000 FROM system.failed_records"); got != "190,190,true,true" {
		t.Errorf("in SQL: %s", got)
	}
	for limit, pages := range map[int]int{10_000: 2, 190: 2, 191: 2, 100: 3, 95: 3, 40: 5} {
		var last int64
		n, asked := 0, 0
		for more := true; more; asked++ {
			page, err := l.Failed(t.Context(), server.FailedFilter{After: last, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range page.Failed {
				if f.ID <= last {
					t.Fatalf("%d after %d", f.ID, last)
				}
				last = f.ID
				n++
			}
			if more = page.NextAfter != 0; more && page.NextAfter != last {
				t.Fatalf("the next page is after %d, not %d", page.NextAfter, last)
			}
		}
		if n != 190 || asked != pages {
			t.Errorf("limit %d: %d records in %d pages, want %d", limit, n, asked, pages)
		}
	}
	l.verify()
}
