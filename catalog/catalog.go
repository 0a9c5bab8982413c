package catalog

import (
	"context"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// Options says where a Catalog keeps what, and where it must not look.
type Options struct {
	DB *metadb.DB
	// Cache is a folder of the catalog's own for files that were converted to Parquet.
	Cache string
	// Data is Tarn's own data folder. Nothing in it is crawled but the folders of Lake that are no tables.
	Data string
	Lake string // folder of the lake; may be empty
	// Reserved lists tables of other parts, which external tables must not be called like. May be nil.
	Reserved func(context.Context) ([]string, error)

	MemoryBytes int64  // of DuckDB for one crawl; 0 = 256 MiB
	Threads     int    // files looked into at once; 0 = one per CPU
	TempDir     string // for what does not fit; "" is nothing

	Logger *slog.Logger // nil discards
	Clock  func() time.Time

	// OnStep is called at each step of a crawl with its name and how far it is: for progress, and
	// for tests that stop there. May be nil.
	OnStep func(step string, done, total int)
}

// Catalog crawls folders and gives the external tables. It is safe for concurrent use; two crawls of
// one crawler at once end with tarn.CodeConflict for one of them.
type Catalog struct {
	o  Options
	db *metadb.DB

	mu     sync.Mutex
	tables map[string]*Table // as last read, by name
}

// Open returns a catalog over a metadata database. It starts nothing and needs no closing.
func Open(o Options) (*Catalog, error) {
	if o.DB == nil || !filepath.IsAbs(o.Cache) || !filepath.IsAbs(o.Data) {
		return nil, &tarn.Error{Code: tarn.CodeInternal, Detail: "the catalog needs a database and absolute folders"}
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 256 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	return &Catalog{o: o, db: o.DB, tables: map[string]*Table{}}, nil
}

func (c *Catalog) workers() int {
	if c.o.Threads > 0 {
		return c.o.Threads
	}
	return runtime.GOMAXPROCS(0)
}

func (c *Catalog) step(name string, done, total int) {
	if c.o.OnStep != nil {
		c.o.OnStep(name, done, total)
	}
}

// Within reports whether the folder inner is outer or lies in it. Both are clean and absolute.
func Within(outer, inner string) bool {
	rel, err := filepath.Rel(outer, inner)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// permitted refuses to make a table of a folder that holds Tarn's own data: queries may read
// everything under the location of a table, as far as DuckDB's own sandbox goes (I6).
func (c *Catalog) permitted(folder string) error {
	if Within(folder, resolved(c.o.Data)) || c.o.Lake != "" && Within(folder, resolved(c.o.Lake)) {
		return ownData(folder)
	}
	return c.crawlable(folder)
}

// crawlable refuses folders in Tarn's own data, but for those of the lake that are no tables.
func (c *Catalog) crawlable(folder string) error {
	lake := resolved(c.o.Lake)
	switch {
	case lake != "" && Within(lake, folder):
		if folder == lake || Within(filepath.Join(lake, "curated"), folder) {
			return ownData(folder)
		}
	case Within(resolved(c.o.Data), folder):
		return ownData(folder)
	}
	return nil
}

// own are the folders that a walk from outside does not enter.
func (c *Catalog) own() []string { return []string{resolved(c.o.Data), resolved(c.o.Lake)} }

func ownData(folder string) error {
	return &tarn.Error{Code: tarn.CodeForbidden, Detail: folder + " holds Tarn's own data", Hint: "crawl the folder that holds the files to read"}
}

// resolved is a folder without links on the way to it, as far as it exists.
func resolved(folder string) string {
	if folder == "" {
		return ""
	}
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		return real
	}
	return filepath.Clean(folder)
}
