package record

import (
	"math"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record/column"
)

// Shredder takes NDJSON records apart into columns. It takes what needs no judgement: a value of the class
// of its column, a timestamp as in ISO 8601, NULL, no value at all. For everything else it fails with
// column.ErrAsk, and the caller has DuckDB read the same lines: what the two of them accept they convert alike.
// Members without a column are left out. It belongs to one goroutine.
type Shredder struct {
	root   *level
	scan   scanner
	record uint64 // number of the record being taken apart, to notice repeated keys

	forms  []*form // of records that came before, the latest first
	misses int     // records in a row that had none of them
	rest   int     // records for which they are not tried

	numbered bool
	ask      bool    // only the SQL engine can tell numbers of lines
	line     int64   // where the next record may begin
	lines    *target // their column, nil for none
}

// level is the members of an object that have columns.
type level struct {
	members []target
	byKey   map[string]int
	escapes bool // the name of a column looks like an escaped key
	next    int  // the member expected next: records mostly have one order
}

// target is a column and, where that is a struct, what is in it.
type target struct {
	column *column.Column
	inside *level
	seen   uint64 // the record it was seen in
}

// NewShredder returns a shredder for batches of these columns. Those that are unused are left out.
func NewShredder(columns []*column.Column) *Shredder {
	return &Shredder{root: newLevel(columns), scan: scanner{depth: math.MaxInt, strict: true}}
}

// NewNumberedShredder returns a shredder of a text that may hold blank lines, which are no records. It puts
// the number of each record's line, the first of the text being first, into the column of the name. No record
// may have such a member itself.
func NewNumberedShredder(columns []*column.Column, name string, first int64) *Shredder {
	s := NewShredder(columns)
	s.numbered, s.line = true, first
	if at, ok := s.root.byKey[name]; ok {
		s.lines = &s.root.members[at]
		s.ask = s.lines.column.Kind != tarn.Long
	}
	return s
}

func newLevel(columns []*column.Column) *level {
	l := &level{byKey: map[string]int{}}
	for _, c := range columns {
		if c.Unused {
			continue
		}
		m := target{column: c}
		if c.Kind == tarn.Struct {
			m.inside = newLevel(c.Children)
		}
		l.byKey[c.Name] = len(l.members)
		l.escapes = l.escapes || strings.Contains(c.Name, `\`)
		l.members = append(l.members, m)
	}
	return l
}

// Padding is how many bytes must be readable behind the lines that Shred gets.
const Padding = 8

// Shred fills an empty batch with the records of b[next:n], which are whole lines and have Padding behind
// them, and returns how many it took and where the next begins. It stops at column.Rows.
func (s *Shredder) Shred(to *column.Batch, b []byte, next, n int) (rows, end int, err error) {
	if s.ask {
		return 0, 0, column.ErrAsk
	}
	to.Source = b
	for rows < column.Rows && next < n {
		if next = s.blanks(b, next, n); next == n {
			break
		}
		if s.numbered && b[next] == '\n' {
			next++
			s.line++
			continue
		}
		s.record++
		if s.lines != nil {
			s.lines.seen = s.record // one in the record would be the second
			s.lines.column.Longs[rows] = s.line
			s.lines.column.Set(rows)
		}
		end, err := s.one(to, b, next, n, rows)
		if err != nil {
			return 0, 0, err
		}
		if end = s.blanks(b, end, n); end < n {
			if b[end] != '\n' {
				return 0, 0, column.ErrAsk
			}
			end++
			s.line++
		}
		next = end
		rows++
	}
	return rows, next, nil
}

func (s *Shredder) blanks(b []byte, i, n int) int {
	for i < n && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// one takes the record at b[i] apart, by a form where one fits.
func (s *Shredder) one(to *column.Batch, b []byte, i, n, row int) (end int, err error) {
	if s.rest > 0 {
		s.rest--
		return s.object(to, s.root, b, i, n, row)
	}
	if end := s.match(to, b, i, n, row); end >= 0 {
		s.misses = 0
		return end, nil
	}
	if end, err = s.object(to, s.root, b, i, n, row); err == nil {
		s.learn(b[i:end], row)
	}
	return end, err
}

// object takes the object at b[i] apart.
func (s *Shredder) object(to *column.Batch, l *level, b []byte, i, n, row int) (int, error) {
	if i >= n || b[i] != '{' {
		return 0, column.ErrAsk
	}
	if i = s.blanks(b, i+1, n); i < n && b[i] == '}' {
		return i + 1, nil
	}
	for {
		if i >= n || b[i] != '"' {
			return 0, column.ErrAsk
		}
		end, hard := s.scan.str(b[:n], i+1)
		if hard != "" {
			return 0, column.ErrAsk
		}
		m, err := l.member(b[i+1:end-1], s.record)
		if err != nil {
			return 0, err
		}
		if i = s.blanks(b, end, n); i >= n || b[i] != ':' {
			return 0, column.ErrAsk
		}
		i = s.blanks(b, i+1, n)
		if i, err = s.value(to, m, b, i, n, row); err != nil {
			return 0, err
		}
		if i = s.blanks(b, i, n); i >= n {
			return 0, column.ErrAsk
		}
		switch b[i] {
		case '}':
			return i + 1, nil
		case ',':
			i = s.blanks(b, i+1, n)
		default:
			return 0, column.ErrAsk
		}
	}
}

// member returns what a key stands for, nil for one without a column.
func (l *level) member(key []byte, record uint64) (*target, error) {
	at := l.next
	if at >= len(l.members) || l.members[at].column.Name != string(key) || l.escapes {
		for _, c := range key {
			if c == '\\' {
				return nil, column.ErrAsk
			}
		}
		var ok bool
		if at, ok = l.byKey[string(key)]; !ok {
			return nil, nil
		}
	}
	m := &l.members[at]
	if m.seen == record { // DuckDB refuses a repeated key
		return nil, column.ErrAsk
	}
	m.seen, l.next = record, at+1
	return m, nil
}

// value takes the value at b[i], of a member or of none.
func (s *Shredder) value(to *column.Batch, m *target, b []byte, i, n, row int) (end int, err error) {
	switch {
	case i >= n:
		return 0, column.ErrAsk
	case m == nil:
		end, _, hard := s.scan.value(b[:n], i)
		if hard != "" {
			return 0, column.ErrAsk
		}
		return end, nil
	case b[i] == 'n':
		if i+4 > n || string(b[i:i+4]) != "null" {
			return 0, column.ErrAsk
		}
		return i + 4, nil
	case m.inside != nil:
		m.inside.next = 0
		if end, err = s.object(to, m.inside, b, i, n, row); err == nil {
			m.column.Set(row)
		}
		return end, err
	}
	if end = s.scalar(to, m.column, b, i, n, row); end < 0 {
		return 0, column.ErrAsk
	}
	return end, nil
}
