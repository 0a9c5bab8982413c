package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/project"
)

// runFlags are the flags of commands that run an engine.
type runFlags struct {
	listen, data      string
	logLevel, logForm string
}

func (f *runFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.listen, "listen", "", "HTTP address HOST:PORT (default: the project's, or 127.0.0.1:8080); port 0 takes a free one")
	c.Flags().StringVar(&f.data, "data", "", "folder of streams, tables and metadata (default: DIR/.tarn)")
	c.Flags().StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	c.Flags().StringVar(&f.logForm, "log-format", "", "text or json (default: text on a terminal, json in a pipe)")
}

// start runs the project in dir.
func (f *runFlags) start(ctx context.Context, dir string, log *slog.Logger) (*engine.Engine, error) {
	duck.LimitArenas()
	slog.SetDefault(log) // libraries that log by themselves
	e, err := engine.New(engine.Options{Project: dir, Data: f.data, Listen: f.listen, Version: version, Watch: true, Logger: log})
	if err != nil {
		return nil, err
	}
	if err := e.Start(ctx); err != nil {
		var faults project.Faults
		if errors.As(err, &faults) {
			return nil, faults.In(dir)
		}
		return nil, err
	}
	debug.SetMemoryLimit(e.HeapBytes()) // the collector works harder near it
	debug.FreeOSMemory()                // what the start has left behind
	telemetry.DropProgramPages()
	return e, nil
}

// logger writes structured logs to standard error.
func (a *app) logger(c *cobra.Command, f runFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usage(c, "--log-level is debug, info, warn or error, not %q", f.logLevel)
	}
	o := &slog.HandlerOptions{Level: level}
	_, terminal := screen.Terminal(a.errOut)
	switch {
	case f.logForm == "text" || f.logForm == "" && terminal:
		return slog.New(slog.NewTextHandler(a.errOut, o)), nil
	case f.logForm == "json" || f.logForm == "":
		return slog.New(slog.NewJSONHandler(a.errOut, o)), nil
	}
	return nil, usage(c, "--log-format is text or json, not %q", f.logForm)
}

func (a *app) upCommand() *cobra.Command {
	var f runFlags
	c := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Run the lake that a project describes",
		Long: `Runs the lake that the project in DIR (default: here) describes, until it is told to stop.

On SIGTERM or Ctrl-C it drains: requests under way are answered and what was accepted is committed.
It follows edits of the project; SIGHUP makes it read the project at once. A faulty edit is reported
and what runs goes on. A function that lacks a secret, or a sandbox it requires, is held back with its
pipelines: their records wait in the stream, and everything else runs. A process that is killed loses
nothing it has acknowledged.`,
		Example: "  tarn up\n  tarn up mylake --listen 127.0.0.1:9000 --data /srv/mylake",
		Args:    args(0, 1, "at most one folder"),
		RunE: func(c *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.up(c, dir, f)
		},
	}
	f.add(c)
	return c
}

func (a *app) up(c *cobra.Command, dir string, f runFlags) error {
	log, err := a.logger(c, f)
	if err != nil {
		return err
	}
	ctx := c.Context()
	e, err := f.start(ctx, dir, log)
	if err != nil {
		return err
	}
	stop := reloadOnHangUp(ctx, e, log)
	defer stop()
	log.Info("ready", "address", e.Address(), "project", dir, "data", e.DataDir())
	if _, terminal := screen.Terminal(a.out); terminal {
		a.welcome(e)
	}
	<-ctx.Done()
	log.Info("draining")
	secondInterruptEnds()
	if err := e.Close(); err != nil {
		return err
	}
	log.Info("stopped")
	return nil
}

// welcome tells a person where things are.
func (a *app) welcome(e *engine.Engine) {
	fmt.Fprintf(a.out, "\nTarn is ready at %s\n\n", e.Address())
	a.pairs("  data", e.DataDir(), "  SQL", "tarn sql"+serverFlag(e.Address()), "  stop", "Ctrl-C")
	fmt.Fprintln(a.out)
}

// secondInterruptEnds lets another Ctrl-C end the process at once instead of after the drain. It
// loses nothing that was acknowledged (I1).
func secondInterruptEnds() { signal.Reset(os.Interrupt) }

// serverFlag is the flag, a space before it, that commands need to find the server at address;
// nothing when they look there anyway.
func serverFlag(address string) string {
	if address == serverDefault() {
		return ""
	}
	return " --server " + address
}

// reloadOnHangUp reads the project again on SIGHUP, until the returned function is called.
func reloadOnHangUp(ctx context.Context, e *engine.Engine, log *slog.Logger) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			if _, err := e.Reload(ctx); err != nil {
				log.Error("the project is not applied; what ran before goes on", "error", err)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		cancel()
		<-done
	}
}
