package engine

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/tarn-data/tarn/internal/telemetry"
)

// TestDiskNearlyFull: records are refused while there is too little room; the log, a gauge and /readyz's
// second line say so.
func TestDiskNearlyFull(t *testing.T) {
	var log bytes.Buffer
	e := &Engine{log: slog.New(slog.NewTextHandler(&log, nil)), metrics: telemetry.New(prometheus.NewRegistry())}
	for _, c := range []struct {
		free    int64
		refused bool
		log     string
	}{{2 << 30, false, ""}, {100 << 20, true, "records are refused"}, {50 << 20, true, ""}, {2 << 30, false, "records are accepted"}} {
		log.Reset()
		e.noteDisk(c.free, 100<<30)
		gauge := testutil.ToFloat64(e.metrics.IngestRefusing)
		if (e.admit() != nil) != c.refused || (gauge == 1) != c.refused || strings.Contains(e.refusing(), "MiB left") != c.refused {
			t.Errorf("%d bytes free: %v, gauge %v, %q", c.free, e.admit(), gauge, e.refusing())
		}
		if testutil.ToFloat64(e.metrics.DiskFreeBytes) != float64(c.free) || !strings.Contains(log.String(), c.log) || c.log == "" && log.Len() > 0 {
			t.Errorf("%d bytes free, logged %q, want %q", c.free, log.String(), c.log)
		}
	}
}
