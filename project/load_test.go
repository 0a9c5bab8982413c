package project_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// files builds a project file system, with a tarn.yaml when none is given.
func files(kv ...string) fstest.MapFS {
	fsys := fstest.MapFS{"tarn.yaml": {Data: []byte("version: 1\nname: test\n")}}
	for i := 0; i < len(kv); i += 2 {
		addFile(fsys, kv[i], []byte(kv[i+1]))
	}
	return fsys
}

var (
	sameURL      = cmp.Comparer(func(a, b project.URL) bool { return a == b })
	sameSchedule = cmp.Comparer(func(a, b project.Schedule) bool { return a == b })
)

func mustLoad(t *testing.T, kv ...string) *project.Project {
	t.Helper()
	p, faults := project.Load(files(kv...), project.Options{CheckSQL: checkSQL, Describe: describe})
	if err := faults.Err(); err != nil {
		t.Fatalf("faults: %v", err)
	}
	return p
}

func TestDefaults(t *testing.T) {
	p := mustLoad(t, "pipelines/e.yaml", "pipeline: events\ndeliver: [{table: curated.events}]\n")
	want := &project.Project{
		Name:   "test",
		Server: project.Server{Listen: "127.0.0.1:8080"},
		Limits: project.Limits{RecordBytes: 1 << 20, BodyBytes: 16 << 20, MemoryBytes: 1 << 30, QueryMemoryBytes: 256 << 20, QueryTimeout: time.Minute},
		Pipelines: []project.Pipeline{{
			Name: "events", File: "pipelines/e.yaml", Source: project.Source{HTTP: true}, Records: project.RecordsJSON,
			Stream: project.Stream{Name: "events", Shards: 1, Retention: 168 * time.Hour},
			Deliveries: []project.Delivery{{Name: "curated.events", Table: "curated.events", BufferBytes: 128 << 20, BufferInterval: time.Minute, Compression: "snappy",
				OnSchemaChange: project.Evolve, SnapshotAge: 24 * time.Hour, SnapshotCount: 20, Compact: true, FileBytes: 128 << 20}},
		}},
	}
	if diff := cmp.Diff(want, p, sameURL); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !p.Engines.Stream.IsEmbedded() || !p.Engines.Metadata.IsEmbedded() || !p.Engines.Lake.IsEmbedded() {
		t.Errorf("engines are not embedded: %v", p.Engines)
	}
}

// full sets every key.
const full = `
pipeline: telemetry
owner: fleet-data
description: Telemetry
source: {http: {}}
records: json
stream: {name: wagons, shards: 4, retention: 7d, max_bytes: 10GiB, partition_key: device.id}
schema:
  - {name: ts, type: timestamp, required: true, doc: When}
  - {name: device_id, type: text}
  - {name: "odd, name", type: 'STRUCT("a b" INT, c DECIMAL(10,2))[]'}
transform:
  - sql: sql/telemetry.sql
  - sql: SELECT * FROM records
deliver:
  - table: curated.telemetry
    partition_by: [hour(ts), "bucket(16, device_id)"]
    buffer: {size: 64MiB, interval: 30s}
    compression: zstd
    on_schema_change: ignore
    maintenance: {snapshot_age: 48h, snapshot_count: 5, compact: false, file_size: 256MiB}
  - table: curated.second
`

func TestSpec(t *testing.T) {
	p := mustLoad(t, "pipelines/t.yaml", full, "sql/telemetry.sql", "SELECT * FROM records\n").Pipeline("telemetry")
	text := func(s string) tarn.Type {
		typ, err := tarn.ParseType(s)
		if err != nil {
			t.Fatal(err)
		}
		return typ
	}
	want := &project.Pipeline{
		Name: "telemetry", File: "pipelines/t.yaml", Owner: "fleet-data", Description: "Telemetry", Source: project.Source{HTTP: true},
		Records: project.RecordsJSON,
		Stream:  project.Stream{Name: "wagons", Shards: 4, Retention: 168 * time.Hour, MaxBytes: 10 << 30, PartitionKey: "device.id"},
		Schema: &tarn.Schema{Fields: []tarn.Field{{Name: "ts", Type: tarn.Type{Kind: tarn.Timestamp}, Required: true, Doc: "When"},
			{Name: "device_id", Type: tarn.Type{Kind: tarn.String}}, {Name: "odd, name", Type: text(`STRUCT("a b" INTEGER, c DECIMAL(10,2))[]`)}}},
		Transforms: []project.Transform{{SQL: "SELECT * FROM records\n", File: "sql/telemetry.sql"}, {SQL: "SELECT * FROM records"}},
		Deliveries: []project.Delivery{
			{Name: "curated.telemetry", Table: "curated.telemetry", PartitionBy: []tarn.PartitionField{{Source: "ts", Transform: tarn.Hour}, {Source: "device_id", Transform: tarn.Bucket, Param: 16}},
				BufferBytes: 64 << 20, BufferInterval: 30 * time.Second, Compression: "zstd", OnSchemaChange: project.Ignore,
				SnapshotAge: 48 * time.Hour, SnapshotCount: 5, Compact: false, FileBytes: 256 << 20},
			{Name: "curated.second", Table: "curated.second", BufferBytes: 128 << 20, BufferInterval: time.Minute, Compression: "snappy",
				OnSchemaChange: project.Evolve, SnapshotAge: 24 * time.Hour, SnapshotCount: 20, Compact: true, FileBytes: 128 << 20},
		},
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// The JSON form is what plans are made against: it must give back the same project.
func TestJSONRoundTrip(t *testing.T) {
	p := mustLoad(t, "pipelines/t.yaml", full, "sql/telemetry.sql", "SELECT * FROM records\n", "pipelines/o.yaml", "pipeline: o\nrecords: opaque\ndeliver: []\n",
		"tarn.yaml", "version: 1\nname: x\nengines: {metadata: 'postgres://u:${PW}@h/d', lake: /srv}\nlimits: {memory: 3GB, query_timeout: 90s}\n")
	for _, p := range []*project.Project{p, mustLoad(t, corpus(t, "valid_everything")...)} {
		b, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var q project.Project
		if err := json.Unmarshal(b, &q); err != nil {
			t.Fatalf("%v in %s", err, b)
		}
		if diff := cmp.Diff(p, &q, sameURL, sameSchedule); diff != "" {
			t.Errorf("(-want +got):\n%s\n%s", diff, b)
		}
	}
}

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
		CSV: project.CSVOptions{Delimiter: ";", Header: "present", Encoding: "utf-16"}}}, users.Source); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	var names []string
	for _, d := range append(users.Deliveries, telemetry.Deliveries...) {
		names = append(names, d.Name)
	}
	if want := []string{"curated.users", "database.users", "database.copy", "curated.telemetry", "cleaned.telemetry"}; !cmp.Equal(names, want) {
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

func TestFaultsJSON(t *testing.T) {
	_, faults := project.Load(fstest.MapFS{}, project.Options{})
	const want = `{
  "faults": [
    {
      "file": "tarn.yaml",
      "line": 1,
      "col": 1,
      "code": "not_found",
      "detail": "tarn.yaml does not exist",
      "hint": "` + "`tarn init`" + ` writes one"
    }
  ]
}
`
	if diff := cmp.Diff(want, string(faults.JSON())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := string(project.Faults(nil).JSON()); !strings.Contains(got, `"faults": []`) {
		t.Errorf("no faults: %s", got)
	}
	if project.Faults(nil).Err() != nil {
		t.Error("no faults are an error")
	}
}

// Every input is answered soon, in bounded memory, with a fault that says what is wrong (I8).
func TestHostileSizes(t *testing.T) {
	bomb := "pipeline: a\ndeliver:\n  - &d\n    table: curated.x\n    partition_by: &p [" + strings.Repeat("a, ", 3000) + "a]\n" + strings.Repeat("  - *d\n", 3000)
	lol := "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
	for c := 'b'; c <= 'k'; c++ {
		lol += fmt.Sprintf("%c: &%c [%s]\n", c, c, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*%c, ", c-1), 10), ", "))
	}
	var keys strings.Builder
	for i := range 6000 {
		fmt.Fprintf(&keys, "k%d: 1\n", i)
	}
	for _, tt := range []struct {
		name, src string
		code      tarn.Code
	}{
		{"huge", "pipeline: " + strings.Repeat("x", 300<<10), tarn.CodeTooLarge},
		{"many keys", keys.String(), project.CodeUnknownKey},
		{"too many keys", strings.Repeat("k: 1\n", 20000), tarn.CodeTooLarge},
		{"brackets", strings.Repeat("[", 200<<10), tarn.CodeTooLarge},
		{"braces", strings.Repeat("{a: ", 50<<10), tarn.CodeTooLarge},
		{"dashes", strings.Repeat("- ", 100<<10), tarn.CodeTooLarge},
		{"question marks", strings.Repeat("? ", 100<<10), tarn.CodeTooLarge},
		{"anchors", strings.Repeat("&a ", 80<<10), tarn.CodeTooLarge},
		{"tags", strings.Repeat("!!x ", 60<<10), tarn.CodeTooLarge},
		{"indentation", indented(500), project.CodeUnknownKey},
		{"bomb of lists", bomb, tarn.CodeTooLarge},
		{"billion laughs", lol, project.CodeUnknownKey},
		{"billion laughs in a list", "pipeline: a\ndeliver: []\ntransform: [" + strings.Repeat("{}, ", 200) + "]\n" + lol, project.CodeUnknownKey},
	} {
		t.Run(tt.name, func(t *testing.T) {
			start := time.Now()
			_, faults := project.Load(files("pipelines/a.yaml", tt.src), project.Options{})
			if d := time.Since(start); d > 30*time.Second {
				t.Errorf("took %v", d)
			}
			if len(faults) > 110 {
				t.Errorf("%d faults", len(faults))
			}
			for _, f := range faults {
				if f.Code == tt.code {
					return
				}
			}
			t.Errorf("no fault has the code %s: %.500s", tt.code, faults)
		})
	}
}

func indented(depth int) string {
	var b strings.Builder
	for i := range depth {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

func TestTooManyPipelines(t *testing.T) {
	var kv []string
	for i := range 1001 {
		kv = append(kv, fmt.Sprintf("pipelines/p%d.yaml", i), fmt.Sprintf("pipeline: p%d\ndeliver: []\n", i))
	}
	_, faults := project.Load(files(kv...), project.Options{})
	if len(faults) != 1 || faults[0].Code != tarn.CodeTooLarge {
		t.Errorf("faults: %v", faults)
	}
}

func TestLoadDir(t *testing.T) {
	outside := t.TempDir()
	write(t, filepath.Join(outside, "secret.sql"), "SELECT 1 FROM records")
	write(t, filepath.Join(outside, "p.yaml"), "pipeline: p\ndeliver: []\n")
	pipeline := func(sql string) string { return "pipeline: a\ntransform: [{sql: " + sql + "}]\ndeliver: []\n" }
	for _, tt := range []struct {
		name string
		prep func(t *testing.T, dir string)
		want string
	}{
		{"good", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "pipelines/a.yaml"), pipeline("sql/a.sql"))
			write(t, filepath.Join(dir, "sql/a.sql"), "SELECT 1 FROM records")
		}, ""},
		{"link within", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "pipelines/a.yaml"), pipeline("sql/link.sql"))
			write(t, filepath.Join(dir, "sql/a.sql"), "SELECT 1 FROM records")
			link(t, "a.sql", filepath.Join(dir, "sql/link.sql"))
		}, ""},
		{"link to a file outside", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "pipelines/a.yaml"), pipeline("sql/link.sql"))
			link(t, filepath.Join(outside, "secret.sql"), filepath.Join(dir, "sql/link.sql"))
		}, "pipelines/a.yaml:2:19: transform[0].sql: sql/link.sql is a link that leads out of the project; copy the file into the project"},
		{"link to a folder outside", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "pipelines/a.yaml"), pipeline("ext/secret.sql"))
			link(t, outside, filepath.Join(dir, "ext"))
		}, "pipelines/a.yaml:2:19: transform[0].sql: ext/secret.sql is a link that leads out of the project; copy the file into the project"},
		{"pipeline linked from outside", func(t *testing.T, dir string) {
			link(t, filepath.Join(outside, "p.yaml"), filepath.Join(dir, "pipelines/p.yaml"))
		}, "pipelines/p.yaml:1:1: pipelines/p.yaml is a link that leads out of the project; copy the file into the project"},
		{"pipelines linked from outside", func(t *testing.T, dir string) {
			link(t, outside, filepath.Join(dir, "pipelines"))
		}, "pipelines:1:1: pipelines is a link that leads out of the project; move the folder into the project"},
		{"link to nothing", func(t *testing.T, dir string) {
			link(t, "gone.yaml", filepath.Join(dir, "pipelines/p.yaml"))
		}, "pipelines/p.yaml:1:1: pipelines/p.yaml does not exist"},
		{"link to itself", func(t *testing.T, dir string) {
			link(t, "p.yaml", filepath.Join(dir, "pipelines/p.yaml"))
		}, "pipelines/p.yaml:1:1: pipelines/p.yaml cannot be read"},
		{"named pipe", func(t *testing.T, dir string) {
			if err := os.MkdirAll(filepath.Join(dir, "pipelines"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := syscall.Mkfifo(filepath.Join(dir, "pipelines/p.yaml"), 0o644); err != nil {
				t.Skip(err)
			}
		}, "pipelines/p.yaml:1:1: pipelines/p.yaml is not a regular file"},
		{"sql is a folder", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "pipelines/a.yaml"), pipeline("sql/a.sql"))
			write(t, filepath.Join(dir, "sql/a.sql/x"), "")
		}, "pipelines/a.yaml:2:19: transform[0].sql: sql/a.sql is not a regular file"},
		{"huge sql", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "pipelines/a.yaml"), pipeline("sql/a.sql"))
			write(t, filepath.Join(dir, "sql/a.sql"), strings.Repeat("x", 2<<20))
		}, "pipelines/a.yaml:2:19: transform[0].sql: sql/a.sql has more than 1024 KiB; a project file is written by hand; is this data?"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "tarn.yaml"), "version: 1\nname: test\n")
			tt.prep(t, dir)
			p, faults := project.LoadDir(dir, project.Options{})
			if got := strings.TrimSpace(faults.String()); got != tt.want {
				t.Errorf("faults:\n got %s\nwant %s", got, tt.want)
			}
			if tt.want == "" && (p == nil || p.Dir != dir || p.Path("lake") != filepath.Join(dir, "lake") || p.Path("/srv") != "/srv") {
				t.Errorf("paths of the project: %+v", p)
			}
		})
	}
	_, faults := project.LoadDir(filepath.Join(outside, "gone"), project.Options{})
	if len(faults) != 1 || faults[0].Code != tarn.CodeNotFound {
		t.Errorf("a folder that is not there: %v", faults)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		t.Skip(err)
	}
}
