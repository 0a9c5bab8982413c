package decode

import (
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
	for i, c := range s {
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
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

func itoa(n int) string { return strconv.Itoa(n) }
