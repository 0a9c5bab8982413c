package decode

import (
	"encoding/binary"
	"math/bits"
	"strconv"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// lines yields the lines of a text: JSON objects as they are, or any text as {"line": …}.
type lines struct {
	*source
	wrap bool
	buf  []byte
}

// Next implements Records. Blank lines are no records of JSON; of a text they are.
func (l *lines) Next() ([]byte, int64, error) {
	for {
		l.begin()
		at := l.r.line
		line, err := l.r.next()
		if err != nil {
			return nil, at, err
		}
		if !l.wrap {
			if blank(line) {
				continue
			}
			return line, at, nil
		}
		if !utf8.Valid(line) {
			return nil, at, reject(tarn.CodeInvalid, "the line is not valid UTF-8", line)
		}
		l.buf = append(l.buf[:0], `{"line":`...)
		l.buf = append(appendString(l.buf, line), '}')
		return l.buf, at, nil
	}
}

// blank reports whether a line holds nothing but what JSON calls blanks.
func blank(line []byte) bool {
	for _, c := range line {
		if c != ' ' && c != '\t' && c != '\r' {
			return false
		}
	}
	return true
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string. What is not UTF-8 in s stays, for the framing to refuse.
func appendString(dst, s []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i := special(s, 0); i < len(s); i = special(s, i+1) {
		c := s[i]
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}

// stringSize is the size of what appendString makes of s, and whether that is UTF-8.
func stringSize(s []byte) (size int, valid bool) {
	size = len(s) + 2
	if plain(s) {
		return size, true
	}
	ascii := true
	for i := 0; i < len(s); {
		from := i
		i = special(s, i)
		for ; ascii && from+8 <= i; from += 8 {
			ascii = binary.LittleEndian.Uint64(s[from:])&highs == 0
		}
		for ; ascii && from < i; from++ {
			ascii = s[from] < 0x80
		}
		if i == len(s) {
			break
		}
		switch c := s[i]; c {
		case '"', '\\', '\n', '\r', '\t':
			size++
		default:
			size += 5
		}
		i++
	}
	return size, ascii || utf8.Valid(s)
}

// plain reports whether s is ASCII that a JSON string holds as it is.
func plain(s []byte) bool {
	var odd uint64
	i := 0
	for ; i+8 <= len(s); i += 8 {
		odd |= notPlain(binary.LittleEndian.Uint64(s[i:]))
	}
	switch {
	case i == len(s):
	case i > 0:
		odd |= notPlain(binary.LittleEndian.Uint64(s[len(s)-8:])) // some bytes twice
	case len(s) >= 4:
		odd = notPlain(uint64(binary.LittleEndian.Uint32(s)) | uint64(binary.LittleEndian.Uint32(s[len(s)-4:]))<<32)
	default:
		for _, c := range s {
			odd |= notPlain(uint64(c) * ones)
		}
	}
	return odd == 0
}

// notPlain is not 0 where a byte of w is no plain ASCII.
func notPlain(w uint64) uint64 {
	return ((w ^ '"'*ones - ones) | (w ^ '\\'*ones - ones) | (w - ' '*ones) | w) & highs
}

// special returns the index of the first byte from i on that a JSON string must escape, or len(s). It
// looks at eight bytes at a time.
func special(s []byte, i int) int {
	const ones, highs = 0x0101010101010101, 0x8080808080808080
	for ; i+8 <= len(s); i += 8 {
		w := binary.LittleEndian.Uint64(s[i:])
		quote, slash := w^0x22*ones, w^0x5c*ones
		if m := ((w-0x20*ones)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & highs; m != 0 {
			return i + bits.TrailingZeros64(m)>>3
		}
	}
	for ; i < len(s); i++ {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' {
			return i
		}
	}
	return i
}

func itoa(n int) string { return strconv.Itoa(n) }
