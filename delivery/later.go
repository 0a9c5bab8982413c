package delivery

import (
	"context"
	"fmt"
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
	return time.Now().UnixNano() >= g.w.eager.Load() && g.sample == nil && st != nil && st.Decided() && g.w.input.version().shreds.able && g.bare(seg)
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

// laterReader reads the records of a chunk where they lie.
type laterReader struct {
	ctx  context.Context // of the conversion
	rows *chunkRows
	next int // of the pieces

	buf      []byte
	at, size int // what is left of the piece in buf
	s        record.RowReader
	taken    int // rows
}

// Next implements column.Reader.
func (r *laterReader) Next(b *column.Batch) (int, error) {
	for {
		if r.at < r.size {
			rows, end, err := r.s.Shred(b, r.buf, r.at, r.size)
			if err != nil {
				r.rows.asked.Store(true)
				return 0, err
			}
			r.at, r.taken = end, r.taken+rows
			if rows > 0 {
				return rows, nil
			}
			r.at = r.size // blank lines, or the count will tell
			continue
		}
		if r.next == len(r.rows.later) {
			if r.taken != r.rows.lines { // I3
				return 0, r.rows.fail(fmt.Errorf("%w: %d records lie where %d should", record.ErrCorrupt, r.taken, r.rows.lines))
			}
			return 0, nil
		}
		piece := r.rows.later[r.next]
		loaded, err := piece.Load(r.ctx, r.buf)
		if err != nil {
			return 0, r.rows.fail(err)
		}
		r.buf, r.at, r.size = loaded[:cap(loaded)], 0, len(loaded)
		r.s = piece.Columns(b.Columns)
		r.next++
	}
}

// Close implements column.Reader.
func (r *laterReader) Close() error { return nil }
