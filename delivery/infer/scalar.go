package infer

import (
	"bytes"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
)

// fit is how a scalar goes into a column.
type fit uint8

const (
	misfits       fit = iota
	fits              // as every value of its class does, or DuckDB refuses the others loudly
	fitsByValue       // this one does; DuckDB would silently alter others of its class
	fitsRewritten     // after Rewrite has quoted it
	fitsWider         // once the column is DOUBLE
)

// fitScalar judges a non-null value against a scalar column. Where shapes cannot tell good from bad
// and DuckDB would not refuse the bad, the answer is fitsByValue, never fits.
func fitScalar(n *node, v *value) (fit, string) {
	if v.class >= array {
		if n.kind == tarn.String && n.decl != nil {
			return fits, "" // its JSON text
		}
		return misfits, ""
	}
	switch n.kind {
	case tarn.String:
		return fits, "" // numbers and booleans as their text
	case tarn.Boolean:
		if v.class == boolean || v.class == text && n.decl != nil && truth(unquote(v.raw)) {
			return fits, ""
		}
		return misfits, ""
	case tarn.Int, tarn.Long:
		return fitInteger(n, v)
	case tarn.Float, tarn.Double:
		return fitFloat(n, v)
	case tarn.Decimal:
		return fitDecimal(n, v)
	}
	if v.class != text {
		return misfits, ""
	}
	ok, why := true, ""
	switch s := unquote(v.raw); n.kind {
	case tarn.Date:
		ok, why = maybeDate.Match(s) && !noSuchDay(s), "it is no date of the form 2026-11-20"
	case tarn.Time:
		ok, why = timeOfDay.Match(s), "it is no time of the form 03:00:00.5"
	case tarn.Timestamp, tarn.TimestampTZ:
		ok, why = maybeTimestamp.Match(s) && !noSuchDay(s), "it is no timestamp of the form 2026-11-20T03:00:00Z"
	case tarn.UUID:
		ok, why = hexDigits(s) == 32, "it is no UUID"
	}
	if !ok {
		return misfits, why
	}
	return fits, ""
}

// The patterns below are wide: they refuse only what DuckDB refuses as well.
var (
	maybeDate      = regexp.MustCompile(`^\s*[-+]?\d+-\d+-\d+\s*$|^(?i)\s*epoch\s*$`)
	maybeTimestamp = regexp.MustCompile(`^\s*-?\d+[-/\\ ]\d{1,2}[-/\\ ]\d{1,2}(\D|$)|^(?i)\s*epoch\s*$`)
	decimalText    = regexp.MustCompile(`^\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*$`)
)

// noSuchDay reports whether s begins with a day like 2026-02-30, in the form YYYY-MM-DD, that the
// calendar does not have.
func noSuchDay(s []byte) bool {
	if len(s) < 10 || s[4] != '-' || s[7] != '-' || len(s) > 10 && s[10] >= '0' && s[10] <= '9' {
		return false
	}
	y, okY := number4(s[:4])
	m, okM := number4(s[5:7])
	d, okD := number4(s[8:10])
	return okY && okM && okD && (m < 1 || m > 12 || d < 1 || d > daysIn(y, m))
}

// timeOfDayPattern is what a TIME column takes: no offset, which DuckDB would drop.
const timeOfDayPattern = `\d{1,2}:\d{2}:\d{2}(\.\d{1,6})?`

var timeOfDay = regexp.MustCompile(`^` + timeOfDayPattern + `$`)

func truth(s []byte) bool {
	switch strings.ToLower(string(s)) {
	case "true", "false", "t", "f", "yes", "no", "y", "n":
		return true
	}
	return false
}

func hexDigits(s []byte) int {
	n := 0
	for _, c := range s {
		if c = lower(c); c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			n++
		}
	}
	return n
}

func fitInteger(n *node, v *value) (fit, string) {
	bits := 64
	if n.kind == tarn.Int {
		bits = 32
	}
	switch v.class {
	case integer:
		if _, err := strconv.ParseInt(string(v.raw), 10, bits); err != nil {
			return misfits, "it is out of range"
		}
		return fits, ""
	case big:
		if n.decl == nil && holdsExactly(v.raw) {
			return fitsWider, ""
		}
		return misfits, "it is out of range"
	case number:
		if n.decl == nil {
			if finite(v.raw) {
				return fitsWider, ""
			}
			return misfits, "it is out of range"
		}
		// 5.0 and 1e3 are integers in another coat; 5.5 DuckDB would round.
		f, err := strconv.ParseFloat(string(v.raw), 64)
		switch {
		case err != nil || math.Abs(f) >= maxExactInt || bits == 32 && (f < math.MinInt32 || f > math.MaxInt32):
			return misfits, "it is out of range"
		case f != math.Trunc(f) || !integral(v.raw):
			return misfits, "it would be rounded"
		}
		return fitsByValue, ""
	case text:
		// DuckDB refuses text that is no integer, so the shape may be learned.
		if n.decl != nil && wholeText(unquote(v.raw), bits) {
			return fits, ""
		}
	}
	return misfits, ""
}

// integral reports whether a literal has no fraction that its double hides, as 1.00000000000000000001 has.
func integral(literal []byte) bool {
	if i := bytes.IndexByte(literal, '.'); i >= 0 && len(literal) > 17 {
		frac, _, _ := bytes.Cut(literal[i+1:], []byte("e"))
		return len(bytes.Trim(frac, "0")) == 0
	}
	return true
}

func wholeText(s []byte, bits int) bool {
	_, err := strconv.ParseInt(strings.TrimSpace(string(s)), 0, bits)
	return err == nil
}

// exactDigits is how many decimal digits a double always carries.
const exactDigits = 15

func fitFloat(n *node, v *value) (fit, string) {
	limit := math.MaxFloat64
	if n.kind == tarn.Float {
		limit = math.MaxFloat32
	}
	switch v.class {
	case integer, big:
		switch {
		case n.decl != nil || len(v.raw) <= exactDigits:
			return fits, "" // a declared DOUBLE rounds, by its nature
		case !holdsExactly(v.raw):
			return misfits, "a DOUBLE would round it"
		}
		return fitsByValue, ""
	case number:
		if f, err := strconv.ParseFloat(string(v.raw), 64); err != nil || math.Abs(f) > limit {
			return misfits, "it is out of range"
		}
		return fits, ""
	case text:
		if n.decl != nil {
			_, err := strconv.ParseFloat(strings.TrimSpace(string(unquote(v.raw))), 64)
			if err == nil {
				return fits, ""
			}
		}
	}
	return misfits, ""
}

// decimalLimit is a number above which every value rounds to more digits than the type has. DuckDB decides
// about those that the inexactness of doubles lets pass.
func decimalLimit(t tarn.Type) float64 {
	return math.Nextafter(math.Pow10(t.Precision-t.Scale)-math.Pow10(-t.Scale)/2, math.Inf(1))
}

func fitDecimal(n *node, v *value) (fit, string) {
	s := v.raw
	switch v.class {
	case boolean:
		return misfits, ""
	case text:
		if s = unquote(s); !decimalText.Match(s) {
			return misfits, "it is no decimal number"
		}
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(string(s)), 64)
	t := n.decl.Type
	if err != nil || math.Abs(f) > decimalLimit(t) {
		return misfits, "it is out of range"
	}
	if v.class == number && t.Precision > exactDigits {
		return fitsRewritten, ""
	}
	return fits, ""
}
