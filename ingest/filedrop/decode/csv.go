package decode

import (
	"bytes"
	"fmt"
	"io"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// table yields the rows of a CSV file (RFC 4180) as JSON objects. Fields are parted by one byte or
// letter, quoted with ", a quote within doubled; a quoted field may hold line breaks. Blank lines
// are no rows.
type table struct {
	*source
	delim  []byte
	header bool // still to be passed over
	cols   []member
	fields []field
	marks  marks
	plain  bool // the row found last is ASCII that JSON strings hold as it is
	buf    []byte

	scalars []record.Scalar // of the row before
	shape   uint64          // which they give
}

// member is what one field becomes.
type member struct {
	key     []byte // {"name": of the first column, ,"name": of the others
	number  bool   // see Kind
	boolean bool
}

// field is where a field lies in the unread text.
type field struct {
	start, end int
	quoted     bool
	doubled    bool // it holds doubled quotes
}

func newTable(s *source, p Plan) *table {
	t := &table{source: s, delim: []byte(p.Delimiter), header: p.Header}
	if len(t.delim) == 0 {
		t.delim = []byte{','}
	}
	for i, c := range p.Columns {
		key := []byte{','}
		if i == 0 {
			key = []byte{'{'}
		}
		t.cols = append(t.cols, member{key: append(appendString(key, []byte(c.Name)), ':'), number: c.Kind == NumberKind, boolean: c.Kind == BooleanKind})
	}
	return t
}

// Next implements Records.
func (t *table) Next() ([]byte, int64, error) {
	size, line, err := t.next()
	if err != nil {
		return nil, line, err
	}
	t.buf = t.object(t.buf[:0], t.r.rest()[:size])
	t.r.skip(size)
	return t.buf, line, nil
}

// NextShape implements Shaped.
func (t *table) NextShape() (raw []byte, size int, shape uint64, line int64, err error) {
	n, line, err := t.next()
	if err != nil {
		return nil, 0, 0, line, err
	}
	raw = t.r.rest()[:n]
	size, shape = t.shapeOf(raw)
	t.r.skip(n)
	return trimBreak(raw), size, shape, line, nil
}

// next finds the fields of the next row with the right number of them and returns how many bytes it takes.
func (t *table) next() (size int, line int64, err error) {
	for {
		t.begin()
		line := t.r.line
		size, err := t.row()
		if err != nil {
			return 0, line, err
		}
		text := t.r.rest()[:size]
		if len(t.fields) == 1 && t.fields[0].start == t.fields[0].end && !t.fields[0].quoted {
			t.r.skip(size)
			continue
		}
		if t.header {
			t.header = false
			t.r.skip(size)
			continue
		}
		if len(t.fields) != len(t.cols) {
			err := reject(tarn.CodeInvalid, fmt.Sprintf("the row has %d fields, the file has %d columns", len(t.fields), len(t.cols)), text)
			t.r.skip(size)
			return 0, line, err
		}
		return size, line, nil
	}
}

// shapeOf returns the size and the shape of what object makes of the row, without making it. The shape is
// 0 where a text is not UTF-8.
func (t *table) shapeOf(text []byte) (size int, shape uint64) {
	if len(t.scalars) != len(t.cols) {
		t.scalars, t.shape = make([]record.Scalar, len(t.cols)), 0
	}
	same, valid := t.shape != 0, true
	for i := range t.cols {
		c, f := &t.cols[i], &t.fields[i]
		scalar, n, ok := t.scalarOf(text[f.start:f.end], c, f)
		valid = valid && ok
		size += len(c.key) + n
		if scalar != t.scalars[i] {
			t.scalars[i], same = scalar, false
		}
	}
	if !same {
		t.shape = record.EmptyShape
		for i, c := range t.cols {
			t.shape = record.ShapeWith(t.shape, string(c.key[2:len(c.key)-2]), t.scalars[i]) // {"key": or ,"key":
		}
	}
	if !valid {
		return size + 1, 0
	}
	return size + 1, t.shape
}

// scalarOf returns what a field becomes: its shape, its size, and whether it can be in a record.
func (t *table) scalarOf(value []byte, c *member, f *field) (scalar record.Scalar, size int, ok bool) {
	if len(value) == 0 && !f.quoted {
		return record.ScalarNull, len("null"), true
	}
	if !f.doubled {
		switch {
		case c.number:
			n := trimBlanks(value)
			if scalar, ok := record.ScalarOfNumber(n); ok {
				return scalar, len(n), true
			}
		case c.boolean:
			if b := trimBlanks(value); isBoolean(b) {
				return record.ScalarBool, len(b), true
			}
		}
	}
	if t.plain {
		return record.ScalarString, len(value) + 2, true
	}
	size, ok = stringSize(value)
	if f.doubled { // two quotes become an escaped one
		size -= bytes.Count(value, []byte(`""`)) * 2
	}
	return record.ScalarString, size, ok
}

// trimBlanks returns a value without the blanks around it, which few have.
func trimBlanks(value []byte) []byte {
	if n := len(value); n > 0 && (value[0] == ' ' || value[n-1] == ' ') {
		return bytes.Trim(value, " ")
	}
	return value
}

// Place implements Placed.
func (t *table) Place() Place {
	at := t.place()
	at.Header = t.header
	return at
}

// object appends the row as a JSON object.
func (t *table) object(dst, text []byte) []byte {
	for i := range t.cols {
		c, f := &t.cols[i], t.fields[i]
		dst = append(dst, c.key...)
		value := text[f.start:f.end]
		switch {
		case len(value) == 0 && !f.quoted:
			dst = append(dst, "null"...)
		case f.doubled:
			dst = appendString(dst, bytes.ReplaceAll(value, []byte(`""`), []byte{'"'}))
		default:
			dst = appendField(dst, value, c)
		}
	}
	return append(dst, '}')
}

// appendField appends a field that is not null.
func appendField(dst, value []byte, c *member) []byte {
	switch trimmed := trimBlanks(value); {
	case c.number && isNumber(trimmed):
		return append(dst, trimmed...)
	case c.boolean && isBoolean(trimmed):
		if trimmed[0]|0x20 == 't' {
			return append(dst, "true"...)
		}
		return append(dst, "false"...)
	}
	return appendString(dst, value)
}

// row finds the fields of the next row and returns how many bytes it takes with its line break. It
// counts the lines. What is no row is a *Reject, and is passed over.
func (t *table) row() (int, error) {
	if end := t.markedRow(); end > 0 {
		return end, nil
	}
	return t.anyRow()
}

// anyRow is row by a look at single fields.
func (t *table) anyRow() (int, error) {
	t.plain = false
	b := t.r
	end, err := t.lineEnd(0)
	if err != nil {
		return 0, err
	}
	line := b.rest()[:end]
	if bytes.IndexByte(line, '"') >= 0 {
		return t.quotedRow()
	}
	t.fields = t.fields[:0]
	last := trimBreak(line)
	for from := 0; ; {
		n := t.find(last[from:])
		if n < 0 {
			t.fields = append(t.fields, field{start: from, end: len(last)})
			break
		}
		t.fields = append(t.fields, field{start: from, end: from + n})
		from += n + len(t.delim)
	}
	b.line++
	return end, nil
}

func (t *table) find(s []byte) int {
	if len(t.delim) == 1 {
		return bytes.IndexByte(s, t.delim[0])
	}
	return bytes.Index(s, t.delim)
}

// lineEnd returns the place behind the line break that follows from.
func (t *table) lineEnd(from int) (int, error) {
	b := t.r
	for {
		rest := b.rest()
		if n := bytes.IndexByte(rest[from:], '\n'); n >= 0 {
			if end := from + n + 1; end <= b.limit {
				return end, nil
			}
			err := b.tooLong(rest)
			b.skipLine()
			return 0, err
		}
		from = len(rest)
		if b.more() {
			continue
		}
		switch {
		case from > b.limit:
			err := b.tooLong(rest)
			b.skipLine()
			return 0, err
		case b.err != nil:
			return 0, b.fault()
		case from == 0:
			return 0, io.EOF
		}
		return from, nil
	}
}

// quotedRow is row for one that holds quotes.
func (t *table) quotedRow() (int, error) {
	b := t.r
	t.fields = t.fields[:0]
	breaks := int64(0)
	for at := 0; ; {
		rest := b.rest()
		if at < len(rest) && rest[at] == '"' {
			f, next, ok := t.quoted(at)
			if !ok {
				return 0, t.refuse(unclosed)
			}
			rest = b.rest()
			breaks += int64(bytes.Count(rest[f.start:f.end], []byte{'\n'}))
			t.fields = append(t.fields, f)
			switch tail := rest[next:]; {
			case bytes.HasPrefix(tail, t.delim):
				at = next + len(t.delim)
				continue
			case len(tail) == 0:
				b.line += breaks + 1
				return next, nil
			case tail[0] == '\n':
				b.line += breaks + 1
				return next + 1, nil
			case bytes.HasPrefix(tail, []byte("\r\n")):
				b.line += breaks + 1
				return next + 2, nil
			}
			return 0, t.refuse("text follows the closing quote of a field")
		}
		end, err := t.lineEnd(at)
		if err != nil {
			return 0, err
		}
		last := trimBreak(b.rest()[at:end])
		if n := t.find(last); n >= 0 {
			t.fields = append(t.fields, field{start: at, end: at + n})
			at += n + len(t.delim)
			continue
		}
		t.fields = append(t.fields, field{start: at, end: at + len(last)})
		b.line += breaks + 1
		return end, nil
	}
}

// quoted reads the quoted field that begins at at. It returns the place behind its closing quote,
// with at least two bytes more to look at unless the text ends there.
func (t *table) quoted(at int) (f field, next int, ok bool) {
	b := t.r
	f = field{start: at + 1, quoted: true}
	for i := at + 1; ; {
		rest := b.rest()
		n := -1
		if i < len(rest) {
			n = bytes.IndexByte(rest[i:], '"')
		}
		if n < 0 {
			i = len(rest)
			if i > b.limit || !b.more() {
				return f, 0, false
			}
			continue
		}
		i += n + 1
		for i+len(t.delim)+1 >= len(b.rest()) && b.more() {
		}
		if rest = b.rest(); i < len(rest) && rest[i] == '"' {
			f.doubled = true
			i++
			continue
		}
		f.end = i - 1
		return f, i, i <= b.limit
	}
}

const unclosed = "a quoted field is not closed"

// refuse rejects the line at which the row begins; the next line is a row again.
func (t *table) refuse(why string) error {
	rest := t.r.rest()
	if n := bytes.IndexByte(rest, '\n'); n >= 0 {
		rest = rest[:n]
	}
	err := reject(tarn.CodeInvalid, why, rest)
	t.r.skipLine()
	return err
}

// trimBreak removes the line break at the end.
func trimBreak(line []byte) []byte {
	if n := len(line); n > 0 && line[n-1] == '\n' {
		line = line[:n-1]
	}
	return trimReturn(line)
}

// isNumber reports whether b is a number of JSON.
func isNumber(b []byte) bool {
	_, ok := record.ScalarOfNumber(b)
	return ok
}

func isBoolean(b []byte) bool {
	return len(b) == 4 && bytes.EqualFold(b, []byte("true")) || len(b) == 5 && bytes.EqualFold(b, []byte("false"))
}
