package record

import (
	"encoding/binary"
	"math/bits"
)

// fault says why a value is not acceptable, in words made for the producer.
type fault string

// Hard faults: the text is not JSON, so where the value ends is not known.
const (
	faultNone      fault = ""
	faultEnd       fault = "it ends too early"
	faultValue     fault = "a value is expected"
	faultKey       fault = "a quoted key is expected"
	faultColon     fault = "a colon is expected after the key"
	faultComma     fault = "a comma or the closing brace is expected"
	faultElement   fault = "a comma or the closing bracket is expected"
	faultNumber    fault = "malformed number"
	faultControl   fault = "a control character in a string must be escaped"
	faultEscape    fault = "unknown escape in a string"
	faultLiteral   fault = "malformed literal, only true, false and null are known"
	faultTooNested fault = "nested far too deep"
)

// Soft faults: the text parses, but is refused.
const (
	faultUTF8      fault = "a string is not valid UTF-8"
	faultSurrogate fault = "a \\u escape is half of a surrogate pair"
	faultDepth     fault = "nested deeper than the limit"
)

// maxStack bounds the memory of the scanner: a value nested deeper is a hard fault.
const maxStack = 10000

// frame is one open object or array.
type frame struct {
	hash uint64 // shape so far
	prev uint64 // arrays: shape of the previous element
	obj  bool   // an object
}

// scanner validates JSON values and computes their shapes in one pass. The zero value with depth
// set is ready; it may be used again, not concurrently.
type scanner struct {
	depth  int  // deepest nesting that is acceptable
	strict bool // a newline ends the record: it is no blank

	soft    fault // soft fault of the last value
	softPos int
	breaks  bool // the last value has raw newlines or carriage returns between tokens
	feeds   bool // the last value has raw newlines between tokens
	stack   []frame
	space   [8]frame // of the stack, while that is enough
}

func load(b []byte, i int) uint64 { return binary.LittleEndian.Uint64(b[i:]) }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special marks, in the high bit of each byte, those of w that end or complicate a string: quote,
// backslash, control and non-ASCII. Only the lowest mark is exact.
func special(w uint64) uint64 {
	return (((w ^ 0x22*ones) - ones) | ((w ^ 0x5c*ones) - ones) | (w - 0x20*ones) | w) & highs
}

// nondigit marks, in the high bit of each byte, those of w that are no ASCII digits. Only the
// lowest mark is exact.
func nondigit(w uint64) uint64 {
	t := w ^ 0x30*ones
	return (t + 0x76*ones | t) & highs
}

// value scans the JSON value that begins at b[i], which is no blank. It returns where the value
// ends and its shape. With a hard fault, end is where the fault is. A soft fault is left in s.soft.
func (s *scanner) value(b []byte, i int) (end int, shape uint64, hard fault) {
	var (
		h     uint64 // shape of the open container
		prev  uint64 // arrays: shape of the previous element
		v     uint64 // shape of the value just read
		inObj bool
		start int
	)
	s.soft, s.breaks, s.feeds = faultNone, false, false
	if s.stack == nil {
		s.stack = s.space[:0]
	}
	s.stack = s.stack[:0]
	n := len(b)

value:
	if i >= n {
		return i, 0, faultEnd
	}
	switch c := b[i]; {
	case c == '"':
		i++
		for i+8 <= n {
			if m := special(load(b, i)); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			i += 8
		}
		if i < n && b[i] == '"' {
			i++
		} else if i, hard = s.str(b, i); hard != "" {
			return i, 0, hard
		}
		v = shapeString

	case c == '-' || c-'0' <= 9:
		i, v = number(b, i)
		if v == 0 {
			return i, 0, faultNumber
		}

	case c == '{':
		if len(s.stack) >= maxStack {
			return i, 0, faultTooNested
		}
		s.stack = append(s.stack, frame{h, prev, inObj})
		h, inObj = shapeObject, true
		if len(s.stack) > s.depth && s.soft == "" {
			s.soft, s.softPos = faultDepth, i
		}
		i++
		if i < n && b[i] <= ' ' {
			i = s.blanks(b, i)
		}
		if i < n && b[i] == '}' {
			goto shut
		}
		goto key

	case c == '[':
		if len(s.stack) >= maxStack {
			return i, 0, faultTooNested
		}
		s.stack = append(s.stack, frame{h, prev, inObj})
		h, prev, inObj = shapeArray, 0, false
		if len(s.stack) > s.depth && s.soft == "" {
			s.soft, s.softPos = faultDepth, i
		}
		i++
		if i < n && b[i] <= ' ' {
			i = s.blanks(b, i)
		}
		if i < n && b[i] == ']' {
			goto shut
		}
		goto value

	case c == 't':
		if i+4 > n || string(b[i:i+4]) != "true" {
			return i, 0, faultLiteral
		}
		i, v = i+4, shapeBool
	case c == 'f':
		if i+5 > n || string(b[i:i+5]) != "false" {
			return i, 0, faultLiteral
		}
		i, v = i+5, shapeBool
	case c == 'n':
		if i+4 > n || string(b[i:i+4]) != "null" {
			return i, 0, faultLiteral
		}
		i, v = i+4, shapeNull
	default:
		return i, 0, faultValue
	}

after:
	if len(s.stack) == 0 {
		return i, v, ""
	}
	if i < n && b[i] <= ' ' {
		i = s.blanks(b, i)
	}
	if i >= n {
		return i, 0, faultEnd
	}
	if inObj {
		h = mix(h, v)
		switch b[i] {
		case ',':
			i++
			if i < n && b[i] <= ' ' {
				i = s.blanks(b, i)
			}
			goto key
		case '}':
			goto shut
		}
		return i, 0, faultComma
	}
	if v != prev {
		h, prev = mix(h, v), v
	}
	switch b[i] {
	case ',':
		i++
		if i < n && b[i] <= ' ' {
			i = s.blanks(b, i)
		}
		goto value
	case ']':
		goto shut
	}
	return i, 0, faultElement

key:
	if i >= n {
		return i, 0, faultEnd
	}
	if b[i] != '"' {
		return i, 0, faultKey
	}
	i++
	start = i
	// The words of the key are mixed in as they are scanned: see shapeKey, which must agree.
	for i+8 <= n {
		w := load(b, i)
		m := special(w)
		if m == 0 {
			h = mix(h, w)
			i += 8
			continue
		}
		t := bits.TrailingZeros64(m) &^ 7
		i += t >> 3
		if b[i] != '"' {
			break
		}
		h = mix(h, w&(1<<t-1)^uint64(i-start)<<56)
		i++
		goto colon
	}
	{
		// An escape, a letter outside ASCII, or the end of the body is near: take the key as a
		// whole. The words mixed so far are those of the same key, so go on from there.
		done := start + (i-start)&^7
		if i, hard = s.str(b, i); hard != "" {
			return i, 0, hard
		}
		h = shapeKeyTail(h, b[done:i-1], i-1-start)
	}
colon:
	if i < n && b[i] <= ' ' {
		i = s.blanks(b, i)
	}
	if i >= n {
		return i, 0, faultEnd
	}
	if b[i] != ':' {
		return i, 0, faultColon
	}
	i++
	if i < n && b[i] <= ' ' {
		i = s.blanks(b, i)
	}
	goto value

shut:
	i++
	v = h
	{
		f := &s.stack[len(s.stack)-1]
		h, prev, inObj = f.hash, f.prev, f.obj
		s.stack = s.stack[:len(s.stack)-1]
	}
	goto after
}

// blanks returns the index of the first byte from i on that is no JSON blank.
func (s *scanner) blanks(b []byte, i int) int {
	for ; i < len(b); i++ {
		switch b[i] {
		case ' ', '\t':
		case '\n':
			if s.strict {
				return i
			}
			s.breaks, s.feeds = true, true
		case '\r':
			s.breaks = true
		default:
			return i
		}
	}
	return i
}

// number scans the number that begins at b[i] with a digit or minus. It returns where it ends and
// its class, or where the fault is and 0.
func number(b []byte, i int) (int, uint64) {
	neg := b[i] == '-'
	if neg {
		i++
	}
	first := i
	i = digits(b, i)
	switch length := i - first; {
	case length == 0:
		return i, 0
	case length > 1 && b[first] == '0':
		return first + 1, 0
	}
	if i == len(b) || b[i] != '.' && b[i]|0x20 != 'e' {
		switch {
		case i-first < 16:
			return i, shapeInt
		case i-first < 19 || i-first == 19 && fitsInt64(b[first:i], neg):
			return i, shapeWide
		}
		return i, shapeBig
	}
	if b[i] == '.' {
		frac := i + 1
		if i = digits(b, frac); i == frac {
			return i, 0
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		exp := i
		if i = digits(b, i); i == exp {
			return i, 0
		}
		if i-exp > 2 {
			return i, shapeBig
		}
	}
	return i, shapeDouble
}

// digits returns the index of the first byte from i on that is no digit.
func digits(b []byte, i int) int {
	for i+8 <= len(b) {
		if m := nondigit(load(b, i)); m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
		i += 8
	}
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// fitsInt64 reports whether 19 digits without leading zero fit a signed 64-bit integer.
func fitsInt64(digits []byte, neg bool) bool {
	if neg {
		return string(digits) <= "9223372036854775808"
	}
	return string(digits) <= "9223372036854775807"
}
