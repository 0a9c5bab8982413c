package delivery

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"runtime"
	"sync/atomic"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

// Most chunks hold plain values only: then their lines are taken apart here, by what records have in common,
// for less than DuckDB's JSON reader takes (docs/adr/0020-shredding.md). A chunk with any other value is read
// by DuckDB, which judges it.

// shredRest is how many chunks DuckDB reads after one that it had to: others like it are likely.
const shredRest = 16

// shreds are the attempts of one input schema, nil for one of records that are bytes. It is safe for concurrent use.
type shreds struct {
	able bool // the columns are of types that can be
	rest atomic.Int32
}

// worth reports whether the next chunk is tried.
func (s *shreds) worth() bool { return s != nil && s.able && s.rest.Add(-1) < 0 }

// likely reports whether a chunk that is begun now will be tried.
func (s *shreds) likely() bool { return s != nil && s.able && s.rest.Load() <= 0 }

// asked notes that a chunk could not be shredded.
func (s *shreds) asked() { s.rest.Store(shredRest) }

// converted runs a conversion of a chunk over SQL that reads it: over its columns where that goes, else over
// its lines.
func (p *plan) converted(ctx context.Context, db *duck.DB, c *chunk, convert func(sel string) error) error {
	if s := p.input.shreds; s.worth() {
		rows := &chunkRows{ctx: ctx, c: c, fields: p.input.lacking(c.common).Fields, ordered: p.positions}
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

// chunkRows is the records of a chunk as a relation.
type chunkRows struct {
	ctx     context.Context // of the conversion
	c       *chunk
	fields  []tarn.Field
	ordered bool // rows have to come in their order

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

// Scan implements column.Relation.
func (r *chunkRows) Scan() column.Scan {
	if r.c.later != nil {
		return &laterScan{rows: r}
	}
	return &chunkScan{rows: r}
}

// readers is how many may share the parts of a chunk.
func (r *chunkRows) readers(parts int) int {
	if r.ordered {
		return 1
	}
	return max(1, min(parts, runtime.GOMAXPROCS(0)))
}

const (
	shredPart  = 8 << 20 // of a chunk, for one thread
	shredBlock = 1 << 20 // is read at once (I8); longer lines make it longer
)

// chunkScan is one reading of the lines of a chunk. Threads take its parts in turn.
type chunkScan struct {
	rows *chunkRows
	next atomic.Int64 // part
}

func (s *chunkScan) parts() int { return int((s.rows.c.bytes + shredPart - 1) / shredPart) }

// Readers implements column.Scan.
func (s *chunkScan) Readers() int { return s.rows.readers(s.parts()) }

// Open implements column.Scan.
func (s *chunkScan) Open() (column.Reader, error) {
	f, err := os.Open(s.rows.c.path)
	if err != nil {
		return nil, err
	}
	return &chunkReader{scan: s, file: f, buf: make([]byte, int(min(shredBlock, s.rows.c.bytes))+record.Padding)}, nil
}

// chunkReader reads parts of a chunk in blocks of whole lines.
type chunkReader struct {
	scan *chunkScan
	file *os.File
	from int64 // where the rest of the part begins
	left int64 // bytes of it not read yet

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
	for r.at == r.whole {
		if r.left == 0 {
			if more, err := r.part(); err != nil || !more {
				return 0, err
			}
		}
		if err := r.fill(); err != nil {
			return 0, err
		}
	}
	rows, next, err := r.s.Shred(b, r.buf, r.at, r.whole)
	if err != nil {
		r.scan.rows.asked.Store(true)
		return 0, err
	}
	r.at = next
	return rows, nil
}

// part takes the next part: the lines that begin in it. It reports false when there is none.
func (r *chunkReader) part() (bool, error) {
	for {
		n := r.scan.next.Add(1) - 1
		if n >= int64(r.scan.parts()) {
			return false, nil
		}
		from, err := r.lineFrom(n * shredPart)
		if err != nil {
			return false, err
		}
		to, err := r.lineFrom((n + 1) * shredPart)
		if err != nil {
			return false, err
		}
		if r.from, r.left = from, to-from; r.left > 0 {
			return true, nil
		}
	}
}

// lineFrom returns where the first line begins that does so at a place or behind it.
func (r *chunkReader) lineFrom(at int64) (int64, error) {
	size := r.scan.rows.c.bytes
	if at == 0 || at >= size {
		return min(at, size), nil
	}
	for at--; at < size; {
		block := r.buf[:min(int64(len(r.buf)), size-at)]
		if _, err := r.file.ReadAt(block, at); err != nil {
			return 0, fmt.Errorf("read a chunk: %w", err)
		}
		if n := bytes.IndexByte(block, '\n'); n >= 0 {
			return at + int64(n) + 1, nil
		}
		at += int64(len(block))
	}
	return size, nil
}

// fill reads the next block of the part.
func (r *chunkReader) fill() error {
	r.have = copy(r.buf, r.buf[r.at:r.have])
	r.at, r.whole = 0, 0
	for r.whole == 0 && r.left > 0 {
		if r.have+record.Padding == len(r.buf) {
			r.buf = append(r.buf, make([]byte, len(r.buf))...)
		}
		n := int(min(int64(len(r.buf)-record.Padding-r.have), r.left))
		if _, err := r.file.ReadAt(r.buf[r.have:r.have+n], r.from); err != nil {
			return fmt.Errorf("read a chunk: %w", err)
		}
		r.from, r.left = r.from+int64(n), r.left-int64(n)
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
