package twin

import (
	"context"
	"database/sql"
	"slices"
	"strings"
)

// querier is a database or a transaction.
type querier interface {
	Query(ctx context.Context, q string, args ...any) (*sql.Rows, error)
}

// row is a stored value.
type row struct {
	change
	version int64
}

// rows runs a SELECT of name, version, written_at and content.
func (t *Twin) rows(ctx context.Context, q querier, query string, args ...any) ([]row, error) {
	rows, err := q.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []row
	var name, content sql.RawBytes
	for rows.Next() {
		var r row
		var at int64
		if err := rows.Scan(&name, &r.version, &at, &content); err != nil {
			return nil, err
		}
		k, err := parseStoredName(name)
		if err != nil {
			return nil, err
		}
		if n := len(out); n > 0 && out[n-1].component == k.Component {
			r.component = out[n-1].component // one string for all of a component
		} else {
			r.component = k.Component
		}
		if r.entry, err = unpack(k.Metric, at, content); err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

const selectRows = "SELECT name, version, written_at, content FROM twin_values WHERE twin = ? "

// lookup returns the stored entries of keys.
func (t *Twin) lookup(ctx context.Context, q querier, keys []Key) (map[Key]entry, error) {
	found := make(map[Key]entry, len(keys))
	for group := range slices.Chunk(keys, 500) {
		args := []any{t.id}
		for _, k := range group {
			args = append(args, storedName(k))
		}
		rows, err := t.rows(ctx, q, selectRows+"AND name IN (?"+strings.Repeat(", ?", len(group)-1)+")", args...)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			found[r.key()] = r.entry
		}
	}
	return found, nil
}

// readComponent returns all stored entries of a component.
func (t *Twin) readComponent(ctx context.Context, component string) ([]entry, error) {
	rows, err := t.rows(ctx, t.s.db, selectRows+"AND name > ? AND name < ? ORDER BY name", t.id, []byte(component+"\x00"), []byte(component+"\x01"))
	if err != nil {
		return nil, err
	}
	entries := make([]entry, len(rows))
	for i := range rows {
		entries[i] = rows[i].entry
	}
	return entries, nil
}

// chunkRows is how many rows are read in one go.
const chunkRows = 2000

// chunk returns the stored values of whole components from a name up to, and without, another, about
// chunkRows of them; nil for no end. end says that there are no more.
func (t *Twin) chunk(ctx context.Context, from, to []byte) (rows []row, end bool, err error) {
	if len(from) == 0 {
		from = []byte{0} // drivers take no bytes for NULL
	}
	for limit := chunkRows; ; limit *= 4 { // as far as one component needs
		if to == nil {
			rows, err = t.rows(ctx, t.s.db, selectRows+"AND name >= ? ORDER BY name LIMIT ?", t.id, from, limit)
		} else {
			rows, err = t.rows(ctx, t.s.db, selectRows+"AND name >= ? AND name < ? ORDER BY name LIMIT ?", t.id, from, to, limit)
		}
		if err != nil || len(rows) < limit {
			return rows, true, err
		}
		if rows = wholeComponents(rows); len(rows) > 0 {
			return rows, false, nil
		}
	}
}

// wholeComponents cuts off the last component of rows, of which there may be more.
func wholeComponents(rows []row) []row {
	last := rows[len(rows)-1].component
	for len(rows) > 0 && rows[len(rows)-1].component == last {
		rows = rows[:len(rows)-1]
	}
	return rows
}
