package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/extract/kinesis"
	"github.com/tarn-data/tarn/project"
)

func (a *app) extractImportCommand() *cobra.Command {
	var dir string
	var o kinesis.Options
	c := &cobra.Command{
		Use:   "import FILE.sql --from STREAM",
		Short: "Translate SQL of Kinesis Data Analytics into extracts",
		Long: `Reads CREATE STREAM and CREATE PUMP statements, and writes an extract for each pump: extracts/NAME.yaml and
sql/NAME.sql. When something has no translation, nothing is written, and every such place is named with
its line and the reason.`,
		Example: "  tarn extract import application.sql --from telemetry",
		Args:    args(1, 1, "one SQL file"),
		RunE: func(c *cobra.Command, args []string) error {
			if o.Stream == "" {
				return usage(c, "--from names the stream that takes the place of %s", kinesis.DefaultSource)
			}
			return a.extractImport(dir, args[0], o)
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "folder of the project")
	c.Flags().StringVar(&o.Stream, "from", "", "the stream of the project that the script reads")
	c.Flags().StringVar(&o.Source, "source", kinesis.DefaultSource, "what the script calls it")
	return c
}

func (a *app) extractImport(dir, file string, o kinesis.Options) error {
	src, err := a.readInput(file)
	if err != nil {
		return err
	}
	extracts, problems := kinesis.Translate(string(src), o)
	if len(problems) == 0 {
		if problems, err = checkTranslated(extracts); err != nil {
			return err
		}
	}
	for _, p := range problems {
		fmt.Fprintf(a.errOut, "%s:%d: %s: %s\n", file, p.Line, screen.Visible(p.What), screen.Visible(p.Why))
	}
	if len(problems) > 0 {
		return errReported
	}
	var names []string
	var texts []string
	for i := range extracts {
		x := &extracts[i]
		names, texts = append(names, "sql/"+x.Name+".sql", "extracts/"+x.Name+".yaml"), append(texts, x.SQL, x.YAML())
	}
	for _, name := range names { // before anything is written
		if _, err := os.Lstat(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			return &tarn.Error{Code: tarn.CodeConflict, Detail: name + " is there already", Hint: "move it away, or give the pump another name"}
		}
	}
	for i, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(texts[i]), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(a.out, name)
	}
	return nil
}

// checkTranslated reports what the SQL engine does not know, such as functions.
func checkTranslated(extracts []kinesis.Extract) (problems []kinesis.Problem, err error) {
	c, err := engine.NewChecker()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for i := range extracts {
		x := &extracts[i]
		if err := c.Options().CheckExtract(x.SQL, project.ExtractRules{Windowed: x.Every != ""}); err != nil {
			var known *tarn.Error
			if !errors.As(err, &known) {
				return nil, err
			}
			problems = append(problems, kinesis.Problem{Line: x.Line, What: "PUMP " + x.Pump, Why: known.Detail})
		}
	}
	return problems, nil
}
