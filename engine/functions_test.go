package engine_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/function"
)

func TestMain(m *testing.M) {
	function.Child()
	os.Exit(m.Run())
}

const enrich = `import base64, json

def handler(event, context):
    out = []
    for r in event['records']:
        doc = json.loads(base64.b64decode(r['data']))
        doc['version'] = 1
        out.append({'recordId': r['recordId'], 'result': 'Ok', 'data': base64.b64encode(json.dumps(doc).encode()).decode()})
    return {'records': out}
`

// TestFunctions: a pipeline's records go through its function, an edited function replaces the old
// one under it, and one that does not load leaves the old one at work and says so.
func TestFunctions(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	dir := writeProject(t, map[string]string{
		"tarn.yaml":                      projectFile,
		"functions/enrich/function.yaml": "runtime: python\nhandler: app.handler\n",
		"functions/enrich/app.py":        enrich,
		"pipelines/events.yaml": `
pipeline: events
transform:
  - function: enrich
  - validate: [{name: positive, check: id > 0, on_fail: fail_record}]
deliver:
  - table: curated.events
`})
	l := start(t, dir, filepath.Join(dir, "data"))
	const rows = "SELECT id, version FROM curated.events ORDER BY id"
	l.post("events", `{"id":1}`+"\n"+`{"id":-1}`)
	l.eventually(rows, "1,1")

	edit := func(text string) error {
		l.edit("functions/enrich/app.py", text)
		doc, err := l.Reload(t.Context())
		for _, n := range doc.NotApplied {
			err = errors.Join(err, errors.New(n.Name+": "+n.Detail))
		}
		return err
	}
	if err := edit(strings.Replace(enrich, "= 1", "= 2", 1)); err != nil {
		t.Fatal(err)
	}
	l.post("events", `{"id":2}`)
	l.eventually(rows, "1,1\n2,2")

	if err := edit("import nothing_of_that_name\n"); err == nil || !strings.Contains(err.Error(), "enrich") {
		t.Errorf("a function that does not load: %v", err)
	}
	l.post("events", `{"id":3}`)
	l.eventually(rows, "1,1\n2,2\n3,2")

	// One that lacks a secret leaves the old one at work too, and the next one takes its place.
	const settings = "runtime: python\nhandler: app.handler\n"
	l.edit("functions/enrich/function.yaml", settings+"secrets: [TARN_TEST_NOT_SET]\n")
	if err := edit(strings.Replace(enrich, "= 1", "= 3", 1)); err == nil || !strings.Contains(err.Error(), "TARN_TEST_NOT_SET") {
		t.Errorf("a function without its secret: %v", err)
	}
	l.post("events", `{"id":4}`)
	l.eventually(rows, "1,1\n2,2\n3,2\n4,2")
	l.edit("functions/enrich/function.yaml", settings)
	if err := edit(strings.Replace(enrich, "= 1", "= 4", 1)); err != nil {
		t.Fatal(err)
	}
	l.post("events", `{"id":5}`)
	l.eventually(rows, "1,1\n2,2\n3,2\n4,2\n5,4")
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	l.verify()
	if failed := l.sql("SELECT stage, reason FROM system.failed_records"); failed != "validate,the record breaks the rule positive" {
		t.Error(failed)
	}
}
