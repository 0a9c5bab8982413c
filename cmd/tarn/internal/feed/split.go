package feed

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/tarn-data/tarn"
)

// maxRecord bounds one record here. The server's limits are far below.
const maxRecord = 32 << 20

type layout uint8

const (
	undecided layout = iota
	lines            // a newline ends a record
	documents        // a record ends where its brackets close
)

// splitter finds the records in a sequence of chunks. Its state is what the chunks so far end in.
type splitter struct {
	emit func(rec []byte, line int)

	layout layout
	begun  bool   // the byte order mark is behind
	rest   []byte // bytes of a record, or of what decides the layout, that has not ended
	line   int    // of the next byte, from 1
	first  int    // line on which rest begins

	// documents only
	depth   int  // of brackets within the record
	array   bool // within the array that holds the records
	text    bool // within a string
	escaped bool // after a backslash in a string
	scalar  bool // rest is no object or array
}

func newSplitter(emit func(rec []byte, line int)) *splitter {
	return &splitter{emit: emit, line: 1, first: 1}
}

// write takes the next chunk. It retains nothing of it.
func (s *splitter) write(chunk []byte) error {
	if s.layout == undecided {
		s.rest = append(s.rest, chunk...)
		if !s.decide(false) {
			return s.tooLong()
		}
		chunk, s.rest = s.rest, nil
	}
	if s.layout == lines {
		s.splitLines(chunk)
	} else {
		s.splitDocuments(chunk)
	}
	return s.tooLong()
}

// end takes the end of the input.
func (s *splitter) end() error {
	if s.layout == undecided {
		s.decide(true)
		chunk := s.rest
		s.rest = nil
		if s.layout == lines {
			s.splitLines(chunk)
		} else {
			s.splitDocuments(chunk)
		}
	}
	if len(s.rest) > 0 { // no newline at the end, or a record that does not close, which the server rejects
		s.flush()
	}
	return nil
}

func (s *splitter) tooLong() error {
	if len(s.rest) > maxRecord {
		return &tarn.Error{Code: tarn.CodeRecordTooLarge, Detail: fmt.Sprintf("line %d: the JSON value that begins here does not end within %d bytes", s.first, maxRecord), Hint: "is a bracket or quote missing?"}
	}
	return nil
}

// decide looks at the beginning of the input, and reports whether it knows the layout now.
func (s *splitter) decide(atEnd bool) bool {
	if !s.begun && (len(s.rest) >= 3 || atEnd) {
		s.rest = bytes.TrimPrefix(s.rest, []byte("\xef\xbb\xbf"))
		s.begun = true
	}
	head := bytes.TrimLeft(s.rest, " \t\r\n")
	if !s.begun || len(head) == 0 {
		if atEnd {
			s.layout = lines
		}
		return atEnd
	}
	switch head[0] {
	case '[':
		s.layout = documents
	case '{':
		n := bytes.IndexByte(head, '\n')
		if n < 0 {
			if !atEnd {
				return false
			}
			n = len(head)
		}
		// One object on the first line: lines. Otherwise the object goes on, or others follow it.
		s.layout = documents
		if json.Valid(head[:n]) {
			s.layout = lines
		}
	default:
		s.layout = lines
	}
	return true
}

func (s *splitter) splitLines(b []byte) {
	for len(b) > 0 {
		n := bytes.IndexByte(b, '\n')
		if n < 0 {
			s.rest = append(s.rest, b...)
			return
		}
		if len(s.rest) > 0 {
			s.rest = append(s.rest, b[:n]...)
			s.flush()
		} else {
			s.send(b[:n], s.line)
		}
		s.line++
		s.first = s.line
		b = b[n+1:]
	}
}

// flush sends rest.
func (s *splitter) flush() {
	s.send(s.rest, s.first)
	s.rest = s.rest[:0]
}

func (s *splitter) send(rec []byte, line int) {
	if rec = bytes.Trim(rec, " \t\r"); len(rec) > 0 { // the server does not count empty lines either
		s.emit(rec, line)
	}
}

// splitDocuments follows brackets and strings, no more. Raw newlines within a record can only
// stand between tokens and become spaces.
func (s *splitter) splitDocuments(b []byte) {
	for _, c := range b {
		if c == '\n' {
			s.line++
		}
		switch {
		case s.text:
			s.rest = append(s.rest, flat(c))
			s.text = s.escaped || c != '"'
			s.escaped = !s.escaped && c == '\\'
			if !s.text && s.depth == 0 {
				s.flush()
			}
		case s.depth > 0:
			s.inside(c)
		default:
			s.between(c)
		}
	}
}

// inside takes a byte between the brackets of a record.
func (s *splitter) inside(c byte) {
	s.rest = append(s.rest, flat(c))
	switch c {
	case '"':
		s.text = true
	case '{', '[':
		s.depth++
	case '}', ']':
		if s.depth--; s.depth == 0 {
			s.flush()
		}
	}
}

// between takes a byte outside the brackets of a record.
func (s *splitter) between(c byte) {
	ends := c == ' ' || c == '\t' || c == '\r' || c == '\n' || s.array && (c == ',' || c == ']') || c == '{' || c == '[' || c == '"'
	if s.scalar && ends {
		s.scalar = false
		s.flush()
	}
	switch {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n' || s.array && c == ',':
	case s.array && c == ']':
		s.array = false
	case !s.array && c == '[':
		s.array = true
	default:
		if !s.scalar {
			s.first = s.line
		}
		s.rest = append(s.rest, c)
		switch c {
		case '{', '[':
			s.depth = 1
		case '"':
			s.text = true
		default:
			s.scalar = true
		}
	}
}

func flat(c byte) byte {
	if c == '\n' || c == '\r' {
		return ' '
	}
	return c
}
