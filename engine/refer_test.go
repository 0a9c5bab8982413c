package engine_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/server"
)

// TestReferredReplay: while the original of a large file is missing, a replay in place is refused at once and
// says why; when it is back, its records can be run again.
func TestReferredReplay(t *testing.T) {
	data := t.TempDir()
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": "pipeline: events\ndeliver: [{table: curated.events}]\n"}), data)
	var b strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&b, "{\"id\":%d,\"pad\":\"%060d\"}\n", i, i)
	}
	if status, answer := l.do(http.MethodPost, "/v1/pipelines/events/runs?name=e.ndjson", "application/x-ndjson", "", []byte(b.String())); status/100 != 2 {
		t.Fatalf("%d %s", status, answer)
	}
	const counts = "SELECT count(*), count(DISTINCT id), max(_line) FROM curated.events"
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	l.eventually(counts, "20000,20000,20000")
	originals, _ := filepath.Glob(filepath.Join(data, "lake/raw/files/events/*/e.ndjson"))
	if len(originals) != 1 {
		t.Fatal(originals)
	}
	aside := filepath.Join(t.TempDir(), "e.ndjson")
	if err := os.Rename(originals[0], aside); err != nil {
		t.Fatal(err)
	}
	if d := l.replay(server.ReplayRequest{From: "earliest"}); d.State != "failed" || !strings.Contains(d.Error, "the history of events is not complete") {
		t.Errorf("without the original: %+v", d)
	}
	if err := os.Rename(aside, originals[0]); err != nil {
		t.Fatal(err)
	}
	if d := l.replay(server.ReplayRequest{From: "earliest"}); d.State != "done" || d.Rows != 20_000 {
		t.Errorf("with it: %+v", d)
	}
	l.eventually(counts, "20000,20000,20000")
	l.verify()
}
