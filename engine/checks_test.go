package engine

import (
	"errors"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// Conditions and steps are judged by the SQL engine that runs them.
func TestConditions(t *testing.T) {
	c, err := NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for condition, want := range map[string]string{
		"speed >= 0":                         "",
		"speed between 0 and 400 -- in m/s":  "",
		"speed IS NULL OR name LIKE 'a;b%)'": "",
		"tags IS NULL OR len(tags) < 3":      "",
		"speed":                              "the expression is not true or false",
		"sped >= 0":                          `"sped" not found`,
		"speed >= ":                          "syntax error",
		"speed >= 0) OR (1 = 1":              "a parenthesis is closed that was not opened",
		"speed >= 0; SELECT 1":               "there is a semicolon",
		"speed > (SELECT x FROM other)":      "reads other",
		"speed > (SELECT count(*) FROM read_csv('/etc/passwd'))": "read_csv",
		"max(speed) > 0": "aggregate",
		"/* speed":       "there is no condition",
		"at >= 0":        `"at", in quotes`,
	} {
		t.Run(condition, func(t *testing.T) {
			fsys := fstest.MapFS{"tarn.yaml": {Data: []byte("version: 1\nname: t\n")}, "pipelines/p.yaml": {Data: []byte("pipeline: p\n" +
				"schema: {speed: DOUBLE, name: VARCHAR, tags: 'VARCHAR[]'}\ntransform:\n  - filter: |-\n      " + condition + "\ndeliver: []\n")}}
			_, faults := project.Load(fsys, c.Options())
			got := faults.String()
			if want == "" && got != "" || !strings.Contains(got, want) || want != "" && !strings.HasPrefix(got, "pipelines/p.yaml:4:") && !strings.HasPrefix(got, "pipelines/p.yaml:5:") {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// A fault of a transform over declared columns names its line and column, as tarn sql does, in a file and
// in the YAML.
func TestFaultsOfColumns(t *testing.T) {
	c, err := NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const pipeline = "pipeline: p\nschema: {id: VARCHAR, speed: DOUBLE}\ntransform:\n  - sql: sql/p.sql\n  - filter: sped > 0\ndeliver: []\n"
	fsys := fstest.MapFS{"tarn.yaml": {Data: []byte("version: 1\nname: t\n")}, "pipelines/p.yaml": {Data: []byte(pipeline)},
		"sql/p.sql": {Data: []byte("-- of the wagons\nSELECT id\nFROM records\nWHERE id <> '' AND sped > 0\n")}}
	_, faults := project.Load(fsys, c.Options())
	if want := "sql/p.sql:4:20: Referenced column \"sped\" not found in FROM clause; there is \"speed\""; !strings.Contains(faults.String(), want) {
		t.Errorf("got %q, want %q", faults, want)
	}
	fsys["sql/p.sql"].Data = []byte("SELECT * FROM records")
	_, faults = project.Load(fsys, c.Options())
	if want := "pipelines/p.yaml:5:13: transform[1].filter: Referenced column \"sped\""; !strings.HasPrefix(faults.String(), want) {
		t.Errorf("got %q, want %q", faults, want)
	}
}

// A column called at is explained before it runs, as tarn sql does.
func TestColumnAt(t *testing.T) {
	c, err := NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Options().CheckSQL("", "SELECT at, id FROM records")
	if e := new(tarn.Error); !errors.As(err, &e) || !strings.Contains(e.Hint, `"at", in quotes`) {
		t.Errorf("%v", err)
	}
}

// What a route may ask of a file is known to the SQL engine with its types.
func TestWhenConditions(t *testing.T) {
	c, err := NewChecker()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fsys := fstest.MapFS{"tarn.yaml": {Data: []byte("version: 1\nname: t\n")}, "pipelines/p.yaml": {Data: []byte("pipeline: p\nsource: {files: {path: landing/p}}\n" +
		"deliver:\n  - table: curated.p\n    when: list_contains(columns, 'user_id') AND file_size < 1000000 AND format = 'csv' AND file_name LIKE 'u%' AND sample->>'$[0].user_id' IS NOT NULL\n")}}
	if _, faults := project.Load(fsys, c.Options()); len(faults) > 0 {
		t.Error(faults)
	}
}
