package query

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/apache/arrow-go/v18/arrow"
)

const hexDigits = "0123456789abcdef"

// plain marks the bytes that stand for themselves in a JSON text.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\'
	}
	return t
}()

// appendQuoted appends s as a JSON text. Bytes that are not UTF-8 become U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if plain[c] {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				dst = append(append(dst, s[start:i]...), "\ufffd"...)
				start = i + 1
			}
			i += n
			continue
		}
		dst = append(dst, s[start:i]...)
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
		i++
		start = i
	}
	return append(append(dst, s[start:]...), '"')
}

// appendRawJSON appends text that is JSON, on one line; as a text when it is not JSON after all.
func appendRawJSON(dst []byte, s string) []byte {
	if !json.Valid([]byte(s)) {
		return appendQuoted(dst, s)
	}
	start := len(dst)
	dst = append(dst, s...)
	for i := start; i < len(dst); i++ {
		if dst[i] == '\n' || dst[i] == '\r' { // never inside a JSON text
			dst[i] = ' '
		}
	}
	return dst
}

// appendDecimal appends n × 10^-scale with all digits of the scale.
func appendDecimal(dst []byte, n int64, scale int) []byte {
	if scale <= 0 {
		return strconv.AppendInt(dst, n, 10)
	}
	u := uint64(n)
	if n < 0 {
		dst, u = append(dst, '-'), -u
	}
	var buf [64]byte
	at := len(buf)
	for i := 0; i < scale || u > 0 || i == scale; i++ {
		if i == scale {
			at--
			buf[at] = '.'
		}
		at--
		buf[at] = byte('0' + u%10)
		u /= 10
	}
	return append(dst, buf[at:]...)
}

// appendTimestamp appends a point in time in RFC 3339, quoted.
func appendTimestamp(dst []byte, v int64, unit arrow.TimeUnit) []byte {
	perSecond := int64(unit.Multiplier())
	perSecond = int64(1e9) / perSecond
	dst = append(dst, '"')
	switch v {
	case math.MaxInt64:
		return append(dst, `infinity"`...)
	case -math.MaxInt64:
		return append(dst, `-infinity"`...)
	}
	sec := floorDiv(v, perSecond)
	frac := v - sec*perSecond
	day := floorDiv(sec, 86400)
	dst = append(appendDate(dst, day), 'T')
	dst = appendClock(dst, sec-day*86400)
	if frac > 0 {
		dst = append(dst, '.')
		for p := perSecond / 10; frac > 0; p /= 10 {
			dst = append(dst, byte('0'+frac/p))
			frac %= p
		}
	}
	return append(dst, `Z"`...)
}

func appendClock(dst []byte, sec int64) []byte {
	dst = append(appendTwo(dst, sec/3600), ':')
	dst = append(appendTwo(dst, sec/60%60), ':')
	return appendTwo(dst, sec%60)
}

func appendTwo(dst []byte, n int64) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }

// appendDate appends the date of a day number since 1970-01-01 in the proleptic Gregorian calendar
// (Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
func appendDate(dst []byte, day int64) []byte {
	switch day {
	case math.MaxInt32:
		return append(dst, "infinity"...)
	case -math.MaxInt32:
		return append(dst, "-infinity"...)
	}
	z := day + 719468
	era := floorDiv(z, 146097)
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d, m, y := doy-(153*mp+2)/5+1, mp+3, yoe+era*400
	if m > 12 {
		m -= 12
	}
	if m <= 2 {
		y++
	}
	if y < 0 {
		dst, y = append(dst, '-'), -y
	}
	for p := int64(1000); p > max(y, 1); p /= 10 {
		if p > 1 {
			dst = append(dst, '0')
		}
	}
	dst = append(strconv.AppendInt(dst, y, 10), '-')
	dst = append(appendTwo(dst, m), '-')
	return appendTwo(dst, d)
}
