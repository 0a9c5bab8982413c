package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/server"
)

func (a *app) failedCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "failed",
		Short:   "Show records that could not be delivered",
		Example: "  tarn failed ls\n  tarn failed show 17",
		Args:    cobra.ArbitraryArgs,
		RunE:    needSubcommand,
	}
	var pipeline string
	var limit int
	var after int64
	ls := a.clientFlags(&cobra.Command{
		Use: "ls", Short: "List failed records, oldest first", Args: args(0, 0, ""),
		Example: "  tarn failed ls\n  tarn failed ls --after 100\n  tarn failed ls --pipeline telemetry --limit 10 --json",
		RunE:    func(c *cobra.Command, _ []string) error { return a.failedLs(c.Context(), pipeline, limit, after) },
	})
	ls.Flags().StringVar(&pipeline, "pipeline", "", "only records of this pipeline")
	ls.Flags().IntVarP(&limit, "limit", "n", 100, "at most so many")
	ls.Flags().Int64Var(&after, "after", 0, "only records with a greater id: the next page")
	show := a.clientFlags(&cobra.Command{
		Use: "show ID", Short: "Show one failed record with its bytes", Args: args(1, 1, "the id of one failed record"),
		Example: "  tarn failed show 17",
		RunE: func(c *cobra.Command, args []string) error {
			id, err := strconv.ParseInt(args[0], 10, 64)
			if err != nil || id < 1 {
				return usage(c, "%q is not the id of a failed record", args[0])
			}
			return a.failedShow(c.Context(), id)
		},
	})
	c.AddCommand(ls, show)
	return c
}

func (a *app) failedLs(ctx context.Context, pipeline string, limit int, after int64) error {
	q := url.Values{"limit": {strconv.Itoa(limit)}, "after": {strconv.FormatInt(after, 10)}}
	if pipeline != "" {
		q.Set("pipeline", pipeline)
	}
	var doc server.FailedPage
	if done, err := a.get(ctx, "/v1/failed?"+q.Encode(), &doc); done || err != nil {
		return err
	}
	cols := []screen.Column{right("ID"), left("PIPELINE"), left("POSITION"), left("STAGE"), left("FAILED AT"), left("REASON")}
	var rows [][]string
	for _, f := range doc.Failed {
		rows = append(rows, []string{strconv.FormatInt(f.ID, 10), f.Pipeline, f.Position.String(), f.Stage, screen.Time(&f.FailedAt), f.Reason})
	}
	if err := a.table(cols, rows, "no failed records"); err != nil {
		return err
	}
	if doc.NextAfter != 0 {
		fmt.Fprintf(a.errOut, "there may be more: --after %d\n", doc.NextAfter)
	}
	return nil
}

func (a *app) failedShow(ctx context.Context, id int64) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var doc server.FailedPage
	if err := cl.Get(ctx, "/v1/failed?limit=1&id="+strconv.FormatInt(id, 10), &doc); err != nil {
		return err
	}
	if len(doc.Failed) == 0 {
		return &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no failed record %d", id), Hint: "tarn failed ls lists them"}
	}
	f := doc.Failed[0]
	if a.json {
		return a.printJSON(f)
	}
	a.pairs("id", strconv.FormatInt(f.ID, 10), "pipeline", f.Pipeline, "table", f.Table, "stream", f.Stream, "position", f.Position.String(),
		"stage", f.Stage, "code", string(f.Code), "reason", f.Reason, "attempts", strconv.Itoa(f.Attempts), "arrival", screen.Time(&f.Arrival), "failed at", screen.Time(&f.FailedAt))
	fmt.Fprintln(a.out)
	if f.Record != nil {
		return a.printJSON(f.Record)
	}
	fmt.Fprintln(a.out, "base64:"+f.RecordBase64)
	return nil
}
