package decode

import (
	"bytes"
	"io"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
)

// LineMember is the member of a record that says at which line of its file it begins.
const LineMember = "_line"

// Columnar reports whether Columns reads files of the plan.
func (p Plan) Columnar() bool { return p.Seekable() && p.Format != Text }

// Columns returns a reader of a piece of a file, see OpenRange, into columns: its records with LineMember. The
// plan is Columnar.
func Columns(p Plan, at Place, columns []*column.Column) record.RowReader {
	mark := at.Offset == 0
	if p.Format == NDJSON {
		return &lineColumns{s: record.NewNumberedShredder(columns, LineMember, at.Line), mark: mark}
	}
	p.Header = at.Header
	t := &tableColumns{t: newTable(&source{r: &blocks{line: at.Line, end: true}}, p), targets: make([]*column.Column, len(p.Columns)), mark: mark}
	taken := map[string]int{}
	for i, c := range p.Columns {
		taken[c.Name] = i
	}
	_, clash := taken[LineMember]
	t.ask = clash || len(taken) < len(p.Columns)
	for _, c := range columns {
		if c.Unused {
			continue
		}
		if i, ok := taken[c.Name]; ok {
			t.targets[i] = c
		} else if c.Name == LineMember {
			t.line = c
			t.ask = t.ask || c.Kind != tarn.Long
		}
	}
	return t
}

// markEnd returns where a text begins behind a byte order mark.
func markEnd(text []byte, n int) int {
	if bytes.HasPrefix(text[:n], []byte(byteOrderMark)) {
		return len(byteOrderMark)
	}
	return 0
}

// lineColumns reads lines of JSON.
type lineColumns struct {
	s    *record.Shredder
	mark bool // there may be a byte order mark
}

// Shred implements record.RowReader.
func (l *lineColumns) Shred(to *column.Batch, text []byte, next, n int) (rows, end int, err error) {
	if l.mark {
		l.mark = false
		next = max(next, markEnd(text, n))
	}
	return l.s.Shred(to, text, next, n)
}

// tableColumns reads rows of CSV.
type tableColumns struct {
	t       *table
	targets []*column.Column // of the fields, nil for one without a column
	line    *column.Column   // of the row's line, nil for none
	ask     bool             // only a record tells what a row is
	mark    bool             // there may be a byte order mark
}

// Shred implements record.RowReader.
func (t *tableColumns) Shred(to *column.Batch, text []byte, next, n int) (rows, end int, err error) {
	if t.ask {
		return 0, 0, column.ErrAsk
	}
	if t.mark {
		t.mark = false
		next = max(next, markEnd(text, n))
	}
	to.Source = text
	in := t.t.r
	in.buf, in.limit, in.at = text[:n], n, next
	for ; rows < column.Rows; rows++ {
		size, line, err := t.t.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, 0, column.ErrAsk
		}
		if t.line != nil {
			t.line.Longs[rows] = line
			t.line.Set(rows)
		}
		for i, c := range t.targets {
			if c != nil && !t.put(to, c, &t.t.cols[i], &t.t.fields[i], rows) {
				return 0, 0, column.ErrAsk
			}
		}
		in.skip(size)
	}
	if bytes.IndexByte(text[next:in.at], 0) >= 0 { // texts of DuckDB have no zero byte
		return 0, 0, column.ErrAsk
	}
	return rows, in.at, nil
}

// put puts a field into a column. What is said of a value's class by scalarOf and object holds here.
func (t *tableColumns) put(to *column.Batch, c *column.Column, m *member, f *field, row int) bool {
	if f.start == f.end && !f.quoted {
		return true // NULL
	}
	at := t.t.r.at + f.start
	value := to.Source[at : t.t.r.at+f.end]
	switch c.Kind {
	case tarn.String:
		if f.doubled {
			begin := len(to.Unescaped)
			to.Unescaped = append(to.Unescaped, bytes.ReplaceAll(value, []byte(`""`), []byte{'"'})...)
			c.Texts[row] = column.Text{Start: int32(-1 - begin), Length: int32(len(to.Unescaped) - begin)}
		} else {
			if !asText(value, m) {
				return false
			}
			c.Texts[row] = column.Text{Start: int32(at), Length: int32(len(value))}
		}
		c.Set(row)
		return true
	case tarn.TimestampTZ:
		return !m.number && !m.boolean && !f.doubled && record.PutInstant(c, row, value)
	case tarn.Int, tarn.Long, tarn.Double:
		return m.number && !f.doubled && record.PutNumber(c, row, trimBlanks(value))
	case tarn.Boolean:
		value = trimBlanks(value)
		if !m.boolean || f.doubled || !isBoolean(value) {
			return false
		}
		c.Bools[row] = value[0]|0x20 == 't'
		c.Set(row)
		return true
	}
	return false
}

// asText reports whether a column of texts gets a field as it stands: what is a number or a boolean in the record may be
// written otherwise by the SQL engine.
func asText(value []byte, m *member) bool {
	switch trimmed := trimBlanks(value); {
	case m.number:
		number, same := record.NumberText(trimmed)
		return !number || same && len(trimmed) == len(value)
	case m.boolean:
		return !isBoolean(trimmed) || string(value) == "true" || string(value) == "false"
	}
	return true
}
