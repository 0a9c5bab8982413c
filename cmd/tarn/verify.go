package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/server"
)

func (a *app) verifyCommand() *cobra.Command {
	var deep bool
	var reason string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Prove from the stores that nothing accepted disappeared",
		Long: `Counts, for every stream and shard and every table it feeds, the records that were accepted,
and those that are in the table, left out by the pipeline's SQL, failed, pending, expired by
retention before delivery, or lost because the stream's storage was damaged. Exit status 1 when a sum
does not add up or something is lost; what is lost is named. Of tables that nothing delivers to, such as
those of tarn replay --into, the rows, files and failed records are checked.

What extracts read counts the same way, under the name of their table, or as extract.NAME and
windows.NAME; records that came too late for a window count as left out.

A loss that is known of need not fail every verification: --accept-loss notes in the metadata database
who accepted those named now, when, and why. They are notes from then on, a new loss fails again.

Files are looked at by name and size. With --deep each is read: data files are decoded and their rows
counted, raw backups are compared with their checksums, and originals of dropped files with their hashes.`,
		Example: "  tarn verify\n  tarn verify --deep\n  tarn verify --accept-loss 'disk replaced, sent again by the producer'\n  tarn verify --json",
		Args:    args(0, 0, ""),
		RunE: func(c *cobra.Command, _ []string) error {
			if c.Flags().Changed("accept-loss") {
				if reason = strings.TrimSpace(reason); reason == "" {
					return usage(c, "--accept-loss needs a reason, for those who ask later")
				}
				if err := a.acceptLosses(c.Context(), reason); err != nil {
					return err
				}
			}
			return a.verify(c.Context(), deep)
		},
	}
	c.Flags().StringVar(&reason, "accept-loss", "", "accept the losses that are named now, for this reason")
	c.Flags().BoolVar(&deep, "deep", false, "read the content of every file too")
	return a.clientFlags(c)
}

func (a *app) verify(ctx context.Context, deep bool) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var doc server.VerifyDoc
	if deep {
		doc, err = a.verifyDeep(ctx, cl)
	} else {
		err = cl.Get(ctx, "/v1/verify", &doc)
	}
	if err != nil {
		return err
	}
	if a.json {
		err = a.printJSON(doc)
	} else {
		err = a.printVerify(doc)
	}
	if err == nil && !doc.OK {
		if !a.json {
			a.say("records are lost, or do not add up")
		}
		return errReported
	}
	return err
}

// acceptLosses notes that the losses which a verification names now are known of.
func (a *app) acceptLosses(ctx context.Context, reason string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	var doc server.VerifyDoc
	if err := cl.Get(ctx, "/v1/verify", &doc); err != nil {
		return err
	}
	req := server.AcceptLosses{Reason: reason, By: caller()}
	for _, l := range doc.Losses {
		if l.Accepted == nil {
			req.Losses = append(req.Losses, l.LossRef)
		}
	}
	if len(req.Losses) == 0 {
		a.say("there is no loss to accept")
		return nil
	}
	var answer json.RawMessage
	return cl.Post(ctx, "/v1/losses/accept", req, &answer)
}

// caller names who runs this command, as far as the machine tells.
func caller() string {
	who, host := "somebody", "this machine"
	if u, err := user.Current(); err == nil {
		who = u.Username
	}
	if h, err := os.Hostname(); err == nil {
		host = h
	}
	return who + " on " + host
}

// verifyDeep has everything read, and shows on a terminal how far that is.
func (a *app) verifyDeep(ctx context.Context, cl *client.Client) (server.VerifyDoc, error) {
	line := screen.Progress(a.errOut)
	defer line.Clear()
	return cl.VerifyDeep(ctx, func(p server.VerifyProgress) {
		line.Show("read %s, %s: %s", screen.Plural(p.Objects, "file"), screen.Bytes(p.Bytes), p.Subject)
	})
}

func (a *app) printVerify(doc server.VerifyDoc) error {
	cols := []screen.Column{left("STREAM"), right("SHARD"), left("TABLE"), right("ACCEPTED"), right("IN TABLE"), right("LEFT OUT"), right("FAILED"), right("PENDING"), right("EXPIRED")}
	if doc.Totals.Lost > 0 {
		cols = append(cols, right("LOST"))
	}
	cols = append(cols, left(""))
	var rows [][]string
	for _, v := range doc.Accounts {
		ok := "ok"
		if !v.OK {
			ok = "WRONG"
		}
		row := []string{v.Stream, strconv.Itoa(v.Shard), v.Table, screen.Count(v.Accepted), screen.Count(v.InTable), screen.Count(v.Dropped), screen.Count(v.Failed), screen.Count(v.Pending), screen.Count(v.Expired)}
		if doc.Totals.Lost > 0 {
			row = append(row, screen.Count(v.Lost))
		}
		rows = append(rows, append(row, ok))
	}
	if err := a.list(3, cols, rows, "no records yet"); err != nil {
		return err
	}
	for _, p := range doc.Problems {
		a.tell("%s: %s", p.Subject, p.Detail)
	}
	for _, n := range doc.Notes {
		a.tell("note: %s: %s", n.Subject, n.Detail)
	}
	if len(doc.Kept) > 0 {
		a.tell("also checked, though nothing delivers to them: %s", strings.Join(doc.Kept, ", "))
	}
	if doc.OK {
		if slices.ContainsFunc(doc.Losses, func(l server.LossDoc) bool { return l.Accepted != nil }) {
			fmt.Fprintln(a.out, "every accepted record is accounted for, but for losses that were accepted")
			return nil
		}
		fmt.Fprintln(a.out, "every accepted record is accounted for")
	}
	return nil
}
