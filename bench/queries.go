package bench

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// typicalQueries stand for what people ask a table of telemetry. TABLE is the table, or
// the files; HOUR is an hour a third into the events.
var typicalQueries = []struct{ name, sql string }{
	{"count", "SELECT count(*) AS n FROM TABLE"},
	{"one hour", "SELECT count(*) AS n, avg(metrics.speed_kmh) AS speed, max(hottest_axle_c) AS hottest FROM TABLE WHERE ts >= TIMESTAMP 'HOUR' AND ts < TIMESTAMP 'HOUR' + INTERVAL 1 hour"},
	{"one device", "SELECT ts, metrics.speed_kmh AS speed, hottest_axle_c FROM TABLE WHERE device_id = 'wagon-0042' ORDER BY ts"},
	{"top ten", "SELECT device_id, max(hottest_axle_c) AS hottest, count(*) AS n FROM TABLE GROUP BY device_id ORDER BY hottest DESC, device_id LIMIT 10"},
	{"by hour", "SELECT date_trunc('hour', ts) AS hour, status, count(*) AS n, avg(metrics.brake_bar) AS brake FROM TABLE GROUP BY ALL ORDER BY ALL"},
}

// queries compares /v1/sql with bare DuckDB in this process on the same files, in turn.
func queries(ctx context.Context, s *session) ([]Row, error) {
	const warm, runs = 2, 9
	srv, err := s.start(ctx, "")
	if err != nil {
		return nil, err
	}
	defer srv.remove()
	if _, err := s.post(ctx, srv, s.Events); err != nil {
		return nil, err
	}
	if _, err := srv.settle(ctx, s.Events); err != nil {
		return nil, err
	}
	if err := srv.compact(ctx, table); err != nil {
		return nil, err
	}
	files, err := srv.files(ctx, table)
	if err != nil {
		return nil, err
	}
	db, err := bareDuckDB(s.dir)
	if err != nil {
		return nil, err
	}
	defer db.Close()
	var rows []Row
	hour := s.events.gen.Time(s.Events / 3).Truncate(time.Hour).Format("2006-01-02 15:04:05")
	for _, q := range typicalQueries {
		sql := strings.ReplaceAll(q.sql, "HOUR", hour)
		var ours, bare []float64
		for i := range warm + runs {
			a, err := timed(func() error {
				_, err := srv.SQL(ctx, strings.ReplaceAll(sql, "TABLE", table), "application/json")
				return err
			})
			if err != nil {
				return rows, fmt.Errorf("%s: %w", q.name, err)
			}
			b, err := timed(func() error {
				return drain(ctx, db, strings.ReplaceAll(sql, "TABLE", "read_parquet("+files+", hive_partitioning = false)"))
			})
			if err != nil {
				return rows, fmt.Errorf("%s on the bare files: %w", q.name, err)
			}
			if i >= warm {
				ours, bare = append(ours, a), append(bare, b)
			}
		}
		row := Row{Name: "query: " + q.name, Value: median(ours), Unit: "ms", Samples: ours,
			Note: "POST /v1/sql to the last byte of the JSON answer, against the same query on the same files in bare DuckDB"}.to("bare DuckDB", median(bare))
		rows = append(rows, row.target("≤ 1.3 × bare, or + 15 ms", row.Ratio <= 1.3 || row.Value-median(bare) <= 15))
	}
	return rows, nil
}

func timed(f func() error) (float64, error) {
	start := time.Now()
	err := f()
	return millis(time.Since(start)), err
}

// drain runs a query and reads all of its rows.
func drain(ctx context.Context, db *duck.DB, sql string) error {
	rows, err := db.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next(ctx) {
	}
	return rows.Err()
}

// compact merges a table's small files now, so that both sides read the files that a table at rest
// has and none is replaced meanwhile.
func (srv *server) compact(ctx context.Context, table string) error {
	_, err := srv.Do(ctx, "POST", "/v1/tables/"+table+"/maintenance", map[string]string{"Content-Type": "application/json"}, []byte(`{"tasks":["compact"]}`))
	return err
}

// files returns a table's files as a DuckDB list of paths. system.files names them relative to the
// lake or absolutely; file names are unique, so the data folder tells where they are.
func (srv *server) files(ctx context.Context, table string) (string, error) {
	rows, err := srv.Rows(ctx, "SELECT path FROM system.files WHERE table_name = '"+table+"'")
	if err != nil {
		return "", err
	}
	wanted := map[string]bool{}
	for _, row := range rows {
		wanted[path.Base(row[0])] = true
	}
	var list []string
	err = filepath.WalkDir(srv.data, func(p string, d fs.DirEntry, err error) error {
		if err == nil && wanted[d.Name()] {
			list = append(list, tarn.QuoteLiteral(p))
		}
		return nil // files come and go under the walk
	})
	if err == nil && (len(list) == 0 || len(list) != len(wanted)) {
		err = fmt.Errorf("system.files names %d files, of which %d are in the data folder", len(wanted), len(list))
	}
	return "[" + strings.Join(list, ", ") + "]", err
}
