package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/server"
)

func (a *app) streamsCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "streams",
		Short:   "List, describe and read streams",
		Example: "  tarn streams ls\n  tarn streams tail telemetry --follow",
	},
		a.clientFlags(&cobra.Command{
			Use: "ls", Short: "List streams", Args: args(0, 0, ""),
			Example: "  tarn streams ls\n  tarn streams ls --json",
			RunE:    func(c *cobra.Command, _ []string) error { return a.streamsLs(c.Context()) },
		}),
		a.clientFlags(&cobra.Command{
			Use: "describe STREAM", Short: "Show one stream and its shards", Args: args(1, 1, "the name of one stream"),
			Example: "  tarn streams describe telemetry",
			RunE:    func(c *cobra.Command, args []string) error { return a.streamsDescribe(c.Context(), args[0]) },
		}),
		a.tailCommand(),
	)
}

func (a *app) streamsLs(ctx context.Context) error {
	var doc struct{ Streams []server.StreamDoc }
	if done, err := a.get(ctx, "/v1/streams", &doc); done || err != nil {
		return err
	}
	cols := []screen.Column{left("STREAM"), right("SHARDS"), right("ACCEPTED"), right("RETAINED"), right("SIZE"), left("RETENTION"), left("PIPELINES")}
	var rows [][]string
	for _, s := range doc.Streams {
		rows = append(rows, []string{s.Name, strconv.Itoa(len(s.Shards)), screen.Count(s.Accepted), screen.Count(s.Records), screen.Bytes(s.Bytes), short(s.Retention), strings.Join(s.Pipelines, ", ")})
	}
	return a.list(1, cols, rows, "no streams")
}

// short leaves out the zero minutes and seconds of a duration.
func short(d string) string {
	if rest, ok := strings.CutSuffix(d, "m0s"); ok {
		d = rest + "m"
	}
	if rest, ok := strings.CutSuffix(d, "h0m"); ok {
		return rest + "h"
	}
	return d
}

func (a *app) streamsDescribe(ctx context.Context, name string) error {
	var s server.StreamDoc
	if done, err := a.get(ctx, "/v1/streams/"+url.PathEscape(name), &s); done || err != nil {
		return err
	}
	limit := ""
	if s.MaxBytes > 0 {
		limit = screen.Bytes(s.MaxBytes)
	}
	a.pairs("stream", s.Name, "pipelines", strings.Join(s.Pipelines, ", "), "retention", short(s.Retention), "at most", limit,
		"partition key", s.PartitionKey, "accepted", screen.Plural(s.Accepted, "record"), "retained", screen.Plural(s.Records, "record")+", "+screen.Bytes(s.Bytes))
	fmt.Fprintln(a.out)
	cols := []screen.Column{right("SHARD"), left("FIRST"), left("NEXT"), right("RECORDS"), right("SIZE"), left("OLDEST"), left("NEWEST")}
	var rows [][]string
	for _, sh := range s.Shards {
		first := "-"
		if sh.First != nil {
			first = sh.First.String()
		}
		rows = append(rows, []string{strconv.Itoa(sh.Shard), first, sh.Next.String(), screen.Count(sh.Records), screen.Bytes(sh.Bytes), screen.Time(sh.Oldest), screen.Time(sh.Newest)})
	}
	return a.table(cols, rows, "no shards")
}

func (a *app) tailCommand() *cobra.Command {
	var from string
	var shard, limit int
	var follow bool
	c := a.clientFlags(&cobra.Command{
		Use:   "tail STREAM",
		Short: "Print records of a stream",
		Long: `Prints records with their position and time of arrival; with --json as NDJSON documents.
Without --from they are the last 10 of each shard, or as many as --limit says. With --follow it
goes on as records arrive, until interrupted.`,
		Example: `  tarn streams tail telemetry --follow
  tarn streams tail telemetry --from earliest --limit 5
  tarn streams tail telemetry --from 0:1842 --json
  tarn streams tail telemetry --from 2026-11-20T03:00:00Z`,
		Args: args(1, 1, "the name of one stream"),
	})
	c.Flags().StringVar(&from, "from", "", "earliest, latest, a time, a position SHARD:OFFSET, or -N records before the end")
	c.Flags().IntVar(&shard, "shard", -1, "only this shard")
	c.Flags().IntVarP(&limit, "limit", "n", 0, "print at most so many records")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "wait for new records")
	c.RunE = func(c *cobra.Command, args []string) error {
		if limit < 0 {
			return usage(c, "--limit must not be negative")
		}
		q := url.Values{"from": {from}}
		if shard >= 0 {
			q.Set("shard", strconv.Itoa(shard))
		}
		q.Set("limit", strconv.Itoa(limit))
		if from == "" {
			q.Set("from", "-"+strconv.Itoa(cmp.Or(limit, 10)))
			q.Set("limit", "0")
		}
		if follow {
			q.Set("follow", "true")
		}
		return a.tail(c.Context(), "/v1/streams/"+url.PathEscape(args[0])+"/records?"+q.Encode())
	}
	return c
}

func (a *app) tail(ctx context.Context, path string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	resp, err := cl.Do(ctx, http.MethodGet, path, http.Header{"Accept": {"application/x-ndjson"}}, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if a.json {
		_, err = io.Copy(a.out, resp.Body)
	} else {
		err = a.printTail(json.NewDecoder(resp.Body))
	}
	if err != nil && ctx.Err() != nil { // interrupting is how following ends
		return nil
	}
	if err != nil {
		return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the records broke off", Hint: "see the log of the server", Err: err}
	}
	return nil
}

func (a *app) printTail(dec *json.Decoder) error {
	for {
		var r server.TailDoc
		if err := dec.Decode(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		text := string(r.Record)
		switch {
		case r.Damaged != "":
			if _, err := fmt.Fprintf(a.out, "%s  from here on %s\n", r.Position, screen.Visible(r.Damaged)); err != nil {
				return err
			}
			continue
		case r.Record == nil:
			text = "base64:" + r.RecordBase64
		}
		if _, err := fmt.Fprintf(a.out, "%s  %s  %s\n", r.Position, r.Arrival.UTC().Format(time.RFC3339Nano), screen.Visible(text)); err != nil {
			return err
		}
	}
}
