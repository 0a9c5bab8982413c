package server

import (
	"context"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn/catalog"
)

// CrawlRequest names a crawler of the project, or a folder and how to crawl it.
type CrawlRequest struct {
	Crawler        string `json:"crawler,omitempty" maxLength:"63" doc:"A crawler of the project; then only dry_run counts besides"`
	Path           string `json:"path,omitempty" maxLength:"4096" example:"raw/exports" doc:"A folder of the lake (raw/…, cleaned/…) or of the project. Other folders are crawled by crawlers of the project, or by tarn crawl on the machine itself"`
	Zone           string `json:"zone,omitempty" enum:"raw,cleaned" doc:"Default raw"`
	Table          string `json:"table,omitempty" maxLength:"63" doc:"The name of the one table"`
	Group          string `json:"group,omitempty" enum:"auto,folders,one" doc:"Which files are one table; default auto"`
	OnSchemaChange string `json:"on_schema_change,omitempty" enum:"add_columns,new_version,ignore" doc:"Default add_columns"`
	OnDelete       string `json:"on_delete,omitempty" enum:"keep,mark,drop" doc:"Default mark"`
	MaxTables      int    `json:"max_tables,omitempty" minimum:"1" maximum:"10000" doc:"Default 100"`
	DryRun         bool   `json:"dry_run,omitempty" doc:"Only say what would be done"`
}

// CrawlerDoc is a crawler of the project.
type CrawlerDoc struct {
	Name      string     `json:"name"`
	Path      string     `json:"path"`
	When      string     `json:"when" example:"every 15m" doc:"Its schedule, or on change"`
	State     string     `json:"state" enum:"waiting,running,failed" doc:"failed: the last run was refused and changed nothing"`
	Error     string     `json:"error,omitempty" doc:"Why"`
	LastRun   *time.Time `json:"last_run,omitempty"`
	NextRun   *time.Time `json:"next_run,omitempty"`
	Tables    []string   `json:"tables"`
	FileCount int        `json:"files"`
}

// ExternalDoc says what only external tables have.
type ExternalDoc struct {
	Crawler       string             `json:"crawler"`
	Format        string             `json:"format" example:"csv"`
	Why           string             `json:"why" doc:"Why its files are one table"`
	Partitions    int                `json:"partitions,omitempty"`
	RowsKnown     bool               `json:"rows_known" doc:"rows is the sum over all files; else it is 0 and not known"`
	MissingFiles  int                `json:"missing_files,omitempty" doc:"Listed, and gone"`
	MissingSince  *time.Time         `json:"missing_since,omitempty" doc:"Every file is gone since then"`
	SchemaVersion int                `json:"schema_version"`
	Versions      []SchemaVersionDoc `json:"schema_versions,omitempty" doc:"Newest first"`
}

// SchemaVersionDoc is a schema that an external table has had.
type SchemaVersionDoc struct {
	Version int       `json:"version"`
	At      time.Time `json:"at"`
	Reason  string    `json:"reason"`
	Columns int       `json:"columns"`
}

type (
	crawlIn     struct{ Body CrawlRequest }
	crawlOut    struct{ Body *catalog.Report }
	crawlersOut struct{ Body crawlerList }
	crawlerList struct {
		Crawlers []CrawlerDoc `json:"crawlers"`
	}
)

// registerCrawls mounts what finds external tables.
func (s *Server) registerCrawls(api huma.API) {
	c := s.opts.Control
	register(s, api, "GET", "/v1/crawlers", "list-crawlers", "tables", "The crawlers of the project",
		func(ctx context.Context, _ *none) (*crawlersOut, error) {
			v, err := call(ctx, c.Crawlers)
			return &crawlersOut{crawlerList{list(v)}}, err
		})
	register(s, api, "POST", "/v1/crawls", "crawl", "tables", "Look at a folder of files and bring its external tables up to date",
		func(ctx context.Context, in *crawlIn) (*crawlOut, error) {
			if c.Crawl == nil {
				return nil, errNotOffered
			}
			r, err := c.Crawl(ctx, in.Body)
			return &crawlOut{r}, err
		})
}
