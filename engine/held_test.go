package engine_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/server"
)

// TestHeldBack: functions that lack a secret hold back what calls them and nothing else. Records wait in
// the stream, and go on when the secret is there and the project is read again.
func TestHeldBack(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	const secret = "HELD_BACK_TEST"
	const settings = "runtime: python\nhandler: app.handler\nsecrets: [" + secret + "]\n"
	dir := writeProject(t, map[string]string{
		"tarn.yaml":                      projectFile,
		"functions/enrich/function.yaml": settings,
		"functions/enrich/app.py":        enrich,
		"functions/fetch/function.yaml":  settings,
		"functions/fetch/app.py":         fetch,
		"pipelines/plain.yaml":           "pipeline: plain\nsource: {http: {}}\ndeliver: [{table: curated.plain}]\n",
		"pipelines/events.yaml":          "pipeline: events\nsource: {http: {}}\ntransform: [{function: enrich}]\ndeliver: [{table: curated.events, raw_backup: true}]\n",
		"pipelines/fetched.yaml":         "pipeline: fetched\nsource: {function: fetch, continuous: true}\ndeliver: [{table: curated.fetched}]\n",
	})
	data := filepath.Join(dir, "data")
	l := start(t, dir, data)
	l.post("plain", `{"a":1}`)
	l.eventually("SELECT a FROM curated.plain", "1")
	l.post("events", `{"id":1}`)
	heldBack(t, l, secret)

	// Work that needs the function says so, and commits what does not.
	if _, err := l.StartReplay(t.Context(), "events", server.ReplayRequest{From: "earliest"}); tarn.CodeOf(err) != tarn.CodeConflict || !strings.Contains(err.Error(), secret) {
		t.Errorf("a replay: %v", err)
	}
	l.post("plain", `{"a":2}`)
	if err := l.Flush(t.Context(), ""); tarn.CodeOf(err) != tarn.CodeConflict || !strings.Contains(err.Error(), secret) {
		t.Errorf("flush: %v", err)
	}
	if got := l.sql("SELECT rows FROM system.tables WHERE name = 'curated.plain'"); got != "2" {
		t.Errorf("%s rows are committed", got)
	}
	if err := l.Pause("events", false); err != nil { // resuming is not mending
		t.Fatal(err)
	}
	heldBack(t, l, secret)

	// It waits through a restart and through reloads.
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = start(t, dir, data)
	l.post("events", `{"id":2}`)
	doc, err := l.Reload(t.Context())
	if err != nil || len(doc.NotApplied) != 4 {
		t.Fatalf("%+v %v", doc, err)
	}
	heldBack(t, l, secret)
	v, err := l.Verify(t.Context())
	if err != nil || !v.OK || v.Accounts[0].Table != "curated.events" || v.Accounts[0].Pending != 2 || v.Totals.Failed != 0 {
		t.Fatalf("%+v %v", v, err)
	}

	t.Setenv(secret, "set")
	doc, err = l.Reload(t.Context())
	if err != nil || len(doc.NotApplied) != 0 {
		t.Fatalf("%+v %v", doc, err)
	}
	var runs []string
	for _, c := range doc.Changes {
		if c.Action == "change" {
			runs = append(runs, c.Kind+" "+c.Name)
		}
	}
	if got := strings.Join(runs, ", "); got != "function enrich, function fetch, pipeline events, pipeline fetched" {
		t.Errorf("the reload says it changed %s", got)
	}
	l.eventually("SELECT id, version FROM curated.events ORDER BY id", "1,1\n2,1")
	l.eventually("SELECT count(*), count(DISTINCT n), max(n) FROM curated.fetched", "20,20,19")
	if err := l.Flush(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	l.verify()
}

// heldBack holds that events and fetched say they are held back for want of secret, and plain runs.
func heldBack(t *testing.T, l *lake, secret string) {
	t.Helper()
	functions, err := l.Functions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range functions {
		if f.State != "held back" || !strings.Contains(f.Fault, secret+" is not set") || !strings.Contains(f.Fault, "set it") {
			t.Errorf("function %s: %s, %s", f.Name, f.State, f.Fault)
		}
	}
	pipelines, err := l.Pipelines(t.Context())
	if err != nil || len(pipelines) != 3 || len(functions) != 2 {
		t.Fatalf("%+v %v", pipelines, err)
	}
	events, fetched, plain := pipelines[0].Deliveries[0], pipelines[1].Source, pipelines[2].Deliveries[0]
	if events.State != "held back" || !strings.Contains(events.LastError, secret) {
		t.Errorf("pipeline events: %+v", events)
	}
	if fetched.State != "held back" || !strings.Contains(fetched.Error, secret) || fetched.Runs != 0 {
		t.Errorf("pipeline fetched: %+v", fetched)
	}
	if d := pipelines[1].Deliveries[0]; d.State != "running" { // what the source brought before is delivered
		t.Errorf("pipeline fetched: %+v", d)
	}
	if plain.State != "running" || plain.LastError != "" {
		t.Errorf("pipeline plain: %+v", plain)
	}
}

// TestReloadSaysWhatIsNotApplied: one faulty function does not keep the rest from being applied, and the
// answer names both exactly.
func TestReloadSaysWhatIsNotApplied(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	dir := writeProject(t, map[string]string{
		"tarn.yaml":                      projectFile,
		"functions/enrich/function.yaml": "runtime: python\nhandler: app.handler\n",
		"functions/enrich/app.py":        enrich,
		"pipelines/events.yaml":          "pipeline: events\nsource: {http: {}}\ntransform: [{function: enrich}]\ndeliver: [{table: curated.events}]\n",
	})
	l := start(t, dir, filepath.Join(dir, "data"))
	l.post("events", `{"id":0}`)
	l.eventually("SELECT id, version FROM curated.events", "0,1") // a worker has loaded the code
	l.edit("functions/enrich/app.py", "import nothing_of_that_name\n")
	l.edit("pipelines/other.yaml", "pipeline: other\nsource: {http: {}}\ndeliver: [{table: curated.other}]\n")
	doc, err := l.Reload(t.Context())
	if err != nil || len(doc.NotApplied) != 1 {
		t.Fatalf("%+v %v", doc, err)
	}
	if n := doc.NotApplied[0]; n.Kind != "function" || n.Name != "enrich" || n.State != "as before" || !strings.Contains(n.Detail, "nothing_of_that_name") {
		t.Errorf("%+v", n)
	}
	applied := map[string]string{}
	for _, c := range doc.Changes {
		applied[c.Kind+" "+c.Name] = c.Action
	}
	if applied["pipeline other"] != "create" || applied["table curated.other"] != "create" || applied["function enrich"] != "" {
		t.Errorf("applied: %v", applied)
	}
	l.post("other", `{"a":1}`)
	l.eventually("SELECT a FROM curated.other", "1")
	l.post("events", `{"id":1}`)
	l.eventually("SELECT id, version FROM curated.events ORDER BY id", "0,1\n1,1")
	kept, err := os.ReadFile(filepath.Join(dir, "data", "project.json"))
	if err != nil || !strings.Contains(string(kept), "curated.other") {
		t.Errorf("what tarn plan compares with: %s %v", kept, err)
	}
	if p, err := l.Project(t.Context()); err != nil || string(p) != string(kept) {
		t.Errorf("the project that runs is not what was kept: %v", err)
	}

	l.edit("functions/enrich/app.py", strings.Replace(enrich, "= 1", "= 2", 1))
	if doc, err := l.Reload(t.Context()); err != nil || len(doc.NotApplied) != 0 {
		t.Fatalf("%+v %v", doc, err)
	}
	l.post("events", `{"id":2}`)
	l.eventually("SELECT id, version FROM curated.events ORDER BY id", "0,1\n1,1\n2,2")
}
