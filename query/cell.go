package query

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"math/big"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// cell appends the JSON of element i of an array to dst.
type cell func(dst []byte, i int) []byte

// jsonCell makes the writer for one array. t is the SQL type where it is known: it tells JSON from text.
func jsonCell(a arrow.Array, t tarn.Type) cell {
	write := valueCell(a, t)
	if a.NullN() == 0 {
		return write
	}
	return func(dst []byte, i int) []byte {
		if a.IsNull(i) {
			return append(dst, "null"...)
		}
		return write(dst, i)
	}
}

func valueCell(a arrow.Array, t tarn.Type) cell {
	switch a := a.(type) {
	case *array.Int64:
		return intCell(a.Int64Values())
	case *array.Int32:
		return intCell(a.Int32Values())
	case *array.Int16:
		return intCell(a.Int16Values())
	case *array.Int8:
		return intCell(a.Int8Values())
	case *array.Uint64:
		return func(dst []byte, i int) []byte { return strconv.AppendUint(dst, a.Value(i), 10) }
	case *array.Uint32:
		return intCell(a.Uint32Values())
	case *array.Uint16:
		return intCell(a.Uint16Values())
	case *array.Uint8:
		return intCell(a.Uint8Values())
	case *array.Float64:
		return func(dst []byte, i int) []byte { return appendFloat(dst, a.Value(i), 64) }
	case *array.Float32:
		return func(dst []byte, i int) []byte { return appendFloat(dst, float64(a.Value(i)), 32) }
	case *array.Boolean:
		return func(dst []byte, i int) []byte { return strconv.AppendBool(dst, a.Value(i)) }
	case *array.String:
		return textCell(a.Value, t)
	case *array.LargeString:
		return textCell(a.Value, t)
	case *array.StringView:
		return textCell(a.Value, t)
	case *array.Binary:
		return func(dst []byte, i int) []byte { return appendBase64(dst, a.Value(i)) }
	case *array.LargeBinary:
		return func(dst []byte, i int) []byte { return appendBase64(dst, a.Value(i)) }
	}
	return richCell(a, t)
}

func richCell(a arrow.Array, t tarn.Type) cell {
	switch a := a.(type) {
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		return func(dst []byte, i int) []byte { return appendTimestamp(dst, int64(a.Value(i)), unit) }
	case *array.Date32:
		return func(dst []byte, i int) []byte { return append(appendDate(append(dst, '"'), int64(a.Value(i))), '"') }
	case *array.Time64:
		unit := a.DataType().(*arrow.Time64Type).Unit
		return func(dst []byte, i int) []byte { return appendQuoted(dst, duck.TimeText(a.Value(i).ToTime(unit))) }
	case *array.MonthDayNanoInterval:
		return func(dst []byte, i int) []byte { return appendQuoted(dst, duck.IntervalText(a.Value(i))) }
	case *array.Decimal128:
		return decimalCell(a)
	case *array.Dictionary:
		inner := jsonCell(a.Dictionary(), t)
		return func(dst []byte, i int) []byte { return inner(dst, a.GetValueIndex(i)) }
	case *array.Map:
		return mapCell(a, t)
	case array.ListLike:
		return listCell(a, t)
	case *array.Struct:
		return structCell(a, t)
	case *array.SparseUnion:
		return unionCell(a)
	}
	return func(dst []byte, i int) []byte {
		switch v := duck.Value(a, i).(type) {
		case string:
			return appendQuoted(dst, v)
		default:
			b, err := json.Marshal(v)
			if err != nil {
				return append(dst, "null"...)
			}
			return append(dst, b...)
		}
	}
}

func intCell[T int8 | int16 | int32 | int64 | uint8 | uint16 | uint32](v []T) cell {
	return func(dst []byte, i int) []byte { return strconv.AppendInt(dst, int64(v[i]), 10) }
}

func textCell(value func(int) string, t tarn.Type) cell {
	if t.Kind != tarn.JSON {
		return func(dst []byte, i int) []byte { return appendQuoted(dst, value(i)) }
	}
	return func(dst []byte, i int) []byte { return appendRawJSON(dst, value(i)) }
}

func decimalCell(a *array.Decimal128) cell {
	scale := a.DataType().(arrow.DecimalType).GetScale()
	return func(dst []byte, i int) []byte {
		n := a.Value(i)
		if low := int64(n.LowBits()); n.HighBits() == low>>63 {
			return appendDecimal(dst, low, int(scale))
		}
		return append(dst, duck.DecimalText(bigOf(n), scale)...)
	}
}

func bigOf(n decimal128.Num) *big.Int { return n.BigInt() }

func listCell(a array.ListLike, t tarn.Type) cell {
	var elem tarn.Type
	if t.Elem != nil {
		elem = t.Elem.Type
	}
	inner := jsonCell(a.ListValues(), elem)
	return func(dst []byte, i int) []byte {
		dst = append(dst, '[')
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			if j > from {
				dst = append(dst, ',')
			}
			dst = inner(dst, int(j))
		}
		return append(dst, ']')
	}
}

func structCell(a *array.Struct, t tarn.Type) cell {
	typ := a.DataType().(*arrow.StructType)
	cells := make([]cell, a.NumField())
	keys := make([][]byte, a.NumField())
	for f := range cells {
		var ft tarn.Type
		if f < len(t.Fields) {
			ft = t.Fields[f].Type
		}
		cells[f] = jsonCell(a.Field(f), ft)
		keys[f] = append(appendQuoted(nil, typ.Field(f).Name), ':')
	}
	return func(dst []byte, i int) []byte {
		dst = append(dst, '{')
		for f, c := range cells {
			if f > 0 {
				dst = append(dst, ',')
			}
			dst = c(append(dst, keys[f]...), i)
		}
		return append(dst, '}')
	}
}

// mapCell writes a map as an object: keys that are not texts stand in quotes.
func mapCell(a *array.Map, t tarn.Type) cell {
	var kt, vt tarn.Type
	if t.Key != nil && t.Elem != nil {
		kt, vt = t.Key.Type, t.Elem.Type
	}
	if kt.Kind == tarn.JSON {
		kt = tarn.Type{Kind: tarn.String}
	}
	key, value := jsonCell(a.Keys(), kt), jsonCell(a.Items(), vt)
	return func(dst []byte, i int) []byte {
		dst = append(dst, '{')
		from, to := a.ValueOffsets(i)
		for j := from; j < to; j++ {
			if j > from {
				dst = append(dst, ',')
			}
			start := len(dst)
			if dst = key(dst, int(j)); dst[start] != '"' {
				text := string(dst[start:])
				dst = appendQuoted(dst[:start], text)
			}
			dst = value(append(dst, ':'), int(j))
		}
		return append(dst, '}')
	}
}

func unionCell(a *array.SparseUnion) cell {
	cells := make([]cell, a.NumFields())
	for f := range cells {
		cells[f] = jsonCell(a.Field(f), tarn.Type{})
	}
	return func(dst []byte, i int) []byte { return cells[a.ChildID(i)](dst, i) }
}

func appendFloat(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(dst, "null"...)
	}
	format := byte('f')
	if abs := math.Abs(f); abs != 0 && (abs < 1e-6 || abs >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(dst, f, format, -1, bits)
}

func appendBase64(dst, b []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"')
}
