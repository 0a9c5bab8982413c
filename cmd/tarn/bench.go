package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/bench"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
)

func (a *app) benchCommand() *cobra.Command {
	var o bench.Options
	var list bool
	c := a.jsonFlag(&cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: Tarn next to bare DuckDB in one run",
		Long: `Starts servers of its own in fresh folders, loads them over HTTP, and prints every figure with its
ratio to bare DuckDB doing the same work in the same run. What this machine cannot measure is named: the
function in Go, for example, is compiled where Tarn's source is the working folder. It ends with status 1
when a target is missed.`,
		Example: "  tarn bench\n  tarn bench --events 200000 --only throughput,query\n  tarn bench --json > results.json",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if list {
				names, whats := bench.Scenarios()
				var kv []string
				for i := range names {
					kv = append(kv, names[i], whats[i])
				}
				a.pairs(kv...)
				return nil
			}
			exe, err := os.Executable()
			if err != nil {
				return err
			}
			o.Binary, o.Version = exe, version
			if _, terminal := screen.Terminal(a.errOut); terminal {
				o.Progress = func(text string) { fmt.Fprintf(a.errOut, "\r\x1b[K%s", text) }
				defer fmt.Fprint(a.errOut, "\r\x1b[K")
			}
			report, err := bench.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if a.json {
				err = report.WriteJSON(a.out)
			} else {
				err = report.WriteTable(a.out)
			}
			if err != nil {
				return err
			}
			if missed := report.Missed(); len(missed) > 0 {
				names := make([]string, len(missed))
				for i, row := range missed {
					names[i] = row.Name
				}
				a.say("missed: " + strings.Join(names, ", "))
				return errReported
			}
			return nil
		},
	})
	c.AddCommand(a.bareHandlerCommand())
	c.Flags().Int64Var(&o.Events, "events", bench.DefaultEvents, "events of the large scenarios; others scale with it")
	c.Flags().IntVar(&o.Runs, "runs", bench.DefaultRuns, "how often the scenarios that report medians run")
	c.Flags().StringSliceVar(&o.Only, "only", nil, "run these scenarios only, see --list")
	c.Flags().StringVar(&o.Dir, "dir", "", "folder for the data, on the disk to be measured (default: "+bench.DefaultDir+")")
	c.Flags().BoolVar(&list, "list", false, "list the scenarios")
	return c
}

// bareHandlerCommand is the floor of the scenario twin. The benchmark starts it.
func (a *app) bareHandlerCommand() *cobra.Command {
	return &cobra.Command{
		Use: "bare-handler METRICS BYTES", Hidden: true, Args: cobra.ExactArgs(2),
		RunE: func(_ *cobra.Command, args []string) error {
			metrics, err := strconv.Atoi(args[0])
			if err != nil {
				return err
			}
			size, err := strconv.Atoi(args[1])
			if err != nil {
				return err
			}
			return bench.ServeBare(metrics, size, os.Stdin, a.out)
		},
	}
}
