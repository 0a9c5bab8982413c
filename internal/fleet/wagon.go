package fleet

import (
	"fmt"
	"math"
	"strconv"
)

// wagon holds what does not change in one device.
type wagon struct {
	seed   uint64
	phase  uint64             // seconds by which its day is shifted
	dwell  uint               // 2^dwell seconds between changes of moving and standing
	head   string             // `","device_id":"wagon-0042","ts":"`
	lat    int64              // one end of its line, in 10^-4 degrees
	lon    int64              //
	dLat   int64              // the other end minus this one
	dLon   int64              //
	offset [metricCount]int32 // added to every value of a metric: wagons differ
}

func makeWagons(seed uint64, n int) []wagon {
	ws := make([]wagon, n)
	for d := range ws {
		x := mix(seed + uint64(d)*0x9e3779b97f4a7c15 + 1)
		w := &ws[d]
		w.seed = x
		w.phase = x >> 20 & 0xffff
		w.dwell = 8 + uint(x>>16&3)
		w.head = fmt.Sprintf(`","device_id":"wagon-%04d","ts":"`, d)
		// Lines between Alpine and North Sea ports: 45.0 to 53.5 north, 4.0 to 14.0 east.
		y := mix(x)
		w.lat, w.lon = 450_000+int64(y%85_000), 40_000+int64(y>>20%100_000)
		z := mix(y)
		w.dLat, w.dLon = 450_000+int64(z%85_000)-w.lat, 40_000+int64(z>>20%100_000)-w.lon
		for m := range metrics {
			x = mix(x)
			w.offset[m] = int32(x % uint64(metrics[m].spread))
		}
	}
	return ws
}

// appendPosition appends the place on the line between the two ends, which the wagon goes along and
// back in 2^17 seconds (36 hours).
func (w *wagon) appendPosition(dst []byte, phase uint64) []byte {
	p := int64(phase & (1<<17 - 1))
	if p > 1<<16 {
		p = 1<<17 - p
	}
	dst = append(dst, `,"position":{"lat":`...)
	dst = appendDegrees(dst, w.lat+w.dLat*p>>16)
	dst = append(dst, `,"lon":`...)
	dst = appendDegrees(dst, w.lon+w.dLon*p>>16)
	return append(dst, '}')
}

func statusText(moving bool, x uint64) string {
	switch {
	case x&0x3ff == 0:
		return `,"status":"fault"`
	case moving:
		return `,"status":"moving"`
	}
	return `,"status":"parked"`
}

// metricCount is the number of metrics of an event.
const metricCount = 12

// metric describes one number of the metrics object. Values are integers in units of 10^-decimals;
// they swing like a sine of 18 hours, differ by wagon and carry noise.
type metric struct {
	name     string
	decimals int
	low      int32 // smallest value
	swing    int32 // height of the wave
	spread   int32 // wagons differ by up to this, ≥ 1
	noise    int32 // every event differs by up to this, ≥ 1; a power of two
	stopped  bool  // low while the wagon stands
}

var metrics = [metricCount]metric{
	{"speed_kmh", 1, 0, 400, 300, 128, true},
	{"axle_1_c", 1, 180, 250, 60, 32, false},
	{"axle_2_c", 1, 180, 250, 60, 32, false},
	{"axle_3_c", 1, 180, 250, 60, 32, false},
	{"axle_4_c", 1, 180, 250, 60, 32, false},
	{"brake_bar", 2, 320, 120, 60, 16, false},
	{"vibration_g", 3, 10, 200, 100, 64, true},
	{"shock_g", 2, 0, 60, 40, 64, true},
	{"load_kg", 0, 21000, 0, 4000, 64, false},
	{"battery_v", 2, 1180, 90, 40, 8, false},
	{"humidity_pct", 0, 35, 40, 15, 8, false},
	{"ambient_c", 1, -85, 180, 60, 16, false},
}

// table returns the text of every value that the metric can take, from low on.
func (m metric) table(first bool) []string {
	t := make([]string, m.swing+m.spread+m.noise)
	for i := range t {
		head := `,"`
		if first {
			head = `,"metrics":{"`
		}
		v := float64(m.low+int32(i)) / math.Pow10(m.decimals)
		t[i] = head + m.name + `":` + strconv.FormatFloat(v, 'f', m.decimals, 64)
	}
	return t
}

// value returns the index into the metric's table, below n.
func (m *metric) value(w *wagon, index int, phase uint64, moving bool, x uint64, n int) int {
	noise := int32(x>>(uint(index)*4+8)) & (m.noise - 1)
	if m.stopped && !moving {
		return int(noise) & 3
	}
	wave := m.swing * int32(sine[(phase>>9+uint64(index)*20)&127]) >> 7
	if v := int(wave + w.offset[index] + noise); v < n {
		return v
	}
	return n - 1
}

// sine is a wave from 0 to 127; one step is 512 seconds, so the whole is 18 hours.
var sine = func() (t [128]uint8) {
	for i := range t {
		t[i] = uint8(63.5 + 63.5*math.Sin(2*math.Pi*float64(i)/128))
	}
	return t
}()

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number
// Generators, 2014): a bijection whose output bits all depend on all input bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
