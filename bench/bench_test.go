package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/bench/load"
	"github.com/tarn-data/tarn/examples"
	"github.com/tarn-data/tarn/internal/child"
	"github.com/tarn-data/tarn/project"
)

func testEvents(t *testing.T, n int64) *events {
	t.Helper()
	e, err := makeEvents(filepath.Join(t.TempDir(), "events.ndjson"), n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.close)
	return e
}

func TestEventsFile(t *testing.T) {
	e := testEvents(t, 1_234)
	whole, err := os.ReadFile(e.path)
	if err != nil {
		t.Fatal(err)
	}
	var read []byte
	for from := int64(0); from < e.count; from += batch {
		read = e.appendBatch(read, from, int(min(batch, e.count-from)))
	}
	if want := e.gen.AppendNDJSON(nil, 0, 1_234); !bytes.Equal(whole, want) || !bytes.Equal(read, want) {
		t.Errorf("%d bytes in the file, %d in batches, want %d", len(whole), len(read), len(want))
	}
}

func TestFloor(t *testing.T) {
	e := testEvents(t, 10_000)
	if d, err := copyFloor(t.Context(), filepath.Dir(e.path), e); err != nil || d <= 0 {
		t.Errorf("%s, %v", d, err)
	}
}

func TestWriteProject(t *testing.T) {
	dir := t.TempDir()
	if err := writeProject(dir, "{size: 1MiB, interval: 5s}"); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "pipelines", "telemetry.yaml"))
	if err != nil || !strings.Contains(string(text), "buffer: {size: 1MiB, interval: 5s}") || strings.Contains(string(text), "128MiB") {
		t.Errorf("%v\n%s", err, text)
	}
	if _, faults := project.LoadDir(dir, project.Options{}); len(faults) > 0 {
		t.Error(faults)
	}
}

func TestQuantileAndMedian(t *testing.T) {
	for _, c := range []struct {
		values   []float64
		q, want  float64
		wantHalf float64
	}{
		{nil, 0.5, 0, 0}, {[]float64{7}, 0.99, 7, 7}, {[]float64{3, 1, 2}, 0.99, 3, 2}, {[]float64{4, 1, 3, 2}, 0.25, 2, 2},
	} {
		half := median(c.values)
		if got := quantile(c.values, c.q); got != c.want || half != c.wantHalf {
			t.Errorf("%v: quantile %v, median %v", c.values, got, half)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 7: "7", 0.123: "0.12", 12.34: "12.3", 999.96: "1000.0", 1000: "1,000", 1234567.8: "1,234,568", -12345: "-12,345"} {
		if got := number(v); got != want {
			t.Errorf("number(%v) is %q, want %q", v, got, want)
		}
	}
}

func TestReport(t *testing.T) {
	floor := Row{Scenario: "throughput", Name: "floor", Value: 1_300_000, Unit: "events/s", Samples: []float64{1_300_000}, Note: "nothing but DuckDB"}
	r := Report{Version: "v0", Started: time.Unix(0, 0), Seconds: 9, Machine: Machine{OS: "linux", Arch: "amd64", CPUs: 2}, Events: 2_000_000, EventBytes: 371, Runs: 3,
		Rows: []Row{
			floor,
			Row{Name: "ingest", Value: 780_000, Unit: "events/s"}.to("floor", floor.Value).ratioAtLeast(0.5),
			Row{Name: "last 50", Value: 20, Unit: "ms"}.to("the first", 10).ratioAtMost(1.5),
			Row{Name: "fresh", Value: 250, Unit: "ms"}.atMost(1000),
			Row{Name: "some rate", Value: 3, Unit: "/s"}.atLeast(5),
		}, LeftOut: []string{"functions in Node: node is not on this machine"}}
	var b bytes.Buffer
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	want := `tarn v0 on 2 cores, linux/amd64
2,000,000 events of 371 bytes; medians of 3; 1970-01-01 00:00 UTC, 9 s

what       value                ratio  target             
floor      1,300,000  events/s                            
ingest     780,000    events/s  0.60   ≥ 0.5 × floor      met
last 50    20         ms        2.00   ≤ 1.5 × the first  MISSED
fresh      250        ms               ≤ 1,000 ms         met
some rate  3          /s               ≥ 5 /s             MISSED

floor: nothing but DuckDB
not measured: functions in Node: node is not on this machine
2 targets are missed.
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b.Bytes(), &back); err != nil || len(back.Missed()) != 2 || back.Rows[1].Ratio != 0.6 {
		t.Errorf("%v: %s", err, b.String())
	}
}

// TestLeftOut: what a machine cannot measure is named.
func TestLeftOut(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("go is not installed")
	}
	names := func(langs []language) (text string) {
		for _, l := range langs {
			text += l.name
		}
		return text
	}
	inside, out, err := languages(t.Context(), t.TempDir())
	if err != nil || !strings.HasSuffix(names(inside), "Go") || strings.Contains(strings.Join(out, " "), "Go") {
		t.Errorf("in the source: %s without %q, %v", names(inside), out, err)
	}
	if len(inside) == 1 {
		t.Skip("neither python3 nor node is installed")
	}
	t.Chdir(t.TempDir())
	runs, out, err := languages(t.Context(), t.TempDir())
	if err != nil || strings.Contains(names(runs), "Go") || !strings.Contains(strings.Join(out, "\n"), "functions in Go: its handler is compiled from Tarn's source") {
		t.Errorf("outside: %s without %q, %v", names(runs), out, err)
	}
}

func TestOptionsRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"binary is missing":    {},
		"is not a scenario":    {Binary: "tarn", Only: []string{"ingset"}},
		"too few to measure":   {Binary: "tarn", Events: 100},
		"-1 runs are too few":  {Binary: "tarn", Runs: -1},
		"no such file":         {Binary: "/does/not/exist", Events: 10_000, Only: []string{"startup"}},
		"exited before it was": {Binary: "/bin/false", Events: 10_000, Only: []string{"startup"}},
	} {
		o.Dir = t.TempDir()
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q", err, want)
		}
		if left, _ := os.ReadDir(o.Dir); len(left) > 0 {
			t.Errorf("%q leaves %v", want, left)
		}
	}
}

// The probe of freshness and the follower of the stream are checked against servers that answer a
// known time after the acknowledgement.
func TestFreshProbe(t *testing.T) {
	visible := time.Now().Add(60 * time.Millisecond)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		switch {
		case time.Now().Before(visible.Add(-30 * time.Millisecond)):
			http.Error(w, "no such table", http.StatusNotFound)
		case time.Now().Before(visible):
			fmt.Fprint(w, "max\nevt-000000000098\n")
		default:
			fmt.Fprint(w, "max\nevt-000000000199\n")
		}
	}))
	defer srv.Close()
	p := freshProbe{srv: &server{Process: nil, Client: child.NewClient(srv.URL)}}
	acked := time.Now()
	p.acked(load.Ack{From: 0, Count: 99, Done: acked})
	p.acked(load.Ack{From: 99, Count: 101, Done: acked})
	if err := p.until(t.Context(), 199); err != nil {
		t.Fatal(err)
	}
	if len(p.seen) != 2 || p.seen[0] >= p.seen[1] || p.seen[1] < 40*time.Millisecond {
		t.Errorf("seen after %v", p.seen)
	}
}

func TestFollower(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/streams/telemetry/records" || r.URL.Query().Get("follow") != "true" {
			t.Errorf("asked for %s", r.URL)
		}
		for i := range 3 {
			fmt.Fprintf(w, `{"position":"0:%d","record":{"event_id":"evt-%d","metrics":{}}}`+"\n", i, i)
			w.(http.Flusher).Flush()
		}
	}))
	defer srv.Close()
	f, err := follow(t.Context(), &server{Client: child.NewClient(srv.URL)})
	if err != nil {
		t.Fatal(err)
	}
	if at, err := f.wait(t.Context(), "evt-2"); err != nil || time.Since(at) > time.Minute {
		t.Errorf("%s, %v", at, err)
	}
	if _, err := f.wait(t.Context(), "evt-9"); err == nil {
		t.Error("an event that never comes is waited for without an error")
	}
}

// The typical queries are valid on what the fleet's transform makes of its events.
func TestTypicalQueries(t *testing.T) {
	e := testEvents(t, 10_000)
	dir := filepath.Dir(e.path)
	db, err := bareDuckDB(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fsys, err := examples.Fleet()
	if err != nil {
		t.Fatal(err)
	}
	transform, err := fs.ReadFile(fsys, "sql/telemetry.sql")
	if err != nil {
		t.Fatal(err)
	}
	file := tarn.QuoteLiteral(filepath.Join(dir, "table.parquet"))
	sql := fmt.Sprintf("COPY (WITH records AS (FROM read_json(%s, format = 'newline_delimited', columns = %s)) %s) TO %s (FORMAT parquet)",
		tarn.QuoteLiteral(e.path), floorColumns, transform, file)
	if err := db.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	for _, q := range typicalQueries {
		sql := strings.NewReplacer("TABLE", "read_parquet(["+file+"])", "HOUR", "2026-11-20 00:00:00").Replace(q.sql)
		if rows, err := db.Values(t.Context(), sql); err != nil || len(rows) == 0 {
			t.Errorf("%s: %d rows, %v", q.name, len(rows), err)
		}
		if err := drain(t.Context(), db, sql); err != nil {
			t.Errorf("%s: %v", q.name, err)
		}
	}
}
