package record

import (
	"bytes"
	"math"
	"math/bits"
	"strconv"
	"unsafe"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record/column"
)

// scalar puts the value that begins at b[i] into a row of a column and returns where it ends, or -1 when that
// is not for a Shredder to judge. b is readable for Padding behind n.
func (s *Shredder) scalar(to *column.Batch, c *column.Column, b []byte, i, n, row int) int {
	switch c.Kind {
	case tarn.String:
		end := -1
		switch first := b[i]; {
		case first == '"':
			end = s.text(to, &c.Texts[row], b, i+1, n)
		case first == '-' || first-'0' <= 9:
			if to, class := number(b[:n], i); class != 0 && asWritten(b[i:to], class) {
				end = to
			}
		case i+4 <= n && string(b[i:i+4]) == "true":
			end = i + 4
		case i+5 <= n && string(b[i:i+5]) == "false":
			end = i + 5
		}
		if end < 0 {
			return -1
		}
		if b[i] != '"' {
			c.Texts[row] = column.Text{Start: int32(i), Length: int32(end - i)}
		}
		i = end
	case tarn.TimestampTZ:
		if b[i] != '"' {
			return -1
		}
		var ok bool
		if c.Longs[row], i, ok = instant(b[:n], i+1); !ok || i >= n || b[i] != '"' {
			return -1
		}
		i++
	case tarn.Double:
		var ok bool
		if c.Doubles[row], i, ok = double(b[:n], i); !ok {
			return -1
		}
	case tarn.Long, tarn.Int:
		v, end, ok := integer(b[:n], i)
		if !ok || c.Kind == tarn.Int && v != int64(int32(v)) {
			return -1
		}
		if i = end; c.Kind == tarn.Int {
			c.Ints[row] = int32(v)
		} else {
			c.Longs[row] = v
		}
	case tarn.Boolean:
		switch {
		case i+4 <= n && string(b[i:i+4]) == "true":
			c.Bools[row] = true
			i += 4
		case i+5 <= n && string(b[i:i+5]) == "false":
			c.Bools[row] = false
			i += 5
		default:
			return -1
		}
	default:
		return -1
	}
	c.Set(row)
	return i
}

// text notes where the content of a string is, which begins at b[i], and returns the index behind its
// closing quote.
func (s *Shredder) text(to *column.Batch, t *column.Text, b []byte, i, n int) int {
	start := i
	for {
		m := special(load(b, i))
		if m == 0 {
			if i += 8; i >= n {
				return -1
			}
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if i >= n {
			return -1
		}
		if b[i] == '"' {
			*t = column.Text{Start: int32(start), Length: int32(i - start)}
			return i + 1
		}
		break
	}
	s.scan.soft = faultNone
	end, hard := s.scan.str(b[:n], i)
	if hard != "" || s.scan.soft != "" {
		return -1
	}
	for ; i < end-1 && b[i] != '\\'; i++ {
	}
	if i == end-1 { // letters outside ASCII, no escape
		*t = column.Text{Start: int32(start), Length: int32(i - start)}
		return end
	}
	at := len(to.Unescaped)
	to.Unescaped = AppendUnescaped(append(to.Unescaped, b[start:i]...), b[i:end-1])
	if bytes.IndexByte(to.Unescaped[at:], 0) >= 0 {
		return -1
	}
	*t = column.Text{Start: int32(-1 - at), Length: int32(len(to.Unescaped) - at)}
	return end
}

// asWritten reports whether the SQL engine makes of a number the text that it is: it writes the shortest text that
// stands for it, with an exponent below 0.0001.
func asWritten(b []byte, class uint64) bool {
	switch class {
	case shapeInt, shapeWide:
		return string(b) != "-0"
	case shapeDouble:
	default:
		return false
	}
	point := bytes.IndexByte(b, '.')
	if point < 0 || len(b) > 16 || b[len(b)-1] == '0' && point != len(b)-2 || bytes.ContainsAny(b, "eE") { // 15 digits are exact
		return false
	}
	return bytes.TrimPrefix(b, []byte{'-'})[0] != '0' || !bytes.HasPrefix(b[point+1:], []byte("0000"))
}

// NumberText reports whether b is a number of JSON, and whether the SQL engine makes the text b of it.
func NumberText(b []byte) (number, same bool) {
	class, number := ScalarOfNumber(b)
	return number, number && asWritten(b, uint64(class))
}

// integer reads an integer of 64 bits at b[i] that is written as one.
func integer(b []byte, i int) (v int64, end int, ok bool) {
	end, class := number(b, i)
	switch class {
	case shapeInt:
	case shapeWide:
		v, err := strconv.ParseInt(unsafe.String(&b[i], end-i), 10, 64)
		return v, end, err == nil
	default:
		return 0, 0, false
	}
	neg := b[i] == '-'
	if neg {
		i++
	}
	for ; i < end; i++ {
		v = v*10 + int64(b[i]-'0')
	}
	if neg {
		v = -v
	}
	return v, end, true
}

// powers are those of ten that a double holds exactly.
var powers = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22}

// double reads a number at b[i] as the double next to it. Nearly all have few digits: a mantissa and a power
// of ten that are exact doubles give a result that is rounded once (Clinger's fast path).
func double(b []byte, i int) (v float64, end int, ok bool) {
	if i >= len(b) {
		return 0, 0, false
	}
	start := i
	neg := b[i] == '-'
	if neg {
		i++
	}
	first := i
	var m uint64
	for i < len(b) && b[i]-'0' <= 9 {
		m = m*10 + uint64(b[i]-'0')
		i++
	}
	whole, frac := i-first, 0
	if whole == 0 || whole > 1 && b[first] == '0' {
		return 0, 0, false
	}
	if i < len(b) && b[i] == '.' {
		i++
		point := i
		for i < len(b) && b[i]-'0' <= 9 {
			m = m*10 + uint64(b[i]-'0')
			i++
		}
		if frac = i - point; frac == 0 {
			return 0, 0, false
		}
	}
	if whole+frac > 15 || i < len(b) && b[i]|0x20 == 'e' {
		return slowDouble(b, start)
	}
	v = float64(m) / powers[frac]
	if neg && (m != 0 || frac > 0) { // -0 is the integer 0
		v = -v
	}
	return v, i, true
}

func slowDouble(b []byte, i int) (v float64, end int, ok bool) {
	end, class := number(b, i)
	switch class {
	case shapeWide:
		v, err := strconv.ParseInt(unsafe.String(&b[i], end-i), 10, 64)
		return float64(v), end, err == nil
	case shapeDouble:
		v, err := strconv.ParseFloat(unsafe.String(&b[i], end-i), 64)
		return v, end, err == nil && !math.IsInf(v, 0)
	}
	return 0, 0, false
}

// instant reads a timestamp of ISO 8601 with up to 6 digits of a second at b[i] as microseconds since 1970. One
// without an offset is in UTC, as everywhere here (docs/adr/0006-times-are-utc-timestamps.md).
func instant(b []byte, i int) (micros int64, end int, ok bool) {
	if i+19 > len(b) || b[i+4] != '-' || b[i+7] != '-' || b[i+10] != 'T' && b[i+10] != ' ' || b[i+13] != ':' || b[i+16] != ':' {
		return 0, 0, false
	}
	century, ok1 := two(b, i)
	year, ok2 := two(b, i+2)
	month, ok3 := two(b, i+5)
	day, ok4 := two(b, i+8)
	hour, ok5 := two(b, i+11)
	minute, ok6 := two(b, i+14)
	second, ok7 := two(b, i+17)
	year += 100 * century
	if !(ok1 && ok2 && ok3 && ok4 && ok5 && ok6 && ok7) || year == 0 || hour > 23 || minute > 59 || second > 59 ||
		month < 1 || month > 12 || day < 1 || day > daysIn(year, month) {
		return 0, 0, false
	}
	micros = (daysTo(year, month, day)*86_400 + int64(hour*3600+minute*60+second)) * 1e6
	i += 19
	if i < len(b) && b[i] == '.' {
		unit := int64(100_000)
		first := i + 1
		for i++; i < len(b) && b[i]-'0' <= 9; i++ {
			micros += int64(b[i]-'0') * unit
			unit /= 10
		}
		if i == first || i-first > 6 {
			return 0, 0, false
		}
	}
	switch {
	case i < len(b) && b[i] == 'Z':
		return micros, i + 1, true
	case i+6 <= len(b) && (b[i] == '+' || b[i] == '-') && b[i+3] == ':':
		hours, ok1 := two(b, i+1)
		minutes, ok2 := two(b, i+4)
		if !ok1 || !ok2 || hours > 15 || minutes > 59 {
			return 0, 0, false
		}
		away := int64(hours*60+minutes) * 60e6
		if b[i] == '-' {
			away = -away
		}
		return micros - away, i + 6, true
	}
	return micros, i, true
}

// two reads two digits.
func two(b []byte, i int) (int, bool) {
	tens, units := b[i]-'0', b[i+1]-'0'
	return int(tens)*10 + int(units), tens <= 9 && units <= 9
}

func daysIn(year, month int) int {
	switch {
	case month == 2 && year%4 == 0 && (year%100 != 0 || year%400 == 0):
		return 29
	case month == 2:
		return 28
	}
	return 30 + (month+month>>3)&1
}

// daysTo returns the days since 1970 of a date of the Gregorian calendar.
func daysTo(year, month, day int) int64 {
	// Source: Howard Hinnant, chrono-compatible low-level date algorithms, days_from_civil.
	if month <= 2 {
		year--
		month += 12
	}
	era, ofEra := year/400, year%400
	ofYear := (153*(month-3)+2)/5 + day - 1
	return int64(era*146_097+ofEra*365+ofEra/4-ofEra/100+ofYear) - 719_468
}
