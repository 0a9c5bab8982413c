package table

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/iceberg-go"
	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
)

const (
	day = 24 * time.Hour
	// boundRunes is how much of a string bound is stored, as Iceberg's truncate(16) metrics mode.
	boundRunes = 16
)

// literal converts a Go value as ColumnStats documents it to an Iceberg literal of type t.
func literal(t tarn.Type, v any) (iceberg.Literal, error) {
	bad := func() (iceberg.Literal, error) {
		return nil, fmt.Errorf("a value of Go type %T is no %s", v, t)
	}
	switch t.Kind {
	case tarn.Boolean:
		if v, ok := v.(bool); ok {
			return iceberg.NewLiteral(v), nil
		}
	case tarn.Int:
		if v, ok := integer(v); ok && v >= math.MinInt32 && v <= math.MaxInt32 {
			return iceberg.NewLiteral(int32(v)), nil
		}
	case tarn.Long:
		if v, ok := integer(v); ok {
			return iceberg.NewLiteral(v), nil
		}
	case tarn.Float:
		if v, ok := float(v); ok {
			return iceberg.NewLiteral(float32(v)), nil
		}
	case tarn.Double:
		if v, ok := float(v); ok {
			return iceberg.NewLiteral(v), nil
		}
	case tarn.Decimal:
		if v, ok := v.(string); ok {
			return decimalLiteral(t, v)
		}
	case tarn.Date:
		if v, ok := v.(time.Time); ok {
			return iceberg.NewLiteral(iceberg.Date(floorDiv(v.Unix(), 86400))), nil
		}
	case tarn.Time:
		if text, ok := v.(string); ok { // as DuckDB prints it
			v, _ = ParseBound(t, text)
		}
		if v, ok := v.(time.Duration); ok {
			return iceberg.NewLiteral(iceberg.Time(v.Microseconds())), nil
		}
	case tarn.Timestamp, tarn.TimestampTZ:
		if v, ok := v.(time.Time); ok {
			return iceberg.NewLiteral(iceberg.Timestamp(v.UnixMicro())), nil
		}
	case tarn.String, tarn.JSON:
		if v, ok := v.(string); ok {
			return iceberg.NewLiteral(v), nil
		}
	case tarn.UUID:
		switch v := v.(type) {
		case string:
			id, err := uuid.Parse(v)
			return iceberg.NewLiteral(id), err
		case uuid.UUID:
			return iceberg.NewLiteral(v), nil
		case [16]byte:
			return iceberg.NewLiteral(uuid.UUID(v)), nil
		}
	case tarn.Binary:
		if v, ok := v.([]byte); ok {
			return iceberg.NewLiteral(v), nil
		}
	}
	return bad()
}

func integer(v any) (int64, bool) {
	switch v := v.(type) {
	case int64:
		return v, true
	case int32:
		return int64(v), true
	case int:
		return int64(v), true
	}
	return 0, false
}

func float(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case float32:
		return float64(v), true
	}
	i, ok := integer(v)
	return float64(i), ok
}

// decimalLiteral reads a decimal exactly: digits that the type cannot hold are an error.
func decimalLiteral(t tarn.Type, s string) (iceberg.Literal, error) {
	if !plainDecimal(s) { // an exponent could ask for gigabytes of digits
		return nil, fmt.Errorf("%q is no %s", s, t)
	}
	r, ok := new(big.Rat).SetString(s)
	if !ok || !r.IsInt() && !new(big.Rat).Mul(r, pow10(t.Scale)).IsInt() {
		return nil, fmt.Errorf("%q is no %s", s, t)
	}
	if new(big.Rat).Abs(r).Cmp(pow10(t.Precision-t.Scale)) >= 0 {
		return nil, fmt.Errorf("%q is no %s", s, t)
	}
	return iceberg.StringLiteral(r.FloatString(t.Scale)).To(iceberg.DecimalTypeOf(t.Precision, t.Scale))
}

func plainDecimal(s string) bool {
	return len(s) <= 80 && strings.Trim(s, "-0123456789.") == ""
}

func pow10(n int) *big.Rat {
	return new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil))
}

// goValue is the inverse of literal for the values iceberg-go hands out. Unknown types give nil.
func goValue(t tarn.Type, v any) any {
	switch v := v.(type) {
	case int32:
		if t.Kind == tarn.Date {
			return time.Unix(int64(v)*86400, 0).UTC()
		}
		return int64(v)
	case float32:
		return float64(v)
	case iceberg.Date:
		return time.Unix(int64(v)*86400, 0).UTC()
	case iceberg.Time:
		return time.Duration(v) * time.Microsecond
	case iceberg.Timestamp:
		return time.UnixMicro(int64(v)).UTC()
	case iceberg.Decimal:
		return v.Val.ToString(int32(v.Scale))
	case iceberg.DecimalLiteral:
		return v.Val.ToString(int32(v.Scale))
	case bool, int64, float64, string, []byte, uuid.UUID:
		return v
	}
	return nil
}

// lowerBytes and upperBytes encode a bound as Iceberg's single-value serialization. Long strings
// and byte strings are cut, an upper bound upwards; false when there is no such bound.
func lowerBytes(t tarn.Type, v any) ([]byte, bool) {
	switch x := v.(type) {
	case nil:
		return nil, false
	case string:
		if t.Kind != tarn.Decimal {
			v = cutRunes(x)
		}
	case []byte:
		v = x[:min(len(x), boundRunes)]
	case float64:
		if math.IsNaN(x) {
			return nil, false
		}
	}
	return encode(t, v)
}

func upperBytes(t tarn.Type, v any) ([]byte, bool) {
	switch x := v.(type) {
	case nil:
		return nil, false
	case string:
		if t.Kind != tarn.Decimal {
			up, ok := cutUp(x)
			if !ok {
				return nil, false
			}
			v = up
		}
	case []byte:
		if len(x) > boundRunes {
			return nil, false
		}
	case float64:
		if math.IsNaN(x) {
			return nil, false
		}
	}
	return encode(t, v)
}

func encode(t tarn.Type, v any) ([]byte, bool) {
	l, err := literal(t, v)
	if err != nil {
		return nil, false
	}
	b, err := l.MarshalBinary()
	if b == nil {
		b = []byte{} // the empty string is a bound, nil is none
	}
	return b, err == nil
}

func cutRunes(s string) string {
	n := 0
	for i := range s {
		if n == boundRunes {
			return strings.Clone(s[:i]) // not to keep the long one in memory
		}
		n++
	}
	return s
}

// cutUp returns the shortest string of at most boundRunes runes that is not below s.
func cutUp(s string) (string, bool) {
	cut := cutRunes(s)
	if cut == s {
		return s, true
	}
	runes := []rune(cut)
	for i := len(runes) - 1; i >= 0; i-- {
		next := runes[i] + 1
		if next == 0xD800 { // surrogates are no runes of UTF-8
			next = 0xE000
		}
		if next <= utf8.MaxRune {
			return string(append(runes[:i:i], next)), true
		}
	}
	return "", false
}

// decodeBound is the inverse of lowerBytes and upperBytes; nil when b does not decode.
func decodeBound(t tarn.Type, b []byte) any {
	it, err := icebergType(t)
	if err != nil {
		return nil
	}
	if t.Kind == tarn.Long && len(b) == 4 { // written before the column was widened from int
		it = iceberg.PrimitiveTypes.Int32
	}
	if t.Kind == tarn.Double && len(b) == 4 {
		it = iceberg.PrimitiveTypes.Float32
	}
	l, err := iceberg.LiteralFromBytes(it, b)
	if err != nil {
		return nil
	}
	return goValue(t, l.Any())
}

// ParseBound reads a statistic as DuckDB prints it into the Go value ColumnStats wants; false when
// it bounds nothing: infinity, NaN, a nested type, or a form that is not understood.
func ParseBound(t tarn.Type, s string) (any, bool) {
	switch t.Kind {
	case tarn.Boolean:
		switch strings.ToLower(s) {
		case "true", "1", "t":
			return true, true
		case "false", "0", "f":
			return false, true
		}
	case tarn.Int, tarn.Long:
		bits := 64
		if t.Kind == tarn.Int {
			bits = 32
		}
		v, err := strconv.ParseInt(s, 10, bits)
		return v, err == nil
	case tarn.Float, tarn.Double:
		v, err := strconv.ParseFloat(s, 64)
		return v, err == nil && !math.IsNaN(v) && !math.IsInf(v, 0)
	case tarn.Decimal:
		_, err := decimalLiteral(t, s)
		return s, err == nil
	case tarn.Date:
		v, err := time.Parse("2006-01-02", s)
		return v, err == nil
	case tarn.Time:
		v, err := time.Parse("15:04:05.999999", s)
		return v.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)), err == nil
	case tarn.Timestamp, tarn.TimestampTZ:
		return parseTimestamp(s)
	case tarn.String, tarn.JSON:
		return s, utf8.ValidString(s)
	case tarn.UUID:
		v, err := uuid.Parse(s)
		return v, err == nil
	case tarn.Binary:
		return parseBlob(s)
	}
	return nil, false
}

func parseTimestamp(s string) (any, bool) {
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07", "2006-01-02 15:04:05.999999999Z07:00", time.RFC3339Nano, "2006-01-02"} {
		if v, err := time.Parse(layout, s); err == nil {
			return v.UTC(), true
		}
	}
	return nil, false
}

// parseBlob reads DuckDB's text of a BLOB: printable ASCII as it is, other bytes as \xHH.
func parseBlob(s string) (any, bool) {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		if i+3 >= len(s) || s[i+1] != 'x' {
			return nil, false
		}
		b, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
		if err != nil {
			return nil, false
		}
		out = append(out, byte(b))
		i += 3
	}
	return out, true
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

// fold is SQL's case folding of names.
func fold(s string) string { return strings.ToLower(s) }
