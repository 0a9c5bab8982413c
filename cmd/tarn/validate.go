package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/project"
)

func (a *app) validateCommand() *cobra.Command {
	return a.jsonFlag(&cobra.Command{
		Use:   "validate [DIR]",
		Short: "Check a project and report everything that is wrong with it",
		Long: `Reads the project in DIR, by default the current folder, and prints every fault as
FILE:LINE:COL: path: what is wrong; hint. FILE is named from the current folder, with --json from DIR.
Nothing is started or changed.`,
		Example: `  tarn validate
  tarn validate mylake --json`,
		Args: args(0, 1, "at most one folder"),
		RunE: func(c *cobra.Command, args []string) error {
			p, faults, err := loadProject(folder(args))
			if err != nil {
				return err
			}
			if a.json {
				if faults == nil {
					faults = project.Faults{}
				}
				if err := a.printJSON(map[string]any{"valid": len(faults) == 0, "faults": faults}); err != nil {
					return err
				}
			} else if len(faults) > 0 {
				fmt.Fprint(a.errOut, faults.In(folder(args)).String())
				a.say(screen.Plural(len(faults), "fault") + " in the project")
			} else {
				fmt.Fprintf(a.out, "%s is valid: %s\n", p.Name, parts(p))
			}
			if len(faults) > 0 {
				return errReported
			}
			return nil
		},
	})
}

// parts counts what a project has.
func parts(p *project.Project) string {
	text := screen.Plural(len(p.Pipelines), "pipeline")
	for _, part := range []struct {
		n    int
		what string
	}{{len(p.Functions), "function"}, {len(p.Crawlers), "crawler"}, {len(p.Extracts), "extract"}, {len(p.Twins), "twin"}} {
		if part.n > 0 {
			text += ", " + screen.Plural(part.n, part.what)
		}
	}
	return text
}

// folder is the project folder an optional argument names.
func folder(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

// loadProject reads a project with its SQL checked as a running engine would.
func loadProject(dir string) (*project.Project, project.Faults, error) {
	checker, err := engine.NewChecker()
	if err != nil {
		return nil, nil, err
	}
	defer checker.Close()
	p, faults := project.LoadDir(dir, checker.Options())
	return p, faults, nil
}
