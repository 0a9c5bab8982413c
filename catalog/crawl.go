package catalog

import (
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/metadb"
)

// crawl carries one run of a crawler.
type crawl struct {
	cat      *Catalog
	spec     Crawler
	now      time.Time
	root     *os.Root
	list     listing
	own      []string        // folders of Tarn's own, which are not entered
	settling map[string]bool // files that are left as they were known
	unseen   []string        // folders that could not be read, with a slash behind: so are those in them
	known    *known
	db       *duck.DB

	layouts []Layout       // by id
	ids     map[string]int // of layouts, by key
	files   []*file        // as they are now, in order of path; those of no table have a reason
	counts  FileCounts
	mu      sync.Mutex // guards layouts and ids while files are looked into
}

// Crawl looks at the crawler's folder and brings its tables up to date; with dryRun it only says what
// it would do. Errors: tarn.CodeInvalid (the crawler), tarn.CodeNotFound (the path),
// tarn.CodeForbidden (Tarn's own data), tarn.CodeTooLarge (files, tables, schemas), tarn.CodeConflict
// (a name that is taken, another crawl at the same time), tarn.CodeCanceled. After an error nothing
// has changed.
func (c *Catalog) Crawl(ctx context.Context, spec Crawler, dryRun bool) (*Report, error) {
	spec, err := spec.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &crawl{cat: c, spec: spec, now: c.o.Clock().UTC(), settling: map[string]bool{}, ids: map[string]int{}}
	defer r.close()
	if r.known, err = c.recall(ctx, spec.Name); err != nil {
		return nil, err
	}
	c.step("list", 0, 0)
	if err := r.walk(ctx); err != nil {
		return nil, err
	}
	if r.known.version > 0 && r.known.path != r.list.root {
		r.known.files = map[string]*file{} // the crawler looks elsewhere now: its old files are not missing
	}
	r.layouts = slices.Clone(r.known.layouts)
	for id, l := range r.layouts {
		r.ids[l.key()] = id
	}
	if err := r.look(ctx); err != nil {
		return nil, err
	}
	c.step("group", 0, 0)
	p, err := r.plan(ctx)
	if err != nil {
		return nil, err
	}
	report := r.report(p, dryRun)
	if dryRun {
		return report, nil
	}
	c.step("write", 0, 0)
	if err := r.write(ctx, p, report); err != nil {
		return nil, err
	}
	c.step("done", 0, 0)
	return report, nil
}

func (c *crawl) close() {
	if c.db != nil {
		_ = c.db.Close()
	}
	if c.root != nil {
		_ = c.root.Close()
	}
}

// look decides for every file whether it is as it was, and looks into those that are not.
func (c *crawl) look(ctx context.Context) error {
	var open []found
	now := map[string]bool{}
	for _, f := range c.list.files {
		now[f.path] = true
		if old := c.known.files[f.path]; old != nil && old.missing == 0 {
			if keep := c.unchanged(f, *old); keep != nil {
				c.counts.Unchanged++
				c.files = append(c.files, keep)
				continue
			}
		}
		open = append(open, f)
	}
	c.counts.Seen = len(c.list.files) + len(c.list.skipped)
	if err := c.inspectAll(ctx, open); err != nil {
		return err
	}
	c.absent(now)
	for _, s := range c.list.skipped {
		if old := c.known.files[s.Path]; !c.settling[s.Path] || old == nil || old.table == "" {
			c.files = append(c.files, &file{path: s.Path, layout: -1, rows: -1, reason: s.Reason, detail: s.Detail})
		}
	}
	slices.SortFunc(c.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	for _, f := range c.files {
		f.parts = partitions(path.Join(filepath.ToSlash(c.list.root), f.path))
	}
	return nil
}

// racy is how much later than its change a file must have been looked at for an equal time to mean an
// equal file: clocks of file systems are coarse.
const racy = 2 * time.Second

// unchanged returns what is known of a file that is as it was when it was last looked into, else nil.
// Where size and time leave a doubt, the content decides.
func (c *crawl) unchanged(f found, old file) *file {
	if f.size != old.size || old.layout >= 0 && !c.atHand(&old) || old.reason == Unreadable || old.reason == TooLarge {
		return nil // permissions and memory change without the file
	}
	if f.mtime == old.mtime && old.checked*1000-f.mtime >= int64(racy) {
		return &old
	}
	if old.fingerprint == "" || f.size > hashBytes {
		return nil
	}
	file, err := c.root.Open(f.path)
	if err != nil {
		return nil
	}
	defer file.Close()
	sum, err := fingerprint(file)
	if err != nil || sum != old.fingerprint {
		return nil
	}
	old.mtime, old.checked = f.mtime, metadb.Micros(c.now)
	return &old
}

// atHand reports whether a file can be read as it is, or what it was converted to is there.
func (c *crawl) atHand(old *file) bool {
	if c.known.layouts[old.layout].Format != Avro {
		return true
	}
	_, err := os.Stat(c.cat.converted(c.full(old.path), old.fingerprint))
	return err == nil
}

// inspectAll looks into files, several at a time.
func (c *crawl) inspectAll(ctx context.Context, open []found) error {
	if len(open) == 0 {
		return nil
	}
	if err := os.MkdirAll(c.cat.o.Cache, 0o755); err != nil {
		return cacheError(err)
	}
	var err error
	// One thread a file: files are looked into beside each other, and memory is taken by the thread.
	c.db, err = duck.Open(duck.Options{MemoryBytes: c.cat.o.MemoryBytes, Threads: 1, TempDir: c.cat.o.TempDir,
		AllowedDirs: []string{c.list.root, c.cat.o.Cache}, Unordered: true, Logger: c.cat.o.Logger})
	if err != nil {
		return err
	}
	out := make([]*file, len(open))
	var done atomic.Int64
	outer := ctx
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, c.cat.workers()))
	for i, f := range open {
		g.Go(func() error {
			var err error
			out[i], err = c.one(ctx, f)
			c.cat.step("look", int(done.Add(1)), len(open))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := c.inspectAlone(outer, open, out); err != nil {
		return err
	}
	c.counts.Opened = len(open)
	for i, f := range out {
		switch old := c.known.files[open[i].path]; {
		case old == nil || old.missing != 0 || old.layout < 0 && f.layout >= 0:
			if f.layout >= 0 {
				c.counts.Added++
			}
		case old.layout >= 0:
			c.counts.Changed++
			if f.layout >= 0 {
				f.table = old.table // its group may keep the name
			}
		}
		c.files = append(c.files, f)
	}
	return nil
}

// inspectAlone looks again into files that did not find memory beside others, one after another.
func (c *crawl) inspectAlone(ctx context.Context, open []found, out []*file) (err error) {
	for i, f := range out {
		if f.reason != TooLarge {
			continue
		}
		if out[i], err = c.one(ctx, open[i]); err != nil {
			return err
		}
	}
	return nil
}

// one looks into one file.
func (c *crawl) one(ctx context.Context, f found) (*file, error) {
	out := &file{path: f.path, layout: -1, size: f.size, mtime: f.mtime, rows: -1, checked: metadb.Micros(c.now)}
	got, err := c.inspect(ctx, f)
	out.fingerprint = got.fingerprint
	var why *refusal
	switch {
	case errors.As(err, &why):
		out.reason, out.detail = why.reason, strings.ReplaceAll(why.detail, c.list.root+string(filepath.Separator), "")
		return out, nil
	case tarn.CodeOf(err) == tarn.CodeTooLarge:
		out.reason, out.detail = TooLarge, "it needs more memory than a crawl may use"
		return out, nil
	case ctx.Err() != nil:
		return nil, &tarn.Error{Code: tarn.CodeCanceled, Detail: "the crawl was cancelled", Err: ctx.Err()}
	case err != nil:
		return nil, err
	}
	out.rows = got.rows
	c.mu.Lock()
	defer c.mu.Unlock()
	key := got.layout.key()
	id, ok := c.ids[key]
	if !ok {
		id = len(c.layouts)
		c.ids[key] = id
		c.layouts = append(c.layouts, got.layout)
	}
	out.layout = id
	return out, nil
}

// absent decides about known files that the walk has not listed: they are gone, or left for later.
func (c *crawl) absent(now map[string]bool) {
	skipped := map[string]bool{}
	for _, s := range c.list.skipped {
		skipped[s.Path] = true
	}
	for name, old := range c.known.files {
		if now[name] || old.layout < 0 {
			continue
		}
		keep := *old
		switch {
		case c.settling[name], c.isUnseen(name): // as it was, until more is known
		case skipped[name]: // it is there, and no longer data
			c.counts.Changed++
			continue
		default:
			if old.missing == 0 {
				c.counts.Gone++
			}
			if c.spec.OnDelete == Drop || old.table == "" {
				continue
			}
			if c.spec.OnDelete == Mark && keep.missing == 0 {
				keep.missing = metadb.Micros(c.now)
			}
		}
		c.files = append(c.files, &keep)
	}
}

func (c *crawl) isUnseen(name string) bool {
	return slices.ContainsFunc(c.unseen, func(dir string) bool { return strings.HasPrefix(name, dir) })
}
