package engine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
	v1 "github.com/tarn-data/tarn/project/v1"
	"github.com/tarn-data/tarn/server"
)

// crawlMemory bounds the SQL engine of one crawl; crawls run one at a time (I8).
const crawlMemory = 128 << 20

// converted is the folder of the data folder for files that were converted to Parquet.
const converted = "external"

// crawls is what the engine knows of the crawlers of the project.
type crawls struct {
	one sync.Mutex // one crawl at a time

	mu    sync.Mutex
	state map[string]*crawlState // by name of the crawler
}

// crawlState is one crawler of the project between its runs.
type crawlState struct {
	spec    project.Crawler
	next    time.Time // zero for never
	last    time.Time
	running bool
	err     error
}

// openCatalog opens the catalog over the engine's stores.
func (e *Engine) openCatalog() (err error) {
	e.catalog, err = catalog.Open(catalog.Options{DB: e.db, Cache: e.path(converted), Data: e.opts.Data, Lake: e.bucket.URL(""), MemoryBytes: crawlMemory,
		Threads: threads(), TempDir: e.path("staging", "spill", "crawl"), Logger: e.log,
		Reserved: func(ctx context.Context) ([]string, error) {
			names, err := e.store.Names(ctx)
			if err != nil {
				return nil, err
			}
			backups, err := keptNames(ctx, e.db)
			return slices.Concat(names, backups, reservedTables(e.running.Load().project)), err
		}})
	return err
}

// crawlTick is how often schedules are looked at.
const crawlTick = time.Second

// crawlOnTime runs the crawlers of the project: when they are new or have changed, and by schedule.
func (e *Engine) crawlOnTime() {
	tick := time.NewTicker(crawlTick)
	defer tick.Stop()
	for {
		for _, c := range e.dueCrawlers(time.Now()) {
			if e.ctx.Err() != nil {
				return
			}
			_, _ = e.runCrawler(e.ctx, c, false) // what failed stays in its state
		}
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// dueCrawlers follows the project and returns what is to run now.
func (e *Engine) dueCrawlers(now time.Time) (due []project.Crawler) {
	p := e.running.Load().project
	if p == nil {
		return nil
	}
	s := &e.crawls
	s.mu.Lock()
	defer s.mu.Unlock()
	states := map[string]*crawlState{}
	for _, c := range p.Crawlers {
		was := s.state[c.Name]
		if was == nil || !reflect.DeepEqual(was.spec, c) {
			was = &crawlState{spec: c, next: now}
		}
		states[c.Name] = was
		if !was.next.IsZero() && !now.Before(was.next) {
			due = append(due, c)
		}
	}
	s.state = states
	return due
}

// after returns when a crawler runs next, zero for only when it is asked to.
func after(c project.Crawler, t time.Time) time.Time {
	switch {
	case c.Every > 0:
		return t.Add(c.Every)
	case !c.Schedule.IsZero():
		return c.Schedule.Next(t)
	}
	return time.Time{}
}

// settleAgain is when a crawl looks again that has left files alone because they had just changed.
const settleAgain = 5 * time.Second

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// runCrawler runs a crawler of the project.
func (e *Engine) runCrawler(ctx context.Context, c project.Crawler, dryRun bool) (*catalog.Report, error) {
	s := &e.crawls
	note := func(f func(*crawlState)) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if st := s.state[c.Name]; st != nil && !dryRun {
			f(st)
		}
	}
	note(func(st *crawlState) { st.running = true })
	r, err := e.crawlOne(ctx, CrawlerOf(e.running.Load().project, e.bucket.URL(""), c), dryRun)
	note(func(st *crawlState) {
		st.running, st.err, st.last = false, err, time.Now().UTC()
		if st.next = after(c, st.last); err == nil && r.Files.Skipped[catalog.Settling] > 0 && !st.next.IsZero() {
			st.next = earlier(st.next, st.last.Add(settleAgain)) // files were still changing
		}
	})
	switch {
	case err != nil && ctx.Err() == nil:
		e.log.Error("the crawl failed and changed nothing", "crawler", c.Name, "error", err)
	case err == nil:
		e.log.Debug("crawled", "crawler", c.Name, "seen", r.Files.Seen, "opened", r.Files.Opened, "tables", len(r.Tables))
	}
	return r, err
}

func (e *Engine) crawlOne(ctx context.Context, c catalog.Crawler, dryRun bool) (*catalog.Report, error) {
	e.crawls.one.Lock()
	defer e.crawls.one.Unlock()
	if err := os.MkdirAll(e.path("staging", "spill", "crawl"), 0o755); err != nil {
		return nil, err
	}
	return e.catalog.Crawl(ctx, c, dryRun)
}

// CrawlerOf returns what a crawler of a project means: its folder found, its defaults filled in.
func CrawlerOf(p *project.Project, lake string, c project.Crawler) catalog.Crawler {
	path := filepath.Join(lake, filepath.FromSlash(c.Prefix))
	if c.Prefix == "" {
		path = p.Path(c.Path)
	}
	settle := c.Settle
	if settle == 0 {
		settle = -1 // none, where the catalog's zero is its default
	}
	return catalog.Crawler{Name: c.Name, Path: path, Zone: c.Zone, Table: c.Table, OnSchemaChange: catalog.OnSchemaChange(c.OnSchemaChange),
		OnDelete: catalog.OnDelete(c.OnDelete), Group: catalog.Grouping(c.Group), MaxTables: c.MaxTables, Settle: settle}
}

// Crawl runs a crawler of the project, or crawls a folder of the lake or the project. Over HTTP no
// other folder is reached: who declares crawlers decides what the server reads (I6).
func (e *Engine) Crawl(ctx context.Context, in server.CrawlRequest) (*catalog.Report, error) {
	p := e.running.Load().project
	if in.Crawler != "" {
		c := p.Crawler(in.Crawler)
		if c == nil {
			var names []string
			for _, c := range p.Crawlers {
				names = append(names, c.Name)
			}
			return nil, server.NotFound("crawler", in.Crawler, names)
		}
		return e.runCrawler(ctx, *c, in.DryRun)
	}
	folder, err := e.crawlable(in.Path)
	if err != nil {
		return nil, err
	}
	return e.crawlOne(ctx, catalog.Crawler{Path: folder, Zone: in.Zone, Table: in.Table, OnSchemaChange: catalog.OnSchemaChange(in.OnSchemaChange),
		OnDelete: catalog.OnDelete(in.OnDelete), Group: catalog.Grouping(in.Group), MaxTables: in.MaxTables}, in.DryRun)
}

// crawlable returns the folder that a request may crawl, links on the way followed.
func (e *Engine) crawlable(name string) (string, error) {
	if name == "" {
		return "", &tarn.Error{Code: tarn.CodeInvalid, Detail: "the request names neither a crawler nor a path", Hint: `send {"crawler": "NAME"} or {"path": "raw/FOLDER"}`}
	}
	lake, dir := e.bucket.URL(""), e.opts.Project
	folder := FolderIn(lake, dir, name)
	real, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return "", &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no " + name + " in the lake or the project", Err: err}
	}
	for _, allowed := range []string{lake, dir} {
		if top, err := filepath.EvalSymlinks(allowed); err == nil && catalog.Within(top, real) {
			return real, nil
		}
	}
	return "", &tarn.Error{Code: tarn.CodeForbidden, Detail: name + " is neither in the lake nor in the project",
		Hint: "declare a crawler for it in crawlers/, or run tarn crawl on the machine itself"}
}

// FolderIn returns the absolute folder that a name means: as it is when absolute, in a zone of the
// lake when it begins with one, else in dir.
func FolderIn(lake, dir, name string) string {
	zone, _, _ := strings.Cut(filepath.ToSlash(name), "/")
	switch {
	case filepath.IsAbs(name):
		return filepath.Clean(name)
	case zone == "raw" || zone == "cleaned":
		return filepath.Join(lake, filepath.FromSlash(name))
	}
	return filepath.Join(dir, filepath.FromSlash(name))
}

// Crawlers lists the crawlers of the project.
func (e *Engine) Crawlers(ctx context.Context) ([]server.CrawlerDoc, error) {
	p := e.running.Load().project
	tables, err := e.catalog.Tables(ctx)
	if err != nil {
		return nil, err
	}
	e.crawls.mu.Lock()
	defer e.crawls.mu.Unlock()
	var docs []server.CrawlerDoc
	for _, c := range p.Crawlers {
		d := server.CrawlerDoc{Name: c.Name, Path: CrawlerOf(p, e.bucket.URL(""), c).Path, When: when(c), State: "waiting", Tables: []string{}}
		for _, t := range tables {
			if t.Crawler == c.Name {
				files, _, _, _ := t.Totals()
				d.Tables, d.FileCount = append(d.Tables, t.Name), d.FileCount+files
			}
		}
		if st := e.crawls.state[c.Name]; st != nil {
			describeRun(&d, st)
		}
		docs = append(docs, d)
	}
	return docs, nil
}

// describeRun adds what is known of the runs of a crawler.
func describeRun(d *server.CrawlerDoc, st *crawlState) {
	if !st.last.IsZero() {
		d.LastRun = &st.last
	}
	if !st.next.IsZero() {
		d.NextRun = &st.next
	}
	var known *tarn.Error
	switch {
	case st.running:
		d.State = "running"
	case errors.As(st.err, &known):
		d.State, d.Error = "failed", known.Detail
	case st.err != nil:
		d.State, d.Error = "failed", "internal error; the log says more"
	}
}

func when(c project.Crawler) string {
	switch {
	case c.Every > 0:
		return "every " + v1.Duration(c.Every).String()
	case !c.Schedule.IsZero():
		return c.Schedule.String()
	}
	return "on change"
}

// Crawling is a catalog that is open without a running engine, for the command line. What it writes
// a running server sees at its next statement.
type Crawling struct {
	*catalog.Catalog
	Project *project.Project
	Lake    string // folder of the lake
	db      *metadb.DB
}

// OpenCatalog opens the catalog of a project. Whoever may write its metadata database may crawl any
// folder that he may read. Close it.
func OpenCatalog(ctx context.Context, opts Options, onStep func(step string, done, total int)) (*Crawling, error) {
	e, p, err := offline(opts)
	if err != nil {
		return nil, err
	}
	c := &Crawling{Project: p}
	if c.Lake, err = e.lakeFolder(p); err != nil {
		return nil, err
	}
	if c.db, err = e.openMetadata(ctx, p); err != nil {
		return nil, err
	}
	c.Catalog, err = catalog.Open(catalog.Options{DB: c.db, Cache: e.path(converted), Data: e.opts.Data, Lake: c.Lake, Logger: e.log, OnStep: onStep,
		Reserved: func(ctx context.Context) ([]string, error) {
			backups, err := keptNames(ctx, c.db)
			return append(backups, reservedTables(p)...), err
		}})
	if err != nil {
		return nil, errors.Join(err, c.db.Close())
	}
	return c, nil
}

// Close closes the metadata database.
func (c *Crawling) Close() error { return c.db.Close() }
