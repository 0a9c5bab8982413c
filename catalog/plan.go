package catalog

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// plan is what a crawl makes of the tables.
type plan struct {
	tables  []*planned // in order of name
	dropped []*Table
	upsert  []*file  // rows that are new or differ
	remove  []string // paths of rows that go
}

// planned is a table as it will be.
type planned struct {
	Table
	old     *Table // nil when it is new
	folders int
	action  string
	changes []string // of the schema
}

// plan groups the files, names the tables and evolves their schemas.
func (c *crawl) plan(ctx context.Context) (*plan, error) {
	var live []*file
	for _, f := range c.files {
		if f.layout >= 0 && f.missing == 0 {
			live = append(live, f)
		}
	}
	groups, err := groupFiles(live, c.layouts, c.spec.Group)
	if err != nil {
		return nil, err
	}
	if len(groups) > c.spec.MaxTables {
		return nil, c.tooMany(groups)
	}
	names, err := c.names(ctx, groups)
	if err != nil {
		return nil, err
	}
	p := &plan{}
	byName := map[string]*planned{}
	for _, g := range groups {
		t, err := c.planTable(c.spec.Zone+"."+names[g], g)
		if err != nil {
			return nil, err
		}
		p.tables = append(p.tables, t)
		byName[t.Name] = t
	}
	c.planMissing(p, byName)
	slices.SortFunc(p.tables, func(a, b *planned) int { return strings.Compare(a.Name, b.Name) })
	for _, name := range slices.Sorted(maps.Keys(c.known.tables)) {
		if byName[name] == nil {
			p.dropped = append(p.dropped, c.known.tables[name])
		}
	}
	c.diff(p)
	return p, nil
}

// tooMany explains that a dataset falls apart, and how to go on.
func (c *crawl) tooMany(groups []*group) error {
	var like []string
	for _, g := range groups[:3] {
		like = append(like, g.files[0].path)
	}
	return &tarn.Error{Code: tarn.CodeTooLarge,
		Detail: fmt.Sprintf("%s would become %d tables, more than the %d it may; their columns do not agree, as those of %s", c.list.root, len(groups), c.spec.MaxTables, strings.Join(like, ", ")),
		Hint:   "crawl a folder further down, make everything one table (group: one, --group one), or raise the bound (max_tables, --max-tables)"}
}

// names chooses the names of the groups, none of which is taken by another part or crawler.
func (c *crawl) names(ctx context.Context, groups []*group) (map[*group]string, error) {
	taken := map[string]bool{}
	all, err := c.cat.Tables(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range all {
		if t.Crawler != c.spec.Name {
			taken[t.Name] = true
		}
	}
	if c.cat.o.Reserved != nil {
		reserved, err := c.cat.o.Reserved(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range reserved {
			taken[n] = true
		}
	}
	inZone := map[string]bool{}
	for n := range taken {
		if zone, name, _ := strings.Cut(n, "."); zone == c.spec.Zone {
			inZone[name] = true
		}
	}
	if c.spec.Table != "" && inZone[c.spec.Table] {
		return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the table %s.%s is somebody else's", c.spec.Zone, c.spec.Table), Hint: "choose another name"}
	}
	return nameGroups(groups, c.list.root, c.spec.Table, c.list.single, inZone), nil
}

func (c *crawl) planTable(name string, g *group) (*planned, error) {
	if old := c.known.tables[name]; old != nil && c.spec.OnSchemaChange == IgnoreChange {
		c.leaveMisfits(g, old)
	}
	t := &planned{Table: Table{Name: name, Crawler: c.spec.Name, Root: c.list.root, Location: filepath.Join(c.list.root, filepath.FromSlash(g.location)),
		Why: g.why, CreatedAt: c.now, UpdatedAt: c.now, layouts: c.layouts}, old: c.known.tables[name], folders: g.folders}
	if err := c.cat.permitted(t.Location); err != nil {
		return nil, err
	}
	have := schemaOf(g.files, c.layouts)
	if t.old == nil {
		columns, _ := evolve(nil, have, NewVersion, 1)
		t.addSchema(columns, "first crawl", c)
	} else {
		t.CreatedAt, t.SchemaVersion, t.Schemas = t.old.CreatedAt, t.old.SchemaVersion, slices.Clone(t.old.Schemas)
		columns, changes := evolve(t.old.Columns(), have, c.spec.OnSchemaChange, t.old.nextID())
		if len(changes) > 0 {
			t.changes = changes
			t.addSchema(columns, strings.Join(changes, "; "), c)
		}
	}
	formats := map[string]bool{}
	for _, f := range g.files {
		if f.table != name || f.schemaVersion == 0 {
			f.schemaVersion = t.SchemaVersion
		}
		f.table, f.reason, f.detail = name, "", ""
		t.files = append(t.files, f)
		formats[string(c.layouts[f.layout].Format)] = true
	}
	t.Format = strings.Join(slices.Sorted(maps.Keys(formats)), "+")
	return t, nil
}

// leaveMisfits takes files out of a group that cannot be read as the table is.
func (c *crawl) leaveMisfits(g *group, old *Table) {
	columns := old.Columns()
	g.files = slices.DeleteFunc(g.files, func(f *file) bool {
		why := misfits(c.layouts[f.layout], f.parts, columns)
		if why != "" {
			f.table, f.reason, f.detail = "", Mismatch, why
		}
		return why != ""
	})
	if len(g.files) > 0 {
		g.finish(nodesOf(g.files), c.layouts, c.spec.Group)
	}
}

func (t *planned) addSchema(columns []SchemaColumn, reason string, c *crawl) {
	t.SchemaVersion++
	t.Schemas = append(t.Schemas, SchemaVersion{Version: t.SchemaVersion, Columns: columns, Reason: reason, CreatedAt: c.now})
}

// nextID is an id that no column of the table has ever had.
func (t *Table) nextID() int {
	next := 1
	for _, s := range t.Schemas {
		for _, col := range s.Columns {
			next = max(next, col.ID+1)
		}
	}
	return next
}

// planMissing puts files that are gone, and listed still, to the tables they were in. A table of
// nothing else stays.
func (c *crawl) planMissing(p *plan, byName map[string]*planned) {
	c.files = slices.DeleteFunc(c.files, func(f *file) bool {
		if f.missing == 0 {
			return false
		}
		t := byName[f.table]
		if t == nil {
			old := c.known.tables[f.table]
			if old == nil {
				return true
			}
			t = &planned{Table: *old, old: old}
			t.layouts, t.files = c.layouts, nil
			if t.MissingSince.IsZero() {
				t.MissingSince = c.now
			}
			byName[t.Name] = t
			p.tables = append(p.tables, t)
		}
		t.files = append(t.files, f)
		return false
	})
}

// diff finds the rows that differ from what is known, and so the tables that have changed.
func (c *crawl) diff(p *plan) {
	touched, now := map[string]bool{}, map[string]bool{}
	for _, f := range c.files {
		now[f.path] = true
		old := c.known.files[f.path]
		if old != nil && old.same(f) {
			continue
		}
		p.upsert = append(p.upsert, f)
		touched[f.table] = true
		if old != nil {
			touched[old.table] = true
		}
	}
	for name, old := range c.known.files {
		if !now[name] {
			p.remove = append(p.remove, name)
			touched[old.table] = true
		}
	}
	for _, t := range p.tables {
		switch {
		case t.old == nil:
			t.action, t.Version = Created, metadb.Micros(c.now)
		case touched[t.Name] || len(t.changes) > 0 || t.Location != t.old.Location || t.Why != t.old.Why || t.Format != t.old.Format || t.Root != t.old.Root || !t.MissingSince.Equal(t.old.MissingSince):
			// A table that was dropped and made again must not have a version of its past.
			t.action, t.Version, t.UpdatedAt = Changed, max(metadb.Micros(c.now), t.old.Version+1), c.now
		default:
			t.action, t.Version, t.UpdatedAt = Unchanged, t.old.Version, t.old.UpdatedAt
		}
	}
}

// same compares what is stored.
func (f *file) same(o *file) bool {
	return f.path == o.path && f.table == o.table && f.layout == o.layout && f.size == o.size && f.mtime == o.mtime && f.fingerprint == o.fingerprint &&
		f.rows == o.rows && f.schemaVersion == o.schemaVersion && f.checked == o.checked && f.missing == o.missing && f.reason == o.reason && f.detail == o.detail
}

// maxSkipped bounds the skipped files that a report names.
const maxSkipped = 1000

func (c *crawl) report(p *plan, dryRun bool) *Report {
	r := &Report{Crawler: c.spec.Name, Path: c.list.root, DryRun: dryRun, StartedAt: c.now, Files: c.counts, Tables: []TableReport{}, Skipped: []SkippedFile{}}
	r.Files.Skipped = map[Reason]int{}
	if c.list.hidden > 0 {
		r.Files.Skipped[Hidden] = c.list.hidden
	}
	for _, s := range c.list.skipped {
		r.leaveOut(s)
	}
	for _, f := range c.files {
		if f.table == "" && f.checked != 0 { // looked into, or before
			r.leaveOut(SkippedFile{Path: f.path, Reason: f.reason, Detail: f.detail})
		}
	}
	for _, t := range p.tables {
		r.Tables = append(r.Tables, t.report())
	}
	for _, t := range p.dropped {
		r.Tables = append(r.Tables, TableReport{Name: t.Name, Action: Dropped, Location: t.Location, Format: t.Format, SchemaVersion: t.SchemaVersion,
			Columns: []ReportColumn{}, Why: "none of its files is left"})
	}
	r.Seconds = c.cat.o.Clock().UTC().Sub(c.now).Seconds()
	return r
}

func (r *Report) leaveOut(s SkippedFile) {
	r.Files.Skipped[s.Reason]++
	if len(r.Skipped) < maxSkipped {
		r.Skipped = append(r.Skipped, s)
	}
}

func (t *planned) report() TableReport {
	files, bytes, rows, parts := totals(t.files)
	r := TableReport{Name: t.Name, Action: t.action, Location: t.Location, Format: t.Format, Folders: t.folders, Files: files, Missing: len(t.files) - files,
		Bytes: bytes, PartitionBy: t.PartitionBy(), Partitions: parts, SchemaVersion: t.SchemaVersion, Why: t.Why, Changes: t.changes}
	if rows >= 0 {
		r.Rows = &rows
	}
	for _, col := range t.Columns() {
		r.Columns = append(r.Columns, ReportColumn{Name: col.Name, Type: col.Type})
	}
	return r
}
