package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// dropPipeline takes files as they are: no transform, hourly partitions like the floor.
const dropPipeline = `pipeline: telemetry
source:
  files: {path: landing/telemetry, settle: 100ms}
deliver:
  - table: curated.telemetry
    partition_by: [hour(ts)]
    compression: snappy
`

// flatColumns are the fleet's events as a CSV file has them.
const flatColumns = `event_id, device_id, ts, seq, status, position.lat AS lat, position.lon AS lon, metrics.speed_kmh AS speed_kmh,
	metrics.axle_1_c AS axle_1_c, metrics.brake_bar AS brake_bar, metrics.load_kg AS load_kg, metrics.battery_v AS battery_v`

// dropped is one kind of file that is dropped.
type dropped struct {
	format string
	path   string
	bytes  int64
	rows   int64
	read   string // SQL that reads it, with its schema given
}

// The files are as large as the issue of file drops asks for, 1 GB each with the default number of events.
const (
	dropShare = 1.35 // events of the NDJSON file to those of the run
	csvCopies = 4    // how often the CSV file has each of them
)

// fileDrop drops a large NDJSON and a large CSV file, and compares the time until the last row is
// committed with what bare DuckDB takes to COPY the same file into the same partitions.
func fileDrop(ctx context.Context, s *session) ([]Row, error) {
	db, err := bareDuckDB(s.dir)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	files, err := s.dropFiles(ctx, db)
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, f := range files {
		var floor, door []float64
		for run := range s.Runs {
			s.Progress(fmt.Sprintf("filedrop: %s, run %d of %d", f.format, run+1, s.Runs))
			d, err := dropFloor(ctx, db, s.dir, f)
			if err != nil {
				return rows, err
			}
			floor = append(floor, perSecond(f.bytes, d)/1e6)
			if d, err = s.dropOnce(ctx, f); err != nil {
				return rows, err
			}
			door = append(door, perSecond(f.bytes, d)/1e6)
		}
		base := fmt.Sprintf("floor: bare DuckDB COPY of %s", f.format)
		rows = append(rows, Row{Name: base, Value: median(floor), Unit: "MB/s", Samples: floor, Note: "one file of " + number(float64(f.bytes)/1e6) + " MB to hour-partitioned Snappy Parquet, schema given, the whole machine, no fsync"},
			Row{Name: "file drop of " + f.format, Value: median(door), Unit: "MB/s", Samples: door, Note: "from the rename into the landing folder, settle 100 ms, to the last row committed in Iceberg; the copy in the zone raw, and in the log the record of what of it was accepted, are durable on the way"}.
				to("floor", median(floor)).ratioAtLeast(0.6))
	}
	return rows, nil
}

// dropFiles makes the files.
func (s *session) dropFiles(ctx context.Context, db *duck.DB) ([]dropped, error) {
	s.Progress("filedrop: making the files")
	ev, err := makeEvents(filepath.Join(s.dir, "dropped.ndjson"), int64(dropShare*float64(s.Events)))
	if err != nil {
		return nil, err
	}
	ev.close()
	nd := dropped{format: "NDJSON", path: ev.path, rows: ev.count, read: fmt.Sprintf("read_json(%s, format = 'newline_delimited', columns = %s)", tarn.QuoteLiteral(ev.path), floorColumns)}
	csv := dropped{format: "CSV", path: filepath.Join(s.dir, "dropped.csv"), rows: csvCopies * ev.count}
	sql := fmt.Sprintf("COPY (SELECT %s FROM %s, range(%d)) TO %s (FORMAT csv, HEADER, TIMESTAMPFORMAT '%%Y-%%m-%%dT%%H:%%M:%%S.%%gZ')", flatColumns, nd.read, csvCopies, tarn.QuoteLiteral(csv.path))
	if err := db.Exec(ctx, sql); err != nil {
		return nil, fmt.Errorf("make the CSV file: %w", err)
	}
	csv.read = fmt.Sprintf(`read_csv(%s, header = true, columns = {event_id: 'VARCHAR', device_id: 'VARCHAR', ts: 'TIMESTAMP', seq: 'BIGINT', status: 'VARCHAR', lat: 'DOUBLE', lon: 'DOUBLE',
		speed_kmh: 'DOUBLE', axle_1_c: 'DOUBLE', brake_bar: 'DOUBLE', load_kg: 'BIGINT', battery_v: 'DOUBLE'})`, tarn.QuoteLiteral(csv.path))
	files := []dropped{nd, csv}
	for i := range files {
		info, err := os.Stat(files[i].path)
		if err != nil {
			return nil, err
		}
		files[i].bytes = info.Size()
		if err := onDisk(files[i].path); err != nil { // it is not written while others are measured
			return nil, err
		}
	}
	return files, nil
}

func onDisk(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

func dropFloor(ctx context.Context, db *duck.DB, dir string, f dropped) (time.Duration, error) {
	out := filepath.Join(dir, "floor")
	defer os.RemoveAll(out)
	start := time.Now()
	err := db.Exec(ctx, fmt.Sprintf(`COPY (SELECT *, year(ts) AS year, month(ts) AS month, ts::DATE AS date, hour(ts) AS hour FROM %s)
		TO %s (FORMAT parquet, COMPRESSION snappy, PARTITION_BY (year, month, date, hour))`, f.read, tarn.QuoteLiteral(out)))
	return time.Since(start), err
}

// dropOnce drops the file into a fresh lake and returns how long it took until its rows were committed.
func (s *session) dropOnce(ctx context.Context, f dropped) (time.Duration, error) {
	srv, err := s.startWith(ctx, map[string]string{"tarn.yaml": "version: 1\nname: bench\n", "pipelines/telemetry.yaml": dropPipeline})
	if err != nil {
		return 0, err
	}
	defer srv.remove()
	landing := filepath.Join(srv.data, "lake", "landing", pipeline)
	// A link costs the time of a rename; nobody writes to the file.
	hidden := filepath.Join(landing, ".incoming")
	if err := os.MkdirAll(landing, 0o755); err != nil {
		return 0, err
	}
	if err := os.Link(f.path, hidden); err != nil {
		return 0, err
	}
	start := time.Now()
	if err := os.Rename(hidden, filepath.Join(landing, "events."+strings.ToLower(f.format))); err != nil {
		return 0, err
	}
	for {
		if _, err := os.Stat(filepath.Join(landing, "done", "events."+strings.ToLower(f.format))); err == nil {
			break
		}
		if fault, err := os.ReadFile(filepath.Join(landing, "failed", "events."+strings.ToLower(f.format)+".error.json")); err == nil {
			return 0, fmt.Errorf("the file failed: %s", fault)
		}
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	end, err := srv.settle(ctx, f.rows)
	return end.Sub(start), err
}
