package project_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tarn-data/tarn/project"
)

// Whatever stands in a pipeline file: Load returns a project or faults, every fault has a place in
// its file and one line of text, and a project survives its JSON form.
func FuzzLoadPipeline(f *testing.F) {
	archives, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range archives {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if strings.Contains(file.Name, "pipelines/") {
				f.Add(file.Data)
			}
		}
	}
	f.Add([]byte(full))
	f.Add([]byte("0\r"))
	f.Add([]byte("pipeline: *a *\n*\n- x\n\n ]\n"))
	f.Fuzz(func(t *testing.T, src []byte) {
		fsys := files("pipelines/p.yaml", string(src), "sql/telemetry.sql", "SELECT * FROM records",
			"functions/enrich/function.yaml", "runtime: python\nhandler: app.handler\n", "functions/enrich/app.py", "")
		p, faults := project.Load(fsys, project.Options{CheckSQL: checkSQL, Describe: describe})
		checkLoaded(t, fsys, p, faults)
	})
}

// The same for function.yaml.
func FuzzLoadFunction(f *testing.F) {
	archives, err := filepath.Glob("testdata/*/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range archives {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if strings.HasSuffix(file.Name, "/function.yaml") {
				f.Add(file.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		fsys := files("functions/f/function.yaml", string(src), "functions/f/app.py", "", "functions/f/index.mjs", "", "functions/f/bootstrap (executable)", "")
		p, faults := project.Load(fsys, project.Options{})
		checkLoaded(t, fsys, p, faults)
	})
}

// The same for tarn.yaml.
func FuzzLoadSettings(f *testing.F) {
	for _, s := range []string{"version: 1\nname: x\n", "version: 1\nname: x\nengines: {stream: 'nats://u:p@h', metadata: 'postgres://u:${P}@h/d', lake: l}\n",
		"version: 1\nname: x\nzones: {raw: {expire_after: 90d, keep_versions: 3}, cleaned: {expire_after: 1w}}\n",
		"version: 1\nname: x\nserver: {listen: ':1'}\nlimits: {record: 1KB, body: 2MB, memory: 3GB, query_memory: 64MiB, query_timeout: 1m30s}\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		fsys := files("tarn.yaml", string(src))
		p, faults := project.Load(fsys, project.Options{})
		checkLoaded(t, fsys, p, faults)
	})
}

func checkLoaded(t *testing.T, fsys fstest.MapFS, p *project.Project, faults project.Faults) {
	if (p == nil) != (len(faults) > 0) {
		t.Fatalf("project %v, faults %v", p, faults)
	}
	for _, f := range faults {
		lines := strings.Count(string(fsys[f.File].Data), "\n") + 1
		switch {
		case f.Line < 1 || f.Line > lines || f.Col < 1:
			t.Fatalf("%s lies outside of its file of %d lines", f, lines)
		case f.Code == "" || f.Detail == "":
			t.Fatalf("%+v says nothing", f)
		case strings.ContainsAny(f.String(), "\n\r\x00\x1b"):
			t.Fatalf("%q is more than one line of text", f)
		}
	}
	if p == nil {
		return
	}
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	q := new(project.Project)
	if err := json.Unmarshal(b, q); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	sameAddress := cmp.Comparer(func(a, b project.URL) bool { return a.String() == b.String() })
	if diff := cmp.Diff(p, q, sameAddress, sameSchedule); diff != "" {
		t.Fatalf("the JSON form differs (-want +got):\n%s", diff)
	}
	if plan := project.Plan(q, p); plan.Count(project.Leave) != len(plan) {
		t.Fatalf("a project differs from itself:\n%s", plan)
	}
}
