package raw_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// BenchmarkRead reads an archive record by record, as a replay does.
func BenchmarkRead(b *testing.B) {
	w := newWorld(b, stream.Config{})
	rng := rand.New(rand.NewPCG(1, 2))
	var size int64
	for i := range 100 {
		var recs []string
		for range 500 {
			recs = append(recs, fmt.Sprintf(`{"device_id":"wagon-%04d","seq":%d,"speed_kmh":%.2f,"position":{"lat":%.6f,"lon":%.6f},"axle_temperature_c":[%.1f,%.1f,%.1f],"status":"in_service"}`,
				rng.IntN(2000), rng.Uint32(), 120*rng.Float64(), 47+rng.Float64(), 8+rng.Float64(), 60*rng.Float64(), 60*rng.Float64(), 60*rng.Float64()))
		}
		seg := segment(record.JSON, noon.Add(time.Duration(i)*time.Second), "", recs...)
		size += int64(len(seg.Payload))
		w.put(b, 0, seg)
	}
	r := start(w.config())
	defer r.stop()
	flush(b, r)
	b.SetBytes(size)
	for b.Loop() {
		n := 0
		for _, err := range w.archive().Records(context.Background(), raw.Select{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 50_000 {
			b.Fatal(n)
		}
	}
}
