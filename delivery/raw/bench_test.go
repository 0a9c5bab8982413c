package raw

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn/record"
)

// telemetry is a request of 500 records of about 350 bytes, as a fleet sends them.
func telemetry(arrival time.Time) record.Segment {
	rng := rand.New(rand.NewPCG(1, uint64(arrival.UnixNano())))
	seg := record.Segment{Format: record.JSON, Lines: true, Arrival: arrival, Count: 500}
	for i := range seg.Count {
		seg.Payload = fmt.Appendf(seg.Payload, `{"device_id":"wagon-%04d","ts":"%s","seq":%d,"speed_kmh":%.2f,"position":{"lat":%.6f,"lon":%.6f},`+
			`"brake_pressure_bar":%.3f,"axle_temperature_c":[%.1f,%.1f,%.1f,%.1f],"load_kg":%d,"door":"%s","status":"in_service","firmware":"4.12.%d"}`+"\n",
			rng.IntN(2000), arrival.Add(time.Duration(i)*time.Millisecond).Format(time.RFC3339Nano), rng.Uint32(), 120*rng.Float64(), 47+rng.Float64(), 8+rng.Float64(),
			5*rng.Float64(), 60*rng.Float64(), 60*rng.Float64(), 60*rng.Float64(), 60*rng.Float64(), rng.IntN(80_000), []string{"open", "closed"}[rng.IntN(2)], rng.IntN(20))
	}
	return seg
}

// BenchmarkWrite makes objects of a stream's messages on one core, without the stream and the disk's
// fsync: what backup takes from deliveries. Floor: the compressor alone.
func BenchmarkWrite(b *testing.B) {
	enc, err := newEncoder()
	if err != nil {
		b.Fatal(err)
	}
	var segs []record.Segment
	size := 0
	for i := range 100 {
		segs = append(segs, telemetry(time.Date(2026, 11, 20, 3, 0, i, 0, time.UTC)))
		size += len(segs[i].Payload)
	}
	b.Run("floor", func(b *testing.B) {
		b.SetBytes(int64(size))
		var frame, comp []byte
		for b.Loop() {
			for _, s := range segs {
				if frame = append(frame, s.Payload...); len(frame) >= frameBytes {
					comp = enc.EncodeAll(frame, comp[:0])
					frame = frame[:0]
				}
			}
		}
	})
	b.Run("object", func(b *testing.B) {
		b.SetBytes(int64(size))
		dir := b.TempDir()
		var comp []byte
		var o *open
		for b.Loop() {
			o, err = create(filepath.Join(dir, "x.zst"), enc, &comp, 0, 0, &segs[0], time.Now())
			for i := range segs {
				if err == nil {
					err = o.add(&segs[i], 0)
				}
			}
			if err == nil {
				err = o.close("events")
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(o.RawBytes)/float64(o.Bytes), "ratio")
	})
}
