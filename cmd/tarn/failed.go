package main

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/server"
)

func (a *app) failedCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "failed",
		Short:   "Show, retry and discard records that could not be delivered",
		Example: "  tarn failed ls\n  tarn failed show 17\n  tarn failed retry --pipeline telemetry",
	}, a.failedLsCommand(), a.failedShowCommand(), a.failedRetryCommand(), a.failedDiscardCommand())
}

// failedFlags are the flags that select failed records.
type failedFlags struct {
	filter server.FailedFilter
	since  string
	all    bool
}

func (f *failedFlags) add(c *cobra.Command) *cobra.Command {
	c.Flags().StringVar(&f.filter.Pipeline, "pipeline", "", "only records of this pipeline")
	c.Flags().StringVar(&f.filter.Table, "table", "", "only records that were on their way there: a table, database.NAME, cleaned.NAME or extract.NAME")
	c.Flags().StringVar(&f.filter.Delivery, "delivery", "", "only records that failed in such a delivery: table, database, cleaned or extract")
	c.Flags().StringVar(&f.filter.Stage, "stage", "", "only records that failed there: decode, function, convert, sql, validate, database, twin or late")
	c.Flags().StringVar(&f.since, "since", "", "only records that failed since then: a time, or how long ago (2h)")
	return c
}

// parse reads what the flags and the arguments, which are ids, select. With picky, nothing is no selection.
func (f *failedFlags) parse(c *cobra.Command, ids []string, picky bool) error {
	for _, s := range ids {
		id, err := strconv.ParseInt(s, 10, 64)
		if err != nil || id < 1 {
			return usage(c, "%q is not the id of a failed record", s)
		}
		f.filter.IDs = append(f.filter.IDs, id)
	}
	if f.since != "" {
		at, err := parseMoment(f.since, time.Now())
		if err != nil {
			return usage(c, "--since: %v", err)
		}
		f.filter.Since = at
	}
	filtered := f.filter.Pipeline != "" || f.filter.Table != "" || f.filter.Delivery != "" || f.filter.Stage != "" || f.since != ""
	switch {
	case picky && len(ids) == 0 && !filtered && !f.all:
		return usage(c, "name the ids of failed records, a filter, or --all")
	case f.all && (len(ids) > 0 || filtered):
		return usage(c, "--all stands alone")
	case len(ids) > 0 && filtered:
		return usage(c, "ids and filters do not go together")
	}
	return nil
}

// parseMoment reads a time (RFC 3339, or a day), or a duration before now.
func parseMoment(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil && d >= 0 {
		return now.Add(-d).UTC(), nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly} {
		if at, err := time.Parse(layout, s); err == nil {
			return at.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is neither a time such as 2026-11-20T03:00:00Z nor a duration such as 2h", s)
}

func (a *app) failedLsCommand() *cobra.Command {
	var f failedFlags
	c := a.clientFlags(&cobra.Command{
		Use: "ls", Short: "List failed records, oldest first", Args: args(0, 0, ""),
		Example: "  tarn failed ls\n  tarn failed ls --after 100\n  tarn failed ls --pipeline telemetry --stage convert --since 2h\n  tarn failed ls --delivery database\n  tarn failed ls --limit 10 --json",
		RunE: func(c *cobra.Command, _ []string) error {
			if err := f.parse(c, nil, false); err != nil {
				return err
			}
			return a.failedLs(c.Context(), f.filter)
		},
	})
	f.add(c).Flags().IntVarP(&f.filter.Limit, "limit", "n", 100, "at most so many")
	c.Flags().Int64Var(&f.filter.After, "after", 0, "only records with a greater id: the next page")
	return c
}

func (a *app) failedLs(ctx context.Context, f server.FailedFilter) error {
	q := url.Values{"limit": {strconv.Itoa(f.Limit)}, "after": {strconv.FormatInt(f.After, 10)}}
	for name, v := range map[string]string{"pipeline": f.Pipeline, "table": f.Table, "delivery": f.Delivery, "stage": f.Stage} {
		if v != "" {
			q.Set(name, v)
		}
	}
	if !f.Since.IsZero() {
		q.Set("since", f.Since.Format(time.RFC3339Nano))
	}
	var doc server.FailedPage
	if done, err := a.get(ctx, "/v1/failed?"+q.Encode(), &doc); done || err != nil {
		return err
	}
	cols := []screen.Column{right("ID"), left("PIPELINE"), left("POSITION"), left("STAGE"), left("DELIVERY"), left("FAILED AT"), left("REASON")}
	var rows [][]string
	for _, f := range doc.Failed {
		rows = append(rows, []string{strconv.FormatInt(f.ID, 10), f.Pipeline, f.Position.String(), f.Stage, deliveryText(f), screen.Time(&f.FailedAt), f.Reason})
	}
	if err := a.table(cols, rows, "no failed records"); err != nil {
		return err
	}
	if doc.NextAfter != 0 {
		fmt.Fprintf(a.errOut, "there may be more: --after %d\n", doc.NextAfter)
	}
	return nil
}

// deliveryText names the delivery that a record failed in. Where the name does not say what it is, the
// kind stands behind it.
func deliveryText(f server.FailedDoc) string {
	if f.Delivery == "extract" && !strings.HasPrefix(f.Table, "extract.") {
		return f.Table + " (extract)"
	}
	return f.Table
}

func (a *app) failedShowCommand() *cobra.Command {
	return a.clientFlags(&cobra.Command{
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
}

func (a *app) failedShow(ctx context.Context, id int64) error {
	var f server.FailedDoc
	if done, err := a.get(ctx, "/v1/failed/"+strconv.FormatInt(id, 10), &f); done || err != nil {
		return err
	}
	a.pairs("id", strconv.FormatInt(f.ID, 10), "pipeline", f.Pipeline, "delivery", deliveryText(f), "stream", f.Stream, "position", f.Position.String(),
		"stage", f.Stage, "code", string(f.Code), "reason", f.Reason, "attempts", strconv.Itoa(f.Attempts), "arrival", screen.Time(&f.Arrival), "failed at", screen.Time(&f.FailedAt))
	fmt.Fprintln(a.out)
	switch {
	case f.Record != nil:
		return a.printJSON(f.Record)
	case f.RecordBase64 == "":
		fmt.Fprintln(a.out, "the bytes are gone: the record was damaged in the stream, and can only be discarded")
	default:
		fmt.Fprintln(a.out, "base64:"+f.RecordBase64)
	}
	return nil
}

func (a *app) failedRetryCommand() *cobra.Command {
	var f failedFlags
	c := a.clientFlags(&cobra.Command{
		Use: "retry [ID…]", Short: "Run failed records through their pipelines as these are now",
		Long: `Runs the kept bytes of failed records through today's functions, steps and schema. The new rows are
committed together with the end of the failed records, so that each record is in its table, its
database, the zone cleaned or where its extract brings it, or among the failed ones, never both. What
fails again stays, with the new reason. In a database with mode upsert, a record that is retried
replaces the row of its key, also one that a newer record wrote. Exit status 1 when any failed.`,
		Example: "  tarn failed retry 17 18\n  tarn failed retry --pipeline telemetry\n  tarn failed retry --stage function --since 2h\n  tarn failed retry --all",
		Args:    args(0, -1, ""),
		RunE: func(c *cobra.Command, ids []string) error {
			if err := f.parse(c, ids, true); err != nil {
				return err
			}
			return a.failedRetry(c.Context(), f.filter)
		},
	})
	f.add(c).Flags().BoolVar(&f.all, "all", false, "all failed records")
	return c
}

func (a *app) failedRetry(ctx context.Context, f server.FailedFilter) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var sum server.RetryDoc
	progress := screen.Progress(a.errOut)
	for more := true; more; {
		var doc server.RetryDoc
		if err := cl.Post(ctx, "/v1/failed/retry", f, &doc); err != nil {
			return err
		}
		sum.Tried += doc.Tried
		sum.Settled += doc.Settled
		sum.Rows += doc.Rows
		sum.FailedAgain += doc.FailedAgain
		sum.NoBytes += doc.NoBytes
		sum.NoDelivery += doc.NoDelivery
		f.After, more = doc.NextAfter, doc.NextAfter != 0
		progress.Show("%s tried, %s settled", screen.Count(sum.Tried), screen.Count(sum.Settled))
	}
	progress.Clear()
	if a.json {
		err = a.printJSON(sum)
	} else {
		a.printRetry(sum)
		a.notFound(f.IDs, sum.Tried+sum.NoBytes+sum.NoDelivery)
	}
	if err == nil && sum.FailedAgain+sum.NoBytes+sum.NoDelivery > 0 {
		return errReported
	}
	return err
}

// notFound says how many of the ids that were given are not, or no longer, those of failed records.
func (a *app) notFound(ids []int64, found int64) {
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	if n := int64(len(ids)) - found; n > 0 {
		fmt.Fprintf(a.errOut, "%s not found among the failed records; tarn failed ls lists them\n", screen.Count(n))
	}
}

func (a *app) printRetry(d server.RetryDoc) {
	if d.Tried+d.NoBytes+d.NoDelivery == 0 {
		fmt.Fprintln(a.errOut, "no failed records to try")
		return
	}
	fmt.Fprintf(a.out, "%s tried: %s settled (%s rows), %s failed again\n", screen.Count(d.Tried), screen.Count(d.Settled), screen.Count(d.Rows), screen.Count(d.FailedAgain))
	if d.NoBytes > 0 {
		fmt.Fprintf(a.out, "%s not tried: they were damaged in the stream, and can only be discarded\n", screen.Count(d.NoBytes))
	}
	if d.NoDelivery > 0 {
		fmt.Fprintf(a.out, "%s not tried: no pipeline of the project delivers them\n", screen.Count(d.NoDelivery))
	}
}

func (a *app) failedDiscardCommand() *cobra.Command {
	var f failedFlags
	var yes bool
	c := a.clientFlags(&cobra.Command{
		Use: "discard [ID…]", Short: "Give failed records up for good",
		Long: `Deletes failed records with their bytes. They count as left out from then on, so that tarn verify
still adds up.`,
		Example: "  tarn failed discard 17 --yes\n  tarn failed discard --pipeline telemetry --stage decode --yes",
		Args:    args(0, -1, ""),
		RunE: func(c *cobra.Command, ids []string) error {
			if err := f.parse(c, ids, true); err != nil {
				return err
			}
			if !yes {
				return usage(c, "this deletes records for good; add --yes if that is what you want")
			}
			return a.failedDiscard(c.Context(), f.filter)
		},
	})
	f.add(c).Flags().BoolVar(&f.all, "all", false, "all failed records")
	c.Flags().BoolVar(&yes, "yes", false, "really do it")
	return c
}

func (a *app) failedDiscard(ctx context.Context, f server.FailedFilter) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var sum server.DiscardDoc
	for more := true; more; {
		var doc server.DiscardDoc
		if err := cl.Post(ctx, "/v1/failed/discard", f, &doc); err != nil {
			return err
		}
		sum.Discarded += doc.Discarded
		f.After, more = doc.NextAfter, doc.NextAfter != 0
	}
	if a.json {
		return a.printJSON(sum)
	}
	fmt.Fprintf(a.out, "%s discarded\n", screen.Count(sum.Discarded))
	a.notFound(f.IDs, sum.Discarded)
	return nil
}
