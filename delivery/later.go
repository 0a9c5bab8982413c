package delivery

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

// Records of a large file lie in its copy in the zone raw. Where they can be shredded they go from there into
// columns when their chunk is converted, and no file of lines is made of them.

// unread is a failure to read records that lie elsewhere, found when they had a place in a chunk already. The next
// session reads them before that, and deals with what is lost.
type unread struct{ error }

// Unwrap returns the cause.
func (u unread) Unwrap() error { return u.error }

// eagerFor is how long a worker reads records at once after one such failure.
const eagerFor = time.Minute

// waits reports whether the records of a segment, which lie elsewhere, may be read later.
func (g *gatherer) waits(seg *record.Segment) bool {
	st := g.w.input.state
	return time.Now().UnixNano() >= g.w.eager.Load() && g.sample == nil && st != nil && st.Decided() && g.w.input.version().shreds.likely() && g.bare(seg)
}

// readNow reads the records of a segment that were to be read later.
func readNow(ctx context.Context, seg *record.Segment) error {
	lines, err := seg.Later.Lines(ctx, nil)
	if err != nil {
		return readError{unread{err}}
	}
	seg.Payload, seg.Later = lines, nil
	if err := seg.Check(); err != nil {
		return readError{unread{err}}
	}
	return nil
}

// laterScan is one reading of the records of a chunk where they lie. Threads take its pieces in turn.
type laterScan struct {
	rows  *chunkRows
	next  atomic.Int64 // piece
	ended atomic.Int64 // pieces that were read
	taken atomic.Int64 // rows
}

// Readers implements column.Scan.
func (s *laterScan) Readers() int { return s.rows.readers(len(s.rows.c.later)) }

// Open implements column.Scan.
func (s *laterScan) Open() (column.Reader, error) { return &laterReader{scan: s}, nil }

// end notes that a piece was read. A chunk that has fewer records than the log says, or more, is not
// converted (I3).
func (s *laterScan) end() error {
	if s.ended.Add(1) < int64(len(s.rows.c.later)) {
		return nil
	}
	if n := s.taken.Load(); n != int64(s.rows.c.lines) {
		return s.rows.fail(fmt.Errorf("%w: %d records lie where %d should", record.ErrCorrupt, n, s.rows.c.lines))
	}
	return nil
}

// laterReader reads pieces.
type laterReader struct {
	scan *laterScan

	buf      []byte
	at, size int // what is left of the piece in buf
	s        record.RowReader
}

// Next implements column.Reader.
func (r *laterReader) Next(b *column.Batch) (int, error) {
	for {
		if r.at == r.size {
			if more, err := r.load(b.Columns); err != nil || !more {
				return 0, err
			}
		}
		rows, end, err := r.s.Shred(b, r.buf, r.at, r.size)
		if err != nil {
			r.scan.rows.asked.Store(true)
			return 0, err
		}
		if r.at = end; rows == 0 {
			r.at = r.size // blank lines; of what else it may be the count will tell
		}
		r.scan.taken.Add(int64(rows))
		if r.at == r.size {
			if err := r.scan.end(); err != nil {
				return 0, err
			}
		}
		if rows > 0 {
			return rows, nil
		}
	}
}

// load reads the next piece. It reports false when there is none.
func (r *laterReader) load(columns []*column.Column) (bool, error) {
	pieces := r.scan.rows.c.later
	n := r.scan.next.Add(1) - 1
	if n >= int64(len(pieces)) {
		return false, nil
	}
	loaded, err := pieces[n].Load(r.scan.rows.ctx, r.buf)
	if err != nil {
		return false, r.scan.rows.fail(err)
	}
	r.buf, r.at, r.size = loaded[:cap(loaded)], 0, len(loaded)
	r.s = pieces[n].Columns(columns)
	return true, nil
}

// Close implements column.Reader.
func (r *laterReader) Close() error { return nil }
