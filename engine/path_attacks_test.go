package engine_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// TestPathAttacks puts hostile names into every path of the interface, of a lake that has something to find under
// good ones. Nothing is found, nothing changes, and nothing is an error of the server.
func TestPathAttacks(t *testing.T) {
	l := start(t, writeProject(t, map[string]string{"tarn.yaml": projectFile, "twins/fleet.yaml": "twin: fleet\n", "pipelines/events.yaml": events,
		"extracts/latest.yaml": "extract: latest\nfrom: events\nsql: SELECT id::VARCHAR AS component, 'n' AS metric, id AS value, ts AS at FROM records\nto: {twin: fleet}\n"}), t.TempDir())
	l.post("events", `{"id":1,"ts":"2026-11-20T03:00:00Z"}`)
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]any
	}
	_, body := l.do(http.MethodGet, "/openapi.json", "", "", nil)
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`\{[a-z]+\}`)
	asked := 0
	for path, ops := range doc.Paths {
		if !name.MatchString(path) {
			continue
		}
		for method := range ops {
			if strings.HasPrefix(path, "/v1/twins/{twin}/") && method == "put" {
				continue // twins take any name, see TestTwinAttacks
			}
			for _, h := range hostile {
				escaped := strings.ReplaceAll(url.PathEscape(h), ".", "%2E")
				known := path
				if strings.Contains(path, "{id}") { // of a twin that is there
					known = strings.Replace(path, "{twin}", "fleet", 1)
				}
				target := name.ReplaceAllLiteralString(known, escaped)
				status, answer := l.do(strings.ToUpper(method), target, "application/json", "", []byte("{}"))
				asked++
				deleted := method == "delete" && status == http.StatusOK // a removal of what was not there
				if !deleted && (status < 400 || status >= 500 || !json.Valid(answer)) {
					t.Errorf("%s %.200s: %d %.200s", method, target, status, answer)
				}
			}
		}
	}
	if asked < 500 {
		t.Errorf("%d requests", asked)
	}
	if got := l.sql("SELECT (SELECT count(*) FROM curated.events), (SELECT count(*) FROM twin.fleet)"); got != "1,1" {
		t.Error(got)
	}
	l.verify()
}
