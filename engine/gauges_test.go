package engine

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestGaugesOfWhatIsGone: the series of a pipeline that was removed go with it.
func TestGaugesOfWhatIsGone(t *testing.T) {
	r := prometheus.NewRegistry()
	one := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "one"}, []string{"table"})
	two := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "two"}, []string{"table", "stream"})
	r.MustRegister(one, two)
	count := func(want int) {
		t.Helper()
		families, err := r.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, f := range families {
			n += len(f.Metric)
		}
		if n != want {
			t.Errorf("%d series, want %d", n, want)
		}
	}
	g := gauges{}
	for _, table := range []string{"a", "b"} {
		g.set(1, one, table)
		g.set(1, two, table, "s")
	}
	g.sweep()
	count(4)
	g.set(2, one, "a")
	g.set(2, two, "a", "s")
	g.sweep()
	count(2)
	g.sweep()
	count(0)
}
