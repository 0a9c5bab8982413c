package delivery

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

// Most chunks hold plain values only: then their lines are taken apart here, by what records have in common,
// for a third of what DuckDB's JSON reader takes (docs/adr/0020-shredding.md). A chunk with any other
// value is read by DuckDB, which judges it.

// shredRest is how many chunks DuckDB reads after one that it had to: others like it are likely.
const shredRest = 16

// shreds are the attempts of one input schema. The zero value never shreds; it is safe for concurrent use.
type shreds struct {
	able bool // the columns are of types that can be
	rest atomic.Int32
}

// worth reports whether the next chunk is tried.
func (s *shreds) worth() bool { return s != nil && s.able && s.rest.Add(-1) < 0 }

// asked notes that a chunk could not be shredded.
func (s *shreds) asked() { s.rest.Store(shredRest) }

// converted runs a conversion of a chunk over SQL that reads it: over its columns where that goes, else over
// its lines.
func (p *plan) converted(ctx context.Context, db *duck.DB, c *chunk, convert func(sel string) error) error {
	if s := p.input.shreds; s.worth() {
		rows := &chunkRows{ctx: ctx, path: c.path, bytes: c.bytes, lines: c.lines, later: c.later, fields: p.input.lacking(c.common).Fields}
		from, done := db.Relate(rows)
		err := convert(p.rowsFrom(c, p.around(from, c.common)))
		done()
		if fault := rows.fault.Load(); fault != nil {
			return *fault
		}
		if !rows.asked.Load() {
			return err
		}
		s.asked()
	}
	if c.later != nil {
		if err := c.complete(ctx); err != nil {
			return err
		}
	}
	return convert(p.rowsOf(c))
}

// chunkRows is the lines of a chunk as a relation.
type chunkRows struct {
	path   string
	bytes  int64 // of the file that count
	fields []tarn.Field

	ctx   context.Context // of the conversion
	lines int
	later []record.Later // in place of the file

	asked atomic.Bool           // the SQL engine's reader has to read them
	fault atomic.Pointer[error] // they cannot be read where they lie
}

func (r *chunkRows) fail(err error) error {
	err = unread{err}
	r.fault.CompareAndSwap(nil, &err)
	return err
}

// Fields implements column.Relation.
func (r *chunkRows) Fields() []tarn.Field { return r.fields }

// Open implements column.Relation.
func (r *chunkRows) Open() (column.Reader, error) {
	if r.later != nil {
		return &laterReader{ctx: r.ctx, rows: r}, nil
	}
	f, err := os.Open(r.path)
	if err != nil {
		return nil, err
	}
	return &chunkReader{rows: r, file: f, left: r.bytes, buf: make([]byte, int(min(shredBlock, r.bytes))+record.Padding)}, nil
}

// shredBlock is what is read of a chunk at once. Longer lines make it longer.
const shredBlock = 1 << 20

// chunkReader reads a chunk in blocks of whole lines.
type chunkReader struct {
	rows *chunkRows
	file *os.File
	left int64 // bytes not read yet

	buf      []byte
	at, have int // lines not taken yet, and the part of one behind them
	whole    int // the end of the last whole line
	s        *record.Shredder
}

// Next implements column.Reader.
func (r *chunkReader) Next(b *column.Batch) (int, error) {
	if r.s == nil {
		r.s = record.NewShredder(b.Columns)
	}
	if r.at == r.whole {
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	rows, next, err := r.s.Shred(b, r.buf, r.at, r.whole)
	if err != nil {
		r.rows.asked.Store(true)
		return 0, err
	}
	r.at = next
	return rows, nil
}

// fill reads the next block.
func (r *chunkReader) fill() error {
	r.have = copy(r.buf, r.buf[r.at:r.have])
	r.at, r.whole = 0, 0
	for r.whole == 0 && r.left > 0 {
		if r.have+record.Padding == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		n, err := io.ReadFull(r.file, r.buf[r.have:min(int64(len(r.buf)-record.Padding), int64(r.have)+r.left)])
		if err != nil {
			return fmt.Errorf("read a chunk: %w", err)
		}
		r.left -= int64(n)
		r.whole = bytes.LastIndexByte(r.buf[r.have:r.have+n], '\n') + 1
		if r.whole > 0 {
			r.whole += r.have
		}
		r.have += n
	}
	if r.left == 0 {
		r.whole = r.have
	}
	return nil
}

// Close implements column.Reader.
func (r *chunkReader) Close() error { return r.file.Close() }

// around is the relation of records, made of one of the members that their lines have.
func (p *plan) around(from string, common []record.Member) string {
	names := "*"
	if common != nil {
		var list []string
		for _, f := range p.input.read.Fields {
			name := tarn.QuoteIdent(f.Name)
			for _, m := range common {
				if m.Name == f.Name {
					name = tarn.QuoteLiteral(m.Value) + "::VARCHAR AS " + name
				}
			}
			list = append(list, name)
		}
		names = strings.Join(list, ", ")
	}
	if p.input.sel == "*" {
		return "(SELECT " + names + " FROM " + from + ")"
	}
	if names == "*" {
		return "(SELECT " + p.input.sel + " FROM " + from + ")"
	}
	return "(SELECT " + p.input.sel + " FROM (SELECT " + names + " FROM " + from + "))"
}
