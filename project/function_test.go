package project_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// corpus returns the files of a project of testdata/faults.
func corpus(t *testing.T, name string) []string {
	t.Helper()
	ar, err := txtar.ParseFile("testdata/faults/" + name + ".txtar")
	if err != nil {
		t.Fatal(err)
	}
	var kv []string
	for _, f := range ar.Files {
		kv = append(kv, f.Name, string(f.Data))
	}
	return kv
}

func TestEverySpec(t *testing.T) {
	p := mustLoad(t, corpus(t, "valid_everything")...)
	if diff := cmp.Diff(project.Zones{Raw: project.Zone{ExpireAfter: 90 * 24 * time.Hour, KeepVersions: 3}, Cleaned: project.Zone{ExpireAfter: 30 * 24 * time.Hour}}, p.Zones); diff != "" {
		t.Errorf("zones (-want +got):\n%s", diff)
	}
	enrich := *p.Function("enrich")
	if enrich.Digest == "" {
		t.Error("no digest")
	}
	enrich.Digest = ""
	if diff := cmp.Diff(project.Function{Name: "enrich", Dir: "functions/enrich", Runtime: project.RuntimePython, Handler: "app.handler", Timeout: 30 * time.Second,
		MemoryBytes: 256 << 20, Concurrency: 2, Environment: map[string]string{"REGION": "north", "LEVEL": "3"}, Secrets: []string{"API_KEY"},
		Batch: project.FunctionBatch{Records: 500, Bytes: 4 << 20, Wait: 100 * time.Millisecond}, Retries: 1, Sandbox: project.SandboxRequired}, enrich); diff != "" {
		t.Errorf("function (-want +got):\n%s", diff)
	}
	fetch := *p.Function("fetch")
	if fetch.Timeout != time.Minute || fetch.MemoryBytes != 512<<20 || fetch.Retries != 2 || fetch.Batch.Records != 500 || fetch.Sandbox != project.SandboxAuto || fetch.Network {
		t.Errorf("defaults of a function: %+v", fetch)
	}
	telemetry := p.Pipeline("telemetry")
	if diff := cmp.Diff([]project.Transform{{Function: "enrich"}, {Function: "js"}, {SQL: "SELECT * FROM records"}, {Filter: "speed >= 0"},
		{Mask: []project.Mask{{Column: "email", Method: project.MaskHash}, {Column: "name", Method: project.MaskRedact}, {Column: "phone", Method: project.MaskTruncate, Length: 4}}},
		{Rename: []project.Rename{{From: "old", To: "new"}}},
		{Validate: []project.Rule{{Name: "speed", Condition: "speed between 0 and 400", OnFail: project.FailRecord}, {Name: "mail", Condition: "email IS NOT NULL", OnFail: project.KeepAndTag},
			{Name: "new", Condition: "new > 0", OnFail: project.Drop}}}}, telemetry.Transforms); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if !telemetry.RawBackup || p.Pipeline("users").RawBackup || !cmp.Equal(telemetry.Functions(), []string{"enrich", "js"}) {
		t.Errorf("%+v", telemetry)
	}
	users := p.Pipeline("users")
	if diff := cmp.Diff(project.Source{Files: &project.FileSource{Path: "landing/users", Match: "*.csv", Format: project.FormatCSV, Settle: 5 * time.Second,
		CSV: project.CSVOptions{Delimiter: ";", Header: "true", Encoding: "utf-16"}}}, users.Source); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	var names []string
	for _, d := range append(users.Deliveries, telemetry.Deliveries...) {
		names = append(names, d.Name)
	}
	if want := []string{"curated.users", "database.users", "database.copy", "cleaned.telemetry", "curated.telemetry"}; !cmp.Equal(names, want) {
		t.Errorf("deliveries %v, want %v", names, want)
	}
	if d := users.Deliveries[1]; d.When != "file_size > 0" || d.Database.Table != "app.users" || !cmp.Equal(d.Database.Key, []string{"user_id"}) || d.Database.Mode != project.Upsert || d.Compression != "" {
		t.Errorf("%+v", d)
	}
	fetched := p.Pipeline("fetched").Source.Function
	if fetched.Function != "fetch" || fetched.CatchUp != project.CatchUpAll || fetched.Schedule.String() != "*/5 6-22 * JAN-MAR,12 MON-FRI" || !cmp.Equal(p.Pipeline("fetched").Functions(), []string{"fetch"}) {
		t.Errorf("%+v", fetched)
	}
}

// A function gets its secrets when it starts; the project never holds them (I7).
func TestEnviron(t *testing.T) {
	f := &project.Function{Name: "f", Environment: map[string]string{"A": "1"}, Secrets: []string{"KEY"}}
	env, err := f.Environ(func(name string) (string, bool) { return "hunter2", name == "KEY" })
	if err != nil || !cmp.Equal(env, map[string]string{"A": "1", "KEY": "hunter2"}) || len(f.Environment) != 1 {
		t.Errorf("%v, %v", env, err)
	}
	if _, err := f.Environ(func(string) (string, bool) { return "", false }); tarn.CodeOf(err) != tarn.CodeInvalid || !strings.Contains(err.Error(), "KEY") {
		t.Errorf("an unset secret: %v", err)
	}
}

// What is edited in a function's folder makes another version of it; what tools write there does not.
func TestDigest(t *testing.T) {
	base := []string{"functions/f/function.yaml", "runtime: python\nhandler: app.handler\n", "functions/f/app.py", "a", "functions/f/lib/x.py", "x"}
	digest := func(kv ...string) string {
		return mustLoad(t, append(append([]string{}, base...), kv...)...).Function("f").Digest
	}
	same := digest()
	for _, kv := range [][]string{
		{"functions/f/function.yaml", "# said\nhandler: app.handler\nruntime: python\n"},
		{"functions/f/__pycache__/app.cpython-313.pyc", "x"}, {"functions/f/.git/HEAD", "x"}, {"functions/f/app.py~", "x"}, {"functions/g/function.yaml", "runtime: python\nhandler: app.handler\n", "functions/g/app.py", "b"},
	} {
		if digest(kv...) != same {
			t.Errorf("%v is another version", kv[0])
		}
	}
	seen := map[string]string{same: "nothing"}
	for _, kv := range [][]string{
		{"functions/f/app.py", "b"}, {"functions/f/lib/x.py", "y"}, {"functions/f/lib/y.py", ""}, {"functions/f/app.py (executable)", "a"}, {"functions/f/.env", "x"},
		{"functions/f/function.yaml", "runtime: python\nhandler: app.handler\nretries: 5\n"}, {"functions/f/ax", "b"}, {"functions/f/a", "xb"},
	} {
		d := digest(kv...)
		if other, twice := seen[d]; twice {
			t.Errorf("%v has the version of %s", kv, other)
		}
		seen[d] = kv[0]
	}
}
