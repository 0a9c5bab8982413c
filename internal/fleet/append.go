package fleet

import "strconv"

const digitPairs = "00010203040506070809" + "10111213141516171819" + "20212223242526272829" +
	"30313233343536373839" + "40414243444546474849" + "50515253545556575859" +
	"60616263646566676869" + "70717273747576777879" + "80818283848586878889" + "90919293949596979899"

// appendPadded12 appends v with at least twelve digits.
func appendPadded12(dst []byte, v int64) []byte {
	if v >= 1_000_000_000_000 {
		return strconv.AppendInt(dst, v, 10)
	}
	var b [12]byte
	u := uint64(v)
	for i := 10; i >= 0; i -= 2 {
		p := u % 100 * 2
		u /= 100
		b[i], b[i+1] = digitPairs[p], digitPairs[p+1]
	}
	return append(dst, b[:]...)
}

func appendUint(dst []byte, v uint64) []byte {
	if v < 10 {
		return append(dst, byte('0'+v))
	}
	return strconv.AppendUint(dst, v, 10)
}

// appendDegrees appends v, at least 10^4, in units of 10^-4 with four decimals.
func appendDegrees(dst []byte, v int64) []byte {
	whole, frac := uint64(v)/10_000, uint64(v)%10_000
	var b [7]byte
	p, q, r := whole%100*2, frac/100*2, frac%100*2
	b[0], b[1], b[2] = digitPairs[p], digitPairs[p+1], '.'
	b[3], b[4], b[5], b[6] = digitPairs[q], digitPairs[q+1], digitPairs[r], digitPairs[r+1]
	if whole < 10 {
		return append(dst, b[1:]...)
	}
	return append(dst, b[:]...)
}

// appendMillis appends Unix microseconds, from 1970 on, as RFC 3339 UTC with milliseconds. The
// calendar is Howard Hinnant's civil_from_days.
func appendMillis(dst []byte, micros int64) []byte {
	ms := uint64(micros) / 1000
	day, inDay := ms/86_400_000, ms%86_400_000
	z := day + 719_468
	era := z / 146_097
	doe := z - era*146_097
	yoe := (doe - doe/1460 + doe/36_524 - doe/146_096) / 365
	doy := doe - (365*yoe + yoe/4 - yoe/100)
	mp := (5*doy + 2) / 153
	d := doy - (153*mp+2)/5 + 1
	m := mp + 3
	year := yoe + era*400
	if m > 12 {
		m -= 12
		year++
	}
	sec, milli := inDay/1000, inDay%1000
	var b [24]byte
	pair := func(at int, v uint64) { b[at], b[at+1] = digitPairs[v*2], digitPairs[v*2+1] }
	pair(0, year/100)
	pair(2, year%100)
	b[4], b[7], b[10], b[13], b[16], b[19], b[23] = '-', '-', 'T', ':', ':', '.', 'Z'
	pair(5, m)
	pair(8, d)
	pair(11, sec/3600)
	pair(14, sec/60%60)
	pair(17, sec%60)
	b[20] = byte('0' + milli/100)
	pair(21, milli%100)
	return append(dst, b[:]...)
}
