package infer

import "time"

// moment is what a string says about a point in time.
type moment uint8

const (
	noTime    moment = iota
	day              // 2026-11-20
	local            // 2026-11-20T03:00:00, without an offset
	zoned            // 2026-11-20T03:00:00Z or with an offset
	nanoTime         // like the two above with more than microseconds, which a column would cut off
	numMoment = iota
)

// momentOf recognises the subset of ISO 8601 and RFC 3339 that DuckDB reads to the same instant:
// YYYY-MM-DD alone, or followed by T or a space, HH:MM:SS, an optional fraction and an optional
// Z, ±HH:MM, ±HHMM or ±HH. Upper case only, no leap seconds, years 0001 to 9999.
func momentOf(s []byte) moment {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' {
		return noTime
	}
	y, okY := number4(s[:4])
	mo, okM := number4(s[5:7])
	d, okD := number4(s[8:10])
	if !okY || !okM || !okD || y < 1 || mo < 1 || mo > 12 || d < 1 || d > daysIn(y, mo) {
		return noTime
	}
	if len(s) == 10 {
		return day
	}
	if len(s) < 19 || s[10] != 'T' && s[10] != ' ' || s[13] != ':' || s[16] != ':' {
		return noTime
	}
	h, okH := number4(s[11:13])
	mi, okMi := number4(s[14:16])
	sec, okS := number4(s[17:19])
	if !okH || !okMi || !okS || h > 23 || mi > 59 || sec > 59 {
		return noTime
	}
	rest, m := s[19:], local
	if len(rest) > 0 && rest[0] == '.' {
		i, fine := 1, false
		for ; i < len(rest) && rest[i] >= '0' && rest[i] <= '9'; i++ {
			fine = fine || i > 6 && rest[i] != '0'
		}
		if i == 1 || i > 10 {
			return noTime
		}
		if fine {
			m = nanoTime
		}
		rest = rest[i:]
	}
	if len(rest) == 0 {
		return m
	}
	if !offset(rest) || string(rest) != "Z" && (y < 2 || y > 9998) {
		return noTime // in UTC it might lie outside the years 1 to 9999
	}
	if m == nanoTime {
		return nanoTime
	}
	return zoned
}

// offset accepts Z, ±HH:MM, ±HHMM and ±HH.
func offset(s []byte) bool {
	if string(s) == "Z" {
		return true
	}
	if s[0] != '+' && s[0] != '-' {
		return false
	}
	s = s[1:]
	if len(s) == 5 && s[2] == ':' {
		s = []byte{s[0], s[1], s[3], s[4]}
	}
	if len(s) != 2 && len(s) != 4 {
		return false
	}
	h, ok := number4(s[:2])
	if len(s) == 4 && ok {
		var m int
		m, ok = number4(s[2:])
		ok = ok && m <= 59
	}
	return ok && h <= 14
}

// number4 reads up to four digits.
func number4(s []byte) (int, bool) {
	n := 0
	for _, b := range s {
		if b < '0' || b > '9' {
			return 0, false
		}
		n = n*10 + int(b-'0')
	}
	return n, true
}

func daysIn(y, m int) int {
	return time.Date(y, time.Month(m)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
