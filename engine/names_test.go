package engine_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/engine"
)

// A raw backup and an external table do not get the same name; whichever comes second is refused.
func TestBackupAndExternalTable(t *testing.T) {
	dir, data := writeProject(t, map[string]string{"tarn.yaml": projectFile}), t.TempDir()
	put(t, filepath.Join(dir, "exports", "events", "a.csv"), []byte("id\n1\n2\n"))
	l := start(t, dir, data)
	if status, answer := l.crawl(`{"path": "exports", "table": "events"}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	pipeline := filepath.Join(dir, "pipelines", "events.yaml")
	put(t, pipeline, []byte(backedUp))
	_, err := l.Reload(t.Context())
	if err == nil || !strings.Contains(err.Error(), "pipelines/events.yaml: the raw backup would be the table raw.events, which is an external table of the crawler path:"+filepath.Join(dir, "exports")) {
		t.Errorf("the backup came second: %v", err)
	}
	if got := l.sql("SELECT sum(id) FROM raw.events"); got != "3" {
		t.Errorf("the external table: %s", got)
	}
	if got := l.sql("SELECT count(*) FROM system.pipelines"); got != "0" {
		t.Errorf("%s pipelines after a refused project", got)
	}

	if status, answer := l.crawl(`{"path": "exports", "table": "others"}`); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused := `the table raw.events is somebody else's`
	if status, answer := l.crawl(`{"path": "exports", "table": "events"}`); status != http.StatusConflict || !strings.Contains(answer, refused) {
		t.Errorf("the external table came second: %d %s", status, answer)
	}

	// The archive stays when its pipeline is gone, and so does its name; for the command line as well.
	if err := os.Remove(pipeline); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, answer := l.crawl(`{"path": "exports", "table": "events"}`); status != http.StatusConflict || !strings.Contains(answer, refused) {
		t.Errorf("behind the pipeline: %d %s", status, answer)
	}
	open, err := engine.OpenCatalog(t.Context(), engine.Options{Project: dir, Data: data}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if _, err := open.Crawl(t.Context(), catalog.Crawler{Path: filepath.Join(dir, "exports"), Table: "events"}, false); err == nil || !strings.Contains(err.Error(), refused) {
		t.Errorf("on the command line: %v", err)
	}
}

// Opaque records do not come in files.
func TestOpaqueRun(t *testing.T) {
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/o.yaml": "pipeline: o\nrecords: opaque\ndeliver: []\n"}), t.TempDir())
	status, answer := l.do(http.MethodPost, "/v1/pipelines/o/runs?name=a.bin", "application/octet-stream", "", []byte("bytes"))
	if status != http.StatusUnsupportedMediaType || !strings.Contains(string(answer), "the records of the pipeline o are opaque") ||
		!strings.Contains(string(answer), "/v1/streams/o/records") {
		t.Errorf("%d %s", status, answer)
	}
}
