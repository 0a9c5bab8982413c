package engine

import (
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
)

// checkWired refuses what a project may declare and this engine does not run, so that nothing
// declared is silently left undone.
func checkWired(p project.Pipeline) error {
	refuse := func(what string) error {
		return &tarn.Error{Code: tarn.CodeUnsupported, Detail: what + " is not available yet", Hint: "take it out of " + p.File}
	}
	switch {
	case p.Source.Files != nil:
		return refuse("source: files")
	case p.Source.Function != nil:
		return refuse("source: function")
	case p.RawBackup:
		return refuse("raw_backup")
	}
	for i, t := range p.Transforms {
		if t.Kind() != project.StepSQL {
			return refuse(fmt.Sprintf("transform[%d]: %s", i, t.Kind()))
		}
	}
	for i, d := range p.Deliveries {
		switch {
		case d.Database != nil:
			return refuse(fmt.Sprintf("deliver[%d]: database", i))
		case d.Cleaned != "":
			return refuse(fmt.Sprintf("deliver[%d]: cleaned", i))
		case d.When != "":
			return refuse(fmt.Sprintf("deliver[%d]: when", i))
		}
	}
	return nil
}
