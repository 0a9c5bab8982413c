package telemetry

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestTwoEnginesInOneProcess(t *testing.T) {
	a, b := NewRegistry(), NewRegistry()
	ma, mb := New(a), New(b)
	ma.Ingest("telemetry").Accepted(500, 2, 1000, 5*time.Millisecond)
	ma.Ingest("telemetry").Refused("busy", 0)
	if got := testutil.ToFloat64(ma.IngestRecords.WithLabelValues("telemetry")); got != 500 {
		t.Errorf("records = %v, want 500", got)
	}
	if got := testutil.ToFloat64(ma.IngestRequests.WithLabelValues("telemetry", "busy")); got != 1 {
		t.Errorf("busy requests = %v, want 1", got)
	}
	if got := testutil.ToFloat64(mb.IngestRecords.WithLabelValues("telemetry")); got != 0 {
		t.Errorf("the second engine saw the first one's records: %v", got)
	}
}

// TestNames keeps names and help texts in the form Prometheus asks for.
func TestNames(t *testing.T) {
	reg := NewRegistry()
	m := New(reg)
	m.Ingest("s").Accepted(1, 1, 1, time.Millisecond)
	m.StreamFsyncSeconds.WithLabelValues("s").Observe(0.003)
	m.DuckDBBytes.WithLabelValues("query").Set(1 << 20)
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if strings.HasPrefix(p.Metric, "tarn_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
