package query

import (
	"cmp"
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck/ast"
)

// key is a value in a form that orders as DuckDB orders it, among keys of one kind.
type key struct {
	kind  keyKind
	whole int64 // integers, days, microseconds, 0 and 1 for booleans
	float float64
	text  string
	exact *big.Rat
}

type keyKind uint8

const (
	noKey keyKind = iota
	wholeKey
	dateKey   // days
	microsKey // timestamps
	floatKey
	textKey
	exactKey // decimals
)

const microsPerDay = int64(86400 * 1e6)

// order compares two keys. ok is false when they can not be compared.
func order(a, b key) (c int, ok bool) {
	if a.kind == exactKey && b.kind == wholeKey {
		b = key{kind: exactKey, exact: new(big.Rat).SetInt64(b.whole)}
	}
	if a.kind != b.kind {
		return 0, false
	}
	switch a.kind {
	case wholeKey, dateKey, microsKey:
		return cmp.Compare(a.whole, b.whole), true
	case floatKey:
		if math.IsNaN(a.float) || math.IsNaN(b.float) {
			return 0, false
		}
		return cmp.Compare(a.float, b.float), true
	case textKey:
		return strings.Compare(a.text, b.text), true
	case exactKey:
		return a.exact.Cmp(b.exact), true
	}
	return 0, false
}

// keyOf reads a bound of a file.
func keyOf(t tarn.Type, v any) key {
	switch v := v.(type) {
	case int64:
		if t.Kind == tarn.Int || t.Kind == tarn.Long {
			return key{kind: wholeKey, whole: v}
		}
	case int32:
		return keyOf(t, int64(v))
	case float64:
		if isFloat(t) {
			return key{kind: floatKey, float: v}
		}
	case float32:
		return keyOf(t, float64(v))
	case bool:
		if t.Kind == tarn.Boolean {
			return boolKey(v)
		}
	case string:
		switch t.Kind {
		case tarn.String:
			return key{kind: textKey, text: v}
		case tarn.Decimal:
			if r, ok := new(big.Rat).SetString(v); ok {
				return key{kind: exactKey, exact: r}
			}
		}
	case time.Time:
		switch t.Kind {
		case tarn.Date:
			return key{kind: dateKey, whole: floorDiv(v.Unix(), 86400)}
		case tarn.Timestamp, tarn.TimestampTZ:
			return key{kind: microsKey, whole: v.UnixMicro()}
		}
	}
	return key{}
}

func boolKey(b bool) key {
	if b {
		return key{kind: wholeKey, whole: 1}
	}
	return key{kind: wholeKey}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// keyOfValue reads a constant of a plan.
func keyOfValue(v ast.Node) (key, bool) {
	if null, _ := v["is_null"].(bool); null || v == nil {
		return key{}, false
	}
	typ, _ := v["type"].(ast.Node)
	switch x := v["value"].(type) {
	case bool:
		return boolKey(x), ast.Str(typ, "id") == "BOOLEAN"
	case string:
		return key{kind: textKey, text: x}, ast.Str(typ, "id") == "VARCHAR"
	case json.Number:
		return keyOfNumber(typ, x)
	}
	return key{}, false
}

func keyOfNumber(typ ast.Node, n json.Number) (key, bool) {
	id := ast.Str(typ, "id")
	if id == "DOUBLE" || id == "FLOAT" {
		f, err := n.Float64()
		return key{kind: floatKey, float: f}, err == nil
	}
	i, err := n.Int64()
	if err != nil {
		return key{}, false
	}
	switch id {
	case "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER":
		return key{kind: wholeKey, whole: i}, true
	case "DATE":
		return key{kind: dateKey, whole: i}, i != math.MaxInt32 && i != -math.MaxInt32
	case "TIMESTAMP", "TIMESTAMP WITH TIME ZONE":
		return key{kind: microsKey, whole: i}, i != math.MaxInt64 && i != -math.MaxInt64
	case "DECIMAL":
		info, _ := typ["type_info"].(ast.Node)
		if scale, ok := index(info["scale"], 39); ok {
			ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)
			return key{kind: exactKey, exact: new(big.Rat).SetFrac(big.NewInt(i), ten)}, true
		}
	}
	return key{}, false
}

// castAll follows casts that keep the order of values, so that a bound stays a bound. ok is false
// for any other cast.
func castAll(k key, types []string) (key, bool) {
	for _, t := range types {
		switch {
		case k.kind == microsKey && (t == "TIMESTAMP" || t == "TIMESTAMP WITH TIME ZONE"):
			// The session's zone is UTC: the same number.
		case k.kind == microsKey && t == "DATE":
			k = key{kind: dateKey, whole: floorDiv(k.whole, microsPerDay)}
		case k.kind == dateKey && (t == "TIMESTAMP" || t == "TIMESTAMP WITH TIME ZONE"):
			if k.whole > math.MaxInt64/microsPerDay-1 || k.whole < math.MinInt64/microsPerDay+1 {
				return key{}, false
			}
			k = key{kind: microsKey, whole: k.whole * microsPerDay}
		case k.kind == wholeKey && (t == "BIGINT" || t == "INTEGER"):
		case k.kind == wholeKey && t == "DOUBLE":
			k = key{kind: floatKey, float: float64(k.whole)}
		case k.kind == wholeKey && t == "DECIMAL":
			k = key{kind: exactKey, exact: new(big.Rat).SetInt64(k.whole)}
		case k.kind == floatKey && t == "DOUBLE":
		default:
			return key{}, false
		}
	}
	return k, k.kind != noKey
}
