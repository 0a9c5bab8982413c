package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/server"
)

func (a *app) extractCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "extract",
		Short:   "List, try and import extracts: continuous SQL over streams",
		Example: "  tarn extract ls\n  tarn extract run speed --input events.ndjson\n  tarn extract import application.sql",
	}, a.clientFlags(&cobra.Command{
		Use: "ls", Short: "List extracts and how far they are", Args: args(0, 0, ""),
		Example: "  tarn extract ls\n  tarn extract ls --json",
		RunE:    func(c *cobra.Command, _ []string) error { return a.extractLs(c.Context()) },
	}), a.extractRunCommand(), a.extractImportCommand())
}

func (a *app) extractLs(ctx context.Context) error {
	var doc struct{ Extracts []server.ExtractDoc }
	if done, err := a.get(ctx, "/v1/extracts", &doc); done || err != nil {
		return err
	}
	cols := []screen.Column{left("EXTRACT"), left("FROM"), left("TO"), left("WINDOW"), left("STATE"), right("BEHIND"), left("FOR"), right("RECORDS"), right("ROWS"), right("DROPPED"), right("FAILED"), left("LAST COMMIT")}
	var rows [][]string
	for _, x := range doc.Extracts {
		rows = append(rows, []string{x.Name, x.From, x.To, x.Window, x.State, screen.Count(x.LagRecords), behind(x.LagSeconds), screen.Count(x.Records), screen.Count(x.Rows),
			screen.Count(x.Dropped), screen.Count(x.Failed), screen.Time(x.LastCommit)})
	}
	if err := a.list(5, cols, rows, "no extracts"); err != nil {
		return err
	}
	for _, x := range doc.Extracts {
		for _, text := range []string{x.LastError, x.Warning} {
			if text != "" {
				a.tell("%s: %s", x.Name, text)
			}
		}
	}
	return nil
}

func (a *app) extractRunCommand() *cobra.Command {
	var dir, input string
	var joins []string
	c := &cobra.Command{
		Use:   "run NAME --input FILE",
		Short: "Show what an extract makes of the records in a file",
		Long: `Brings the records of a file, one JSON object a line, through an extract of the project, and prints its
rows as NDJSON. No server is needed, and no lake is touched. Windows are complete at the end of the file.
Records that fail are told on standard error. A table that the extract joins is given as a file.`,
		Example: "  tarn extract run speed --input events.ndjson\n  tarn extract run names --input - --join curated.wagons=wagons.csv < events.ndjson",
		Args:    args(1, 1, "the name of one extract"),
		RunE: func(c *cobra.Command, args []string) error {
			if input == "" {
				return usage(c, "--input names the file with the records; - is standard input")
			}
			return a.extractRun(c.Context(), dir, args[0], input, joins)
		},
	}
	c.Flags().StringVar(&dir, "dir", ".", "folder of the project")
	c.Flags().StringVar(&input, "input", "", "file with one record a line; - is standard input")
	c.Flags().StringArrayVar(&joins, "join", nil, "TABLE=FILE: an NDJSON, CSV or Parquet file in place of a table of the lake")
	return c
}

func (a *app) extractRun(ctx context.Context, dir, name, input string, joins []string) (err error) {
	p, faults, err := loadProject(dir)
	if err == nil {
		err = faults.In(dir).Err()
	}
	if err != nil {
		return err
	}
	records, err := a.readInput(input)
	if err != nil {
		return err
	}
	t, err := engine.NewTrial(ctx, p, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	for _, j := range joins {
		table, file, ok := strings.Cut(j, "=")
		if !ok {
			return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("--join %s names no file", j), Hint: "write --join curated.wagons=wagons.ndjson"}
		}
		if err := t.Join(table, file); err != nil {
			return err
		}
	}
	res, err := t.RunExtract(ctx, name, records, nil)
	if err != nil {
		return err
	}
	if _, err := a.out.Write(res.Rows); err != nil {
		return err
	}
	for _, f := range res.Failed {
		fmt.Fprintf(a.errOut, "line %d fails (%s): %s\n", f.Line, f.Stage, screen.Visible(f.Reason))
	}
	if len(res.Failed) > 0 {
		return errReported
	}
	return nil
}

// readInput reads a file, or standard input for -.
func (a *app) readInput(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(a.in)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "the file " + name + " cannot be read", Err: err}
	}
	return b, nil
}
