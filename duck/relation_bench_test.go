package duck_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/internal/fleet"
)

// BenchmarkLines reads all columns of the fleet's events, by DuckDB's reader and shredded, into nothing.
func BenchmarkLines(b *testing.B) {
	const records = 100_000
	dir := b.TempDir()
	db, err := duck.Open(duck.Options{MemoryBytes: 256 << 20, Threads: 1, AllowedDirs: []string{dir}})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	gen, err := fleet.New(fleet.Options{Seed: 1, Start: time.Unix(1.8e9, 0), Spacing: time.Millisecond})
	if err != nil {
		b.Fatal(err)
	}
	text := gen.AppendNDJSON(nil, 0, records)
	path := filepath.Join(dir, "lines.ndjson")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		b.Fatal(err)
	}
	fields := []tarn.Field{field("event_id", tarn.String), field("device_id", tarn.String), field("ts", tarn.TimestampTZ), field("seq", tarn.Long), field("status", tarn.String),
		{Name: "position", Type: tarn.Type{Kind: tarn.Struct, Fields: []tarn.Field{field("lat", tarn.Double), field("lon", tarn.Double)}}},
		{Name: "metrics", Type: tarn.Type{Kind: tarn.Struct, Fields: []tarn.Field{field("speed_kmh", tarn.Double), field("axle_1_c", tarn.Double), field("brake_bar", tarn.Double), field("load_kg", tarn.Double), field("battery_v", tarn.Double)}}}}
	relation, done := db.Relate(lines{fields, string(text)})
	defer done()
	for _, way := range []struct{ name, from string }{{"read_json", duck.ReadNDJSON([]string{path}, tarn.Schema{Fields: fields}, 1<<16)}, {"shredded", relation}} {
		b.Run(way.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				got, err := db.Values(b.Context(), "SELECT count(*), count(event_id), count(device_id), count(ts), count(seq), count(status), count(position), count(metrics) FROM "+way.from)
				if err != nil || got[0][0] != int64(records) {
					b.Fatal(got, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/records, "ns/record")
		})
	}
}
