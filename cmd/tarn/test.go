package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/cases"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/server"
)

// testFlags are the flags of tarn test.
type testFlags struct {
	dir    string
	update bool
	record string
	last   int
	name   string
}

func (a *app) testCommand() *cobra.Command {
	var f testFlags
	c := a.clientFlags(&cobra.Command{
		Use:   "test [PIPELINE | PIPELINE/CASE]…",
		Short: "Run recorded cases through pipelines and compare what comes out",
		Long: `Runs the cases in tests/PIPELINE/CASE of a project the way records go through a lake: the checks of
the door, functions, steps, the columns of the table. No server is needed, and no lake is touched.

A case is a folder with input.ndjson, expected.ndjson (rows) and expected_failed.ndjson (records that
fail). Rows are compared as sets; case.yaml may name columns to ignore, and order_by. Exit status 1
when anything differs.

--record makes a case of the last records in a running server's stream.`,
		Example: `  tarn test
  tarn test telemetry/late-events
  tarn test --update
  tarn test --record telemetry --last 100 --case real-traffic`,
		Args: args(0, -1, ""),
		RunE: func(c *cobra.Command, names []string) error {
			switch {
			case f.record != "" && len(names) > 0:
				return usage(c, "--record names the pipeline; there is nothing else to name")
			case f.record == "" && (c.Flags().Changed("last") || f.name != ""):
				return usage(c, "--last and --case belong to --record")
			case f.last < 1 || f.last > 10_000:
				return usage(c, "--last takes 1 to 10000")
			case f.name != "" && strings.ContainsAny(f.name, `/\`) || strings.HasPrefix(f.name, "."):
				return usage(c, "--case takes the name of a folder")
			}
			return a.test(c.Context(), f, names)
		},
	})
	c.Flags().StringVar(&f.dir, "dir", ".", "folder of the project")
	c.Flags().BoolVar(&f.update, "update", false, "make what comes out the expectation")
	c.Flags().StringVar(&f.record, "record", "", "make a case of the records of this pipeline")
	c.Flags().IntVar(&f.last, "last", 100, "with --record: how many records")
	c.Flags().StringVar(&f.name, "case", "", "with --record: the name of the case (default: the time)")
	return c
}

func (a *app) test(ctx context.Context, f testFlags, names []string) error {
	p, faults, err := loadProject(f.dir)
	if err == nil {
		err = faults.In(f.dir).Err()
	}
	if err != nil {
		return err
	}
	if f.record != "" {
		c, err := a.recordCase(ctx, p, f)
		if err != nil {
			return err
		}
		f.update, names = true, []string{c.Pipeline + "/" + c.Name}
	}
	all, faults := p.Cases()
	if err := faults.In(f.dir).Err(); err != nil {
		return err
	}
	chosen, err := chooseCases(all, names)
	if err != nil {
		return err
	}
	began := time.Now()
	results, err := runCases(ctx, p, chosen, f.update)
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(map[string]any{"cases": results})
	} else {
		a.printCases(results, time.Since(began))
	}
	if err == nil && slices.ContainsFunc(results, func(r cases.Result) bool { return !r.OK }) {
		return errReported
	}
	return err
}

// chooseCases returns the cases that arguments name, all without arguments.
func chooseCases(all []project.Case, names []string) ([]project.Case, error) {
	if len(all) == 0 {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "the project has no cases", Hint: "tarn test --record PIPELINE makes one, or write tests/PIPELINE/CASE/input.ndjson"}
	}
	if len(names) == 0 {
		return all, nil
	}
	var chosen []project.Case
	for _, n := range names {
		n = strings.TrimSuffix(strings.TrimPrefix(n, "tests/"), "/")
		found := false
		for _, c := range all {
			if n == c.Pipeline || n == c.Pipeline+"/"+c.Name {
				chosen, found = append(chosen, c), true
			}
		}
		if !found {
			return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no case %q", n), Hint: "name a pipeline, or PIPELINE/CASE as the folders below tests are named"}
		}
	}
	return chosen, nil
}

// runCases runs cases one after the other in one trial.
func runCases(ctx context.Context, p *project.Project, chosen []project.Case, update bool) (results []cases.Result, err error) {
	var pipelines []string
	for _, c := range chosen {
		pipelines = append(pipelines, c.Pipeline)
	}
	t, err := engine.NewTrial(ctx, p, pipelines, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	for _, c := range chosen {
		results = append(results, cases.Run(ctx, t, c, update))
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return results, nil
}

func (a *app) printCases(results []cases.Result, took time.Duration) {
	ok := 0
	for _, r := range results {
		word, color := "ok", "32"
		switch {
		case !r.OK:
			word, color = "FAIL", "31"
		case r.Updated:
			word, color = "written", "33"
		}
		if r.OK {
			ok++
		}
		fmt.Fprintf(a.out, "%s %s/%s (%s)\n", a.paint(color, fmt.Sprintf("%-7s", word)), screen.Visible(r.Pipeline), screen.Visible(r.Case), screen.Took(time.Duration(r.Millis*1e6)))
		if r.Error != "" {
			fmt.Fprintf(a.out, "  %s\n", screen.Visible(r.Error))
		}
		a.printDiff("rows", "expected.ndjson", r.Rows)
		a.printDiff("failed records", "expected_failed.ndjson", r.Failed)
	}
	fmt.Fprintf(a.out, "%d of %s as expected, %s\n", ok, screen.Plural(len(results), "case"), screen.Took(took))
}

// shownDiffs bounds how many differences of a kind are printed.
const shownDiffs = 20

func (a *app) printDiff(what, file string, d *cases.Diff) {
	if d == nil || d.OK() {
		return
	}
	fmt.Fprintf(a.out, "  %s: %s expected, %s came\n", what, screen.Count(d.Expected), screen.Count(d.Actual))
	line := func(color, mark, format string, args ...any) {
		fmt.Fprintf(a.out, "    %s\n", a.paint(color, mark+" "+screen.Visible(fmt.Sprintf(format, args...))))
	}
	for _, c := range d.Changed[:min(len(d.Changed), shownDiffs)] {
		fmt.Fprintf(a.out, "    %s:%d differs\n", file, c.Row)
		for _, col := range c.Columns {
			if col.Want != "" {
				line("31", "  -", "%s: %s", col.Name, col.Want)
			}
			if col.Got != "" {
				line("32", "  +", "%s: %s", col.Name, col.Got)
			}
		}
	}
	for _, m := range d.Missing[:min(len(d.Missing), shownDiffs)] {
		line("31", "-", "%s:%d %s", file, m.Row, m.Text)
	}
	for _, e := range d.Extra[:min(len(d.Extra), shownDiffs)] {
		line("32", "+", "%s", e)
	}
	if more := max(len(d.Changed)-shownDiffs, 0) + max(len(d.Missing)-shownDiffs, 0) + max(len(d.Extra)-shownDiffs, 0); more > 0 {
		fmt.Fprintf(a.out, "    and %s; --json has all\n", screen.Plural(more, "more difference"))
	}
}

// paint colors text on a terminal.
func (a *app) paint(color, text string) string {
	if !a.color(a.out) {
		return text
	}
	return "\x1b[" + color + "m" + text + "\x1b[0m"
}

// recordCase makes a case of the last records of a pipeline's stream.
func (a *app) recordCase(ctx context.Context, p *project.Project, f testFlags) (project.Case, error) {
	spec := p.Pipeline(f.record)
	if spec == nil {
		return project.Case{}, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("the project has no pipeline %q", f.record)}
	}
	if f.name == "" {
		f.name = time.Now().UTC().Format("2006-01-02T150405Z")
	}
	recs, err := a.lastRecords(ctx, spec.Stream.Name, f.last)
	if err != nil {
		return project.Case{}, err
	}
	var input []byte
	for _, r := range recs {
		switch {
		case r.Record != nil:
			input = record.AppendNDJSON(input, r.Record)
		case bytes.ContainsAny(r.bytes, "\r\n") || len(bytes.TrimSpace(r.bytes)) == 0:
			return project.Case{}, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the record " + r.Position.String() + " is no text of one line, which cases are made of"}
		default:
			input = append(append(input, r.bytes...), '\n')
		}
	}
	if len(input) == 0 {
		return project.Case{}, &tarn.Error{Code: tarn.CodeNotFound, Detail: "the stream " + spec.Stream.Name + " holds no records", Hint: "tarn put adds some"}
	}
	c := p.Case(spec.Name, f.name)
	return c, cases.Record(c, input)
}

// tailed is a record of a stream with its bytes.
type tailed struct {
	server.TailDoc
	bytes []byte
}

// lastRecords reads the last records of a stream, in order of their arrival.
func (a *app) lastRecords(ctx context.Context, name string, n int) ([]tailed, error) {
	cl, err := a.client()
	if err != nil {
		return nil, err
	}
	q := url.Values{"from": {"-" + strconv.Itoa(n)}, "limit": {"0"}}
	resp, err := cl.Do(ctx, http.MethodGet, "/v1/streams/"+url.PathEscape(name)+"/records?"+q.Encode(), http.Header{"Accept": {"application/x-ndjson"}}, nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var recs []tailed
	for dec := json.NewDecoder(resp.Body); ; {
		var r tailed
		if err := dec.Decode(&r.TailDoc); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the records broke off", Hint: "see the log of the server", Err: err}
		}
		if r.Damaged != "" {
			continue
		}
		if r.bytes, err = base64.StdEncoding.DecodeString(r.RecordBase64); err != nil {
			return nil, err
		}
		recs = append(recs, r)
	}
	slices.SortStableFunc(recs, func(x, y tailed) int { return x.Arrival.Compare(y.Arrival) }) // shards came one by one
	return recs[max(0, len(recs)-n):], nil
}
