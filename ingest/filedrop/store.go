package filedrop

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/stream"
)

// state is how far a file is.
type state string

const (
	taking state = "taking" // its copy is durable and its plan made; records may be in the stream
	done   state = "done"
	failed state = "failed"
)

// taken is one row of taken_files: a file that the pipeline has taken.
type taken struct {
	id
	algorithm algorithm // of its hash
	name      string
	size      int64
	modified  time.Time // of the dropped file
	state     state
	plan      plan
	note      note
	outcome   Outcome
	takenAt   time.Time
}

// id names a file within the pipeline.
type id struct {
	hash string
	take int // 0 at first; more when the same bytes were asked for again
}

// planVersion changes when the same plan would give other chunks.
const planVersion = 1

// plan is all that decides which records a file gives and in which requests.
type plan struct {
	Version    int         `json:"version"`
	Read       decode.Plan `json:"read"`
	Shards     int         `json:"shards"`
	KeyPath    string      `json:"key_path,omitempty"`
	Depth      int         `json:"depth,omitempty"`
	ChunkBytes int         `json:"chunk_bytes"`
	Routed     bool        `json:"routed,omitempty"`
	Routes     []string    `json:"routes,omitempty"`
	// Refer keeps the records where they are, in the copy of the file: the stream gets references. Read
	// is Seekable then, and KeyPath empty.
	Refer  bool   `json:"refer,omitempty"`
	Stream string `json:"stream,omitempty"` // that gets the references
}

// note says where to look for the chunks of a file: those before Next are in the stream, the others at
// or behind the cursors, one for each shard. Shards says where the records of those before Next are.
type note struct {
	Next    uint32          `json:"next"`
	Cursors []stream.Cursor `json:"cursors"`
	Shards  []Shard         `json:"shards,omitempty"`
}

// find returns the file with that hash that was taken last, or nil.
func (d *Door) find(ctx context.Context, hash string) (*taken, error) {
	rows, err := d.rows(ctx, "hash = ? ORDER BY take DESC LIMIT 1", hash)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return rows[0], nil
}

// unfinished returns the files that a stop left halfway, in the order in which they were taken.
func (d *Door) unfinished(ctx context.Context) ([]*taken, error) {
	return d.rows(ctx, "state = ? ORDER BY taken_at, hash", string(taking))
}

func (d *Door) rows(ctx context.Context, where string, arg any) ([]*taken, error) {
	rows, err := d.o.DB.Query(ctx, "SELECT hash, take, algorithm, name, size, modified, state, plan, note, outcome, taken_at FROM taken_files WHERE pipeline = ? AND "+where, d.o.Pipeline, arg)
	if err != nil {
		return nil, fmt.Errorf("read taken files: %w", err)
	}
	defer rows.Close()
	var out []*taken
	for rows.Next() {
		t, err := scanTaken(rows)
		if err != nil {
			return nil, fmt.Errorf("read taken files: %w", err)
		}
		out = append(out, t)
	}
	return out, rows.Err()
}

func scanTaken(rows *sql.Rows) (*taken, error) {
	var t taken
	var modified, at int64
	var p, n, o []byte
	if err := rows.Scan(&t.hash, &t.take, &t.algorithm, &t.name, &t.size, &modified, &t.state, &p, &n, &o, &at); err != nil {
		return nil, err
	}
	t.modified, t.takenAt = time.Unix(0, modified), metadb.Time(at)
	return &t, errors.Join(json.Unmarshal(p, &t.plan), json.Unmarshal(n, &t.note), json.Unmarshal(o, &t.outcome))
}

// insert stores a file that is taken now, in place of an attempt that failed. From here on its records
// may be in the stream.
func (d *Door) insert(ctx context.Context, t *taken) error {
	p, n, o, err := t.documents()
	if err != nil {
		return err
	}
	return d.o.DB.Tx(ctx, func(tx *metadb.Tx) error {
		if _, err := tx.Exec(ctx, "DELETE FROM taken_files WHERE pipeline = ? AND hash = ? AND take = ?", d.o.Pipeline, t.hash, t.take); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, "INSERT INTO taken_files (pipeline, hash, take, algorithm, name, size, modified, state, plan, note, outcome, taken_at, finished_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
			d.o.Pipeline, t.hash, t.take, string(t.algorithm), t.name, t.size, t.modified.UnixNano(), string(t.state), p, n, o, metadb.Micros(t.takenAt))
		return err
	})
}

// saveNote stores how far the file is in the stream.
func (d *Door) saveNote(ctx context.Context, t *taken) error {
	_, n, _, err := t.documents()
	if err != nil {
		return err
	}
	_, err = d.o.DB.Exec(ctx, "UPDATE taken_files SET note = ? WHERE pipeline = ? AND hash = ? AND take = ?", n, d.o.Pipeline, t.hash, t.take)
	return err
}

// saveEnd stores that the file is done or has failed, and what came of it.
func (d *Door) saveEnd(ctx context.Context, t *taken) error {
	_, n, o, err := t.documents()
	if err != nil {
		return err
	}
	_, err = d.o.DB.Exec(ctx, "UPDATE taken_files SET state = ?, note = ?, outcome = ?, finished_at = ? WHERE pipeline = ? AND hash = ? AND take = ?",
		string(t.state), n, o, metadb.Micros(d.o.Clock()), d.o.Pipeline, t.hash, t.take)
	return err
}

func (t *taken) documents() (plan, note, outcome []byte, err error) {
	plan, e1 := json.Marshal(t.plan)
	note, e2 := json.Marshal(t.note)
	outcome, e3 := json.Marshal(t.outcome)
	return plan, note, outcome, errors.Join(e1, e2, e3)
}
