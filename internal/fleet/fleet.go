package fleet

import (
	"errors"
	"fmt"
	"time"
)

// Defaults of Options.
const (
	DefaultDevices  = 2000
	DefaultSpacing  = time.Millisecond
	DefaultIDPrefix = "evt-"
)

// Options describe a fleet. The zero value is valid apart from Start, which has no default because
// the clock belongs to the caller.
type Options struct {
	Seed     uint64        // moves every random choice
	Start    time.Time     // ts of event 0, in the years 1970 to 9999; required
	Spacing  time.Duration // ts difference of consecutive events; 0 means DefaultSpacing
	Devices  int           // 1 to 9999; 0 means DefaultDevices
	IDPrefix string        // begins every event_id; letters, digits and -_. only; "" means DefaultIDPrefix
}

// Generator makes events. It never changes after New, so any number of goroutines may share it.
type Generator struct {
	startMicros   int64
	spacingMicros int64 // 0 when Spacing is not a whole number of microseconds
	spacing       time.Duration
	devices       int64
	stride        int64 // coprime to devices: shuffles a round
	idHead        string
	wagons        []wagon
	tables        [metricCount][]string // `,"name":value` of each possible value
}

// New checks o and prepares a generator: about one megabyte of tables.
func New(o Options) (*Generator, error) {
	if o.Spacing == 0 {
		o.Spacing = DefaultSpacing
	}
	if o.Devices == 0 {
		o.Devices = DefaultDevices
	}
	if o.IDPrefix == "" {
		o.IDPrefix = DefaultIDPrefix
	}
	switch {
	case o.Start.IsZero():
		return nil, errors.New("fleet: Start is missing")
	case o.Start.Year() < 1970 || o.Start.Year() > 9999:
		return nil, fmt.Errorf("fleet: Start is in the year %d, outside 1970 to 9999", o.Start.Year())
	case o.Spacing < 0:
		return nil, fmt.Errorf("fleet: Spacing %s is negative", o.Spacing)
	case o.Devices < 0 || o.Devices > 9999:
		return nil, fmt.Errorf("fleet: Devices is %d, outside 1 to 9999", o.Devices)
	}
	for _, c := range o.IDPrefix {
		if !plain(c) {
			return nil, fmt.Errorf("fleet: IDPrefix %q holds %q, but only letters, digits and -_. are allowed", o.IDPrefix, c)
		}
	}
	g := &Generator{
		startMicros: o.Start.UnixMicro(),
		spacing:     o.Spacing,
		devices:     int64(o.Devices),
		stride:      coprime(int64(o.Devices)),
		idHead:      `{"event_id":"` + o.IDPrefix,
		wagons:      makeWagons(o.Seed, o.Devices),
	}
	if o.Spacing%time.Microsecond == 0 {
		g.spacingMicros = o.Spacing.Microseconds()
	}
	for m := range metrics {
		g.tables[m] = metrics[m].table(m == 0)
	}
	return g, nil
}

func plain(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.'
}

// coprime returns a stride near the golden section of n that visits all of 0..n-1.
func coprime(n int64) int64 {
	for s := n*618/1000 | 1; ; s++ {
		a, b := s, n
		for b != 0 {
			a, b = b, a%b
		}
		if a == 1 {
			return s
		}
	}
}

// Time returns the ts of event i to the microsecond; the event itself carries it to the millisecond,
// rounded down. i*Spacing must stay below 292 years.
func (g *Generator) Time(i int64) time.Time { return time.UnixMicro(g.micros(i)).UTC() }

func (g *Generator) micros(i int64) int64 {
	if g.spacingMicros != 0 {
		return g.startMicros + i*g.spacingMicros
	}
	return g.startMicros + i*int64(g.spacing)/1000
}

// Device returns the number of the device that sent event i.
func (g *Generator) Device(i int64) int {
	round := i / g.devices
	return int((i%g.devices*g.stride + round*7) % g.devices)
}

// EventID returns the event_id of event i. IDs of one prefix sort as their numbers do below 10^12.
func (g *Generator) EventID(i int64) string {
	b := append([]byte(nil), g.idHead[len(`{"event_id":"`):]...)
	return string(appendPadded12(b, i))
}

// AppendEvent appends event number i, i ≥ 0, to dst: one JSON object of about 350 bytes without
// line breaks or a line end.
func (g *Generator) AppendEvent(dst []byte, i int64) []byte {
	micros := g.micros(i)
	dev := g.Device(i)
	w := &g.wagons[dev]
	x := mix(uint64(i) ^ w.seed) // all noise of this event comes from these 64 bits
	phase := uint64(micros/1_000_000) + w.phase
	moving := (phase>>w.dwell)&3 != 0 // a wagon stands a quarter of its time

	dst = append(dst, g.idHead...)
	dst = appendPadded12(dst, i)
	dst = append(dst, w.head...)
	dst = appendMillis(dst, micros)
	dst = append(dst, `","seq":`...)
	dst = appendUint(dst, uint64(i/g.devices))
	dst = append(dst, statusText(moving, x)...)
	dst = w.appendPosition(dst, phase)
	for m := range metrics {
		t := g.tables[m]
		dst = append(dst, t[metrics[m].value(w, m, phase, moving, x, len(t))]...)
	}
	return append(dst, '}', '}')
}

// AppendNDJSON appends the n events from number from on, one a line.
func (g *Generator) AppendNDJSON(dst []byte, from int64, n int) []byte {
	for i := from; i < from+int64(n); i++ {
		dst = append(g.AppendEvent(dst, i), '\n')
	}
	return dst
}
