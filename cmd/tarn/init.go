package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/project"
)

// shellQuote writes a word so that a POSIX shell reads it as one.
func shellQuote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("_-./:@%+=,", c)
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

func (a *app) initCommand() *cobra.Command {
	var name string
	c := a.jsonFlag(&cobra.Command{
		Use:     "init [DIR]",
		Short:   "Write a small project to begin with",
		Long:    "Writes a commented project with one pipeline into DIR, by default the current folder.\nNothing is overwritten.",
		Example: "  tarn init mylake\n  tarn init --name fleet",
		Args:    args(0, 1, "at most one folder"),
	})
	c.Flags().StringVar(&name, "name", "", "name of the project (default: the name of the folder)")
	c.RunE = func(c *cobra.Command, args []string) error {
		dir := folder(args)
		files, err := project.Init(dir, name)
		if err != nil {
			return err
		}
		if a.json {
			return a.printJSON(map[string]any{"files": files})
		}
		for _, f := range files {
			fmt.Fprintln(a.out, "wrote", filepath.Join(dir, f))
		}
		fmt.Fprintf(a.out, "\nstart it with: tarn up %s\n", shellQuote(dir))
		return nil
	}
	return c
}
