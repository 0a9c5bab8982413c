package fleet

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "rewrite the golden file")

var start = time.Date(2026, 11, 20, 3, 0, 0, 0, time.UTC)

func mustNew(t testing.TB, o Options) *Generator {
	t.Helper()
	if o.Start.IsZero() {
		o.Start = start
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// event is the exact shape of the JSON.
type event struct {
	EventID  string    `json:"event_id"`
	DeviceID string    `json:"device_id"`
	TS       time.Time `json:"ts"`
	Seq      int64     `json:"seq"`
	Status   string    `json:"status"`
	Position struct {
		Lat float64 `json:"lat"`
		Lon float64 `json:"lon"`
	} `json:"position"`
	Metrics map[string]json.Number `json:"metrics"`
}

func decode(t testing.TB, b []byte) event {
	t.Helper()
	var e event
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&e); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return e
}

func TestGolden(t *testing.T) {
	g := mustNew(t, Options{Seed: 7, Spacing: 1500 * time.Microsecond})
	var got []byte
	for _, i := range []int64{0, 1, 1999, 2000, 123_456, 5_000_000_000} {
		got = append(g.AppendEvent(got, i), '\n')
	}
	path := filepath.Join("testdata", "events.golden")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("events differ from %s (rewrite with -update):\n%s", path, got)
	}
}

func TestEveryEventIsWellFormed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := Options{
			Seed:    rapid.Uint64().Draw(rt, "seed"),
			Start:   time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(rt, "start")),
			Spacing: time.Duration(rapid.Int64Range(1, 1e9).Draw(rt, "spacing")),
			Devices: rapid.IntRange(1, 9999).Draw(rt, "devices"),
		}
		i := rapid.Int64Range(0, 4e9).Draw(rt, "i")
		g := mustNew(t, o)
		b := g.AppendEvent([]byte("x"), i)
		if b[0] != 'x' {
			rt.Fatal("dst was overwritten")
		}
		if again := mustNew(t, o).AppendEvent(nil, i); !bytes.Equal(b[1:], again) {
			rt.Fatalf("not deterministic:\n%s\n%s", b[1:], again)
		}
		e := decode(t, b[1:])
		want := o.Start.Add(time.Duration(i) * o.Spacing)
		if got := e.TS; got.Before(want.Add(-2*time.Millisecond)) || got.After(want) || !got.Equal(g.Time(i).Truncate(time.Millisecond)) {
			rt.Fatalf("ts is %s, want %s", got, want)
		}
		if e.EventID != g.EventID(i) || e.Seq != i/int64(o.Devices) || len(e.Metrics) != metricCount {
			rt.Fatalf("%+v", e)
		}
		if p := e.Position; p.Lat < 44 || p.Lat > 55 || p.Lon < 3 || p.Lon > 15 {
			rt.Fatalf("position %+v is off the map", p)
		}
		if n := len(b) - 1; n < 300 || n > 420 {
			rt.Fatalf("%d bytes: %s", n, b)
		}
	})
}

// A number is an integer in every event or a decimal in every event, so that schema inference sees
// one shape.
func TestOneShape(t *testing.T) {
	g := mustNew(t, Options{})
	for i := int64(0); i < 20_000; i++ {
		for name, v := range decode(t, g.AppendEvent(nil, i*37)).Metrics {
			m := slices.IndexFunc(metrics[:], func(m metric) bool { return m.name == name })
			if got, want := strings.Contains(v.String(), "."), metrics[m].decimals > 0; got != want {
				t.Fatalf("%s is %s", name, v)
			}
		}
	}
}

func TestRoundsCoverEveryDevice(t *testing.T) {
	for _, n := range []int{1, 2, 3, 10, 1999, 2000, 9999} {
		g := mustNew(t, Options{Devices: n})
		for round := int64(0); round < 3; round++ {
			seen := make([]bool, n)
			for i := round * int64(n); i < (round+1)*int64(n); i++ {
				seen[g.Device(i)] = true
			}
			if slices.Contains(seen, false) {
				t.Errorf("%d devices: round %d leaves one out", n, round)
			}
		}
	}
}

func TestValuesLookAlive(t *testing.T) {
	g := mustNew(t, Options{Spacing: 43 * time.Millisecond})
	distinct := map[string]map[string]bool{}
	status := map[string]int{}
	for i := int64(0); i < 100_000; i++ {
		e := decode(t, g.AppendEvent(nil, i*20))
		status[e.Status]++
		for name, v := range e.Metrics {
			if distinct[name] == nil {
				distinct[name] = map[string]bool{}
			}
			distinct[name][v.String()] = true
		}
	}
	for name, values := range distinct {
		if len(values) < 30 {
			t.Errorf("%s takes %d values only", name, len(values))
		}
	}
	for _, s := range []string{"moving", "parked", "fault"} {
		if status[s] == 0 {
			t.Errorf("no event is %s: %v", s, status)
		}
	}
}

func TestSeedAndPrefix(t *testing.T) {
	a := mustNew(t, Options{Seed: 1}).AppendEvent(nil, 5)
	b := mustNew(t, Options{Seed: 2}).AppendEvent(nil, 5)
	if bytes.Equal(a, b) {
		t.Error("the seed changes nothing")
	}
	c := mustNew(t, Options{Seed: 1, IDPrefix: "p1-"}).AppendEvent(nil, 5)
	if got := decode(t, c).EventID; got != "p1-000000000005" {
		t.Errorf("event_id is %q", got)
	}
}

func TestAppendNDJSON(t *testing.T) {
	g := mustNew(t, Options{})
	lines := bytes.SplitAfter(g.AppendNDJSON(nil, 10, 3), []byte("\n"))
	if len(lines) != 4 || len(lines[3]) != 0 {
		t.Fatalf("%d lines", len(lines))
	}
	for k, line := range lines[:3] {
		if want := g.AppendEvent(nil, 10+int64(k)); !bytes.Equal(bytes.TrimSuffix(line, []byte("\n")), want) {
			t.Errorf("line %d is %s", k, line)
		}
	}
}

func TestOptionsRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"no start":         {},
		"before 1970":      {Start: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)},
		"negative spacing": {Start: start, Spacing: -1},
		"too many devices": {Start: start, Devices: 10_000},
		"negative devices": {Start: start, Devices: -1},
		"quote in prefix":  {Start: start, IDPrefix: `a"b`},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New(o); err == nil {
				t.Error("accepted")
			}
		})
	}
}

func BenchmarkAppendEvent(b *testing.B) {
	g := mustNew(b, Options{Spacing: 43200 * time.Microsecond})
	buf := make([]byte, 0, 1<<10)
	var n int64
	for b.Loop() {
		buf = g.AppendEvent(buf[:0], n)
		n++
	}
	b.SetBytes(int64(len(buf)))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mevents/s")
}
