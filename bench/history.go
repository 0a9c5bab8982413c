package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tarn-data/tarn/bench/load"
)

// historyTable holds the past of the twin: the pipeline past brings it there.
const (
	past         = "past"
	historyTable = "curated.fleet_history"
)

// The values of the history: minutes of so many metrics of so many components.
const (
	pastComponents = 100
	pastMetrics    = 10
)

// appendPast appends values of the history, minute by minute.
func appendPast(dst []byte, from int64, n int) []byte {
	for i := from; i < from+int64(n); i++ {
		minute, series := i/(pastComponents*pastMetrics), i%(pastComponents*pastMetrics)
		dst = appendComponent(append(dst, `{"component":"`...), int(series/pastMetrics))
		dst = appendMetric(append(dst, `","metric":"`...), int(series%pastMetrics))
		dst = firstEvent.Add(time.Duration(minute)*time.Minute).AppendFormat(append(dst, `","at":"`...), time.RFC3339)
		dst = fmt.Appendf(dst, `","value_number":%d.5}`+"\n", (i*31+minute)%500)
	}
	return dst
}

// history measures down-sampled reads of the past next to bare DuckDB on the same files.
func (t *twinRun) history(ctx context.Context) ([]Row, error) {
	const warm, runs = 3, 20
	values := t.scaled(1_000_000, 50_000)
	if _, err := load.Run(ctx, load.Options{URL: t.srv.Base, Stream: past, Records: values, Append: appendPast}); err != nil {
		return nil, err
	}
	if err := t.srv.Act(ctx, past, "flush"); err != nil {
		return nil, err
	}
	if _, _, err := t.srv.Settled(ctx, past, values, 10*time.Millisecond); err != nil {
		return nil, err
	}
	if err := t.srv.compact(ctx, historyTable); err != nil {
		return nil, err
	}
	files, err := t.srv.files(ctx, historyTable)
	if err != nil {
		return nil, err
	}
	db, err := bareDuckDB(t.dir)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	end := firstEvent.Add(time.Duration(values/(pastComponents*pastMetrics)) * time.Minute)
	var ours, bare []float64
	for i := range warm + runs {
		component, metric := appendComponent(nil, rand.IntN(pastComponents)), appendMetric(nil, rand.IntN(pastMetrics))
		var answer []byte
		a, err := timed(func() (err error) {
			answer, err = t.srv.Do(ctx, "GET", fmt.Sprintf("/v1/twins/fleet/components/%s/metrics/%s/history?from=%s&to=%s&step=15m", component, metric, firstEvent.Format(time.RFC3339), end.Format(time.RFC3339)), nil, nil)
			return err
		})
		if err != nil {
			return nil, err
		}
		if want := int((end.Sub(firstEvent) + 15*time.Minute - 1) / (15 * time.Minute)); strings.Count(string(answer), `"mean"`) != want {
			return nil, fmt.Errorf("%d buckets are wanted: %.500s", want, answer)
		}
		b, err := timed(func() error {
			return drain(ctx, db, fmt.Sprintf(`SELECT time_bucket(INTERVAL '15 minutes', "at") AS bucket, count(*), min(value_number), max(value_number), avg(value_number), arg_min(value_number, "at"), arg_max(value_number, "at")
				FROM read_parquet(%s, hive_partitioning = false) WHERE component = '%s' AND metric = '%s' AND "at" >= TIMESTAMP '%s' AND "at" < TIMESTAMP '%s' GROUP BY 1 ORDER BY 1`,
				files, component, metric, firstEvent.Format(time.DateTime), end.Format(time.DateTime)))
		})
		if err != nil {
			return nil, err
		}
		if i >= warm {
			ours, bare = append(ours, a), append(bare, b)
		}
	}
	return []Row{Row{Name: "twin, history in 15 minute steps", Value: median(ours), Unit: "ms", Samples: ours,
		Note: fmt.Sprintf("one metric of %s values of %d, against the same query on the same files in bare DuckDB", number(float64(values)), pastComponents*pastMetrics)}.to("bare DuckDB", median(bare))}, nil
}
