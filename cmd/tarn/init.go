package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/project"
)

func (a *app) initCommand() *cobra.Command {
	var name string
	c := &cobra.Command{
		Use:     "init [DIR]",
		Short:   "Write a small project to begin with",
		Long:    "Writes a commented project with one pipeline into DIR, by default the current folder. It never overwrites a file.",
		Example: "  tarn init mylake\n  tarn up mylake",
		Args:    args(0, 1, "at most one folder"),
		RunE: func(_ *cobra.Command, args []string) error {
			dir := folder(args)
			files, err := project.Init(dir, name)
			if err != nil {
				return err
			}
			for _, f := range files {
				fmt.Fprintln(a.out, f)
			}
			fmt.Fprintf(a.errOut, "Run it with: tarn up %s\n", dir)
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the project (default: the name of the folder)")
	return c
}

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of project files, for editors",
		Example: "  tarn schema > tarn.schema.json",
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write(project.JSONSchema())
			return err
		},
	}
}
