package engine_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/server"
)

// TestVerifyDeep damages a data file, a raw object and an original without a change of their sizes: only
// who reads them notices.
func TestVerifyDeep(t *testing.T) {
	dir, data := writeProject(t, map[string]string{"tarn.yaml": projectFile, "pipelines/events.yaml": backedUp}), t.TempDir()
	l := start(t, dir, data)
	var rows strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&rows, `{"id":"%d","v":%d,"text":"%x"}`+"\n", i, i*i, i*7919)
	}
	if status, answer := l.do(http.MethodPost, "/v1/pipelines/events/runs?name=e.ndjson", "application/x-ndjson", "", []byte(rows.String())); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	if err := l.Flush(t.Context(), "events"); err != nil {
		t.Fatal(err)
	}
	var seen []string
	v, err := l.VerifyDeep(t.Context(), func(p server.VerifyProgress) { seen = append(seen, fmt.Sprintf("%s %d", p.Subject, p.Objects)) })
	if err != nil || !v.OK || strings.Join(seen, ", ") != "curated.events 1, raw.events 2, raw.events 3, raw/files 4" {
		t.Fatalf("whole: %+v %v %v", v.Problems, seen, err)
	}
	damaged := damage(t, filepath.Join(data, "lake"))
	if len(damaged) != 4 {
		t.Fatalf("damaged: %v", damaged)
	}
	l.verify()
	v, err = l.VerifyDeep(t.Context(), nil)
	if err != nil || v.OK || len(v.Problems) != len(damaged) {
		t.Errorf("damaged: %+v %v", v.Problems, err)
	}
	text := fmt.Sprint(v.Problems)
	for _, want := range append(damaged, "curated.events", "it cannot be read", "the object is damaged", "its bytes are not those that came") {
		if !strings.Contains(text, want) {
			t.Errorf("%s is not in %s", want, text)
		}
	}

	status, answer := l.do(http.MethodGet, "/v1/verify?deep=true", "", "", nil)
	var doc server.VerifyDoc
	if err := json.Unmarshal(answer, &doc); status != http.StatusOK || err != nil || len(doc.Problems) != len(damaged) {
		t.Errorf("over HTTP: %d %s %v", status, answer, err)
	}
	_, answer = l.do(http.MethodGet, "/v1/verify?deep=true", "", "application/x-ndjson", nil)
	if lines := strings.Split(strings.TrimSpace(string(answer)), "\n"); len(lines) < 2 || !strings.HasPrefix(lines[0], `{"progress":{"subject":"curated.events","objects":1,`) ||
		!strings.HasPrefix(lines[len(lines)-1], `{"result":{"ok":false,`) {
		t.Errorf("lines: %s", answer)
	}
	if status, _ = l.do(http.MethodGet, "/v1/verify?deep=very", "", "", nil); status != http.StatusBadRequest {
		t.Errorf("deep=very: %d", status)
	}
}

// damage changes bytes within every object of a lake and returns their names.
func damage(t *testing.T, lake string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(lake, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "/metadata/") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for i := 40; i < 60; i++ {
			b[i] ^= 0xff
		}
		names = append(names, filepath.Base(path))
		return os.WriteFile(path, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
