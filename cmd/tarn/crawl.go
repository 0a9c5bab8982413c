package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/cmd/tarn/internal/client"
	"github.com/tarn-data/tarn/cmd/tarn/internal/screen"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/server"
)

// crawler is one run of tarn crawl.
type crawler struct {
	app                  *app
	project, data        string
	server               string
	dryRun, forget       bool
	spec                 catalog.Crawler
	onSchema, onDel, how string
}

func (a *app) crawlCommand() *cobra.Command {
	r := crawler{app: a}
	c := a.jsonFlag(&cobra.Command{
		Use:   "crawl PATH|PREFIX|CRAWLER",
		Short: "Find tables in a folder of files",
		Long: `Looks at a folder of CSV, TSV, JSON, NDJSON, Parquet and Avro files, plain or compressed with gzip
or zstd, and makes external tables of it, which SQL reads at once, where the files are. Files whose
columns agree are one table; Hive partitions (year=2026/month=11) become columns. Another crawl of the
same folder looks only at files that are new or have changed.

The argument is a crawler of the project, a folder, or a folder of the lake (raw/…, cleaned/…). The
command works on the project's metadata itself, and a running server sees the result at once. With
--server the server crawls, and only what its project declares and the folders of lake and project.`,
		Example: `  tarn crawl exports/users
  tarn crawl /srv/exports --dry-run
  tarn crawl exports --zone cleaned --table users --on-delete drop
  tarn crawl nightly_exports --json`,
		Args: args(1, 1, "one folder or crawler"),
		RunE: func(c *cobra.Command, args []string) error { return r.run(c, args[0]) },
	})
	f := c.Flags()
	f.StringVar(&r.project, "project", ".", "folder of the project")
	f.StringVar(&r.data, "data", "", "data folder (default: PROJECT/"+engine.DataFolder+")")
	f.StringVar(&r.server, "server", "", "let the server at this address crawl")
	f.BoolVar(&r.dryRun, "dry-run", false, "only say what would be done")
	f.BoolVar(&r.forget, "forget", false, "drop the tables and all that is known of the folder; its files stay")
	f.StringVar(&r.spec.Zone, "zone", "", "raw or cleaned (default raw)")
	f.StringVar(&r.spec.Table, "table", "", "make everything one table of this name")
	f.StringVar(&r.how, "group", "", "which files are one table: auto, folders or one (default auto)")
	f.StringVar(&r.onSchema, "on-schema-change", "", "add_columns, new_version or ignore (default add_columns)")
	f.StringVar(&r.onDel, "on-delete", "", "keep, mark or drop (default mark)")
	f.IntVar(&r.spec.MaxTables, "max-tables", 0, "refuse to make more tables (default 100)")
	f.DurationVar(&r.spec.Settle, "settle", 2*time.Second, "leave files that changed more recently")
	return c
}

func (r *crawler) run(c *cobra.Command, what string) error {
	r.spec.OnSchemaChange, r.spec.OnDelete, r.spec.Group = catalog.OnSchemaChange(r.onSchema), catalog.OnDelete(r.onDel), catalog.Grouping(r.how)
	if r.spec.Settle == 0 {
		r.spec.Settle = -1
	}
	if r.server != "" {
		if r.forget {
			return usage(c, "--forget works on the machine itself, without --server")
		}
		return r.remote(c.Context(), what)
	}
	p := &progress{app: r.app}
	open, err := engine.OpenCatalog(c.Context(), engine.Options{Project: r.project, Data: r.data}, p.step)
	if err != nil {
		return err
	}
	defer open.Close()
	if err := r.find(open, what); err != nil {
		return err
	}
	if r.forget {
		err := open.Forget(c.Context(), what) // a crawler that the project has no more
		if tarn.CodeOf(err) == tarn.CodeNotFound {
			what = r.spec.Path
			err = open.Forget(c.Context(), r.spec.Name)
		}
		if err == nil {
			fmt.Fprintf(r.app.out, "forgot %s\n", screen.Visible(what))
		}
		return err
	}
	report, err := open.Crawl(c.Context(), r.spec, r.dryRun)
	p.end()
	if err != nil {
		return err
	}
	return r.show(report)
}

// find completes the crawler: one of the project, a folder here, or one of the lake.
func (r *crawler) find(open *engine.Crawling, what string) error {
	if declared := open.Project.Crawler(what); declared != nil {
		r.spec = engine.CrawlerOf(open.Project, open.Lake, *declared)
		return nil
	}
	here, err := filepath.Abs(what)
	if err != nil {
		return err
	}
	r.spec.Path = here
	if _, err := os.Stat(here); errors.Is(err, fs.ErrNotExist) {
		r.spec.Path = engine.FolderIn(open.Lake, filepath.Dir(here), what)
	}
	if real, err := filepath.EvalSymlinks(r.spec.Path); err == nil {
		r.spec.Path = real // one folder has one name, whichever way it was reached
	}
	r.spec.Name = catalog.NameOf(r.spec.Path)
	return nil
}

func (r *crawler) remote(ctx context.Context, what string) error {
	cl, err := client.New(r.server, r.app.credentials())
	if err != nil {
		return err
	}
	in := server.CrawlRequest{Path: what, Zone: r.spec.Zone, Table: r.spec.Table, Group: r.how, OnSchemaChange: r.onSchema, OnDelete: r.onDel,
		MaxTables: r.spec.MaxTables, DryRun: r.dryRun}
	var list struct{ Crawlers []server.CrawlerDoc }
	if err := cl.Get(ctx, "/v1/crawlers", &list); err != nil {
		return err
	}
	if slices.ContainsFunc(list.Crawlers, func(d server.CrawlerDoc) bool { return d.Name == what }) {
		in = server.CrawlRequest{Crawler: what, DryRun: r.dryRun}
	}
	var raw json.RawMessage
	if err := cl.Post(ctx, "/v1/crawls", in, &raw); err != nil {
		return err
	}
	var report catalog.Report
	if err := json.Unmarshal(raw, &report); err != nil {
		return err
	}
	return r.show(&report)
}

func (r *crawler) show(report *catalog.Report) error {
	if r.app.json {
		return r.app.printJSON(report)
	}
	out := r.app.out
	for _, t := range report.Tables {
		fmt.Fprintf(out, "%s %s: %s\n", t.Action, t.Name, screen.Visible(describe(t)))
		fmt.Fprintf(out, "  why: %s\n", screen.Visible(t.Why))
		if len(t.Columns) > 0 && t.Action == catalog.Created {
			fmt.Fprintf(out, "  columns: %s\n", screen.Visible(columnsOf(t)))
		}
		for _, change := range t.Changes {
			fmt.Fprintf(out, "  schema %d: %s\n", t.SchemaVersion, screen.Visible(change))
		}
	}
	if len(report.Tables) == 0 {
		fmt.Fprintln(out, "no tables")
	}
	r.showSkipped(report)
	n := report.Files
	verb := ""
	if report.DryRun {
		verb = "; a dry run: nothing was changed"
	}
	fmt.Fprintf(out, "%s seen, %s opened, %s unchanged, %s gone, in %.2f s%s\n", screen.Plural(n.Seen, "file"), screen.Count(n.Opened), screen.Count(n.Unchanged),
		screen.Count(n.Gone), report.Seconds, verb)
	return nil
}

// describe says in one line what a table holds.
func describe(t catalog.TableReport) string {
	if t.Action == catalog.Dropped {
		return t.Location
	}
	parts := []string{t.Format, screen.Plural(t.Files, "file") + ", " + screen.Bytes(t.Bytes)}
	if t.Rows != nil {
		parts = append(parts, screen.Plural(*t.Rows, "row"))
	}
	if len(t.PartitionBy) > 0 {
		parts = append(parts, fmt.Sprintf("%s by %s", screen.Plural(t.Partitions, "partition"), strings.Join(t.PartitionBy, ", ")))
	}
	if t.Missing > 0 {
		parts = append(parts, screen.Plural(t.Missing, "file")+" missing")
	}
	return strings.Join(append(parts, "in "+t.Location), ", ")
}

func columnsOf(t catalog.TableReport) string {
	const most = 20
	var list []string
	for i, c := range t.Columns {
		if i == most {
			list = append(list, fmt.Sprintf("and %d more", len(t.Columns)-most))
			break
		}
		list = append(list, c.Name+" "+c.Type)
	}
	return strings.Join(list, ", ")
}

// showSkipped names the first files that are in no table, and counts all of them.
func (r *crawler) showSkipped(report *catalog.Report) {
	const most = 10
	for i, s := range report.Skipped {
		if i == most {
			fmt.Fprintf(r.app.out, "left out: … and more; --json names %s\n", screen.Count(len(report.Skipped)))
			break
		}
		fmt.Fprintf(r.app.out, "left out: %s: %s: %s\n", screen.Visible(s.Path), s.Reason, screen.Visible(s.Detail))
	}
	var counts []string
	for _, reason := range slices.Sorted(maps.Keys(report.Files.Skipped)) {
		counts = append(counts, fmt.Sprintf("%s %s", screen.Count(report.Files.Skipped[reason]), reason))
	}
	if len(counts) > 0 {
		fmt.Fprintf(r.app.out, "left out in all: %s\n", strings.Join(counts, ", "))
	}
}

// progress shows on a terminal how far a crawl is.
type progress struct {
	app *app

	mu    sync.Mutex
	last  time.Time
	shown bool
}

func (p *progress) step(name string, done, total int) {
	if _, terminal := screen.Terminal(p.app.errOut); !terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.last) < 100*time.Millisecond || total == 0 {
		return
	}
	p.last, p.shown = time.Now(), true
	fmt.Fprintf(p.app.errOut, "\r\x1b[K%s %s of %s", name, screen.Count(done), screen.Plural(total, "file"))
}

func (p *progress) end() {
	if p.shown {
		fmt.Fprint(p.app.errOut, "\r\x1b[K")
	}
}

// describeExternal prints what only external tables have.
func (a *app) describeExternal(t server.TableDoc) error {
	x := t.External
	rows := "not known"
	if x.RowsKnown {
		rows = screen.Count(t.Rows)
	}
	files := screen.Count(t.Files) + ", " + screen.Bytes(t.Bytes)
	if x.MissingFiles > 0 {
		files += ", " + screen.Plural(x.MissingFiles, "file") + " missing"
	}
	missing := ""
	if x.MissingSince != nil {
		missing = screen.Time(x.MissingSince)
	}
	a.pairs("table", t.Name, "kind", t.Kind, "format", x.Format, "location", t.Location, "crawler", x.Crawler, "why", x.Why,
		"partitioned by", strings.Join(t.Partition, ", "), "rows", rows, "files", files, "missing since", missing, "updated", screen.Time(&t.UpdatedAt))
	fmt.Fprintln(a.out)
	if err := a.columns(t); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	var list [][]string
	for _, v := range x.Versions {
		list = append(list, []string{fmt.Sprint(v.Version), screen.Time(&v.At), fmt.Sprint(v.Columns), v.Reason})
	}
	return a.table([]screen.Column{right("SCHEMA"), left("AT"), right("COLUMNS"), left("WHY")}, list, "")
}
