package decode

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

// rows is the record.Form of rows of CSV that take one line each: the number of the line in the file, a
// colon, the row. They become columns, or JSON objects with that number, only where they are looked at.
type rows struct{ plan Plan }

// LineMember is the member of a record that says at which line of its file it begins.
const LineMember = "_line"

// AppendRows appends the rows of a piece of a CSV file, see OpenRange, as lines in the form that is returned.
// It reports false when they have to be read as records: a row that takes several lines is among them.
func AppendRows(dst, piece []byte, p Plan, at Place) (_ []byte, _ record.Form, ok bool) {
	if p.Format != CSV || !p.Seekable() {
		return dst, nil, false
	}
	p.Header = at.Header
	text := &blocks{buf: piece, limit: len(piece), line: at.Line, base: at.Offset, end: true}
	if at.Offset == 0 {
		text.passMark()
	}
	t := newTable(&source{r: text}, p)
	quoted := bytes.IndexByte(piece, '"') >= 0
	for text.at < len(piece) {
		line, rest := text.line, text.rest()
		size := bytes.IndexByte(rest, '\n') + 1
		if size == 0 {
			size = len(rest)
		}
		if quoted || t.header { // else nobody has to look at fields yet
			n, first, err := t.next()
			switch {
			case text.at == len(piece):
				return dst, rows{p}, true // nothing but what is no row
			case err != nil:
				return dst, nil, false
			}
			line, rest, size = first, text.rest(), n
		} else {
			text.line++
		}
		row := trimBreak(rest[:size])
		text.skip(size)
		if len(row) == 0 {
			continue
		}
		if row[len(row)-1] == '\r' || bytes.IndexByte(row, '\n') >= 0 {
			return dst, nil, false
		}
		dst = append(append(strconv.AppendInt(dst, line, 10), ':'), row...)
		dst = append(dst, '\n')
	}
	return dst, rows{p}, true
}

// Equal implements record.Form.
func (r rows) Equal(other record.Form) bool {
	o, ok := other.(rows)
	return ok && r.plan.Delimiter == o.plan.Delimiter && slices.Equal(r.plan.Columns, o.plan.Columns)
}

// table returns a reader of rows.
func (r rows) table() *table {
	r.plan.Header = false
	return newTable(&source{r: &blocks{end: true}}, r.plan)
}

// AppendRecord implements record.Form.
func (r rows) AppendRecord(dst, line []byte) ([]byte, error) {
	t := r.table()
	n := bytes.IndexByte(line, ':')
	if n < 0 {
		return dst, errNoRow
	}
	t.r.buf, t.r.limit, t.r.at = line, len(line), n+1
	size, err := t.row()
	if err != nil || len(t.fields) != len(t.cols) || t.r.at+size != len(line) {
		return dst, errNoRow
	}
	dst = t.object(dst, t.r.rest()[:size])
	dst = append(dst[:len(dst)-1], `,"`+LineMember+`":`...)
	return append(append(dst, line[:n]...), '}'), nil
}

// errNoRow: lines that AppendRows did not make.
var errNoRow = &tarn.Error{Code: tarn.CodeInternal, Detail: "a line is no row of the file that it should be of"}

// Shredder implements record.Form.
func (r rows) Shredder(columns []*column.Column) record.RowReader {
	s := &rowShredder{t: r.table(), targets: make([]*column.Column, len(r.plan.Columns))}
	taken := map[string]int{}
	for i, c := range r.plan.Columns {
		taken[c.Name] = i
	}
	_, clash := taken[LineMember]
	s.ask = clash || len(taken) < len(r.plan.Columns)
	for _, c := range columns {
		if c.Unused {
			continue
		}
		if i, ok := taken[c.Name]; ok {
			s.targets[i] = c
		} else if c.Name == LineMember {
			s.line = c
		}
	}
	return s
}

// rowShredder takes rows apart into columns.
type rowShredder struct {
	t       *table
	targets []*column.Column // of the fields, nil for one without a column
	line    *column.Column   // of the line's number, nil for none
	ask     bool             // only a record tells what a row is
}

// Shred implements record.RowReader.
func (s *rowShredder) Shred(to *column.Batch, b []byte, next, n int) (rows, end int, err error) {
	if s.ask {
		return 0, 0, column.ErrAsk
	}
	to.Source = b
	in := s.t.r
	in.buf, in.limit, in.at = b[:n], n, next
	for ; rows < column.Rows && in.at < n; rows++ {
		colon := bytes.IndexByte(in.rest(), ':')
		if colon < 0 || s.line != nil && !record.PutNumber(s.line, rows, in.rest()[:colon]) {
			return 0, 0, column.ErrAsk
		}
		in.skip(colon + 1)
		size, err := s.t.row()
		if err != nil || len(s.t.fields) != len(s.targets) {
			return 0, 0, column.ErrAsk
		}
		for i, c := range s.targets {
			if c != nil && !s.put(to, c, s.t.cols[i].kind, &s.t.fields[i], rows) {
				return 0, 0, column.ErrAsk
			}
		}
		in.skip(size)
	}
	if bytes.IndexByte(b[next:in.at], 0) >= 0 { // texts of DuckDB have no zero byte
		return 0, 0, column.ErrAsk
	}
	return rows, in.at, nil
}

// put puts a field into a column. What is said of a value's class by scalarOf and object holds here.
func (s *rowShredder) put(to *column.Batch, c *column.Column, kind Kind, f *field, row int) bool {
	if f.start == f.end && !f.quoted {
		return true // NULL
	}
	at := s.t.r.at + f.start
	value := to.Source[at : s.t.r.at+f.end]
	switch c.Kind {
	case tarn.String:
		if f.doubled {
			begin := len(to.Unescaped)
			to.Unescaped = append(to.Unescaped, bytes.ReplaceAll(value, []byte(`""`), []byte{'"'})...)
			c.Texts[row] = column.Text{Start: int32(-1 - begin), Length: int32(len(to.Unescaped) - begin)}
		} else {
			if kind == NumberKind && isNumber(bytes.Trim(value, " ")) || kind == BooleanKind && isBoolean(bytes.Trim(value, " ")) {
				return false
			}
			c.Texts[row] = column.Text{Start: int32(at), Length: int32(len(value))}
		}
		c.Set(row)
		return true
	case tarn.TimestampTZ:
		return kind == TextKind && !f.doubled && record.PutInstant(c, row, value)
	case tarn.Int, tarn.Long, tarn.Double:
		if len(value) > 0 && (value[0] == ' ' || value[len(value)-1] == ' ') {
			value = bytes.Trim(value, " ")
		}
		return kind == NumberKind && !f.doubled && record.PutNumber(c, row, value)
	case tarn.Boolean:
		value = bytes.Trim(value, " ")
		if kind != BooleanKind || f.doubled || !isBoolean(value) {
			return false
		}
		c.Bools[row] = value[0]|0x20 == 't'
		c.Set(row)
		return true
	}
	return false
}
