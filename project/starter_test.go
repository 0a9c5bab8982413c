package project_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

func TestInit(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "My Fleet-2")
	written, err := project.Init(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"pipelines/events.yaml", "sql/events.sql", "tarn.yaml"}, written); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	p, faults := project.LoadDir(dir, project.Options{CheckSQL: checkSQL})
	if err := faults.Err(); err != nil {
		t.Fatalf("the starter project has faults: %v", err)
	}
	if p.Name != "my_fleet_2" || p.Pipeline("events") == nil {
		t.Errorf("project %+v", p)
	}
	if _, err := project.Init(dir, ""); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("a second Init: %v", err)
	}
}

func TestInitOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "sql/events.sql"), "mine")
	if _, err := project.Init(dir, "x"); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Fatalf("error %v", err)
	}
	if b, _ := os.ReadFile(filepath.Join(dir, "sql/events.sql")); string(b) != "mine" {
		t.Errorf("the file holds %q", b)
	}
	if _, err := os.Stat(filepath.Join(dir, "tarn.yaml")); err == nil {
		t.Error("a part of the project was written")
	}
	link(t, "nowhere", filepath.Join(dir, "tarn.yaml"))
	if _, err := project.Init(dir, "x"); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("a link to nothing: %v", err)
	}
}

func TestInitNames(t *testing.T) {
	for folder, want := range map[string]string{"Über": "ber", "42": "lake", "a--b.": "a_b", "x": "x"} {
		dir := filepath.Join(t.TempDir(), folder)
		if _, err := project.Init(dir, ""); err != nil {
			t.Fatal(err)
		}
		if p, _ := project.LoadDir(dir, project.Options{}); p == nil || p.Name != want {
			t.Errorf("%s: %+v, want the name %s", folder, p, want)
		}
	}
	if _, err := project.Init(t.TempDir(), "Bad Name"); tarn.CodeOf(err) != tarn.CodeInvalid {
		t.Errorf("a bad name: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	if _, err := project.Init(filepath.Join(file, "x"), "x"); err == nil {
		t.Error("a folder under a file")
	}
}
