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
		Auth:   project.Auth{Mode: project.AuthNone, Audience: "tarn", AccessLifetime: 15 * time.Minute, RefreshLifetime: 168 * time.Hour},
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
		{"a function with links", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "functions/f/function.yaml"), "runtime: python\nhandler: app.handler\n")
			write(t, filepath.Join(dir, "functions/f/main.py"), "")
			link(t, "main.py", filepath.Join(dir, "functions/f/app.py"))
			link(t, filepath.Join(outside, "nowhere"), filepath.Join(dir, "functions/f/venv"))
		}, ""},
		{"a function is a link", func(t *testing.T, dir string) {
			link(t, outside, filepath.Join(dir, "functions/f"))
		}, "functions/f:1:1: functions/f is a link; keep the code in the folder itself"},
		{"the handler leads out", func(t *testing.T, dir string) {
			write(t, filepath.Join(outside, "app.py"), "")
			write(t, filepath.Join(dir, "functions/f/function.yaml"), "runtime: python\nhandler: app.handler\n")
			link(t, filepath.Join(outside, "app.py"), filepath.Join(dir, "functions/f/app.py"))
		}, "functions/f/function.yaml:2:10: handler: functions/f/app.py does not exist; create it, or mend the handler: it is MODULE.FUNCTION"},
		{"a program", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "functions/f/function.yaml"), "runtime: provided\n")
			write(t, filepath.Join(dir, "functions/f/bootstrap"), "")
			if err := os.Chmod(filepath.Join(dir, "functions/f/bootstrap"), 0o755); err != nil {
				t.Fatal(err)
			}
		}, ""},
		{"functions is a file", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "functions"), "")
		}, "functions:1:1: functions is not a folder; keep each function in functions/NAME/function.yaml"},
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

// A database gets its rows at once unless its delivery says otherwise: commits there make no files.
func TestDatabaseInterval(t *testing.T) {
	for buffer, want := range map[string]time.Duration{"": time.Second, "buffer: {interval: 5s}": 5 * time.Second} {
		fsys := fstest.MapFS{"tarn.yaml": {Data: []byte("version: 1\nname: t\n")},
			"pipelines/p.yaml": {Data: []byte("pipeline: p\ndeliver:\n  - database: {url: a.db, table: b}\n    " + buffer + "\n")}}
		p, faults := project.Load(fsys, project.Options{})
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		if got := p.Pipelines[0].Deliveries[0].BufferInterval; got != want {
			t.Errorf("%q: %v, want %v", buffer, got, want)
		}
	}
}
