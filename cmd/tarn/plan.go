package main

import (
	"context"
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
	var data, server string
	c := a.jsonFlag(&cobra.Command{
		Use:   "plan [DIR]",
		Short: "Show what up would create, change or leave",
		Long: `Compares the project in DIR, by default the current folder, with the one that was applied last to
the data folder, or with the one that a server runs now when --server names it. Nothing is changed.
Lines that begin with ! can lose or strand data. A project with faults is refused, as validate does.`,
		Example: `  tarn plan
  tarn plan mylake --json
  tarn plan mylake --server http://127.0.0.1:8080`,
		Args: args(0, 1, "at most one folder"),
	})
	c.Flags().StringVar(&data, "data", "", "data folder (default: DIR/"+engine.DataFolder+")")
	c.Flags().StringVar(&server, "server", "", "compare with what runs at this address")
	c.RunE = func(c *cobra.Command, args []string) error {
		dir := folder(args)
		next, faults, err := loadProject(dir)
		if err != nil {
			return err
		}
		if len(faults) > 0 {
			fmt.Fprint(a.errOut, faults.In(dir).String())
			a.say(screen.Plural(len(faults), "fault") + " in the project")
			return errReported
		}
		if data == "" {
			data = filepath.Join(dir, engine.DataFolder)
		}
		last, err := a.applied(c.Context(), data, server)
		if err != nil {
			return err
		}
		changes := project.Plan(last, next)
		if a.json {
			_, err = a.out.Write(changes.JSON())
		} else {
			_, err = fmt.Fprint(a.out, changes.String())
		}
		return err
	}
	return c
}

// applied returns the project a server runs, or the one a data folder remembers, nil when there is none.
func (a *app) applied(ctx context.Context, data, server string) (*project.Project, error) {
	var raw []byte
	if server != "" {
		a.server = server
		cl, err := a.client()
		if err != nil {
			return nil, err
		}
		var doc json.RawMessage
		if err := cl.Get(ctx, "/v1/project", &doc); err != nil {
			return nil, err
		}
		raw = doc
	} else {
		b, err := os.ReadFile(filepath.Join(data, engine.Applied))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Join(data, engine.Applied), unwrapPath(err))
		}
		raw = b
	}
	var p project.Project
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the project that was applied last cannot be read", Hint: "was it written by another version of Tarn?", Err: err}
	}
	return &p, nil
}
