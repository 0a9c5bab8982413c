package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// telemetry returns n records of about 350 bytes as one NDJSON body.
func telemetry(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, `{"id":"%016x","device_id":"wagon-%04d","ts":"2026-11-20T03:%02d:%02d.%03dZ","seq":%d,`+
			`"position":{"lat":%.6f,"lon":%.6f,"speed_kmh":%.1f,"heading":%d},`+
			`"brake":{"pressure_bar":%.2f,"temperature_c":%.1f,"applied":%v},`+
			`"load":{"mass_kg":%d,"axles":[%.2f,%.2f,%.2f,%.2f]},"battery_v":%.2f,"door":"%s","firmware":"4.2.%d"}`+"\n",
			rng.Uint64(), rng.IntN(2000), rng.IntN(60), rng.IntN(60), rng.IntN(1000), i,
			47+rng.Float64(), 8+rng.Float64(), rng.Float64()*120, rng.IntN(360),
			rng.Float64()*5, rng.Float64()*80, rng.IntN(2) == 0,
			20000+rng.IntN(60000), rng.Float64()*22, rng.Float64()*22, rng.Float64()*22, rng.Float64()*22,
			24+rng.Float64(), []string{"open", "closed", "unknown"}[rng.IntN(3)], rng.IntN(10))
	}
	return b.Bytes()
}

// perCPU reports bytes per second of processor time: on a machine with other work the clock on the
// wall says little.
func perCPU(b *testing.B, size int) func() {
	cpu := func() float64 {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	}
	began := cpu()
	return func() { b.ReportMetric(float64(b.N)*float64(size)/(cpu()-began)/1e6, "MB/cpu-s") }
}

// BenchmarkFrame measures splitting, validating and shaping a body of 500 records; the floor is
// json.Valid over the same records.
func BenchmarkFrame(b *testing.B) {
	body := telemetry(500)
	b.Run("floor=json.Valid", func(b *testing.B) {
		b.SetBytes(int64(len(body)))
		defer perCPU(b, len(body))()
		for b.Loop() {
			for line := range bytes.Lines(body) {
				if !json.Valid(line) {
					b.Fatal("invalid")
				}
			}
		}
	})
	for _, c := range []struct {
		name string
		kind Kind
		o    FrameOptions
	}{
		{"auto", KindAuto, FrameOptions{}},
		{"ndjson", KindNDJSON, FrameOptions{}},
		{"shards=4", KindNDJSON, FrameOptions{Shards: 4, KeyPath: "device_id"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			defer perCPU(b, len(body))()
			for b.Loop() {
				f, err := Frame(body, c.kind, c.o)
				if err != nil || f.Accepted != 500 || len(f.Parts[0].Segment.Shapes) > 2 {
					b.Fatal(err, f.Accepted)
				}
			}
			b.ReportMetric(float64(b.N)*500/b.Elapsed().Seconds()/1e6, "Mrecords/s")
		})
	}
}

// BenchmarkFrameVaried frames records that no template fits: their shapes change all the time.
func BenchmarkFrameVaried(b *testing.B) {
	var body bytes.Buffer
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 500 {
		fmt.Fprintf(&body, `{"id":%d`, i)
		for _, key := range []string{"alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"} {
			switch rng.IntN(4) {
			case 0:
				fmt.Fprintf(&body, `,"%s":"%s value %d"`, key, key, rng.IntN(1000))
			case 1:
				fmt.Fprintf(&body, `,"%s":[%d,%.2f]`, key, rng.IntN(100), rng.Float64())
			case 2:
				fmt.Fprintf(&body, `,"%s":{"unit":"km/h","value":%.1f}`, key, rng.Float64()*100)
			}
		}
		body.WriteString("}\n")
	}
	b.SetBytes(int64(body.Len()))
	b.ReportAllocs()
	defer perCPU(b, body.Len())()
	for b.Loop() {
		if f, err := Frame(body.Bytes(), KindNDJSON, FrameOptions{}); err != nil || f.Accepted != 500 {
			b.Fatal(err, f.Accepted)
		}
	}
}

// BenchmarkFrameSingle frames a body of one record.
func BenchmarkFrameSingle(b *testing.B) {
	body := telemetry(1)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if f, err := Frame(body, KindAuto, FrameOptions{}); err != nil || f.Accepted != 1 {
			b.Fatal(err, f.Accepted)
		}
	}
}

// BenchmarkUnescape resolves the escapes of texts that have few of them, or little else.
func BenchmarkUnescape(b *testing.B) {
	for _, c := range []struct{ name, text string }{
		{"few", strings.Repeat(`A sentence of some words without any, then\n`, 4)},
		{"many", strings.Repeat(`\"a\":\"\u00e9\",`, 10)},
	} {
		b.Run(c.name, func(b *testing.B) {
			content, dst := []byte(c.text), make([]byte, 0, len(c.text))
			b.SetBytes(int64(len(content)))
			for b.Loop() {
				dst = AppendUnescaped(dst[:0], content)
			}
		})
	}
}
