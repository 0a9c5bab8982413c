package catalog

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// Table is an external table as it was at one moment. Treat it as immutable.
type Table struct {
	Name          string // zone.table
	Crawler       string
	Root          string // absolute folder that was crawled
	Location      string // absolute folder of all its files, in Root
	Format        string // csv, parquet, … or several with + between them
	Why           string // its files are one table
	Version       int64  // grows with every change
	SchemaVersion int
	CreatedAt     time.Time
	UpdatedAt     time.Time
	MissingSince  time.Time // zero unless every file is gone
	Schemas       []SchemaVersion

	files   []*file
	layouts []Layout
}

// SchemaVersion is a schema a table has had.
type SchemaVersion struct {
	Version   int
	Columns   []SchemaColumn
	Reason    string
	CreatedAt time.Time
}

// FileInfo is one file of an external table.
type FileInfo struct {
	Path          string // absolute
	Size          int64
	ModTime       time.Time
	Rows          int64 // -1 unknown
	Fingerprint   string
	Format        Format
	SchemaVersion int
	MissingSince  time.Time // zero while it is there
	Partition     map[string]any
}

// file is a file a crawler has seen.
type file struct {
	path          string // relative to the crawled folder
	opened        string // absolute: itself, or what it was converted to
	table         string // "" for none
	layout        int    // -1 for none
	size, mtime   int64
	fingerprint   string
	rows          int64
	schemaVersion int
	checked       int64 // microseconds
	missing       int64 // microseconds; 0 is not
	reason        Reason
	detail        string

	parts []partition
}

// Columns returns the current columns.
func (t *Table) Columns() []SchemaColumn { return t.schema(0) }

// schema returns the columns of a version, 0 for the current one, and nil when there is none.
func (t *Table) schema(version int) []SchemaColumn {
	if version == 0 {
		version = t.SchemaVersion
	}
	for _, s := range t.Schemas {
		if s.Version == version {
			return s.Columns
		}
	}
	return nil
}

// Schema returns the current columns.
func (t *Table) Schema() tarn.Schema { return tableSchema(t.Columns()) }

// PartitionBy returns the names of the partition columns.
func (t *Table) PartitionBy() []string {
	var names []string
	for _, c := range t.Columns() {
		if c.Partition {
			names = append(names, c.Name)
		}
	}
	return names
}

// Totals are sums over the files that are there.
func (t *Table) Totals() (files int, bytes int64, rows int64, partitions int) {
	return totals(t.files)
}

// totals gives rows as -1 when those of some file are not known.
func totals(list []*file) (files int, bytes int64, rows int64, partitions int) {
	folders := map[string]bool{}
	for _, f := range list {
		if f.missing != 0 {
			continue
		}
		files++
		bytes += f.size
		if f.rows < 0 || rows < 0 {
			rows = -1
		} else {
			rows += f.rows
		}
		if len(f.parts) > 0 {
			folders[path.Dir(f.path)] = true
		}
	}
	return files, bytes, rows, len(folders)
}

// Listed is how many files are listed, those that are gone among them.
func (t *Table) Listed() int { return len(t.files) }

// Files lists the files in order of path.
func (t *Table) Files() []FileInfo {
	out := make([]FileInfo, len(t.files))
	columns := t.Columns()
	for i, f := range t.files {
		out[i] = FileInfo{Path: f.source(t.Root), Size: f.size, ModTime: time.Unix(0, f.mtime).UTC(), Rows: f.rows, Fingerprint: f.fingerprint,
			Format: t.layouts[f.layout].Format, SchemaVersion: f.schemaVersion, Partition: map[string]any{}}
		if f.missing != 0 {
			out[i].MissingSince = time.UnixMicro(f.missing).UTC()
		}
		for _, p := range f.parts {
			if at := columnIndex(columns, p.key); at >= 0 {
				out[i].Partition[columns[at].Name], _ = p.bound(columns[at].typeOf())
			}
		}
	}
	return out
}

// View is a table fixed for one statement.
type View struct {
	Schema tarn.Schema
	Files  []ViewFile
	table  *Table
	column []SchemaColumn
}

// ViewFile is a file of a view.
type ViewFile struct {
	Path  string // as DuckDB opens it
	Rows  int64  // -1 unknown
	Bytes int64
	Parts map[int]any // value of each partition column by field id; nil is NULL
	file  *file
}

// View fixes the table as it was last crawled, or as it was with an earlier version of its schema.
// Errors: tarn.CodeNotFound for a version that never was.
func (t *Table) View(version int) (*View, error) {
	columns := t.schema(version)
	if columns == nil {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("%s has no version %d", t.Name, version),
			Hint: fmt.Sprintf("its schema has the versions %d to %d", t.Schemas[0].Version, t.SchemaVersion)}
	}
	v := &View{Schema: tableSchema(columns), table: t, column: columns}
	for _, f := range t.files {
		if f.missing != 0 || version != 0 && f.schemaVersion > version {
			continue
		}
		vf := ViewFile{Path: f.opened, Rows: f.rows, Bytes: f.size, Parts: map[int]any{}, file: f}
		for _, c := range columns {
			if !c.Partition {
				continue
			}
			at := slices.IndexFunc(f.parts, func(p partition) bool { return fold(p.key) == fold(c.Name) })
			if at < 0 {
				continue
			}
			if b, ok := f.parts[at].bound(c.typeOf()); ok {
				vf.Parts[c.ID] = b
			}
		}
		v.Files = append(v.Files, vf)
	}
	return v, nil
}

// Relation returns SQL text, usable after FROM, for the rows of those files of the view that keep
// says; nil keeps all. It looks at each of them: one that is gone or has changed since it was
// crawled is an error, for what is known of it is no longer true.
func (v *View) Relation(ctx context.Context, keep map[string]bool) (string, error) {
	var files []*file
	for _, f := range v.Files {
		if keep != nil && !keep[f.Path] {
			continue
		}
		if err := ctx.Err(); err != nil {
			return "", err
		}
		if err := v.table.asCrawled(f.file); err != nil {
			return "", err
		}
		files = append(files, f.file)
	}
	return relation(files, v.table.layouts, v.column), nil
}

func (t *Table) asCrawled(f *file) error {
	name := strings.TrimPrefix(t.Crawler, "path:")
	if strings.ContainsAny(name, " '") {
		name = strconv.Quote(name)
	}
	again := "crawl it again: tarn crawl " + name
	info, err := os.Stat(f.source(t.Root))
	switch {
	case err != nil:
		return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the file %s of %s cannot be read any more", f.path, t.Name),
			Hint: "bring it back, or go on without it: " + again, Err: err}
	case info.Size() != f.size || info.ModTime().UnixNano() != f.mtime:
		return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the file %s of %s has changed since it was crawled", f.path, t.Name), Hint: again}
	}
	if f.opened != f.source(t.Root) {
		if _, err := os.Stat(f.opened); err != nil {
			return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("what the file %s of %s was converted to is gone", f.path, t.Name), Hint: again, Err: err}
		}
	}
	return nil
}

func (f *file) source(root string) string { return filepath.Join(root, filepath.FromSlash(f.path)) }
