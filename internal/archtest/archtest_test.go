package archtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// findModule returns the module this test stands in.
func findModule(t *testing.T) (folder, modulePath string) {
	t.Helper()
	wd, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	folder, modulePath, err = module(wd)
	if err != nil {
		t.Fatal(err)
	}
	return folder, modulePath
}

func TestTree(t *testing.T) {
	folder, modulePath := findModule(t)
	files, err := load(os.DirFS(folder))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("only %d files found below %s", len(files), folder)
	}
	for _, fault := range check(modulePath, files) {
		t.Error(fault)
	}
}

// maxTracked is far more than any source or sample has, and far less than a program.
const maxTracked = 2 << 20

// TestNothingBuilt keeps what was built out of the repository.
func TestNothingBuilt(t *testing.T) {
	folder, _ := findModule(t)
	out, err := exec.Command("git", "-C", folder, "ls-files", "-z").Output()
	if err != nil {
		t.Skip("this is no checkout: ", err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		if info, err := os.Lstat(filepath.Join(folder, name)); err == nil && info.Size() > maxTracked {
			t.Errorf("%s has %d bytes; take it out of the repository, and out of its history", name, info.Size())
		}
	}
}

// Every direct dependency of go.mod has its line in docs/dependencies.md, and no line is left over.
func TestDependenciesAreExplained(t *testing.T) {
	folder, _ := findModule(t)
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	required := map[string]bool{} // true: direct
	for _, m := range regexp.MustCompile(`(?m)^(?:require |\t)(\S+) v\S+( // indirect)?$`).FindAllStringSubmatch(read("go.mod"), -1) {
		required[m[1]] = m[2] == ""
	}
	if len(required) == 0 {
		t.Fatal("no requirement found in go.mod")
	}
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` \\|").FindAllStringSubmatch(read("docs/dependencies.md"), -1) {
		explained[m[1]] = true
		if _, ok := required[m[1]]; !ok {
			t.Errorf("docs/dependencies.md explains %s, which go.mod does not require", m[1])
		}
	}
	for dep, direct := range required {
		if direct && !explained[dep] {
			t.Errorf("go.mod requires %s, but docs/dependencies.md does not say what for and why this one", dep)
		}
	}
}

// The rules catch what they are for: each case breaks exactly one.
func TestRules(t *testing.T) {
	const doc = "// Package x.\n"
	for name, c := range map[string]struct {
		file, src string
		want      string // part of the one fault; "" for none
	}{
		"downwards is fine":            {"engine/a.go", doc + "package engine\nimport _ \"m/table\"", ""},
		"to the root is fine":          {"lake/a.go", doc + "package lake\nimport _ \"m\"", ""},
		"own subpackage is fine":       {"stream/a.go", doc + "package stream\nimport _ \"m/stream/jetstream\"", ""},
		"upwards":                      {"table/a.go", doc + "package table\nimport _ \"m/engine\"", "point down the floors"},
		"root upwards":                 {"a.go", doc + "package tarn\nimport _ \"m/lake\"", "point down the floors"},
		"sideways":                     {"table/a.go", doc + "package table\nimport _ \"m/duck\"", "one floor"},
		"no floor":                     {"elsewhere/a.go", doc + "package elsewhere", "stands on no floor"},
		"nats elsewhere":               {"stream/a.go", doc + "package stream\nimport _ \"github.com/nats-io/nats.go\"", "only stream/jetstream"},
		"nats at home":                 {"stream/jetstream/a.go", doc + "package jetstream\nimport _ \"github.com/nats-io/nats.go\"", ""},
		"duckdb elsewhere":             {"query/a.go", doc + "package query\nimport _ \"github.com/duckdb/duckdb-go/v2\"", "only duck imports"},
		"duckdb in a test is fine":     {"query/a_test.go", "package query\nimport _ \"github.com/duckdb/duckdb-go/v2\"", ""},
		"iceberg elsewhere":            {"query/a.go", doc + "package query\nimport _ \"github.com/apache/iceberg-go/table\"", "only table imports"},
		"iceberg in icebergtest":       {"internal/icebergtest/a.go", doc + "package icebergtest\nimport _ \"github.com/apache/iceberg-go/table\"", ""},
		"sqlite elsewhere":             {"table/a.go", doc + "package table\nimport _ \"modernc.org/sqlite\"", "only metadb and delivery/database imports"},
		"pgx elsewhere":                {"table/a.go", doc + "package table\nimport _ \"github.com/jackc/pgx/v5/stdlib\"", "only metadb and delivery/database imports"},
		"similar name is another":      {"table/a.go", doc + "package table\nimport _ \"github.com/jackc/pgxother\"", ""},
		"dependency in root":           {"a.go", doc + "package tarn\nimport _ \"github.com/google/uuid\"", "standard library only"},
		"test package imported":        {"engine/a.go", doc + "package engine\nimport _ \"m/internal/crashtest\"", "imported by tests only"},
		"init":                         {"lake/a.go", doc + "package lake\nfunc init() {}", "no init functions"},
		"init in a test":               {"lake/a_test.go", "package lake\nfunc init() {}", "no init functions"},
		"method named init is fine":    {"lake/a.go", doc + "package lake\ntype T int\nfunc (T) init() {}", ""},
		"too long":                     {"lake/a.go", doc + "package lake\n" + strings.Repeat("\n", maxLines), "at most 800 lines"},
		"generated may be long":        {"lake/a.go", "// Code generated by x. DO NOT EDIT.\n\n" + doc + "package lake\n" + strings.Repeat("\n", maxLines), ""},
		"no package comment":           {"lake/a.go", "package lake", "no package comment"},
		"a name that says nothing":     {"engine/util/a.go", doc + "package util", "says nothing"},
		"testdata is not looked at":    {"lake/testdata/a.go", "package broken; import \"m/engine\"; func init() {}", ""},
		"a nested module is its own":   {"nested/a.go", "package nested; func init() {}", ""},
		"bench may use the engine":     {"bench/a.go", doc + "package bench\nimport _ \"m/engine\"", ""},
		"the engine may not use bench": {"engine/a.go", doc + "package engine\nimport _ \"m/bench\"", "point down the floors"},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := load(fstest.MapFS{
				c.file:          {Data: []byte(c.src)},
				"nested/go.mod": {Data: []byte("module nested")},
			})
			if err != nil {
				t.Fatal(err)
			}
			faults := check("m", files)
			switch {
			case c.want == "" && len(faults) > 0:
				t.Errorf("unexpected: %s", faults)
			case c.want != "" && (len(faults) != 1 || !strings.Contains(faults[0], c.want)):
				t.Errorf("want one fault with %q, got %q", c.want, faults)
			}
		})
	}
}
