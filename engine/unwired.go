package engine

import (
	"errors"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// checkWired refuses what a project may declare and this engine does not run, before anything
// changes, so that nothing declared is silently left undone.
func checkWired(p *project.Project) error {
	var unwired []error
	for i := range p.Pipelines {
		if what := notWired(&p.Pipelines[i]); what != "" {
			unwired = append(unwired, &tarn.Error{Code: tarn.CodeUnsupported, Detail: what + " is not available yet", Hint: "take it out of " + p.Pipelines[i].File})
		}
	}
	return errors.Join(unwired...)
}

// notWired names the first thing of a pipeline that the engine does not run, "" for none.
func notWired(p *project.Pipeline) string {
	for i, d := range p.Deliveries {
		switch {
		case d.Database != nil:
			return fmt.Sprintf("deliver[%d]: database", i)
		case d.Cleaned != "":
			return fmt.Sprintf("deliver[%d]: cleaned", i)
		}
	}
	return ""
}
