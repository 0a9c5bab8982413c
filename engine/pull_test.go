package engine_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const fetch = `def handler(event, context):
    since = event['detail']['state'] or 0
    if since >= 20:
        return []
    print('from', since)
    return {'records': [{'n': since + i} for i in range(5)], 'state': since + 5}
`

// TestSourceFunction: a function brings records in until it has none, is edited and broken under way, is
// paused, and goes on from its state after a restart.
func TestSourceFunction(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	dir := writeProject(t, map[string]string{
		"tarn.yaml":                     projectFile,
		"functions/fetch/function.yaml": "runtime: python\nhandler: app.handler\nretries: 0\n",
		"functions/fetch/app.py":        fetch,
		"pipelines/fetched.yaml":        "pipeline: fetched\nsource: {function: fetch, continuous: true}\ndeliver:\n  - table: curated.fetched\n",
	})
	l := start(t, dir, filepath.Join(dir, "data"))
	const rows = "SELECT count(*), count(DISTINCT n), max(n) FROM curated.fetched"
	l.eventually(rows, "20,20,19")
	l.eventually("SELECT count(*) FROM system.runs WHERE state = 'done' AND records = 5", "4")

	edit := func(text string) error {
		l.edit("functions/fetch/app.py", text)
		_, err := l.Reload(t.Context())
		return err
	}
	if err := edit(strings.Replace(fetch, "20", "30", 1)); err != nil {
		t.Fatal(err)
	}
	l.eventually(rows, "30,30,29")
	if err := edit(strings.Replace(fetch, "since >= 20", "nonsense", 1)); err != nil {
		t.Fatal(err)
	}
	l.eventually("SELECT count(*) > 0 FROM system.runs WHERE state = 'failed' AND error LIKE '%NameError%'", "true")

	if err := l.Pause("fetched", true); err != nil {
		t.Fatal(err)
	}
	if err := edit(strings.Replace(fetch, "20", "40", 1)); err != nil {
		t.Fatal(err)
	}
	docs, err := l.Pipelines(t.Context())
	if err != nil || docs[0].Source == nil || docs[0].Source.Function != "fetch" || docs[0].Source.Records != 30 || docs[0].Source.FailedRuns == 0 {
		t.Fatalf("%+v %v", docs, err)
	}
	if err := l.Pause("fetched", false); err != nil {
		t.Fatal(err)
	}
	l.eventually(rows, "40,40,39")
	functions, err := l.Functions(t.Context())
	if err != nil || len(functions) != 1 || functions[0].Pipelines[0].As != "source" || functions[0].Invocations == 0 {
		t.Errorf("%+v %v", functions, err)
	}
	l.verify()

	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = start(t, dir, filepath.Join(dir, "data"))
	if err := l.Pause("fetched", true); err != nil {
		t.Fatal(err)
	}
	l.eventually(rows, "40,40,39")
}

// TestSourceFunctionThatDoesNotStart: its pipeline runs all the same, and says why nothing comes.
func TestSourceFunctionThatDoesNotStart(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	dir := writeProject(t, map[string]string{
		"tarn.yaml":                     projectFile,
		"functions/fetch/function.yaml": "runtime: python\nhandler: app.handler\nretries: 0\n",
		"functions/fetch/app.py":        "import nothing_of_that_name\n",
		"pipelines/fetched.yaml":        "pipeline: fetched\nsource: {function: fetch, every: 1s}\ndeliver:\n  - table: curated.fetched\n",
	})
	l := start(t, dir, filepath.Join(dir, "data"))
	l.eventually("SELECT count(*) > 0 FROM system.runs WHERE state = 'failed' AND error LIKE '%nothing_of_that_name%'", "true")
	l.edit("functions/fetch/app.py", fetch)
	if _, err := l.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.eventually("SELECT count(*) > 0 FROM curated.fetched", "true")
}
