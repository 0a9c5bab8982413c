package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/project"
)

func (a *app) planCommand() *cobra.Command {
	var data string
	c := a.jsonFlag(&cobra.Command{
		Use:   "plan [DIR]",
		Short: "Show what tarn up would create, change or leave",
		Long: `Compares the project in DIR, by default the current folder, with what was applied to its data
folder last. Nothing is started or changed.`,
		Example: "  tarn plan\n  tarn plan mylake --data /srv/mylake --json",
		Args:    args(0, 1, "at most one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := folder(args)
			if data == "" {
				data = filepath.Join(dir, engine.DataFolder)
			}
			now, faults, err := loadProject(dir)
			if err != nil {
				return err
			}
			if len(faults) > 0 {
				fmt.Fprint(a.errOut, faults.String())
				a.say(screen.Plural(len(faults), "fault") + " in the project")
				return errReported
			}
			before, err := applied(data)
			if err != nil {
				return err
			}
			changes := project.Plan(before, now)
			if a.json {
				return a.printJSON(json.RawMessage(changes.JSON()))
			}
			fmt.Fprint(a.out, changes.String())
			return nil
		},
	})
	c.Flags().StringVar(&data, "data", "", "data folder (default: DIR/"+engine.DataFolder+")")
	return c
}

// applied reads the project that was applied to a data folder last, nil for none.
func applied(data string) (*project.Project, error) {
	b, err := os.ReadFile(filepath.Join(data, engine.Applied))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p := new(project.Project)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "what was applied to " + data + " cannot be read", Hint: "start the lake with tarn up, which writes it again", Err: err}
	}
	return p, nil
}
