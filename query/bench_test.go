package query

import (
	"context"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/tarn-data/tarn/duck"
)

// million makes curated.telemetry: 1,000,000 rows in 24 hourly files, as telemetry of a fleet is.
func million(b testing.TB) *lake {
	l := newLake(b)
	l.create("curated.telemetry", field(1, "event_id", "VARCHAR"), field(2, "ts", "TIMESTAMP"), field(3, "device_id", "VARCHAR"), field(4, "seq", "BIGINT"),
		field(5, "position", "STRUCT(lat DOUBLE, lon DOUBLE)"), field(6, "metrics", "STRUCT(speed_kmh DOUBLE, axle_temp_c DOUBLE, load_kg BIGINT)"), field(7, "status", "VARCHAR"))
	l.tabs["curated.telemetry"].plain = true
	const files, rows = 24, 41_667
	for h := range files {
		l.add("curated.telemetry", fmt.Sprintf(`SELECT 'e-' || (%[1]d + i) AS event_id, TIMESTAMP '2026-11-20' + INTERVAL %[2]d HOUR + i * INTERVAL 86 MILLISECONDS AS ts,
			'wagon-' || (i %% 2000) AS device_id, %[1]d + i AS seq, {'lat': 47 + (i %% 1000) / 1000.0::DOUBLE, 'lon': 8 + (i %% 777) / 777.0::DOUBLE} AS position,
			{'speed_kmh': (i %% 1200) / 10.0::DOUBLE, 'axle_temp_c': 20 + (i %% 300) / 10.0::DOUBLE, 'load_kg': 20000 + i %% 5000} AS metrics,
			CASE WHEN i %% 10 = 0 THEN 'stopped' ELSE 'moving' END AS status FROM range(%[3]d) t(i)`, h*rows, h, rows), false)
	}
	return l
}

var benchQueries = []struct{ name, sql string }{
	{"count", "SELECT count(*) FROM T"},
	{"one hour of one device", "SELECT ts, metrics.speed_kmh FROM T WHERE device_id = 'wagon-7' AND ts >= TIMESTAMP '2026-11-20 03:00:00' AND ts < TIMESTAMP '2026-11-20 04:00:00' ORDER BY ts"},
	{"aggregate of 1 M rows", "SELECT device_id, avg(metrics.speed_kmh), max(metrics.axle_temp_c), count(*) FROM T GROUP BY device_id ORDER BY 2 DESC LIMIT 10"},
	{"hourly series", "SELECT date_trunc('hour', ts) AS h, count(*), avg(metrics.load_kg) FROM T WHERE status = 'moving' GROUP BY 1 ORDER BY 1"},
	{"last value of each device", "SELECT device_id, arg_max(position, ts) FROM T GROUP BY device_id"},
}

// BenchmarkOverhead asks each query through the service (NDJSON out) and of bare DuckDB over the same
// files, in turns, and reports the medians, their ratio and their difference.
func BenchmarkOverhead(b *testing.B) {
	l := million(b)
	s := newService(b, l, nil)
	bare, err := duck.Open(duck.Options{AllowedDirs: []string{l.dir}, Threads: 2})
	if err != nil {
		b.Fatal(err)
	}
	defer bare.Close()
	ctx := context.Background()
	tab := l.tabs["curated.telemetry"]
	var urls []string
	for _, f := range tab.files {
		urls = append(urls, f.URL)
	}
	plain := "read_parquet(['" + join(urls, "', '") + "'])"
	for _, q := range benchQueries {
		b.Run(q.name, func(b *testing.B) {
			var own, theirs []time.Duration
			for i := 0; i < b.N+5; i++ {
				begin := time.Now()
				res, err := s.Run(ctx, Request{SQL: replace(q.sql, "curated.telemetry"), Format: NDJSON})
				if err != nil {
					b.Fatal(err)
				}
				if err := res.Write(io.Discard); err != nil {
					b.Fatal(err)
				}
				res.Close()
				mid := time.Now()
				if _, err := bare.Values(ctx, replace(q.sql, plain)); err != nil {
					b.Fatal(err)
				}
				if i >= 5 || b.N == 1 { // the first ones fill caches
					own, theirs = append(own, mid.Sub(begin)), append(theirs, time.Since(mid))
				}
			}
			o, t := median(own), median(theirs)
			b.ReportMetric(float64(o.Microseconds())/1000, "ms/own")
			b.ReportMetric(float64(t.Microseconds())/1000, "ms/bare")
			b.ReportMetric(float64(o)/float64(t), "ratio")
			b.ReportMetric(float64((o-t).Microseconds())/1000, "ms/more")
		})
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

func join(s []string, sep string) string {
	out := ""
	for i, e := range s {
		if i > 0 {
			out += sep
		}
		out += e
	}
	return out
}

func replace(sql, table string) string {
	out := ""
	for i := 0; i < len(sql); i++ {
		if sql[i] == 'T' && i+1 <= len(sql) && i > 0 && sql[i-1] == ' ' && (i+1 == len(sql) || sql[i+1] == ' ') {
			out += table
			continue
		}
		out += string(sql[i])
	}
	return out
}

// BenchmarkFormats writes a result of 1,000,000 rows in each format.
func BenchmarkFormats(b *testing.B) {
	l := million(b)
	s := newService(b, l, nil)
	for f := JSON; f <= Parquet; f++ {
		b.Run(f.String(), func(b *testing.B) {
			for range b.N {
				var w counter
				res, err := s.Run(context.Background(), Request{SQL: "SELECT * FROM curated.telemetry", Format: f})
				if err != nil {
					b.Fatal(err)
				}
				if err := res.Write(&w); err != nil {
					b.Fatal(err)
				}
				res.Close()
				b.SetBytes(int64(w))
			}
		})
	}
}

// BenchmarkManyFiles asks for one hour of a table of 2,000 files: what is not opened costs little.
func BenchmarkManyFiles(b *testing.B) {
	l := newLake(b)
	l.hours(1, 10)
	tab := l.tabs["curated.telemetry"]
	first := tab.files[0]
	for h := 1; h < 2000; h++ {
		f := first
		f.Stats = map[int]Bounds{}
		for id, st := range first.Stats {
			f.Stats[id] = st
		}
		at := time.Date(2026, 11, 20, h, 0, 0, 0, time.UTC)
		f.Stats[2] = Bounds{Values: 10, Lower: at, Upper: at.Add(time.Minute)}
		tab.files = append(tab.files, f)
	}
	s := newService(b, l, nil)
	for b.Loop() {
		if _, st, err := ask(b, s, Request{SQL: "SELECT count(*) FROM telemetry WHERE ts < TIMESTAMP '2026-11-20 01:00:00'"}); err != nil || st.FilesOpened != 1 {
			b.Fatal(st, err)
		}
	}
}

// BenchmarkNewText asks a small statement whose text was never seen before: parsed, checked, planned.
func BenchmarkNewText(b *testing.B) {
	l := newLake(b)
	l.hours(24, 100)
	s := newService(b, l, nil)
	n := 0
	for b.Loop() {
		n++
		if _, _, err := ask(b, s, Request{SQL: fmt.Sprintf("SELECT count(*) FROM telemetry WHERE ts < TIMESTAMP '2026-11-20 01:00:00' AND id <> %d", n)}); err != nil {
			b.Fatal(err)
		}
	}
}
