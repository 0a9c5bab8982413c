package catalog

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// OnSchemaChange says what a crawl does to a table whose files have other columns than it has.
type OnSchemaChange string

// The ways to answer a change of schema.
const (
	// AddColumns appends new columns and widens types in a new version of the schema. Columns never go.
	AddColumns OnSchemaChange = "add_columns"
	// NewVersion makes a new version that holds exactly what the files hold now.
	NewVersion OnSchemaChange = "new_version"
	// IgnoreChange keeps the schema: new columns are not read, and files that do not fit are left out.
	IgnoreChange OnSchemaChange = "ignore"
)

// OnDelete says what a crawl does about files that are gone.
type OnDelete string

// The ways to answer a deletion.
const (
	Keep OnDelete = "keep" // they stay listed as though they were there; a query that needs one fails
	Mark OnDelete = "mark" // they stay listed with the time since when they are missing, and are not read
	Drop OnDelete = "drop" // they are forgotten, and so is a table without files
)

// Grouping says which files become one table.
type Grouping string

// The groupings.
const (
	GroupAuto    Grouping = "auto"    // files whose schemas agree, whichever folders they lie in
	GroupFolders Grouping = "folders" // the files of one folder whose schemas agree; Hive partitions count as their parent
	GroupOne     Grouping = "one"     // everything; files that do not agree are an error
)

// Crawler is what to crawl and how. The zero value of a field but Path means its default.
type Crawler struct {
	Name           string // its identity; default the path
	Path           string // an absolute folder or file
	Zone           string // raw (default) or cleaned
	Table          string // name without zone of the one table there is; default chosen from the folders
	OnSchemaChange OnSchemaChange
	OnDelete       OnDelete
	Group          Grouping
	MaxTables      int           // a crawl that would make more is refused; default 100
	Settle         time.Duration // files changed more recently are left for the next crawl; negative is none; default 2 s
}

const (
	defaultMaxTables = 100
	defaultSettle    = 2 * time.Second
)

var nameRegexp = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)

// NameOf is the identity of a crawler that has no name but its path, which is absolute.
func NameOf(path string) string { return "path:" + filepath.ToSlash(filepath.Clean(path)) }

func (c Crawler) withDefaults() (Crawler, error) {
	if c.Zone == "" {
		c.Zone = "raw"
	}
	if c.OnSchemaChange == "" {
		c.OnSchemaChange = AddColumns
	}
	if c.OnDelete == "" {
		c.OnDelete = Mark
	}
	if c.Group == "" {
		c.Group = GroupAuto
	}
	if c.Table != "" && c.Group == GroupAuto {
		c.Group = GroupOne
	}
	if c.MaxTables == 0 {
		c.MaxTables = defaultMaxTables
	}
	if c.Settle == 0 {
		c.Settle = defaultSettle
	}
	c.Settle = max(c.Settle, 0)
	bad := func(hint, format string, a ...any) (Crawler, error) {
		return c, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf(format, a...), Hint: hint}
	}
	switch {
	case !filepath.IsAbs(c.Path):
		return bad("give an absolute path", "the path %q is not absolute", c.Path)
	case c.Zone != "raw" && c.Zone != "cleaned":
		return bad("write raw or cleaned", "%q is not a zone of external tables", c.Zone)
	case c.Table != "" && !nameRegexp.MatchString(c.Table):
		return bad("a name begins with a-z and goes on with a-z, 0-9 and _, at most 63 in all", "%q is not the name of a table", c.Table)
	case c.Table != "" && c.Group == GroupFolders:
		return bad("leave the table out, or do not group by folders", "one table cannot be grouped by folders")
	case c.OnSchemaChange != AddColumns && c.OnSchemaChange != NewVersion && c.OnSchemaChange != IgnoreChange:
		return bad("write add_columns, new_version or ignore", "%q does not say what to do on a schema change", c.OnSchemaChange)
	case c.OnDelete != Keep && c.OnDelete != Mark && c.OnDelete != Drop:
		return bad("write keep, mark or drop", "%q does not say what to do about deleted files", c.OnDelete)
	case c.Group != GroupAuto && c.Group != GroupFolders && c.Group != GroupOne:
		return bad("write auto, folders or one", "%q is not a grouping", c.Group)
	case c.MaxTables < 0:
		return bad("", "the number of tables must not be negative")
	}
	c.Path = filepath.Clean(c.Path)
	if c.Name == "" {
		c.Name = NameOf(c.Path)
	}
	if strings.ContainsRune(c.Path, 0) {
		return bad("", "the path holds a zero byte")
	}
	return c, nil
}
