package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/server"
)

func (a *app) functionsCommand() *cobra.Command {
	const one = "the name of one function"
	return group(&cobra.Command{
		Use:     "functions",
		Short:   "List, describe and invoke functions, and read their output",
		Example: "  tarn functions ls\n  tarn functions logs enrich -f",
	},
		a.clientFlags(&cobra.Command{
			Use: "ls", Short: "List functions", Args: args(0, 0, ""),
			Example: "  tarn functions ls\n  tarn functions ls --json",
			RunE:    func(c *cobra.Command, _ []string) error { return a.functionsLs(c.Context()) },
		}),
		a.clientFlags(&cobra.Command{
			Use: "describe FUNCTION", Short: "Show one function: settings, isolation, counts, and who uses it", Args: args(1, 1, one),
			Example: "  tarn functions describe enrich",
			RunE:    func(c *cobra.Command, args []string) error { return a.functionsDescribe(c.Context(), args[0]) },
		}),
		a.functionLogsCommand(one),
		a.invokeCommand(),
	)
}

func (a *app) functionsLs(ctx context.Context) error {
	var doc struct{ Functions []server.FunctionDoc }
	if done, err := a.get(ctx, "/v1/functions", &doc); done || err != nil {
		return err
	}
	cols := []screen.Column{left("FUNCTION"), left("RUNTIME"), left("STATE"), right("WORKERS"), left("VERSION"), right("INVOCATIONS"), right("ERRORS"), right("P50"), right("P99"), right("COLD STARTS"), left("ISOLATION")}
	var rows [][]string
	for _, f := range doc.Functions {
		rows = append(rows, []string{f.Name, f.Runtime, f.State, fmt.Sprintf("%d/%d", f.Workers, f.Settings.Concurrency), shortVersion(f.Version), screen.Count(f.Invocations),
			screen.Count(f.Errors + f.Timeouts), milliseconds(f.P50MS), milliseconds(f.P99MS), screen.Count(f.ColdStarts), f.Isolation.Summary})
	}
	if err := a.list(1, cols, rows, "no functions"); err != nil {
		return err
	}
	for _, f := range doc.Functions {
		if text := cmp.Or(f.Fault, f.LastError); text != "" {
			a.tell("%s: %s", f.Name, firstLine(text))
		}
	}
	return nil
}

// firstLine is the beginning of a text for the terminal, at most 200 characters of its first line.
func firstLine(text string) string {
	line, _, more := strings.Cut(strings.TrimSpace(text), "\n")
	if letters := []rune(line); len(letters) > 200 {
		line, more = string(letters[:200]), true
	}
	if more {
		line += " …"
	}
	return screen.Visible(line)
}

func shortVersion(v string) string { return v[:min(len(v), 8)] }

func milliseconds(ms float64) string {
	if ms <= 0 {
		return "-"
	}
	return screen.Took(time.Duration(ms * float64(time.Millisecond)))
}

func (a *app) functionsDescribe(ctx context.Context, name string) error {
	var f server.FunctionDoc
	if done, err := a.get(ctx, "/v1/functions/"+url.PathEscape(name), &f); done || err != nil {
		return err
	}
	s := f.Settings
	network := "none"
	if s.Network {
		network = "that of this machine"
	}
	var env []string
	for _, k := range slices.Sorted(maps.Keys(s.Environment)) {
		env = append(env, k+"="+s.Environment[k])
	}
	var uses []string
	for _, u := range f.Pipelines {
		uses = append(uses, u.Pipeline+" ("+u.As+")")
	}
	retry := ""
	if f.RetryAt != nil {
		retry = screen.Time(f.RetryAt)
	}
	a.pairs("function", f.Name, "pipelines", strings.Join(uses, ", "), "runtime", f.Runtime, "handler", f.Handler, "version", f.Version,
		"timeout", short(s.Timeout), "memory", screen.Bytes(s.MemoryBytes)+" for each worker", "concurrency", strconv.Itoa(s.Concurrency),
		"batch", fmt.Sprintf("%s, %s, %s", screen.Plural(s.BatchRecords, "record"), screen.Bytes(s.BatchBytes), s.BatchWait), "retries", strconv.Itoa(s.Retries),
		"network", network, "environment", strings.Join(env, ", "), "secrets", strings.Join(s.Secrets, ", "))
	fmt.Fprintln(a.out)
	a.pairs("state", f.State, "next attempt", retry, "workers", fmt.Sprintf("%d, %d busy", f.Workers, f.Busy), "waiting", screen.Plural(f.Waiting, "invocation"),
		"invocations", screen.Count(f.Invocations), "errors", screen.Count(f.Errors), "timeouts", screen.Count(f.Timeouts), "crashes", screen.Count(f.Crashes),
		"failed starts", screen.Count(f.InitErrors), "cold starts", screen.Count(f.ColdStarts), "last cold start", milliseconds(f.ColdStartMS), "p50", milliseconds(f.P50MS), "p99", milliseconds(f.P99MS))
	fmt.Fprintln(a.out)
	a.pairs("sandbox", s.Sandbox, "isolation", f.Isolation.Summary, "memory limit", f.Isolation.Memory)
	for _, what := range f.Isolation.Isolated {
		fmt.Fprintln(a.out, "  isolated:", screen.Visible(what))
	}
	for _, what := range f.Isolation.Missing {
		fmt.Fprintln(a.out, "  NOT isolated:", screen.Visible(what))
	}
	a.quote("this version does not run", f.Fault)
	a.quote("last error", f.LastError)
	return nil
}

// quote prints a text of several lines under a title, nothing when it is empty.
func (a *app) quote(title, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(a.out, "\n%s\n", title)
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintln(a.out, "  "+screen.Visible(strings.TrimRight(line, "\n")))
	}
}

func (a *app) functionLogsCommand(takes string) *cobra.Command {
	var n int
	var follow bool
	c := a.clientFlags(&cobra.Command{
		Use:   "logs FUNCTION",
		Short: "Print what a function wrote to standard output and error",
		Long: `Prints the last lines that the workers of a function wrote, with their time, the invocation during
which they did, and the pipeline it was for; with --json as NDJSON. Lines of the stream system are
Tarn's: a worker that was killed, lines left out. With --follow it goes on until interrupted or until
the server stops. The last 10,000 lines of a function are kept, in memory.`,
		Example: "  tarn functions logs enrich\n  tarn functions logs enrich -f -n 0\n  tarn functions logs enrich --json | jq 'select(.stream==\"stderr\")'",
		Args:    args(1, 1, takes),
	})
	c.Flags().IntVarP(&n, "lines", "n", 100, "begin with so many of the last lines")
	c.Flags().BoolVarP(&follow, "follow", "f", false, "wait for new lines")
	c.RunE = func(c *cobra.Command, args []string) error {
		if n < 0 {
			return usage(c, "--lines must not be negative")
		}
		q := url.Values{"n": {strconv.Itoa(n)}}
		if follow {
			q.Set("follow", "true")
		}
		return a.functionLogs(c.Context(), args[0], q, a.out)
	}
	return c
}

// functionLogs prints lines of output to w.
func (a *app) functionLogs(ctx context.Context, name string, q url.Values, w io.Writer) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	resp, err := cl.Do(ctx, http.MethodGet, "/v1/functions/"+url.PathEscape(name)+"/logs?"+q.Encode(), http.Header{"Accept": {"application/x-ndjson"}}, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if a.json {
		_, err = io.Copy(w, resp.Body)
	} else {
		err = printLogs(json.NewDecoder(resp.Body), w)
	}
	if err != nil && ctx.Err() != nil { // interrupting is how following ends
		return nil
	}
	if err != nil {
		return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the lines broke off", Hint: "see the log of the server", Err: err}
	}
	return nil
}

func printLogs(dec *json.Decoder, w io.Writer) error {
	for {
		var l function.Line
		if err := dec.Decode(&l); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		who := "start"
		if l.RequestID != "" {
			who = l.RequestID[:min(len(l.RequestID), 8)]
		}
		if l.Pipeline != "" {
			who += " " + screen.Visible(l.Pipeline)
		}
		if _, err := fmt.Fprintf(w, "%s %-6s %s  %s\n", l.Time.Local().Format("15:04:05.000"), l.Stream, who, screen.Visible(l.Line)); err != nil {
			return err
		}
	}
}
