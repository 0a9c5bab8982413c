package examples

import (
	"bufio"
	"encoding/json"
	"io/fs"
	"os"
	"testing"
)

func TestFleetIsComplete(t *testing.T) {
	fsys, err := Fleet()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"tarn.yaml", "pipelines/telemetry.yaml", "sql/telemetry.sql", "extracts/latest.yaml", "twins/fleet.yaml", "reference/depots.csv"} {
		if b, err := fs.ReadFile(fsys, name); err != nil || len(b) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(b), err)
		}
	}
}

// The README promises 1,707 events, one a line, in at most 2 MB.
func TestEarthquakesData(t *testing.T) {
	f, err := os.Open("earthquakes/earthquakes.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if st, err := f.Stat(); err != nil || st.Size() > 2_000_000 {
		t.Errorf("size %v, %v", st.Size(), err)
	}
	ids := map[string]bool{}
	for sc := bufio.NewScanner(f); sc.Scan(); {
		var q struct {
			ID         string `json:"id"`
			Properties struct {
				Time int64 `json:"time"`
			} `json:"properties"`
		}
		if err := json.Unmarshal(sc.Bytes(), &q); err != nil || q.ID == "" || q.Properties.Time == 0 {
			t.Fatalf("%v in %s", err, sc.Bytes())
		}
		ids[q.ID] = true
	}
	if len(ids) != 1707 {
		t.Errorf("%d distinct events", len(ids))
	}
}
