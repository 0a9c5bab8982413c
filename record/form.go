package record

import (
	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record/column"
)

// Form says what lines are that are no JSON, but become records: rows of a CSV file. It is immutable.
type Form interface {
	// AppendRecord appends the record that a line stands for, as a JSON object with members.
	AppendRecord(dst, line []byte) ([]byte, error)
	// Shredder returns a reader of lines for batches of these columns.
	Shredder([]*column.Column) RowReader
	// Equal reports whether lines of both mean the same.
	Equal(Form) bool
}

// RowReader fills batches from lines, see Shredder.Shred. It belongs to one goroutine.
type RowReader interface {
	Shred(to *column.Batch, lines []byte, next, n int) (rows, end int, err error)
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

// PutInstant puts a timestamp of RFC 3339 into a row of a column, and reports whether it did: false for what
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
