package main

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/server"
)

func (a *app) replayCommand() *cobra.Command {
	var req server.ReplayRequest
	var detach bool
	c := a.clientFlags(&cobra.Command{
		Use:   "replay PIPELINE",
		Short: "Run history through a pipeline as it is now",
		Long: `Runs records that have been through a pipeline before through its functions, steps and schema of
today. With --into they become a new table. Without, the partitions of the pipeline's table that they
touch are replaced in one commit: each holds the rows of all its records then, made by today's code.

The server does the work, through restarts. This command waits for it; interrupting the command
leaves the replay running, tarn replay cancel ends it and leaves nothing of it behind.`,
		Example: `  tarn replay telemetry --from 2026-11-20T03:00:00Z --into curated.telemetry_again
  tarn replay telemetry --from 24h --to 2h
  tarn replay telemetry --from earliest --source raw
  tarn replay telemetry --from 0:1842 --to 0:2000
  tarn replay ls`,
		Args: args(1, 1, "the name of one pipeline"),
		RunE: func(c *cobra.Command, names []string) error {
			if req.From == "" {
				return usage(c, "say with --from where it begins: earliest, a time, how long ago, or a position")
			}
			for name, text := range map[string]*string{"--from": &req.From, "--to": &req.To} {
				if err := parseReplayEnd(text); err != nil {
					return usage(c, "%s: %v", name, err)
				}
			}
			return a.replay(c.Context(), names[0], req, detach)
		},
	})
	c.Flags().StringVar(&req.From, "from", "", "where it begins: earliest, a time, how long ago (24h), or a position")
	c.Flags().StringVar(&req.To, "to", "", "where it ends, before a time or position (default: the end)")
	c.Flags().StringVar(&req.Source, "source", "stream", "where the records are read: stream, or raw for the raw backup")
	c.Flags().StringVar(&req.Into, "into", "", "the new table to make, such as curated.telemetry_again")
	c.Flags().StringVar(&req.Table, "table", "", "which table's delivery, where the pipeline has several")
	c.Flags().BoolVar(&detach, "detach", false, "do not wait for the end")
	c.AddCommand(a.replayLsCommand(),
		a.replayOneCommand("show", "Show one replay and how far it is", func(ctx context.Context, cl *client.Client, path string, d *server.ReplayDoc) error {
			return cl.Get(ctx, path, d)
		}),
		a.replayOneCommand("cancel", "End a replay; nothing of it is left", func(ctx context.Context, cl *client.Client, path string, d *server.ReplayDoc) error {
			return cl.Post(ctx, path+"/cancel", nil, d)
		}))
	return c
}

// parseReplayEnd makes a time of what the server does not know.
func parseReplayEnd(text *string) error {
	if *text == "" || *text == "earliest" {
		return nil
	}
	if _, err := tarn.ParsePosition(*text); err == nil {
		return nil
	}
	at, err := parseMoment(*text, time.Now())
	if err != nil {
		return fmt.Errorf("%w, nor a position such as 0:1842", err)
	}
	*text = at.Format(time.RFC3339Nano)
	return nil
}

func (a *app) replay(ctx context.Context, pipeline string, req server.ReplayRequest, detach bool) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var d server.ReplayDoc
	if err := cl.Post(ctx, "/v1/pipelines/"+url.PathEscape(pipeline)+"/replays", req, &d); err != nil {
		return err
	}
	if !detach {
		if err := a.awaitReplay(ctx, cl, &d); err != nil {
			return err
		}
	}
	if a.json {
		err = a.printJSON(d)
	} else {
		a.printReplay(d)
	}
	if err == nil && (d.State == "failed" || d.State == "canceled") {
		return errReported
	}
	return err
}

// awaitReplay waits for the end of a replay and shows how far it is.
func (a *app) awaitReplay(ctx context.Context, cl *client.Client, d *server.ReplayDoc) error {
	line := screen.Progress(a.errOut)
	defer line.Clear()
	for pause := 10 * time.Millisecond; d.State == "running" || d.State == "canceling"; pause = min(2*pause, 500*time.Millisecond) {
		select {
		case <-ctx.Done():
			line.Clear()
			fmt.Fprintf(a.errOut, "the replay goes on: tarn replay show %s, tarn replay cancel %s\n", d.ID, d.ID)
			return ctx.Err()
		case <-time.After(pause):
		}
		if err := cl.Get(ctx, "/v1/replays/"+url.PathEscape(d.ID), d); err != nil {
			if ctx.Err() != nil || client.Temporary(err) {
				continue
			}
			return err
		}
		line.Show("%s of %s, %s, %s/s", screen.Count(d.Done), screen.Plural(d.Records, "record"), percent(d.Done, d.Records), screen.Count(int(d.RecordsPerSecond)))
	}
	return nil
}

func percent(n, of uint64) string {
	if of == 0 {
		return "100 %"
	}
	return fmt.Sprintf("%d %%", n*100/of)
}

func (a *app) printReplay(d server.ReplayDoc) {
	to := d.To
	if to == "" {
		to = "the end"
	}
	result := ""
	if d.State == "done" {
		result = fmt.Sprintf("%s, %s failed", screen.Plural(d.Rows, "row"), screen.Count(d.Failed))
		switch {
		case d.Into != "":
		case d.Whole:
			result += fmt.Sprintf(", the whole table replaced (%s)", screen.Plural(d.Partitions, "partition"))
		default:
			result += ", " + screen.Plural(d.Partitions, "partition") + " replaced"
		}
	}
	took := ""
	if d.FinishedAt != nil {
		took = screen.Took(d.FinishedAt.Sub(d.StartedAt))
	}
	a.pairs("replay", d.ID, "pipeline", d.Pipeline, "table", d.Table, "into", d.Into, "from", d.From, "to", to, "source", d.Source, "state", d.State,
		"records", fmt.Sprintf("%s of %s", screen.Count(d.Done), screen.Count(d.Records)), "result", result, "took", took, "error", d.Error)
}

func (a *app) replayLsCommand() *cobra.Command {
	return a.clientFlags(&cobra.Command{
		Use: "ls", Short: "List replays, the newest first", Args: args(0, 0, ""),
		Example: "  tarn replay ls\n  tarn replay ls --json",
		RunE: func(c *cobra.Command, _ []string) error {
			var doc struct{ Replays []server.ReplayDoc }
			if done, err := a.get(c.Context(), "/v1/replays", &doc); done || err != nil {
				return err
			}
			cols := []screen.Column{left("REPLAY"), left("PIPELINE"), left("INTO"), left("STATE"), right("DONE"), right("RECORDS"), right("ROWS"), right("FAILED"), left("STARTED")}
			var rows [][]string
			for _, d := range doc.Replays {
				into := d.Into
				if into == "" {
					into = d.Table + " (in place)"
				}
				rows = append(rows, []string{d.ID, d.Pipeline, into, d.State, percent(d.Done, d.Records), screen.Count(d.Records), screen.Count(d.Rows), screen.Count(d.Failed), screen.Time(&d.StartedAt)})
			}
			return a.list(1, cols, rows, "no replays")
		},
	})
}

// replayOneCommand makes a command about one replay.
func (a *app) replayOneCommand(name, short string, do func(context.Context, *client.Client, string, *server.ReplayDoc) error) *cobra.Command {
	return a.clientFlags(&cobra.Command{
		Use: name + " ID", Short: short, Args: args(1, 1, "the id of one replay"),
		Example: "  tarn replay " + name + " 20261120T030000.000000",
		RunE: func(c *cobra.Command, ids []string) error {
			cl, err := a.client()
			if err != nil {
				return err
			}
			var d server.ReplayDoc
			if err := do(c.Context(), cl, "/v1/replays/"+url.PathEscape(ids[0]), &d); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(d)
			}
			a.printReplay(d)
			return nil
		},
	})
}
