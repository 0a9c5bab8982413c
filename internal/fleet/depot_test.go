package fleet

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// report is the exact shape of the JSON.
type report struct {
	Depot   string    `json:"depot"`
	SentAt  time.Time `json:"sent_at"`
	Station struct {
		Ambient  float64 `json:"ambient_c"`
		Chargers []struct {
			ID     string `json:"id"`
			State  string `json:"state"`
			Output struct {
				Power   float64 `json:"power_kw"`
				Session float64 `json:"session_kwh"`
			} `json:"output"`
		} `json:"chargers"`
	} `json:"station"`
}

func TestReports(t *testing.T) {
	got := AppendReports(nil, start.Add(7*time.Minute))
	if !bytes.Equal(got, AppendReports(nil, start)) {
		t.Error("two times of one interval give different reports")
	}
	states := map[string]int{}
	for at := start; at.Before(start.Add(24 * time.Hour)); at = at.Add(ReportInterval) {
		all := slices.Collect(bytes.Lines(AppendReports(nil, at)))
		if len(all) != len(depots) {
			t.Fatalf("%d reports", len(all))
		}
		for i, line := range all {
			var r report
			d := json.NewDecoder(bytes.NewReader(line))
			d.DisallowUnknownFields()
			if err := d.Decode(&r); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			if r.Depot != depots[i] || !r.SentAt.Equal(at) || len(r.Station.Chargers) != chargersPerDepot {
				t.Fatalf("%s", line)
			}
			for _, c := range r.Station.Chargers {
				states[c.State]++
				if charging := c.State == "charging"; charging != (c.Output.Power > 0) || c.Output.Power > 43 || !charging && c.Output.Session != 0 {
					t.Errorf("%+v", c)
				}
			}
		}
	}
	if states["charging"] < states["free"] || states["free"] < states["fault"] || states["fault"] == 0 {
		t.Errorf("%v", states)
	}
}

// TestSample compares the records that the page of the example loads with what is generated here.
func TestSample(t *testing.T) {
	g := mustNew(t, Options{Seed: 7, Spacing: 400 * time.Millisecond, Devices: 5})
	for name, want := range map[string][]byte{
		"telemetry.ndjson": g.AppendNDJSON(nil, 0, 465), // three minutes and six seconds
		"chargers.ndjson":  AppendReports(AppendReports(nil, start.Add(-ReportInterval)), start),
	} {
		path := filepath.Join("..", "..", "examples", "fleet", "data", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d: %v; -update rewrites it", path, len(got), len(want), err)
		}
	}
}
