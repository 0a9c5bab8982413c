package project

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

const (
	crawlersDir = "crawlers"
	maxCrawlers = 1000
)

// Crawler finds external tables in a folder of files that something else writes.
type Crawler struct {
	Name           string
	File           string // relative to the project
	Owner          string
	Description    string
	Path           string // a folder, relative to the project or absolute; or else
	Prefix         string // a folder of the lake
	Zone           string // raw or cleaned
	Table          string // the one table, without zone; empty when they are found
	Group          string // auto, folders or one
	Schedule       v1.Schedule
	Every          time.Duration
	OnSchemaChange string // add_columns, new_version or ignore
	OnDelete       string // keep, mark or drop
	MaxTables      int
	Settle         time.Duration
}

// Crawler returns the crawler of that name, or nil.
func (p *Project) Crawler(name string) *Crawler {
	return find(p.Crawlers, func(c *Crawler) bool { return c.Name == name })
}

// crawlerFile is a decoded file under crawlers/.
type crawlerFile struct {
	yamlFile
	model v1.Crawler
}

// crawler reads one crawler.
func (l *loader) crawler(name string) (f crawlerFile, ok bool) {
	f.yamlFile, ok = l.decode(name, &f.model, "", "write crawler: NAME and path: FOLDER")
	return f, ok
}

// checkCrawlers reports what cannot be said of one key alone.
func (l *loader) checkCrawlers(files []crawlerFile, pipelines []pipelineFile) {
	named, tables := map[string]string{}, map[string]string{}
	backups := map[string]string{} // the tables of raw backups → where the pipeline stands
	for _, p := range pipelines {
		if name := cmp.Or(p.model.Stream.Name, p.model.Pipeline); name != "" {
			backups["raw."+string(name)] = fmt.Sprintf("%s:%d", p.name, p.doc.Fault("pipeline", "", "", "").Line)
		}
		for i, d := range p.model.Deliver {
			tables[deliveryName(d)] = fmt.Sprintf("%s:%d", p.name, p.doc.Fault(fmt.Sprintf("deliver[%d]", i), "", "", "").Line)
		}
	}
	for _, f := range files {
		l.crawlerPlace(f)
		if f.doc.Has("schedule") && f.doc.Has("every") {
			l.fault(f.yamlFile, "every", tarn.CodeInvalid, "it stands beside schedule", `write one of schedule: "0 3 * * *" and every: 15m`)
		}
		if f.model.Table != "" && f.model.Group == "folders" {
			l.fault(f.yamlFile, "group", tarn.CodeInvalid, "one table cannot be grouped by folders", "take table away, or write group: one")
		}
		l.once(f, named, "crawler", string(f.model.Crawler), "crawler", "give each crawler its own name")
		if f.model.Table != "" && f.model.Zone != "" {
			name := f.model.Zone + "." + string(f.model.Table)
			if at, taken := backups[name]; taken { // raw_backup can be switched on at any time
				l.fault(f.yamlFile, "table", tarn.CodeConflict, name+" is kept for the raw backup of the stream in "+at, "choose another name, or write zone: cleaned")
				continue
			}
			l.once(f, tables, "table", name, "table", "choose another name")
		}
	}
}

// crawlerPlace checks that a crawler has one place to look, and that it is not Tarn's own.
func (l *loader) crawlerPlace(f crawlerFile) {
	hasPath, hasPrefix := f.doc.Has("path"), f.doc.Has("prefix")
	switch {
	case hasPath && hasPrefix:
		l.fault(f.yamlFile, "prefix", tarn.CodeInvalid, "it stands beside path", "write one of path and prefix")
	case !hasPath && !hasPrefix:
		l.fault(f.yamlFile, "crawler", CodeMissing, "it is not said where the crawler looks", "write path: FOLDER, or prefix: raw/FOLDER for a folder of the lake")
	case f.model.Path != "":
		root, _, _ := strings.Cut(string(f.model.Path), "/")
		switch {
		case slices.Contains(ownFolders, root):
			l.fault(f.yamlFile, "path", tarn.CodeConflict, string(f.model.Path)+" is a folder of the project", "crawl the folder that holds the data")
		case root == ".tarn":
			l.fault(f.yamlFile, "path", tarn.CodeConflict, string(f.model.Path)+" is in the data folder", "write prefix: raw/FOLDER for a folder of the lake")
		}
	}
}

// once reports a name that stands in the project already; seen says where.
func (l *loader) once(f crawlerFile, seen map[string]string, kind, name, path, hint string) {
	if name == "" {
		return // it has a fault already
	}
	if other, taken := seen[name]; taken {
		l.fault(f.yamlFile, path, tarn.CodeConflict, fmt.Sprintf("the %s %s stands in %s already", kind, name, other), hint)
		return
	}
	seen[name] = fmt.Sprintf("%s:%d", f.name, f.doc.Fault(path, "", "", "").Line)
}

func crawlerFromModel(file string, m v1.Crawler) Crawler {
	return Crawler{Name: string(m.Crawler), File: file, Owner: m.Owner, Description: m.Description, Path: string(m.Path), Prefix: string(m.Prefix),
		Zone: m.Zone, Table: string(m.Table), Group: m.Group, Schedule: m.Schedule, Every: time.Duration(m.Every), OnSchemaChange: m.OnSchemaChange,
		OnDelete: m.OnDelete, MaxTables: m.MaxTables, Settle: time.Duration(m.Settle)}
}

// toModel is the inverse of crawlerFromModel.
func (c *Crawler) toModel() v1.Crawler {
	return v1.Crawler{Crawler: v1.Name(c.Name), Owner: c.Owner, Description: c.Description, Path: v1.FolderPath(c.Path), Prefix: v1.LakePrefix(c.Prefix),
		Zone: c.Zone, Table: v1.Name(c.Table), Group: c.Group, Schedule: c.Schedule, Every: v1.Duration(c.Every), OnSchemaChange: c.OnSchemaChange,
		OnDelete: c.OnDelete, MaxTables: c.MaxTables, Settle: v1.Duration(c.Settle)}
}

// crawlerDocument is the JSON form of a crawler; see document.
type crawlerDocument struct {
	File string `json:"file"`
	v1.Crawler
}

func crawlerProperties(c *Crawler) []property {
	m := c.toModel()
	props := optional("owner", c.Owner)
	props = append(props, optional("description", c.Description)...)
	props = append(props, optional("path", c.Path)...)
	props = append(props, optional("prefix", c.Prefix)...)
	props = append(props, property{"zone", c.Zone})
	props = append(props, optional("table", c.Table)...)
	props = append(props, property{"group", c.Group})
	props = append(props, optional("schedule", c.Schedule.String())...)
	if c.Every > 0 {
		props = append(props, property{"every", m.Every.String()})
	}
	return append(props, property{"on_schema_change", c.OnSchemaChange}, property{"on_delete", c.OnDelete},
		property{"max_tables", fmt.Sprint(c.MaxTables)}, property{"settle", m.Settle.String()})
}
