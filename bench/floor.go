package bench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// floorColumns are the columns of the fleet's events, so that the floor spends nothing on inference.
const floorColumns = `{event_id: 'VARCHAR', device_id: 'VARCHAR', ts: 'TIMESTAMP', seq: 'BIGINT', status: 'VARCHAR',
	position: 'STRUCT(lat DOUBLE, lon DOUBLE)',
	metrics: 'STRUCT(speed_kmh DOUBLE, axle_1_c DOUBLE, axle_2_c DOUBLE, axle_3_c DOUBLE, axle_4_c DOUBLE, brake_bar DOUBLE,
		vibration_g DOUBLE, shock_g DOUBLE, load_kg BIGINT, battery_v DOUBLE, humidity_pct BIGINT, ambient_c DOUBLE)'}`

// bareDuckDB opens an instance that may use the whole machine within dir.
func bareDuckDB(dir string) (*duck.DB, error) {
	return duck.Open(duck.Options{MemoryBytes: 4 << 30, Threads: runtime.NumCPU(), TempDir: filepath.Join(dir, "duckdb-temp"),
		AllowedDirs: []string{dir}})
}

// copyFloor converts the event file to hour-partitioned Snappy Parquet with nothing but DuckDB, and
// returns how long that took. It is what delivery is compared to: the same conversion without a
// server, a log, a transform, field ids, fsync or a commit.
func copyFloor(ctx context.Context, dir string, e *events) (time.Duration, error) {
	db, err := bareDuckDB(dir)
	if err != nil {
		return 0, err
	}
	defer db.Close()
	out := filepath.Join(dir, "floor")
	defer os.RemoveAll(out)
	sql := fmt.Sprintf(`COPY (SELECT *, year(ts) AS year, month(ts) AS month, ts::DATE AS date, hour(ts) AS hour
		FROM read_json(%s, format = 'newline_delimited', columns = %s))
		TO %s (FORMAT parquet, COMPRESSION snappy, PARTITION_BY (year, month, date, hour))`,
		tarn.QuoteLiteral(e.path), floorColumns, tarn.QuoteLiteral(out))
	start := time.Now()
	if err := db.Exec(ctx, sql); err != nil {
		return 0, fmt.Errorf("the floor: %w", err)
	}
	return time.Since(start), nil
}
