package record

import (
	"context"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record/column"
)

// Later is the records of a segment where they lie, which are read when they are needed and not before. It is
// immutable and safe for concurrent use. Errors of reading are those of stream.Fetch.
type Later interface {
	// Size is how many bytes they take there.
	Size() int64
	// Load reads them as they are. It may use buf, which may be nil; Padding more bytes can be read behind
	// what it returns.
	Load(ctx context.Context, buf []byte) ([]byte, error)
	// Columns returns a reader of what Load returned, from its beginning, into batches of these columns.
	// They hold what Lines would say.
	Columns([]*column.Column) RowReader
	// Lines reads them as Segment.Payload would have them, without the members in Segment.Common.
	Lines(ctx context.Context, buf []byte) ([]byte, error)
}

// RowReader fills batches from texts, see Shredder.Shred. A text is read from its beginning to its end. A
// reader belongs to one goroutine.
type RowReader interface {
	Shred(to *column.Batch, text []byte, next, n int) (rows, end int, err error)
}

// PutNumber puts a number of JSON into a row of a column of numbers, and reports whether it did: false for
// what only the SQL engine can judge.
func PutNumber(c *column.Column, row int, text []byte) bool {
	if len(text) == 0 || text[0] != '-' && text[0]-'0' > 9 {
		return false
	}
	end, ok := 0, false
	switch c.Kind {
	case tarn.Double:
		c.Doubles[row], end, ok = double(text, 0)
	case tarn.Long:
		c.Longs[row], end, ok = integer(text, 0)
	case tarn.Int:
		var v int64
		v, end, ok = integer(text, 0)
		c.Ints[row] = int32(v)
		ok = ok && v == int64(int32(v))
	}
	if ok = ok && end == len(text); ok {
		c.Set(row)
	}
	return ok
}

// PutInstant puts a timestamp of ISO 8601 into a row of a column, and reports whether it did: false for what
// only the SQL engine can judge.
func PutInstant(c *column.Column, row int, text []byte) bool {
	v, end, ok := instant(text, 0)
	if !ok || end != len(text) {
		return false
	}
	c.Longs[row] = v
	c.Set(row)
	return true
}
