package catalog

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// known is what a crawler remembers.
type known struct {
	version int64 // 0 when it has never run
	path    string
	files   map[string]*file
	layouts []Layout // by id
	tables  map[string]*Table
}

// querier is a database or a transaction of it.
type querier interface {
	Query(ctx context.Context, q string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, q string, args ...any) *sql.Row
}

// recall reads what a crawler remembers, at one instant.
func (c *Catalog) recall(ctx context.Context, crawler string) (*known, error) {
	k := &known{files: map[string]*file{}, tables: map[string]*Table{}}
	err := c.db.Tx(ctx, func(tx *metadb.Tx) error {
		err := tx.QueryRow(ctx, "SELECT version, path FROM crawlers WHERE name = ?", crawler).Scan(&k.version, &k.path)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		if err != nil {
			return err
		}
		if k.layouts, err = layoutsOf(ctx, tx, crawler); err != nil {
			return err
		}
		files, err := filesOf(ctx, tx, "crawler = ?", crawler)
		if err != nil {
			return err
		}
		for _, f := range files {
			k.files[f.path] = f
		}
		tables, err := tablesOf(ctx, tx, "t.crawler = ?", crawler)
		if err != nil {
			return err
		}
		for _, t := range tables {
			k.tables[t.Name] = t
		}
		return nil
	})
	return k, err
}

func layoutsOf(ctx context.Context, q querier, crawler string) ([]Layout, error) {
	rows, err := q.Query(ctx, "SELECT id, document FROM external_layouts WHERE crawler = ? ORDER BY id", crawler)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []Layout
	for rows.Next() {
		var id int
		var doc string
		if err := rows.Scan(&id, &doc); err != nil {
			return nil, err
		}
		var l Layout
		if err := json.Unmarshal([]byte(doc), &l); err != nil {
			return nil, err
		}
		for len(out) < id { // a layout that no file has any more
			out = append(out, Layout{})
		}
		out = append(out, l)
	}
	return out, rows.Err()
}

func filesOf(ctx context.Context, q querier, where string, args ...any) ([]*file, error) {
	rows, err := q.Query(ctx, `SELECT path, table_name, layout, size, mtime, fingerprint, rows_known, schema_version, checked_at, missing_since, reason, detail
		FROM external_files WHERE `+where+" ORDER BY path", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*file
	for rows.Next() {
		f := &file{}
		if err := rows.Scan(&f.path, &f.table, &f.layout, &f.size, &f.mtime, &f.fingerprint, &f.rows, &f.schemaVersion, &f.checked, &f.missing, &f.reason, &f.detail); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b *file) int { return strings.Compare(a.path, b.path) }) // PostgreSQL sorts as its locale does
	return out, rows.Err()
}

// tablesOf reads tables with their schemas, without files.
func tablesOf(ctx context.Context, q querier, where string, args ...any) ([]*Table, error) {
	rows, err := q.Query(ctx, `SELECT t.name, t.crawler, c.path, t.location, t.format, t.why, t.version, t.schema_version, t.created_at, t.updated_at, t.missing_since
		FROM external_tables t JOIN crawlers c ON c.name = t.crawler WHERE `+where+" ORDER BY t.name", args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []*Table
	for rows.Next() {
		t := &Table{}
		var created, updated, missing int64
		if err := rows.Scan(&t.Name, &t.Crawler, &t.Root, &t.Location, &t.Format, &t.Why, &t.Version, &t.SchemaVersion, &created, &updated, &missing); err != nil {
			return nil, err
		}
		t.CreatedAt, t.UpdatedAt = metadb.Time(created), metadb.Time(updated)
		if missing != 0 {
			t.MissingSince = metadb.Time(missing)
		}
		out = append(out, t)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	for _, t := range out {
		if t.Schemas, err = schemasOf(ctx, q, t.Name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func schemasOf(ctx context.Context, q querier, table string) ([]SchemaVersion, error) {
	rows, err := q.Query(ctx, "SELECT version, columns, reason, created_at FROM external_schemas WHERE table_name = ? ORDER BY version", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []SchemaVersion
	for rows.Next() {
		var s SchemaVersion
		var doc string
		var at int64
		if err := rows.Scan(&s.Version, &doc, &s.Reason, &at); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(doc), &s.Columns); err != nil {
			return nil, err
		}
		s.CreatedAt = metadb.Time(at)
		out = append(out, s)
	}
	return out, rows.Err()
}

// Tables returns every external table, in order of name. It asks the database for versions only and
// reads what has moved since it was last asked.
func (c *Catalog) Tables(ctx context.Context) ([]*Table, error) {
	rows, err := c.db.Query(ctx, "SELECT name, version FROM external_tables ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	versions := map[string]int64{}
	for rows.Next() {
		var name string
		var version int64
		if err := rows.Scan(&name, &version); err != nil {
			return nil, err
		}
		versions[name] = version
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []*Table
	for name, version := range versions {
		t := c.tables[name]
		if t == nil || t.Version != version {
			if t, err = c.read(ctx, name); err != nil {
				return nil, err
			}
			if t == nil {
				continue // dropped in between
			}
			c.tables[name] = t
		}
		out = append(out, t)
	}
	for name := range c.tables {
		if _, ok := versions[name]; !ok {
			delete(c.tables, name)
		}
	}
	slices.SortFunc(out, func(a, b *Table) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Table returns one external table. Errors: tarn.CodeNotFound.
func (c *Catalog) Table(ctx context.Context, name string) (*Table, error) {
	tables, err := c.Tables(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if t.Name == name {
			return t, nil
		}
	}
	return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no external table " + name, Hint: "tarn crawl makes them"}
}

// Locations returns the folders that files of external tables lie in, in order and none twice.
func (c *Catalog) Locations(ctx context.Context) ([]string, error) {
	tables, err := c.Tables(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, t := range tables {
		out = append(out, t.Location)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// read returns a table with its files at one instant, nil when there is none.
func (c *Catalog) read(ctx context.Context, name string) (*Table, error) {
	var t *Table
	err := c.db.Tx(ctx, func(tx *metadb.Tx) error {
		tables, err := tablesOf(ctx, tx, "t.name = ?", name)
		if err != nil || len(tables) == 0 {
			return err
		}
		t = tables[0]
		if t.layouts, err = layoutsOf(ctx, tx, t.Crawler); err != nil {
			return err
		}
		t.files, err = filesOf(ctx, tx, "table_name = ?", name)
		return err
	})
	if err != nil || t == nil {
		return nil, err
	}
	for _, f := range t.files {
		c.complete(f, t.Root, t.layouts)
	}
	return t, nil
}

// complete fills in what follows from the stored columns of a file.
func (c *Catalog) complete(f *file, root string, layouts []Layout) {
	f.parts = partitions(path.Join(filepath.ToSlash(root), f.path))
	f.opened = f.source(root)
	if f.layout >= 0 && layouts[f.layout].Format == Avro {
		f.opened = c.converted(f.opened, f.fingerprint)
	}
}
