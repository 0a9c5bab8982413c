package catalog

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// write stores a plan in one transaction. The crawler's version is the fence: of two crawls at once
// the later finds it moved.
func (c *crawl) write(ctx context.Context, p *plan, report *Report) error {
	doc, err := json.Marshal(report)
	if err != nil {
		return err
	}
	err = c.cat.db.Tx(ctx, func(tx *metadb.Tx) error {
		if err := c.fence(ctx, tx, string(doc)); err != nil {
			return err
		}
		if err := c.writeLayouts(ctx, tx); err != nil {
			return err
		}
		for i, f := range p.upsert {
			if err := c.writeFile(ctx, tx, f); err != nil {
				return err
			}
			if i%1000 == 0 {
				c.cat.step("write", i, len(p.upsert))
			}
		}
		for _, name := range p.remove {
			if _, err := tx.Exec(ctx, "DELETE FROM external_files WHERE crawler = ? AND path = ?", c.spec.Name, name); err != nil {
				return err
			}
		}
		for _, t := range p.tables {
			if err := writeTable(ctx, tx, t); err != nil {
				return err
			}
		}
		for _, t := range p.dropped {
			if err := dropTable(ctx, tx, t.Name); err != nil {
				return err
			}
		}
		c.cat.step("commit", 0, 0)
		return nil
	})
	if metadb.IsDuplicate(err) || metadb.IsBusy(err) {
		err = errTwice
	}
	if err != nil {
		return err
	}
	return c.cat.sweep(ctx)
}

var errTwice = &tarn.Error{Code: tarn.CodeConflict, Detail: "another crawl was at work at the same time", Hint: "run it again"}

func (c *crawl) fence(ctx context.Context, tx *metadb.Tx, report string) error {
	now := metadb.Micros(c.now)
	if c.known.version == 0 {
		_, err := tx.Exec(ctx, "INSERT INTO crawlers (name, path, version, crawled_at, report) VALUES (?, ?, 1, ?, ?)", c.spec.Name, c.list.root, now, report)
		return err
	}
	n, err := tx.Exec(ctx, "UPDATE crawlers SET path = ?, version = version + 1, crawled_at = ?, report = ? WHERE name = ? AND version = ?",
		c.list.root, now, report, c.spec.Name, c.known.version)
	if err == nil && n != 1 {
		return errTwice
	}
	return err
}

// writeLayouts adds the layouts that are new and drops those that no file has any more.
func (c *crawl) writeLayouts(ctx context.Context, tx *metadb.Tx) error {
	used := map[int]bool{}
	for _, f := range c.files {
		used[f.layout] = true
	}
	for id, l := range c.layouts {
		isNew := id >= len(c.known.layouts)
		var err error
		switch {
		case isNew && used[id]:
			_, err = tx.Exec(ctx, "INSERT INTO external_layouts (crawler, id, document) VALUES (?, ?, ?)", c.spec.Name, id, l.key())
		case !isNew && !used[id]:
			_, err = tx.Exec(ctx, "DELETE FROM external_layouts WHERE crawler = ? AND id = ?", c.spec.Name, id)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *crawl) writeFile(ctx context.Context, tx *metadb.Tx, f *file) error {
	_, err := tx.Exec(ctx, `INSERT INTO external_files (crawler, path, table_name, layout, size, mtime, fingerprint, rows_known, schema_version, checked_at, missing_since, reason, detail)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (crawler, path) DO UPDATE SET table_name = excluded.table_name, layout = excluded.layout, size = excluded.size, mtime = excluded.mtime,
		fingerprint = excluded.fingerprint, rows_known = excluded.rows_known, schema_version = excluded.schema_version, checked_at = excluded.checked_at,
		missing_since = excluded.missing_since, reason = excluded.reason, detail = excluded.detail`,
		c.spec.Name, f.path, f.table, f.layout, f.size, f.mtime, f.fingerprint, f.rows, f.schemaVersion, f.checked, f.missing, string(f.reason), storable(f.detail))
	return err
}

// storable is text that both databases take.
func storable(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", ""), "\uFFFD")
}

func writeTable(ctx context.Context, tx *metadb.Tx, t *planned) error {
	if t.action == Unchanged {
		return nil
	}
	var missing int64
	if !t.MissingSince.IsZero() {
		missing = metadb.Micros(t.MissingSince)
	}
	have := 0
	var err error
	if t.old == nil {
		_, err = tx.Exec(ctx, `INSERT INTO external_tables (name, crawler, location, format, why, version, schema_version, created_at, updated_at, missing_since)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, t.Name, t.Crawler, t.Location, t.Format, t.Why, t.Version, t.SchemaVersion,
			metadb.Micros(t.CreatedAt), metadb.Micros(t.UpdatedAt), missing)
	} else {
		have = len(t.old.Schemas)
		_, err = tx.Exec(ctx, "UPDATE external_tables SET location = ?, format = ?, why = ?, version = ?, schema_version = ?, updated_at = ?, missing_since = ? WHERE name = ?",
			t.Location, t.Format, t.Why, t.Version, t.SchemaVersion, metadb.Micros(t.UpdatedAt), missing, t.Name)
	}
	for _, s := range t.Schemas[have:] {
		if err != nil {
			return err
		}
		var doc []byte
		if doc, err = json.Marshal(s.Columns); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO external_schemas (table_name, version, columns, reason, created_at) VALUES (?, ?, ?, ?, ?)",
			t.Name, s.Version, string(doc), storable(s.Reason), metadb.Micros(s.CreatedAt))
	}
	return err
}

func dropTable(ctx context.Context, tx *metadb.Tx, name string) error {
	if _, err := tx.Exec(ctx, "DELETE FROM external_schemas WHERE table_name = ?", name); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DELETE FROM external_tables WHERE name = ?", name)
	return err
}

// Forget drops everything a crawler knows, its tables with it. The files stay. Errors:
// tarn.CodeNotFound.
func (c *Catalog) Forget(ctx context.Context, crawler string) error {
	err := c.db.Tx(ctx, func(tx *metadb.Tx) error {
		n, err := tx.Exec(ctx, "DELETE FROM crawlers WHERE name = ?", crawler)
		if err == nil && n == 0 {
			return &tarn.Error{Code: tarn.CodeNotFound, Detail: "nothing has been crawled as " + crawler, Hint: "SELECT DISTINCT crawler FROM system.external_files lists what has"}
		}
		for _, q := range []string{
			"DELETE FROM external_schemas WHERE table_name IN (SELECT name FROM external_tables WHERE crawler = ?)",
			"DELETE FROM external_tables WHERE crawler = ?", "DELETE FROM external_files WHERE crawler = ?", "DELETE FROM external_layouts WHERE crawler = ?",
		} {
			if err != nil {
				return err
			}
			_, err = tx.Exec(ctx, q, crawler)
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.sweep(ctx)
}

// cacheGrace is how long a converted file that nothing needs stays: queries and crawls that began
// before may read it.
const cacheGrace = time.Hour

// sweep deletes converted files whose source is in no table any more. The catalog alone deletes in
// its cache (I4).
func (c *Catalog) sweep(ctx context.Context) error {
	entries, err := os.ReadDir(c.o.Cache)
	if err != nil || len(entries) == 0 {
		return nil // there is no cache
	}
	fingerprints, err := metadb.Column[string](c.db.Query(ctx, "SELECT DISTINCT fingerprint FROM external_files"))
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, f := range fingerprints {
		needed[f] = true
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || needed[e.Name()] || c.o.Clock().Sub(info.ModTime()) < cacheGrace {
			continue
		}
		if err := os.RemoveAll(filepath.Join(c.o.Cache, e.Name())); err != nil {
			c.o.Logger.Warn("a converted file cannot be deleted", "folder", e.Name(), "error", err)
		}
	}
	return nil
}
