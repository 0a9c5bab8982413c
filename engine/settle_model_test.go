package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/server"
)

// TestSettlingModel: whatever is posted, mended, retried, discarded and replayed, and in whatever order,
// every record is in the table once, left out, failed, or discarded, and tarn verify agrees.
func TestSettlingModel(t *testing.T) {
	l := newHours(t, "sql: SELECT * FROM records")
	posted := 0
	began := time.Now()
	rapid.Check(t, func(rt *rapid.T) {
		if time.Since(began) > 8*time.Second {
			return
		}
		for range rapid.IntRange(1, 6).Draw(rt, "steps") {
			switch step := rapid.SampledFrom([]string{"post", "post", "mend", "retry", "discard", "replay", "into"}).Draw(rt, "step"); step {
			case "post":
				var body strings.Builder
				for range rapid.IntRange(1, 40).Draw(rt, "records") {
					fmt.Fprintf(&body, `{"id":%d,"ts":"2026-11-20T%02d:00:00Z","v":%d}`+"\n", posted, posted%5, posted)
					posted++
				}
				l.post("events", body.String())
			case "mend":
				l.mend(fmt.Sprintf("validate: [{name: rule, check: v %% %d <> 0}]", rapid.IntRange(2, 9).Draw(rt, "mod")))
			case "retry":
				if _, err := l.RetryFailed(t.Context(), server.FailedFilter{Limit: rapid.IntRange(1, 50).Draw(rt, "limit")}); err != nil {
					rt.Fatal(err)
				}
			case "discard":
				if _, err := l.DiscardFailed(t.Context(), server.FailedFilter{Limit: rapid.IntRange(1, 3).Draw(rt, "limit")}); err != nil {
					rt.Fatal(err)
				}
			case "replay", "into":
				if err := l.Flush(t.Context(), "events"); err != nil {
					rt.Fatal(err)
				}
				req := server.ReplayRequest{From: "earliest", Source: rapid.SampledFrom([]string{"stream", "raw"}).Draw(rt, "source")}
				if step == "into" {
					req.Into = fmt.Sprintf("curated.t%d", rapid.Uint32().Draw(rt, "name"))
				} else if at := rapid.IntRange(0, posted).Draw(rt, "from"); at > 0 {
					req.From = fmt.Sprintf("%d:%d", rapid.IntRange(0, 1).Draw(rt, "shard"), at/2)
				}
				d, err := l.StartReplay(t.Context(), "events", req)
				if err != nil {
					continue // there are no such records, or the name is taken
				}
				d = l.ended(d.ID)
				refused := strings.Contains(d.Error, "records outside the range") && req.Into == "" && req.From != "earliest"
				if d.State != "done" && !refused {
					rt.Fatalf("%+v", d)
				}
			}
		}
		if err := l.Flush(t.Context(), "events"); err != nil {
			rt.Fatal(err)
		}
		v, err := l.Verify(t.Context())
		if err != nil || !v.OK {
			rt.Fatalf("%+v, %v", v.Problems, err)
		}
		var sum server.VerifyAccount
		for _, a := range v.Accounts {
			if a.Table == "curated.events" {
				sum.InTable, sum.Failed, sum.Dropped = sum.InTable+a.InTable, sum.Failed+a.Failed, sum.Dropped+a.Dropped
			}
		}
		if int(sum.InTable+sum.Failed+sum.Dropped) != posted {
			rt.Fatalf("%d posted, %+v", posted, sum)
		}
		if posted == 0 {
			return
		}
		if got := l.sql("SELECT count(*) = count(DISTINCT id), count(*) FROM curated.events"); got != fmt.Sprintf("true,%d", sum.InTable) {
			rt.Fatalf("rows: %s of %d", got, sum.InTable)
		}
		if got := l.sql("SELECT count(*) FROM curated.events e, system.failed_records f WHERE f.table_name = 'curated.events' AND e.id = CAST(f.record->>'$.id' AS BIGINT)"); got != "0" {
			rt.Fatalf("%s records are both in the table and failed", got)
		}
	})
}
