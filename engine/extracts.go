package engine

import (
	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// refuseExtracts refuses what this engine does not run yet, before anything changes.
func refuseExtracts(p *project.Project) error {
	if len(p.Extracts) == 0 {
		return nil
	}
	return &tarn.Error{Code: tarn.CodeUnsupported, Detail: "extracts are not available yet", Hint: "take " + p.Extracts[0].File + " away"}
}
