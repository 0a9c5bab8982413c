package table

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

// Aside collects commits beside a table until they take the place of a part of it, see Replace. It holds
// what it was given through crashes; nothing of it is visible before. It is safe for concurrent use.
type Aside struct {
	s     *Store
	id    string
	table string
}

// Aside returns the one of that id, which may hold nothing yet. It has no effects.
func (s *Store) Aside(id, table string) *Aside { return &Aside{s: s, id: id, table: table} }

// AsideFile is a file of an aside.
type AsideFile struct {
	DataFile
	Part     string
	SchemaID int // of the table when it was written
}

// Commit collects the files, progress, failed records and documents of c under the name of a part of the
// history, all or nothing. Progress is fenced as in a commit of the table. The other fields of c are not
// looked at.
func (a *Aside) Commit(ctx context.Context, part string, c Commit) error {
	return a.s.db.Tx(ctx, func(tx *metadb.Tx) error {
		for _, f := range c.Add {
			if _, ok := a.s.bucket.Key(f.Path); !ok {
				f.Path = a.s.bucket.URL(f.Path)
			}
			text, err := encodeFile(f)
			if err != nil {
				return err
			}
			if _, err := tx.Exec(ctx, "INSERT INTO aside_files (aside, table_name, path, part, schema_id, file) VALUES (?, ?, ?, ?, ?, ?)",
				a.id, a.table, f.Path, part, c.SchemaID, text); err != nil {
				return err
			}
		}
		for _, p := range c.Progress {
			if err := a.advance(ctx, tx, part, p); err != nil {
				return err
			}
		}
		for _, f := range c.Failed {
			if f.Record == nil {
				f.Record = []byte{}
			}
			if f.Code == "" {
				f.Code = tarn.CodeInternal
			}
			if _, err := tx.Exec(ctx, `INSERT INTO aside_failed (aside, pipeline, stream, shard, record_offset, stage, reason, code, arrival, failed_at, record)
				VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, a.id, f.Pipeline, f.Stream, f.Shard, int64(f.Offset), f.Stage, storable(f.Reason), string(f.Code),
				metadb.Micros(f.Arrival), metadb.Micros(f.FailedAt), f.Record); err != nil {
				return err
			}
		}
		for _, key := range slices.Sorted(maps.Keys(c.Documents)) {
			if _, err := tx.Exec(ctx, "INSERT INTO aside_documents (aside, key, value) VALUES (?, ?, ?) ON CONFLICT (aside, key) DO UPDATE SET value = excluded.value",
				a.id, key, c.Documents[key]); err != nil {
				return err
			}
		}
		return nil
	})
}

func (a *Aside) advance(ctx context.Context, tx *metadb.Tx, part string, p Progress) error {
	n, err := tx.Exec(ctx, `UPDATE aside_progress SET next_offset = ?, next_seq = ?, records_in = records_in + ?, rows_out = rows_out + ?,
		records_failed = records_failed + ?, records_dropped = records_dropped + ? WHERE aside = ? AND part = ? AND stream = ? AND shard = ? AND next_offset = ?`,
		int64(p.Next), int64(p.NextSeq), int64(p.RecordsIn), int64(p.RowsOut), int64(p.Failed), int64(p.Dropped), a.id, part, p.Stream, p.Shard, int64(p.From))
	if err != nil || n == 1 {
		return err
	}
	n, err = tx.Exec(ctx, `INSERT INTO aside_progress (aside, part, stream, shard, next_offset, next_seq, records_in, rows_out, records_failed, records_dropped)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (aside, part, stream, shard) DO NOTHING`,
		a.id, part, p.Stream, p.Shard, int64(p.Next), int64(p.NextSeq), int64(p.RecordsIn), int64(p.RowsOut), int64(p.Failed), int64(p.Dropped))
	if err == nil && n != 1 {
		err = &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("what is built aside of %s is not at offset %d of stream %s shard %d", a.table, p.From, p.Stream, p.Shard)}
	}
	return err
}

// Progress returns how far a part is; counters are of that part.
func (a *Aside) Progress(ctx context.Context, part string) ([]ProgressRow, error) {
	rows, err := a.s.db.Query(ctx, `SELECT stream, shard, next_offset, next_seq, records_in, rows_out, records_failed, records_dropped FROM aside_progress
		WHERE aside = ? AND part = ? ORDER BY stream, shard`, a.id, part)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []ProgressRow
	for rows.Next() {
		r := ProgressRow{Table: a.table}
		if err := rows.Scan(&r.Stream, &r.Shard, &r.Next, &r.NextSeq, &r.RecordsIn, &r.RowsOut, &r.Failed, &r.Dropped); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Documents returns the documents collected last, those of the table when there are none.
func (a *Aside) Documents(ctx context.Context) (map[string][]byte, error) {
	out, err := documents(a.s.db.Query(ctx, "SELECT key, value FROM aside_documents WHERE aside = ?", a.id))
	if err != nil || len(out) > 0 {
		return out, err
	}
	return a.s.Documents(ctx, a.table)
}

// Files returns the files collected.
func (a *Aside) Files(ctx context.Context) ([]AsideFile, error) {
	rows, err := a.s.db.Query(ctx, "SELECT part, schema_id, file FROM aside_files WHERE aside = ? ORDER BY path", a.id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []AsideFile
	for rows.Next() {
		var f AsideFile
		var text []byte
		if err := rows.Scan(&f.Part, &f.SchemaID, &text); err != nil {
			return nil, err
		}
		if f.DataFile, err = decodeFile(text); err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, rows.Err()
}

// Drop deletes the files that no commit names, and forgets the rest. After a crash it is done again.
func (a *Aside) Drop(ctx context.Context) error {
	files, err := a.Files(ctx)
	if err != nil {
		return err
	}
	for _, f := range files {
		key, ok := a.s.bucket.Key(f.Path)
		if !ok {
			continue
		}
		if err := a.s.bucket.Delete(ctx, key); err != nil && !errors.Is(err, lake.ErrNotFound) {
			return err
		}
	}
	return a.s.db.Tx(ctx, func(tx *metadb.Tx) error {
		for _, t := range []string{"aside_files", "aside_progress", "aside_failed", "aside_documents"} {
			if _, err := tx.Exec(ctx, "DELETE FROM "+t+" WHERE aside = ?", a.id); err != nil {
				return err
			}
		}
		return nil
	})
}

// asideFiles calls f with the URL of every file built aside of a table.
func (s *Store) asideFiles(ctx context.Context, table string, f func(url string)) error {
	rows, err := s.db.Query(ctx, "SELECT path FROM aside_files WHERE table_name = ?", table)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var url string
		if err := rows.Scan(&url); err != nil {
			return err
		}
		f(url)
	}
	return rows.Err()
}

// Asides returns the ids of all that is built aside, each with its table.
func (s *Store) Asides(ctx context.Context) (map[string]string, error) {
	out := map[string]string{}
	for _, q := range []string{"SELECT DISTINCT aside, '' FROM aside_documents", "SELECT DISTINCT aside, '' FROM aside_progress", "SELECT DISTINCT aside, '' FROM aside_failed",
		"SELECT DISTINCT aside, table_name FROM aside_files"} {
		rows, err := s.db.Query(ctx, q)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var id, table string
			if err := rows.Scan(&id, &table); err != nil {
				_ = rows.Close()
				return nil, err
			}
			out[id] = table
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return out, nil
}
