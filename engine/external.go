package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/server"
)

// What the rest of the engine knows of external tables.

// kinds of tables, as users see them.
const (
	kindIceberg  = "iceberg"
	kindExternal = "external"
	kindBackup   = "backup"
	kindCleaned  = "cleaned"
)

// external returns the external table of that name, nil when there is none.
func (e *Engine) external(ctx context.Context, name string) (*catalog.Table, error) {
	t, err := e.catalog.Table(ctx, name)
	if tarn.CodeOf(err) == tarn.CodeNotFound {
		return nil, nil
	}
	return t, err
}

// externalInfos lists the external tables for the SQL service.
func (e *Engine) externalInfos(ctx context.Context) ([]query.TableInfo, error) {
	tables, err := e.catalog.Tables(ctx)
	infos := make([]query.TableInfo, len(tables))
	for i, t := range tables {
		infos[i] = query.TableInfo{Name: t.Name, Schema: t.Schema()}
	}
	return infos, err
}

// acquireExternal fixes an external table for a statement. It has versions of its schema, and no
// other past: what its files held is gone with them.
func acquireExternal(t *catalog.Table, at *query.AsOf) (*query.View, error) {
	version := 0
	if at != nil {
		if at.Snapshot == 0 {
			return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: t.Name + " is an external table, whose past is not kept",
				Hint: fmt.Sprintf("AT (VERSION => n) reads it with the schema of version n; the newest is %d", t.SchemaVersion)}
		}
		version = int(min(at.Snapshot, 1<<31))
	}
	v, err := t.View(version)
	if err != nil {
		return nil, err
	}
	view := &query.View{Schema: v.Schema, Files: make([]query.File, len(v.Files))}
	for i, f := range v.Files {
		stats := make(map[int]query.Bounds, len(f.Parts))
		for id, value := range f.Parts {
			if value == nil {
				stats[id] = query.Bounds{Values: 1, Nulls: 1}
			} else {
				stats[id] = query.Bounds{Values: -1, Lower: value, Upper: value}
			}
		}
		view.Files[i] = query.File{URL: f.Path, Rows: f.Rows, Bytes: f.Bytes, Stats: stats}
	}
	view.Read = func(ctx context.Context, files []query.File) (string, error) {
		keep := make(map[string]bool, len(files))
		for _, f := range files {
			keep[f.URL] = true
		}
		return v.Relation(ctx, keep)
	}
	return view, nil
}

func externalDoc(t *catalog.Table) server.TableDoc {
	files, bytes, rows, partitions := t.Totals()
	d := server.TableDoc{Name: t.Name, Kind: kindExternal, Location: t.Location, Partition: t.PartitionBy(), Rows: max(rows, 0), Files: files, Bytes: bytes, UpdatedAt: t.UpdatedAt,
		External: &server.ExternalDoc{Crawler: t.Crawler, Format: t.Format, Why: t.Why, Partitions: partitions, RowsKnown: rows >= 0,
			MissingFiles: t.Listed() - files, SchemaVersion: t.SchemaVersion}}
	if d.Partition == nil {
		d.Partition = []string{}
	}
	if !t.MissingSince.IsZero() {
		d.External.MissingSince = &t.MissingSince
	}
	return d
}

// externalDocInFull adds the columns and the versions of the schema.
func externalDocInFull(t *catalog.Table) server.TableDoc {
	d := externalDoc(t)
	for _, c := range t.Columns() {
		col := server.ColumnDoc{ID: c.ID, Name: c.Name, Type: c.Type}
		switch {
		case c.Partition:
			col.Doc = "from the names of folders"
		case c.Unknown:
			col.Doc = "no value has been seen yet"
		}
		d.Columns = append(d.Columns, col)
	}
	for _, s := range slices.Backward(t.Schemas) {
		d.External.Versions = append(d.External.Versions, server.SchemaVersionDoc{Version: s.Version, At: s.CreatedAt, Reason: s.Reason, Columns: len(s.Columns)})
	}
	return d
}

// eachExternal calls f with every external table.
func eachExternal(ctx context.Context, e *Engine, f func(*catalog.Table) error) error {
	tables, err := e.catalog.Tables(ctx)
	for _, t := range tables {
		if err == nil {
			err = f(t)
		}
	}
	return err
}

// maxExternalFiles bounds what one query reads of the lists of files (I8).
const maxExternalFiles = 200_000

func externalFileRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	err = eachExternal(ctx, e, func(t *catalog.Table) error {
		for _, f := range t.Files() {
			if len(rows) == maxExternalFiles {
				return &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("system.external_files shows at most %d files", maxExternalFiles), Hint: "tarn crawl --dry-run --json reports them"}
			}
			part, err := json.Marshal(f.Partition)
			if err != nil {
				return err
			}
			var known any
			if f.Rows >= 0 {
				known = f.Rows
			}
			rows = append(rows, []any{t.Name, f.Path, string(f.Format), known, f.Size, f.ModTime, json.RawMessage(part), f.SchemaVersion, timeOrNull(f.MissingSince), t.Crawler})
		}
		return nil
	})
	return rows, err
}

func schemaVersionRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	err = eachExternal(ctx, e, func(t *catalog.Table) error {
		for _, s := range t.Schemas {
			columns, err := json.Marshal(s.Columns)
			if err != nil {
				return err
			}
			rows = append(rows, []any{t.Name, s.Version, s.CreatedAt, s.Reason, json.RawMessage(columns)})
		}
		return nil
	})
	return rows, err
}

// externalTableRows are the rows of system.tables that external tables have.
func externalTableRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	err = eachExternal(ctx, e, func(t *catalog.Table) error {
		files, bytes, n, _ := t.Totals()
		var known any
		if n >= 0 {
			known = n
		}
		rows = append(rows, []any{t.Name, nil, t.Location, nil, strings.Join(t.PartitionBy(), ", "), nil, known, 0, files, bytes, t.UpdatedAt, kindExternal})
		return nil
	})
	return rows, err
}

func externalColumnRows(ctx context.Context, e *Engine) (rows [][]any, err error) {
	err = eachExternal(ctx, e, func(t *catalog.Table) error {
		for i, c := range externalDocInFull(t).Columns {
			rows = append(rows, []any{t.Name, i + 1, c.ID, c.Name, c.Type, false, c.Doc})
		}
		return nil
	})
	return rows, err
}
