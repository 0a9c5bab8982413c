package infer

import (
	"bytes"
	"strconv"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// class is what a JSON value is, as far as a column cares.
type class uint8

const (
	null    class = iota
	boolean       // true, false
	integer       // an integer that fits 64 bits signed
	big           // an integer beyond that
	number        // a number with a fraction or an exponent
	text          // a string
	array
	object
	classes
)

var classNames = [classes]string{"null", "boolean", "integer", "big integer", "number", "string", "array", "object"}

func (c class) String() string { return classNames[c] }

const (
	none        = int32(-1)
	maxNesting  = 512 // far above what the doors accept; keeps the stack bounded whatever the input
	fewMembers  = 12  // up to here comparing every pair of keys is cheaper than a map
	maxExactInt = 1 << 53
)

// value is one JSON value in a tree. Children are linked by index, so that one slice holds a record.
type value struct {
	class  class
	dup    bool   // a later member of the same object has the same key and wins
	first  int32  // first child or none
	next   int32  // next sibling or none
	raw    []byte // the value's bytes
	rawKey []byte // the key's bytes with quotes; nil for array elements and the root
	key    []byte // the key decoded
}

// tree is a parsed record. It aliases the record and is reused from record to record.
type tree struct {
	vals []value
	buf  []byte
	i    int
	seen map[string]int32
}

// parse reads one JSON object. Unlike record.Inspect, which tells shapes, it keeps every array
// element and the bytes of every value: misfits are judged, quoted and rewritten by value.
func (t *tree) parse(rec []byte) error {
	t.vals, t.buf, t.i = t.vals[:0], rec, 0
	if !utf8.Valid(rec) {
		return t.fail("it is not UTF-8")
	}
	t.blank()
	root, err := t.value(0)
	if err != nil {
		return err
	}
	if t.blank(); t.i < len(t.buf) {
		return t.fail("there is text after the value")
	}
	if t.vals[root].class != object {
		return t.fail("it is not an object")
	}
	return nil
}

func (t *tree) fail(what string) error {
	return &tarn.Error{Code: tarn.CodeInvalidJSON, Detail: "byte " + strconv.Itoa(t.i) + " of the record: " + what}
}

func (t *tree) blank() {
	for t.i < len(t.buf) {
		switch t.buf[t.i] {
		case ' ', '\t', '\n', '\r':
			t.i++
		default:
			return
		}
	}
}

func (t *tree) value(depth int) (int32, error) {
	if depth > maxNesting {
		return 0, t.fail("it is nested too deep")
	}
	if t.i >= len(t.buf) {
		return 0, t.fail("it ends too early")
	}
	id, start := int32(len(t.vals)), t.i
	t.vals = append(t.vals, value{first: none, next: none})
	var c class
	var err error
	switch b := t.buf[t.i]; {
	case b == '{':
		c, err = object, t.members(id, depth)
	case b == '[':
		c, err = array, t.elements(id, depth)
	case b == '"':
		c, err = text, t.str()
	case b == 't':
		c, err = boolean, t.word("true")
	case b == 'f':
		c, err = boolean, t.word("false")
	case b == 'n':
		c, err = null, t.word("null")
	case b == '-' || b >= '0' && b <= '9':
		c, err = t.num()
	default:
		err = t.fail("a value is missing")
	}
	t.vals[id].class, t.vals[id].raw = c, t.buf[start:t.i]
	return id, err
}

func (t *tree) word(w string) error {
	if !bytes.HasPrefix(t.buf[t.i:], []byte(w)) {
		return t.fail("a value is missing")
	}
	t.i += len(w)
	return nil
}

func (t *tree) digits() bool {
	start := t.i
	for t.i < len(t.buf) && t.buf[t.i] >= '0' && t.buf[t.i] <= '9' {
		t.i++
	}
	return t.i > start
}

func (t *tree) peek(set string) bool {
	return t.i < len(t.buf) && bytes.IndexByte([]byte(set), t.buf[t.i]) >= 0
}

func (t *tree) num() (class, error) {
	start := t.i
	if t.peek("-") {
		t.i++
	}
	lead := t.i
	if !t.digits() || t.buf[lead] == '0' && t.i > lead+1 {
		return null, t.fail("a number is malformed")
	}
	c := integer
	if t.peek(".") {
		c = number
		if t.i++; !t.digits() {
			return null, t.fail("a number is malformed")
		}
	}
	if t.peek("eE") {
		c = number
		if t.i++; t.peek("+-") {
			t.i++
		}
		if !t.digits() {
			return null, t.fail("a number is malformed")
		}
	}
	if c == integer && t.i-lead > 18 {
		if _, err := strconv.ParseInt(string(t.buf[start:t.i]), 10, 64); err != nil {
			c = big
		}
	}
	return c, nil
}

// str steps over a string, checking what DuckDB's parser checks: escapes, surrogate pairs and
// control characters.
func (t *tree) str() error {
	for t.i++; t.i < len(t.buf); t.i++ {
		switch b := t.buf[t.i]; {
		case b == '"':
			t.i++
			return nil
		case b < 0x20:
			return t.fail("a string holds a raw control character")
		case b == '\\':
			if !t.escape() {
				return t.fail("a string holds a malformed escape")
			}
		}
	}
	return t.fail("a string does not end")
}

// escape steps from a backslash to the last byte of its escape.
func (t *tree) escape() bool {
	t.i++
	if t.peek(`"\/bfnrt`) {
		return true
	}
	r, ok := t.hex4()
	if !ok || r >= 0xDC00 && r <= 0xDFFF {
		return false
	}
	if r >= 0xD800 && r <= 0xDBFF {
		if !bytes.HasPrefix(t.buf[t.i+1:], []byte(`\u`)) {
			return false
		}
		t.i += 2
		low, ok := t.hex4()
		return ok && low >= 0xDC00 && low <= 0xDFFF
	}
	return true
}

func (t *tree) hex4() (uint64, bool) {
	if !t.peek("u") || t.i+5 > len(t.buf) {
		return 0, false
	}
	r, err := strconv.ParseUint(string(t.buf[t.i+1:t.i+5]), 16, 32)
	t.i += 4
	return r, err == nil
}

func (t *tree) elements(id int32, depth int) error {
	last := none
	for t.i++; ; t.i++ {
		t.blank()
		if last == none && t.peek("]") {
			break
		}
		child, err := t.value(depth + 1)
		if err != nil {
			return err
		}
		t.link(id, last, child)
		last = child
		if t.blank(); t.peek("]") {
			break
		}
		if !t.peek(",") {
			return t.fail("an array lacks , or ]")
		}
	}
	t.i++
	return nil
}

func (t *tree) members(id int32, depth int) error {
	last, n := none, 0
	for t.i++; ; t.i++ {
		t.blank()
		if last == none && t.peek("}") {
			break
		}
		start := t.i
		if !t.peek(`"`) {
			return t.fail("a key is missing")
		}
		if err := t.str(); err != nil {
			return err
		}
		rawKey := t.buf[start:t.i]
		if t.blank(); !t.peek(":") {
			return t.fail("a key lacks its :")
		}
		t.i++
		t.blank()
		child, err := t.value(depth + 1)
		if err != nil {
			return err
		}
		t.vals[child].rawKey, t.vals[child].key = rawKey, unquote(rawKey)
		t.link(id, last, child)
		last, n = child, n+1
		if t.blank(); t.peek("}") {
			break
		}
		if !t.peek(",") {
			return t.fail("an object lacks , or }")
		}
	}
	t.i++
	t.markDuplicates(id, n)
	return nil
}

func (t *tree) link(parent, last, child int32) {
	if last == none {
		t.vals[parent].first = child
	} else {
		t.vals[last].next = child
	}
}

func (t *tree) markDuplicates(id int32, n int) {
	v := t.vals
	if n <= fewMembers {
		for a := v[id].first; a != none; a = v[a].next {
			for b := v[a].next; b != none && !v[a].dup; b = v[b].next {
				v[a].dup = bytes.Equal(v[a].key, v[b].key)
			}
		}
		return
	}
	if t.seen == nil {
		t.seen = make(map[string]int32, n)
	}
	clear(t.seen)
	for a := v[id].first; a != none; a = v[a].next {
		if prev, ok := t.seen[string(v[a].key)]; ok {
			v[prev].dup = true
		}
		t.seen[string(v[a].key)] = a
	}
}

// unquote decodes a string that str has accepted. Without escapes it aliases its argument.
func unquote(raw []byte) []byte {
	s := raw[1 : len(raw)-1]
	if bytes.IndexByte(s, '\\') < 0 {
		return s
	}
	return record.AppendUnescaped(make([]byte, 0, len(s)), s)
}

// holdsExactly reports whether a double holds the integer literal without rounding.
func holdsExactly(literal []byte) bool {
	if n, err := strconv.ParseInt(string(literal), 10, 64); err == nil {
		return n >= -maxExactInt && n <= maxExactInt || int64(float64(n)) == n && float64(n) < 1<<63
	}
	f, err := strconv.ParseFloat(string(literal), 64)
	return err == nil && strconv.FormatFloat(f, 'f', 0, 64) == string(literal)
}

// finite reports whether a double holds the number without overflowing to infinity.
func finite(literal []byte) bool {
	_, err := strconv.ParseFloat(string(literal), 64)
	return err == nil
}
