package firehose

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
)

// maxDepth bounds the nesting of what is skipped.
const maxDepth = 1000

// scanner reads one JSON text (RFC 8259) from front to back. Strings without escapes are returned
// without copying.
type scanner struct {
	b     []byte
	i     int
	depth int
}

// document reads the whole text with value and checks that nothing follows.
func (s *scanner) document(value func() error) error {
	if err := value(); err != nil {
		return err
	}
	if s.peek() != 0 || s.i < len(s.b) {
		return s.bad()
	}
	return nil
}

// peek returns the next byte that is not white space without taking it; 0 at the end.
func (s *scanner) peek() byte {
	for s.i < len(s.b) {
		switch c := s.b[s.i]; c {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return c
		}
	}
	return 0
}

func (s *scanner) bad() error {
	return notAnAnswer(fmt.Sprintf("it is not valid JSON at byte %d", s.i))
}

// object reads an object and calls field for each key, which must read the value. key is valid until
// the next string is read.
func (s *scanner) object(field func(key []byte) error) error {
	return s.list('{', '}', func() error {
		key, err := s.text()
		if err != nil {
			return err
		}
		if s.peek() != ':' {
			return s.bad()
		}
		s.i++
		return field(key)
	})
}

// array reads an array and calls element for each element, which must read it.
func (s *scanner) array(element func() error) error { return s.list('[', ']', element) }

func (s *scanner) list(open, end byte, element func() error) error {
	if s.depth++; s.peek() != open || s.depth > maxDepth {
		return s.bad()
	}
	s.i++
	if s.peek() == end {
		s.i++
		s.depth--
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		switch s.peek() {
		case ',':
			s.i++
		case end:
			s.i++
			s.depth--
			return nil
		default:
			return s.bad()
		}
	}
}

// text reads a string and returns what it stands for, never nil.
func (s *scanner) text() ([]byte, error) {
	raw, plain, err := s.rawText()
	if err != nil || plain {
		return raw, err
	}
	var v string
	if json.Unmarshal(s.b[s.i-len(raw)-2:s.i], &v) != nil {
		return nil, s.bad()
	}
	return []byte(v), nil
}

// rawText reads a string and returns what is between its quotes, and whether that is what it stands for.
func (s *scanner) rawText() (raw []byte, plain bool, err error) {
	if s.peek() != '"' {
		return nil, false, s.bad()
	}
	start := s.i + 1
	end := start
	for {
		n := bytes.IndexByte(s.b[end:], '"')
		if n < 0 {
			return nil, false, s.bad()
		}
		end += n
		if !escaped(s.b[start:end]) {
			break
		}
		end++
	}
	raw = s.b[start:end]
	s.i = end + 1
	return raw, isPlain(raw), nil
}

// escaped reports whether the quote behind b belongs to the string: an odd number of backslashes
// stands before it.
func escaped(b []byte) bool {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n%2 == 1
}

// isPlain reports whether b holds printable ASCII without escapes. Everything else is left to
// encoding/json, which also knows what is not allowed. It looks at eight bytes at a time: a borrow out
// of a byte's top bit tells that it was smaller than what was subtracted.
func isPlain(b []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; len(b) >= 8; b = b[8:] {
		x := binary.LittleEndian.Uint64(b)
		backslash := x ^ '\\'*ones // such a byte is now 0
		if (x|(x-0x20*ones)|(backslash-ones))&tops != 0 {
			break // perhaps only because of a neighbour's borrow: look closely
		}
	}
	for _, c := range b {
		if c < 0x20 || c >= 0x80 || c == '\\' {
			return false
		}
	}
	return true
}

// textOrSkip reads a value and returns it if it is a string, and nil if not.
func (s *scanner) textOrSkip() ([]byte, error) {
	if s.peek() != '"' {
		return nil, s.skip()
	}
	return s.text()
}

// scalar reads a value and returns the text of a string, number or boolean; ok is false for others.
func (s *scanner) scalar() (value []byte, ok bool, err error) {
	switch c := s.peek(); c {
	case '"':
		value, err = s.text()
		return value, true, err
	case '{', '[', 'n':
		return nil, false, s.skip()
	}
	start := s.i
	err = s.skip()
	return s.b[start:s.i], true, err
}

// skip reads a value of any kind.
func (s *scanner) skip() error {
	switch c := s.peek(); {
	case c == '{':
		return s.object(func([]byte) error { return s.skip() })
	case c == '[':
		return s.array(s.skip)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || c >= '0' && c <= '9':
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.b[s.i:], []byte(word)) {
			s.i += len(word)
			return nil
		}
	}
	return s.bad()
}

func (s *scanner) number() error {
	start := s.i
	for s.i < len(s.b) && bytes.IndexByte([]byte("+-.eE0123456789"), s.b[s.i]) >= 0 {
		s.i++
	}
	if !json.Valid(s.b[start:s.i]) {
		return s.bad()
	}
	return nil
}
