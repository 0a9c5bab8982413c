package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
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

func (a *app) twinCommand() *cobra.Command {
	return group(&cobra.Command{
		Use:     "twin",
		Short:   "Read and watch the newest value of every metric",
		Example: "  tarn twin ls fleet --metric speed --min 80\n  tarn twin get fleet wagon-7 speed\n  tarn twin watch fleet --prefix wagon-",
	}, a.twinLsCommand(), a.twinGetCommand(), a.twinWatchCommand())
}

// twinURL returns the path of what parts name. An id of dots is escaped too: servers take them for folders.
func twinURL(parts ...string) string {
	path := "/v1/twins"
	for _, p := range parts {
		if strings.Trim(p, ".") == "" {
			path += "/" + strings.ReplaceAll(p, ".", "%2E")
		} else {
			path += "/" + url.PathEscape(p)
		}
	}
	return path
}

func (a *app) twinLsCommand() *cobra.Command {
	q := map[string]*string{}
	var limit int
	c := a.clientFlags(&cobra.Command{
		Use:   "ls [TWIN]",
		Short: "List twins, or the components of one",
		Long: `Without a twin, lists the twins of the project. With one, lists its components and their newest
values; the filters must hold for one metric together.`,
		Example: `  tarn twin ls
  tarn twin ls fleet --prefix wagon- --metric speed --min 80
  tarn twin ls fleet --older-than 15m
  tarn twin ls fleet --at 2026-11-20T03:00:00Z`,
		Args: args(0, 1, "at most one twin"),
	})
	for _, f := range [][2]string{{"prefix", "only components whose id begins so"}, {"type", "only components of this type"}, {"metric", "only this metric"}, {"min", "only numbers from here"},
		{"max", "only numbers up to here"}, {"value", "only this value"}, {"older-than", "only values at least so old, such as 15m"}, {"newer-than", "only values less old"}, {"at", "as of this time, from the history"}} {
		q[f[0]] = c.Flags().String(f[0], "", f[1])
	}
	c.Flags().IntVarP(&limit, "limit", "n", 100, "at most so many components, 0 for all")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return a.twins(c.Context())
		}
		v := url.Values{}
		for name, text := range q {
			if *text != "" {
				v.Set(strings.ReplaceAll(name, "-", "_"), *text)
			}
		}
		return a.twinLs(c.Context(), args[0], v, limit)
	}
	return c
}

func (a *app) twins(ctx context.Context) error {
	var doc struct{ Twins []server.TwinDoc }
	if done, err := a.get(ctx, twinURL(), &doc); done || err != nil {
		return err
	}
	var rows [][]string
	for _, t := range doc.Twins {
		rows = append(rows, []string{t.Name, screen.Count(t.Components), screen.Count(t.Metrics), strconv.FormatInt(t.Version, 10), t.ExpireAfter, t.History})
	}
	return a.table([]screen.Column{left("TWIN"), right("COMPONENTS"), right("METRICS"), right("VERSION"), left("EXPIRE AFTER"), left("HISTORY")}, rows, "no twins")
}

// twinLs prints page after page until there are limit components.
func (a *app) twinLs(ctx context.Context, name string, q url.Values, limit int) error {
	if limit < 0 {
		return &usageError{"--limit must not be negative", "tarn twin ls"}
	}
	cl, err := a.client()
	if err != nil {
		return err
	}
	all := server.ComponentPage{Components: []server.ComponentDoc{}}
	for {
		size := 1000
		if limit > 0 {
			size = min(size, limit-len(all.Components))
		}
		q.Set("limit", strconv.Itoa(size))
		var page server.ComponentPage
		if err := cl.Get(ctx, twinURL(name)+"/components?"+q.Encode(), &page); err != nil {
			return err
		}
		all.Components = append(all.Components, page.Components...)
		if all.Next = page.Next; page.Next == "" || limit > 0 && len(all.Components) >= limit {
			break
		}
		q.Set("after", page.Next)
	}
	if a.json {
		return a.printJSON(all)
	}
	var metrics []server.MetricDoc
	for _, c := range all.Components {
		metrics = append(metrics, c.Metrics...)
	}
	if err := a.listMetrics(metrics); err != nil {
		return err
	}
	if all.Next != "" {
		fmt.Fprintf(a.errOut, "there are more; --limit 0 lists all\n")
	}
	return nil
}

// roomy is the width of a terminal from which on a list of metrics shows all columns.
const roomy = 100

// listMetrics prints metrics of many components. On a narrow terminal the most important columns stand whole.
func (a *app) listMetrics(metrics []server.MetricDoc) error {
	width, _ := screen.Terminal(a.out)
	if width > 0 && width < roomy {
		var rows [][]string
		for i := range metrics {
			m := &metrics[i]
			rows = append(rows, []string{m.Component, m.Metric, plainValue(*m), m.Unit, screen.Time(&m.At), age(m.AgeSeconds)})
		}
		return a.table([]screen.Column{left("COMPONENT"), left("METRIC"), right("VALUE"), left("UNIT"), left("AT"), right("AGE")}, rows, "no components")
	}
	var rows [][]string
	for i := range metrics {
		m := &metrics[i]
		rows = append(rows, append([]string{m.Component, m.Type}, metricCells(m)...))
	}
	return a.table(append([]screen.Column{left("COMPONENT"), left("TYPE")}, metricColumns()...), rows, "no components")
}

// componentMetrics prints the metrics of one component.
func (a *app) componentMetrics(c server.ComponentDoc) error {
	var rows [][]string
	for i := range c.Metrics {
		rows = append(rows, metricCells(&c.Metrics[i]))
	}
	return a.table(metricColumns(), rows, "no metrics")
}

func metricColumns() []screen.Column {
	return []screen.Column{left("METRIC"), right("VALUE"), left("UNIT"), left("AT"), right("AGE"), left("FROM")}
}

func metricCells(m *server.MetricDoc) []string {
	return []string{m.Metric, plainValue(*m), m.Unit, m.At.UTC().Format(time.RFC3339Nano), age(m.AgeSeconds), lineage(m.Lineage)}
}

func age(seconds float64) string {
	if seconds < 0 { // the clock of the sender is ahead
		return "-" + age(-seconds)
	}
	return screen.Took(time.Duration(seconds * float64(time.Second)))
}

func lineage(l server.LineageDoc) string {
	if l.Stream != "" {
		return l.Stream + " " + l.Position
	}
	return l.Source
}

func (a *app) twinGetCommand() *cobra.Command {
	var at string
	c := a.clientFlags(&cobra.Command{
		Use:     "get TWIN COMPONENT [METRIC]",
		Short:   "Show a component, or the value of one metric",
		Long:    "Shows all metrics of a component. With a metric, prints its value alone, for scripts; --json\nshows all that is known of it.",
		Example: "  tarn twin get fleet wagon-7\n  tarn twin get fleet wagon-7 speed\n  tarn twin get fleet wagon-7 speed --at 2026-11-20T03:00:00Z --json",
		Args:    args(2, 3, "a twin, a component and perhaps a metric"),
	})
	c.Flags().StringVar(&at, "at", "", "as of this time, from the history")
	c.RunE = func(c *cobra.Command, args []string) error {
		path := twinURL(args[0], "components", args[1])
		if len(args) == 3 {
			path = twinURL(args[0], "components", args[1], "metrics", args[2])
		}
		if at != "" {
			path += "?" + url.Values{"at": {at}}.Encode()
		}
		if len(args) == 3 {
			var m server.MetricDoc
			if done, err := a.get(c.Context(), path, &m); done || err != nil {
				return err
			}
			fmt.Fprintln(a.out, screen.Visible(plainValue(m)))
			return nil
		}
		var d server.ComponentDoc
		if done, err := a.get(c.Context(), path, &d); done || err != nil {
			return err
		}
		return a.componentMetrics(d)
	}
	return c
}

// plainValue is a value without the quotes of a string.
func plainValue(m server.MetricDoc) string {
	var s string
	if m.Kind == "string" && json.Unmarshal(m.Value, &s) == nil {
		return s
	}
	return string(m.Value)
}

func (a *app) twinWatchCommand() *cobra.Command {
	var prefix, kind, after string
	var components, metrics []string
	c := a.clientFlags(&cobra.Command{
		Use:   "watch TWIN",
		Short: "Print changes as they happen",
		Long: `Prints each change on a line, with --json as NDJSON with the id to go on from, until
interrupted. When the connection breaks it goes on from where it was.`,
		Example: "  tarn twin watch fleet\n  tarn twin watch fleet --prefix wagon- --metric speed\n  tarn twin watch fleet --after 1842 --json",
		Args:    args(1, 1, "the name of one twin"),
	})
	c.Flags().StringVar(&prefix, "prefix", "", "only components whose id begins so")
	c.Flags().StringArrayVar(&components, "component", nil, "only this component; may repeat")
	c.Flags().StringVar(&kind, "type", "", "only components of this type")
	c.Flags().StringArrayVar(&metrics, "metric", nil, "only this metric; may repeat")
	c.Flags().StringVar(&after, "after", "", "go on behind this id")
	c.RunE = func(c *cobra.Command, args []string) error {
		q := url.Values{"component": components, "metric": metrics}
		for name, v := range map[string]string{"prefix": prefix, "type": kind} {
			if v != "" {
				q.Set(name, v)
			}
		}
		return a.twinWatch(c.Context(), args[0], q, after)
	}
	return c
}

// twinWatch prints changes, and connects again when the connection breaks.
func (a *app) twinWatch(ctx context.Context, name string, q url.Values, after string) error {
	cl, err := a.client()
	if err != nil {
		return err
	}
	connected := false
	for {
		if after != "" {
			q.Set("after", after)
		}
		resp, err := cl.Do(ctx, http.MethodGet, twinURL(name)+"/changes?"+q.Encode(), http.Header{"Accept": {"text/event-stream"}}, nil)
		switch {
		case ctx.Err() != nil: // interrupting is how watching ends
			return nil
		case err != nil && (!connected || tarn.CodeOf(err) != tarn.CodeUnavailable):
			return err
		case err == nil:
			connected = true
			err = a.printEvents(bufio.NewReader(resp.Body), &after)
			resp.Body.Close()
			if err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// printEvents prints server-sent events until they end, and keeps the id to resume with. Its error is
// that of printing.
func (a *app) printEvents(r *bufio.Reader, after *string) error {
	var event, data, id string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "id":
			id = value
		case "event":
			event = value
		case "data":
			data = value
		case "":
			if event != "" {
				if err := a.printEvent(event, id, data); err != nil {
					return err
				}
			}
			if id != "" {
				*after = id
			}
			event, data, id = "", "", ""
		}
	}
}

func (a *app) printEvent(event, id, data string) error {
	if event == "gap" {
		a.say("changes have been missed")
	}
	if event == "gap" || event == "ready" {
		return nil
	}
	if a.json {
		doc := server.TwinChangeDoc{Event: event, Metric: &server.MetricDoc{}}
		doc.ID, _ = strconv.ParseInt(id, 10, 64) // 0 for one without
		if err := json.Unmarshal([]byte(data), doc.Metric); err != nil {
			return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the server sent something else than changes", Err: err}
		}
		b, err := json.Marshal(doc)
		if err == nil {
			_, err = fmt.Fprintln(a.out, string(b))
		}
		return err
	}
	var m server.MetricDoc
	if err := json.Unmarshal([]byte(data), &m); err != nil {
		return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the server sent something else than changes", Err: err}
	}
	what := strings.TrimSpace(plainValue(m) + " " + m.Unit)
	if event != "change" {
		what = event
	}
	_, err := fmt.Fprintln(a.out, screen.Visible(fmt.Sprintf("%s  %s  %s  %s", m.At.UTC().Format(time.RFC3339Nano), m.Component, m.Metric, what)))
	return err
}
