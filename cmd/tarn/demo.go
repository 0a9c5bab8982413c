package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/examples"
)

// demoFlags are the flags of tarn demo.
type demoFlags struct {
	runFlags
	events int64
	rate   float64
	exit   bool
}

// demoSummary is what tarn demo --json prints.
type demoSummary struct {
	Accepted        uint64  `json:"accepted"`
	Committed       uint64  `json:"committed"`
	Failed          uint64  `json:"failed"`
	Pending         uint64  `json:"pending"`
	EventsPerSecond float64 `json:"events_per_second"`
	Address         string  `json:"address"`
	DataDir         string  `json:"data_dir"`
}

func (a *app) demoCommand() *cobra.Command {
	var f demoFlags
	c := a.jsonFlag(&cobra.Command{
		Use:   "demo [DIR]",
		Short: "A lake with data: a fleet of railway wagons that sends telemetry",
		Long: `Writes the example project into DIR (default: tarn-demo), runs it, and posts telemetry of 2,000
railway wagons and reports of five depots to it. Without --exit it stays up for you to look around.
What DIR holds from an earlier demo is kept and added to. When the project in DIR asks for tokens, the
demo makes a client for itself, and removes it at its end.`,
		Example: `  tarn demo
  tarn demo --events 1000000 --rate 0 --exit
  tarn demo /tmp/lake --events 10000 --exit --json`,
		Args: args(0, 1, "at most one folder"),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "tarn-demo"
			if len(args) == 1 {
				dir = args[0]
			}
			if f.events < 0 || f.rate < 0 {
				return usage(c, "--events and --rate must not be negative")
			}
			if f.events == 0 && f.exit {
				f.events = 100_000
			}
			return a.demo(c, dir, f)
		},
	})
	f.add(c)
	c.Flags().Int64Var(&f.events, "events", 0, "how many events to send; 0 sends until stopped (with --exit: 100000)")
	c.Flags().Float64Var(&f.rate, "rate", 2000, "events per second; 0 sends as fast as possible")
	c.Flags().BoolVar(&f.exit, "exit", false, "wait until all events are committed, print a summary and exit")
	if l := c.Flags().Lookup("log-level"); l != nil {
		l.DefValue = "warn"
		f.logLevel = "warn"
	}
	return c
}

func (a *app) demo(c *cobra.Command, dir string, f demoFlags) error {
	if err := writeExample(dir); err != nil {
		return err
	}
	log, err := a.logger(c, f.runFlags)
	if err != nil {
		return err
	}
	ctx := c.Context()
	e, err := f.start(ctx, dir, log)
	if f.listen == "" && addressTaken(err) {
		f.listen = "127.0.0.1:0" // somebody has 8080; a demo is no reason to stop
		e, err = f.start(ctx, dir, log)
	}
	if err != nil {
		return err
	}
	runErr := a.demoRun(ctx, e, dir, f)
	told := ctx.Err() != nil && !a.json
	if told {
		secondInterruptEnds()
		fmt.Fprint(a.out, "\nStopping: what was accepted is being committed.\n")
	}
	if err := e.Close(); runErr == nil || errors.Is(runErr, context.Canceled) {
		runErr = err
	}
	if told && runErr == nil {
		fmt.Fprintf(a.out, "Stopped. The data stays; go on with it: %s demo %s\n", shellQuote(os.Args[0]), shellQuote(dir))
	}
	return runErr
}

// demoRun sends the load and reports on it.
func (a *app) demoRun(ctx context.Context, e *engine.Engine, dir string, f demoFlags) (err error) {
	creds, release, err := a.demoCredentials(ctx, e.Address(), dir, f.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, release()) }()
	cl, err := client.New(e.Address(), creds)
	if err != nil {
		return err
	}
	before, err := countTelemetry(ctx, e)
	if err != nil {
		return err
	}
	if !a.json {
		fmt.Fprintf(a.out, "Tarn is running at %s, its data is in %s\n\n", e.Address(), e.DataDir())
	}
	d := demo{app: a, engine: e, client: cl, dir: dir, guarded: creds != client.Credentials{}, before: before, began: time.Now()}
	l, err := newLoad(cl, int64(before.accepted), f.events, f.rate)
	if err != nil {
		return err
	}
	if err := l.reference(ctx); err != nil {
		return err
	}
	if err := e.Flush(ctx, "depots"); err != nil { // an extract joins it, and would wait
		return err
	}
	loading, stop := context.WithCancel(ctx)
	sent := make(chan error, 1)
	var sending sync.WaitGroup
	sending.Go(func() { sent <- l.run(loading) })
	err = d.watch(ctx, sent)
	stop()
	sending.Wait()
	if err != nil {
		return err
	}
	if err := d.finish(ctx, f.exit); err != nil {
		return err
	}
	if !f.exit {
		return l.depots(ctx)
	}
	return nil
}

// addressTaken tells a taken port from a taken data folder, which is no other process's port.
func addressTaken(err error) bool { return errors.Is(err, syscall.EADDRINUSE) }

// writeExample writes the fleet project into dir, leaving files that are there alone.
func writeExample(dir string) error {
	files, err := examples.Fleet()
	if err != nil {
		return err
	}
	return fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if _, err := os.Stat(to); err == nil {
			return nil
		}
		b, err := fs.ReadFile(files, path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
}
