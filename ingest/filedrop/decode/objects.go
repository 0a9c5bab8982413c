package decode

import (
	"bytes"
	"io"

	"github.com/tarn-data/tarn"
)

// objects yields the objects of a JSON text in any layout: one after the other, or in one array,
// each over as many lines as it likes. It only finds where they begin and end.
type objects struct {
	*source
	array bool
	open  bool // the end of the array has not come
	begun bool
	count int64
	buf   []byte
}

// Next implements Records.
func (o *objects) Next() ([]byte, int64, error) {
	b := o.r
	for {
		c, err := o.peek()
		if err == io.EOF && o.open {
			err = &tarn.Error{Code: tarn.CodeInvalidJSON, Detail: "the file ends within its array; it is cut off", Hint: "write it again, whole, and drop it again"}
		}
		if err != nil {
			return nil, o.count + 1, err
		}
		if !o.begun {
			o.begun = true
			if c == '[' {
				o.array, o.open = true, true
				b.skip(1)
				continue
			}
		}
		if o.array && (c == ',' || c == ']') { // what stands between the brackets is not checked
			b.skip(1)
			o.open = o.open && c != ']'
			continue
		}
		o.count++
		size, err := o.value(c)
		if err != nil {
			return nil, o.count, err
		}
		o.buf = unbroken(o.buf[:0], b.rest()[:size])
		b.skip(size)
		if c != '{' {
			return nil, o.count, reject(tarn.CodeInvalidJSON, "a record must be a JSON object", o.buf)
		}
		return o.buf, o.count, nil
	}
}

// peek passes over blanks and returns the byte after them.
func (o *objects) peek() (byte, error) {
	b := o.r
	for {
		rest := b.rest()
		for i, c := range rest {
			if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
				b.skip(i)
				return c, nil
			}
		}
		b.skip(len(rest))
		if !b.more() {
			if b.err != nil {
				return 0, b.fault()
			}
			return 0, io.EOF
		}
	}
}

// value returns how many bytes the value takes that begins with c.
func (o *objects) value(c byte) (int, error) {
	b := o.r
	v := valueScan{object: c == '{' || c == '['}
	for {
		rest := b.rest()
		if end, ok := v.scan(rest, o.array); ok {
			return end, nil
		}
		if len(rest) > b.limit {
			err := b.tooLong(rest)
			b.skip(len(rest)) // not to look at it again for every line that it has
			o.resync()
			return 0, err
		}
		if b.more() {
			continue
		}
		if len(b.rest()) > b.limit {
			continue
		}
		if b.err != nil {
			return 0, b.fault()
		}
		rest = b.rest()
		b.skip(len(rest))
		if !v.object {
			return 0, reject(tarn.CodeInvalidJSON, "a record must be a JSON object", rest)
		}
		return 0, reject(tarn.CodeInvalidJSON, "the file ends within the record", rest)
	}
}

// resync goes on where next a line begins with an object.
func (o *objects) resync() {
	b := o.r
	for {
		b.skipLine()
		if len(b.rest()) == 0 && !b.more() {
			return
		}
		if rest := bytes.TrimLeft(b.rest(), " \t"); len(rest) > 0 && rest[0] == '{' {
			return
		}
	}
}

// valueScan remembers how far a value has been looked at.
type valueScan struct {
	object bool // or array: it ends with its last bracket
	at     int
	depth  int
	text   bool // within a string
}

// scan goes on over b, of which the first v.at bytes are known, and returns where the value ends.
func (v *valueScan) scan(b []byte, array bool) (int, bool) {
	for v.at < len(b) {
		if v.text {
			n := bytes.IndexByte(b[v.at:], '"')
			if n < 0 {
				v.at = len(b) - trailing(b[v.at:])
				return 0, false
			}
			odd := trailing(b[v.at:v.at+n])%2 == 1
			v.at += n + 1
			v.text = odd
			continue
		}
		c := b[v.at]
		v.at++
		switch c {
		case '"':
			v.text = true
		case '{', '[':
			v.depth++
		case '}', ']':
			if !v.object && v.depth == 0 { // the end of the array around it, or a stray one
				return max(v.at-1, 1), true
			}
			if v.depth--; v.object && v.depth <= 0 {
				return v.at, true
			}
		case ',':
			if !v.object && v.depth == 0 && array {
				return v.at - 1, true
			}
		case '\n':
			if !v.object && v.depth == 0 {
				return v.at, true
			}
		}
	}
	return 0, false
}

// trailing counts the backslashes at the end of b.
func trailing(b []byte) int {
	n := 0
	for n < len(b) && b[len(b)-1-n] == '\\' {
		n++
	}
	return n
}

// unbroken appends a JSON text without its line breaks. Within a string they are not allowed, and a
// blank in their place would make the text valid: such a text is left as a line that is not valid.
func unbroken(dst, text []byte) []byte {
	if bytes.IndexByte(text, '\n') < 0 {
		return append(dst, text...)
	}
	inText := false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n' && inText:
			dst = append(dst, 0x01) // as little allowed there
		case c == '\n':
			dst = append(dst, ' ')
		case c == '\\' && inText && i+1 < len(text) && text[i+1] != '\n':
			dst = append(dst, c, text[i+1])
			i++
		default:
			if c == '"' {
				inText = !inText
			}
			dst = append(dst, c)
		}
	}
	return dst
}
