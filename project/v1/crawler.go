package v1

import (
	"path"
	"strings"

	"github.com/tarn-data/tarn"
)

// Crawler is the content of one file under crawlers/: a folder of files that something else writes,
// and the external tables they become.
type Crawler struct {
	Crawler        Name       `json:"crawler" required:"true" example:"users" doc:"The name of the crawler."`
	Owner          string     `json:"owner,omitempty" example:"fleet-data" doc:"Who answers for it."`
	Description    string     `json:"description,omitempty" doc:"What it finds, for people."`
	Path           FolderPath `json:"path,omitempty" example:"exports/users" doc:"The folder to crawl, relative to the project or absolute. SQL may read what its tables name, and nothing else in it."`
	Prefix         LakePrefix `json:"prefix,omitempty" example:"raw/exports" doc:"Instead of 'path': a folder of the lake, in the zone 'raw' or 'cleaned'."`
	Zone           string     `json:"zone" default:"raw" enum:"raw,cleaned" example:"raw" doc:"The zone, and SQL schema, of its tables."`
	Table          Name       `json:"table,omitempty" example:"users" doc:"The name of the one table that all files become. Default: tables are found by their columns and named after their folders."`
	Group          string     `json:"group" default:"auto" enum:"auto,folders,one" example:"auto" doc:"Which files are one table. 'auto': those whose columns agree, whichever folders they lie in. 'folders': those of one folder. 'one': all of them. Hive partitions ('year=2026') count as the folder around them."`
	Schedule       Schedule   `json:"schedule,omitzero" example:"\"0 3 * * *\"" doc:"When it runs, in UTC: minute, hour, day of the month, month, day of the week. Quote it. Without 'schedule' and 'every' it runs when Tarn starts, when its file changes, and when asked to."`
	Every          Duration   `json:"every,omitempty" min:"1s" max:"8760h" example:"15m" doc:"How far apart it runs."`
	OnSchemaChange string     `json:"on_schema_change" default:"add_columns" enum:"add_columns,new_version,ignore" example:"add_columns" doc:"What files with other columns do to a table. 'add_columns': columns are added and types widen, and none ever goes. 'new_version': the schema becomes what the files hold now. 'ignore': it stays, new columns are not read, and files that do not fit are left out."`
	OnDelete       string     `json:"on_delete" default:"mark" enum:"keep,mark,drop" example:"mark" doc:"What becomes of files that are gone. 'keep': they stay listed, and a query that needs one fails. 'mark': they stay listed as missing, and queries go on without. 'drop': they are forgotten, and so is a table without files."`
	MaxTables      int        `json:"max_tables" default:"100" min:"1" max:"10000" example:"100" doc:"A crawl that would make more tables is refused."`
	Settle         Duration   `json:"settle" default:"2s" min:"0s" max:"24h" example:"2s" doc:"A file that has not changed for this long is finished."`
}

// LakePrefix is a folder of the lake that external tables may lie in: raw/users.
type LakePrefix string

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *LakePrefix) UnmarshalText(b []byte) error {
	s := string(b)
	clean := path.Clean(s)
	zone, rest, _ := strings.Cut(clean, "/")
	switch {
	case strings.ContainsAny(s, "\\\x00") || strings.Contains(s, "://") || strings.HasPrefix(s, "/") || strings.TrimSpace(s) != s:
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not a folder of the lake", Hint: "write one such as raw/users; other folders go into path"}
	case zone == Zone:
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "what lies in " + Zone + " are tables already", Hint: "write a folder in raw or cleaned"}
	case zone != "raw" && zone != "cleaned" || rest == "":
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: quote(s) + " is not a folder in a zone of the lake", Hint: "write one such as raw/users"}
	}
	*l = LakePrefix(clean)
	return nil
}

// JSONSchema returns the schema of a folder of the lake.
func (LakePrefix) JSONSchema() map[string]any {
	return map[string]any{"type": "string", "pattern": `(raw|cleaned)/`}
}
