package examples

import (
	"testing"

	"github.com/tarn-data/tarn/project"
)

func TestProjectsAreValid(t *testing.T) {
	for _, dir := range []string{"fleet", "earthquakes", "workshop"} {
		if _, faults := project.LoadDir(dir, project.Options{}); len(faults) > 0 {
			t.Errorf("%s:\n%s", dir, faults)
		}
	}
}
