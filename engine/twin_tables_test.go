package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/server"
)

// TestTwinIsATable: a twin is listed with the tables, and tarn verify counts the extract that feeds it.
func TestTwinIsATable(t *testing.T) {
	dir, data := writeProject(t, retryProject("n = 3")), t.TempDir()
	l := start(t, dir, data)
	l.post("events", deviceEvents(0, 10))
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT name, kind, rows FROM system.tables WHERE kind = 'twin'"); got != "twin.fleet,twin,9" {
		t.Error(got)
	}
	if got := l.sql("SELECT count(*), count(*) FILTER (name = 'value_number') FROM system.columns WHERE table_name = 'twin.fleet'"); got != "16,1" {
		t.Error(got)
	}
	found := false
	for _, d := range l.call("GET", "/v1/tables", "", 200)["tables"].([]any) {
		d := d.(map[string]any)
		found = found || d["name"] == "twin.fleet" && d["kind"] == "twin" && d["rows"] == 9.0 && strings.HasPrefix(d["updated_at"].(string), "2026-11-20T03:00:09")
	}
	if !found {
		t.Error("twin.fleet is not listed")
	}
	if d := l.call("GET", "/v1/tables/twin.fleet", "", 200); len(d["columns"].([]any)) != 16 {
		t.Error(d)
	}
	l.call("GET", "/v1/tables/twin.none", "", 404)
	account := func() (sum server.VerifyAccount, v server.VerifyDoc) {
		t.Helper()
		v, err := l.Verify(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range v.Accounts {
			if a.Extract == "latest" {
				sum.Accepted, sum.InTable, sum.Failed, sum.Pending = sum.Accepted+a.Accepted, sum.InTable+a.InTable, sum.Failed+a.Failed, sum.Pending+a.Pending
			}
		}
		return sum, v
	}
	if a, v := account(); !v.OK || a.Accepted != 10 || a.InTable != 9 || a.Failed != 1 || a.Pending != 0 {
		t.Errorf("%+v %+v", a, v.Problems)
	}

	// The twin's database is lost: what it had is not in it, whatever comes afterwards.
	for _, more := range []string{"", deviceEvents(20, 10)} {
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if more == "" {
			files, err := filepath.Glob(filepath.Join(data, "meta", "twins.db*"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			for _, f := range files {
				if err := os.Remove(f); err != nil {
					t.Fatal(err)
				}
			}
		}
		l = start(t, dir, data)
		if more != "" {
			l.post("events", more)
		}
		if err := l.Flush(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if _, v := account(); v.OK || len(v.Problems) != 1 || v.Problems[0].Subject != "extract latest" {
			t.Errorf("a twin that lost its values is not noticed: %+v", v.Problems)
		}
	}
	// Under another name the extract reads everything again.
	if err := os.Remove(filepath.Join(dir, "extracts", "latest.yaml")); err != nil {
		t.Fatal(err)
	}
	l.editAll(map[string]string{"extracts/latest2.yaml": strings.Replace(retryProject("n = 3")["extracts/latest.yaml"], "extract: latest", "extract: latest2", 1)})
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if got := l.sql("SELECT count(*) FROM twin.fleet"); got != "19" {
		t.Errorf("values: %s", got)
	}
	l.verify()
}

// TestTwinSchemaReload: what the schema does not name any more is hidden from the reload on, over HTTP and in SQL, and comes
// back with its entry.
func TestTwinSchemaReload(t *testing.T) {
	twinOf := func(rest string) map[string]string {
		return map[string]string{"twins/fleet.yaml": "twin: fleet\n" + rest}
	}
	files := twinOf("")
	files["tarn.yaml"] = projectFile
	l := start(t, writeProject(t, files), t.TempDir())
	for _, metric := range []string{"speed", "old"} {
		l.call("PUT", "/v1/twins/fleet/components/w/metrics/"+metric, `{"value": 1, "type": "wagon"}`, 200)
	}
	for _, c := range []struct {
		schema  string
		status  int
		rows    string
		unknown any
	}{
		{"", 200, "2,0", nil},
		{"unknown: tag\ntypes: {wagon: {speed: number}}\n", 200, "2,1", true},
		{"unknown: reject\ntypes: {wagon: {speed: number}}\n", 404, "1,0", nil},
		{"unknown: reject\ntypes: {wagon: {speed: number, old: number}}\n", 200, "2,0", nil},
	} {
		l.editAll(twinOf(c.schema))
		if m := l.call("GET", "/v1/twins/fleet/components/w/metrics/old", "", c.status); c.status == 200 && m["unknown"] != c.unknown {
			t.Errorf("%s: %v", c.schema, m)
		}
		if got := l.sql("SELECT count(*), count(*) FILTER (unknown) FROM twin.fleet"); got != c.rows {
			t.Errorf("%s: %s, want %s", c.schema, got, c.rows)
		}
	}
}
