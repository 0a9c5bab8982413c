package twin_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/twin"
)

// open returns a store on a database, with one twin.
func open(t testing.TB, url string, o twin.Options, spec twin.Spec) *twin.Twin {
	t.Helper()
	db, err := metadb.Open(t.Context(), url, metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := twin.Open(db, o)
	spec.Name = "fleet"
	if err := s.Configure(t.Context(), []twin.Spec{spec}); err != nil {
		t.Fatal(err)
	}
	tw, err := s.Twin("fleet")
	if err != nil {
		t.Fatal(err)
	}
	return tw
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestApply(t *testing.T) {
	tw := open(t, filepath.Join(t.TempDir(), "twin.db"), twin.Options{}, twin.Spec{})
	at := func(seconds int, v float64) twin.Update {
		return twin.Update{Component: "wagon/7", Metric: "speed", Value: twin.NumberValue(v), At: noon.Add(time.Duration(seconds) * time.Second), Unit: "km/h", Pipeline: "telemetry", Position: twin.Position{Stream: "telemetry"}}
	}
	res, err := tw.Apply(t.Context(), twin.Batch{Updates: []twin.Update{at(2, 20), at(1, 10), at(2, 20)}})
	if err != nil || res.Applied != 1 || res.Old != 2 {
		t.Fatalf("%+v, %v", res, err)
	}
	m, err := tw.Get(t.Context(), twin.Key{Component: "wagon/7", Metric: "speed"})
	if err != nil || m.Value.Number() != 20 || m.Unit != "km/h" {
		t.Errorf("%+v, %v", m, err)
	}
	if res, err = tw.Apply(t.Context(), twin.Batch{Updates: []twin.Update{at(1, 30)}}); err != nil || res.Applied != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	p, err := tw.List(t.Context(), twin.Filter{})
	if err != nil || len(p.Components) != 1 || p.Components[0].Metrics[0].Value.Number() != 20 {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := tw.Get(t.Context(), twin.Key{Component: "wagon/7", Metric: "load"}); tarn.CodeOf(err) != tarn.CodeNotFound {
		t.Error(err)
	}
}
