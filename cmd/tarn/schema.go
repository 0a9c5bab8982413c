package main

import (
	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/project"
)

func (a *app) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of project files, for editors",
		Long: `Prints the JSON Schema of tarn.yaml and of the files in pipelines/. Editors that use the YAML
language server take it from a first line in the file:

  # yaml-language-server: $schema=schema.json`,
		Example: "  tarn schema > schema.json",
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			_, err := a.out.Write(project.JSONSchema())
			return err
		},
	}
}
