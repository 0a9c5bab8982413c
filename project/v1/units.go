package v1

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// Duration is a length of time, written 60s, 1h30m, 168h or 7d. The units are ms, s, m, h,
// d (24 hours) and w (7 days); it is exact to the nanosecond and never negative.
type Duration time.Duration

var durationUnits = []unit{{"w", int64(7 * 24 * time.Hour)}, {"d", int64(24 * time.Hour)}, {"h", int64(time.Hour)},
	{"m", int64(time.Minute)}, {"s", int64(time.Second)}, {"ms", int64(time.Millisecond)}}

// unit is a suffix and what one of it counts.
type unit struct {
	name  string
	count int64
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	s := string(b)
	fail := func(what, hint string) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%s is not a duration: %s", quote(s), what), Hint: hint}
	}
	const example = "write a number and a unit, such as 500ms, 60s, 15m, 168h or 7d"
	total := int64(0)
	for rest := s; ; {
		num, suffix, tail := scanAmount(rest)
		switch {
		case num == "" && strings.HasPrefix(rest, "-"):
			return fail("it is negative", example)
		case num == "":
			return fail("a number is missing", example)
		case suffix == "":
			return fail("the unit is missing", "write "+num+"s for seconds, "+num+"m for minutes or "+num+"h for hours")
		}
		count, ok := lookup(durationUnits, suffix)
		if !ok {
			return fail("the unit "+quote(suffix)+" is unknown", "the units are ms, s, m, h, d and w")
		}
		n, err := multiply(num, count)
		if err != "" {
			return fail(err, example)
		}
		if total > math.MaxInt64-n {
			return fail("it is too long", example)
		}
		total += n
		if rest = tail; rest == "" {
			*d = Duration(total)
			return nil
		}
	}
}

// String returns the form UnmarshalText reads, in hours, minutes, seconds and milliseconds.
func (d Duration) String() string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	rest := int64(d)
	for _, u := range durationUnits[2:5] {
		if n := rest / u.count; n > 0 {
			b.WriteString(strconv.FormatInt(n, 10) + u.name)
			rest %= u.count
		}
	}
	if ms := int64(time.Millisecond); rest > 0 {
		s := strconv.FormatInt(rest/ms, 10)
		if frac := rest % ms; frac > 0 {
			s += strings.TrimRight(fmt.Sprintf(".%06d", frac), "0")
		}
		b.WriteString(s + "ms")
	}
	return b.String()
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// ByteSize is a number of bytes, written 128MiB, 1GB or as a plain number. KiB, MiB, GiB and TiB
// count in powers of 1024, KB, MB, GB and TB in powers of 1000.
type ByteSize int64

var byteUnits = []unit{{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6},
	{"KiB", 1 << 10}, {"KB", 1e3}, {"B", 1}}

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *ByteSize) UnmarshalText(text []byte) error {
	s := string(text)
	fail := func(what, hint string) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%s is not a size: %s", quote(s), what), Hint: hint}
	}
	const example = "write a number and a unit, such as 64KiB, 128MiB or 1GB"
	num, suffix, tail := scanAmount(s)
	switch {
	case num == "" && strings.HasPrefix(s, "-"):
		return fail("it is negative", example)
	case num == "":
		return fail("a number is missing", example)
	case tail != "":
		return fail("there is more than one number and a unit", example)
	case suffix == "":
		suffix = "B"
	}
	count, ok := lookup(byteUnits, suffix)
	if !ok {
		hint := "the units are B, KB, MB, GB, TB, KiB, MiB, GiB and TiB"
		if c := strings.ToUpper(suffix[:1]); strings.Contains("KMGT", c) && len(suffix) <= 3 {
			hint = fmt.Sprintf("write %s%siB, or %s%sB for powers of 1000", num, c, num, c)
		}
		return fail("the unit "+quote(suffix)+" is unknown", hint)
	}
	n, err := multiply(num, count)
	if err != "" {
		return fail(err, example)
	}
	*b = ByteSize(n)
	return nil
}

// String returns the form UnmarshalText reads, in the largest unit that divides it.
func (b ByteSize) String() string {
	for _, u := range byteUnits {
		if b != 0 && int64(b)%u.count == 0 {
			return strconv.FormatInt(int64(b)/u.count, 10) + u.name
		}
	}
	return "0B"
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (b ByteSize) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// scanAmount splits a leading decimal number, the unit after it, and the rest.
func scanAmount(s string) (num, suffix, rest string) {
	i := 0
	for i < len(s) && (s[i] >= '0' && s[i] <= '9' || s[i] == '.' && i > 0) {
		i++
	}
	j := i
	for j < len(s) && !(s[j] >= '0' && s[j] <= '9') {
		j++
	}
	return s[:i], strings.TrimPrefix(s[i:j], " "), s[j:]
}

func lookup(units []unit, name string) (int64, bool) {
	for _, u := range units {
		if u.name == name {
			return u.count, true
		}
	}
	return 0, false
}

// multiply returns num × count where that is a whole number that fits, or says what is wrong.
func multiply(num string, count int64) (n int64, wrong string) {
	if len(num) > 40 {
		return 0, "the number is too long"
	}
	r, ok := new(big.Rat).SetString(num)
	if !ok || strings.HasSuffix(num, ".") {
		return 0, "the number is malformed"
	}
	r.Mul(r, new(big.Rat).SetInt64(count))
	switch {
	case !r.IsInt():
		return 0, "it is too fine a fraction"
	case !r.Num().IsInt64():
		return 0, "it is too large"
	}
	return r.Num().Int64(), ""
}

// quote quotes text for a message and shortens it.
func quote(s string) string {
	if r := []rune(s); len(r) > 60 {
		s = string(r[:60]) + "…"
	}
	return strconv.Quote(s)
}
