package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// reshape is the SQL of the extracts without windows, and of their floor.
const reshape = `SELECT device_id, ts, metrics.speed_kmh / 3.6 AS speed_ms, metrics.load_kg AS load_kg,
  greatest(metrics.axle_1_c, metrics.axle_2_c, metrics.axle_3_c, metrics.axle_4_c) AS hottest_axle_c
FROM records WHERE metrics.speed_kmh > 10`

// perWindow is the SQL of the windows.
const perWindow = `SELECT window_start, window_end, device_id, count(*) AS n, avg(metrics.speed_kmh) AS speed_kmh, max(metrics.axle_1_c) AS axle_1_c
FROM records GROUP BY window_start, window_end, device_id`

// The files of the project that extracts are measured in.
const (
	bareProject    = "version: 1\nname: bench\n"
	streamPipeline = "pipeline: telemetry\nstream: {shards: 1, partition_key: device_id}\ndeliver: []\n"
	extractFile    = "extracts/measured.yaml"
)

// extractRun is one kind of extract that is measured, and what it is compared to.
type extractRun struct {
	name, note string
	floor      *reshapeFloor
	text       string // of its file; NAME is unique to each run
	table      bool   // rows are committed at the end of the extract
	rate, cpu  []float64
}

// reshapeFloor is the SQL without windows in a bare COPY.
type reshapeFloor struct {
	name      string
	options   string // of the COPY
	rate, cpu []float64
}

// extracts runs the same SQL over the same events as a bare COPY of DuckDB to what tables and to what streams
// hold, as an extract into a table and as one into a stream, in turn, and an extract with windows. The events
// are in the stream before.
func extracts(ctx context.Context, s *session) ([]Row, error) {
	srv, err := s.startWith(ctx, map[string]string{"tarn.yaml": bareProject, "pipelines/telemetry.yaml": streamPipeline, "sql/reshape.sql": reshape, "sql/window.sql": perWindow})
	if err != nil {
		return nil, err
	}
	defer srv.remove()
	if _, err := s.post(ctx, srv, s.Events); err != nil {
		return nil, err
	}
	parquet := &reshapeFloor{name: "bare COPY of the same SQL to Parquet", options: "FORMAT parquet, COMPRESSION snappy"}
	ndjson := &reshapeFloor{name: "bare COPY of the same SQL to NDJSON", options: "FORMAT json"}
	kinds := []*extractRun{
		{name: "extract, stream to table", floor: parquet, note: "the events are in the stream; from the request that starts the extract to the last row committed", text: "sql: sql/reshape.sql\nto: {table: curated.NAME}\n", table: true},
		{name: "extract, stream to stream", floor: ndjson, note: "the same, to the last row durable in the other stream, as JSON", text: "sql: sql/reshape.sql\nto: {stream: NAME}\n"},
		{name: "extract, tumbling windows", note: "ten minutes, keyed by 2,000 devices, into a stream; records lie up to three minutes out of order", text: "sql: sql/window.sql\nto: {stream: NAME}\nwindow: {tumbling: 10m, time: ts, lateness: 5m}\n"},
	}
	var floor []float64
	for run := -1; run < s.Runs; run++ { // the first is to warm up
		s.Progress(fmt.Sprintf("extract: run %d of %d", run+1, s.Runs))
		d, err := copyFloor(ctx, s.dir, s.events)
		if err != nil {
			return nil, err
		}
		if run >= 0 {
			floor = append(floor, perSecond(s.Events, d))
		}
		var rows int64
		for i, k := range kinds {
			if k.floor != nil {
				took, cpu, n, err := s.reshape(ctx, k.floor)
				if err != nil {
					return nil, err
				}
				if rows = n; run >= 0 {
					k.floor.rate, k.floor.cpu = append(k.floor.rate, perSecond(s.Events, took)), append(k.floor.cpu, perMillion(cpu, s.Events))
				}
			}
			if run < 0 && i > 0 {
				continue
			}
			took, cpu, err := s.extract(ctx, srv, k, fmt.Sprintf("m%d_%d", i, run+1), rows)
			if err != nil {
				return nil, fmt.Errorf("%s: %w\n%s", k.name, err, srv.Log())
			}
			if run >= 0 {
				k.rate, k.cpu = append(k.rate, perSecond(s.Events, took)), append(k.cpu, perMillion(cpu, s.Events))
			}
		}
	}
	out := []Row{{Name: "floor: bare DuckDB COPY", Value: median(floor), Unit: "events/s", Samples: floor}}
	for _, k := range kinds {
		rate := Row{Name: k.name, Value: median(k.rate), Unit: "events/s", Samples: k.rate, Note: k.note}
		cpu := Row{Name: k.name + ", CPU", Value: median(k.cpu), Unit: "s per 1M", Samples: k.cpu}
		if f := k.floor; f != nil {
			out = append(out, Row{Name: f.name, Value: median(f.rate), Unit: "events/s", Samples: f.rate, Note: "one file from NDJSON, schema given, the whole machine, no fsync"},
				Row{Name: f.name + ", CPU", Value: median(f.cpu), Unit: "s per 1M", Samples: f.cpu})
			out = append(out, rate.to("floor", median(floor)).ratioAtLeast(0.5))
			rate.Name, rate.Note = k.name+", to the same SQL", ""
			rate, cpu = rate.to("same SQL", median(f.rate)), cpu.to("same SQL", median(f.cpu))
		} else {
			rate = rate.atLeast(200_000)
		}
		out = append(out, rate, cpu)
	}
	return out, nil
}

func perMillion(d time.Duration, n int64) float64 { return d.Seconds() / (float64(n) / 1e6) }

// reshape runs the SQL over the event file with nothing but DuckDB.
func (s *session) reshape(ctx context.Context, f *reshapeFloor) (took, cpu time.Duration, rows int64, err error) {
	db, err := bareDuckDB(s.dir)
	if err != nil {
		return 0, 0, 0, err
	}
	defer db.Close()
	out := filepath.Join(s.dir, "floor.out")
	defer os.Remove(out)
	start, used := time.Now(), processCPU()
	counts, err := db.Values(ctx, fmt.Sprintf("COPY (WITH records AS (FROM read_json(%s, format = 'newline_delimited', columns = %s)) %s) TO %s (%s)",
		tarn.QuoteLiteral(s.events.path), floorColumns, reshape, tarn.QuoteLiteral(out), f.options))
	if err != nil {
		return 0, 0, 0, fmt.Errorf("the floor: %w", err)
	}
	rows, _ = counts[0][0].(int64)
	return time.Since(start), processCPU() - used, rows, nil
}

// extract runs an extract over all events and returns how long it took and what it used of the
// processors. rows is what the SQL without windows gives.
func (s *session) extract(ctx context.Context, srv *server, k *extractRun, name string, rows int64) (took, cpu time.Duration, err error) {
	text := "extract: " + name + "\nfrom: telemetry\n" + strings.ReplaceAll(k.text, "NAME", name)
	if err := srv.write(extractFile, text); err != nil {
		return 0, 0, err
	}
	before, usageErr := srv.Usage()
	start := time.Now()
	if err := srv.reload(ctx); err != nil {
		return 0, 0, err
	}
	if k.table {
		err = srv.visible(ctx, "curated."+name, rows)
	} else {
		err = srv.extracted(ctx, name, s.Events)
	}
	if err != nil {
		return 0, 0, err
	}
	if err := os.Remove(filepath.Join(srv.project, extractFile)); err != nil {
		return 0, 0, err
	}
	done := time.Now()
	if err := srv.reload(ctx); err != nil { // an extract that ends commits its last rows
		return 0, 0, err
	}
	if k.table {
		done = time.Now()
	}
	after, err := srv.Usage()
	return done.Sub(start), after.CPU - before.CPU, cmp.Or(usageErr, err)
}

// reload makes the server read its project again.
func (srv *server) reload(ctx context.Context) error {
	_, err := srv.Do(ctx, http.MethodPost, "/v1/reload", nil, nil)
	return err
}

// extracted waits until an extract has taken in so many records.
func (srv *server) extracted(ctx context.Context, name string, records int64) error {
	return waitFor(ctx, func() (bool, error) {
		b, err := srv.Do(ctx, http.MethodGet, "/v1/extracts", nil, nil)
		if err != nil {
			return false, err
		}
		var doc struct {
			Extracts []struct {
				Name      string
				Records   int64
				Failed    int64
				LastError string `json:"last_error"`
			}
		}
		if err := json.Unmarshal(b, &doc); err != nil {
			return false, err
		}
		for _, x := range doc.Extracts {
			if x.Name == name {
				if x.LastError != "" || x.Failed > 0 {
					return false, fmt.Errorf("extract %s has %d failed records: %s", name, x.Failed, x.LastError)
				}
				return x.Records >= records, nil
			}
		}
		return false, fmt.Errorf("extract %s does not run: %s", name, b)
	})
}

// visible waits until a query returns so many rows of a table.
func (srv *server) visible(ctx context.Context, table string, rows int64) error {
	return waitFor(ctx, func() (bool, error) {
		got, err := srv.Rows(ctx, "SELECT count(*) FROM "+table)
		if err != nil || len(got) != 1 { // not there yet
			return false, nil
		}
		return got[0][0] == fmt.Sprint(rows), nil
	})
}

// waitFor asks every twenty milliseconds, for five minutes at most.
func waitFor(ctx context.Context, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		if ok, err := done(); ok || err != nil {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
