package duck

import (
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
)

// Value returns element i of an Arrow array as a Go value, in the forms Rows.Row documents.
func Value(a arrow.Array, i int) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Boolean:
		return a.Value(i)
	case *array.Int8:
		return int64(a.Value(i))
	case *array.Int16:
		return int64(a.Value(i))
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Uint8:
		return int64(a.Value(i))
	case *array.Uint16:
		return int64(a.Value(i))
	case *array.Uint32:
		return int64(a.Value(i))
	case *array.Uint64:
		return a.Value(i)
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.String:
		return strings.Clone(a.Value(i)) // the array's memory goes with its batch
	case *array.LargeString:
		return strings.Clone(a.Value(i))
	case *array.Binary:
		return append([]byte{}, a.Value(i)...)
	case *array.LargeBinary:
		return append([]byte{}, a.Value(i)...)
	case *array.Date32:
		return a.Value(i).ToTime()
	case *array.Timestamp:
		return a.Value(i).ToTime(a.DataType().(*arrow.TimestampType).Unit)
	case *array.Time64:
		return TimeText(a.Value(i).ToTime(a.DataType().(*arrow.Time64Type).Unit))
	case *array.MonthDayNanoInterval:
		return IntervalText(a.Value(i))
	}
	return nested(a, i)
}

func nested(a arrow.Array, i int) any {
	switch a := a.(type) {
	case *array.Decimal128:
		return DecimalText(a.Value(i).BigInt(), a.DataType().(arrow.DecimalType).GetScale())
	case *array.Decimal64:
		return DecimalText(big.NewInt(int64(a.Value(i))), a.DataType().(arrow.DecimalType).GetScale())
	case *array.Decimal32:
		return DecimalText(big.NewInt(int64(a.Value(i))), a.DataType().(arrow.DecimalType).GetScale())
	case *array.Map:
		from, to := a.ValueOffsets(i)
		m := make(map[string]any, to-from)
		for j := from; j < to; j++ {
			m[fmt.Sprint(Value(a.Keys(), int(j)))] = Value(a.Items(), int(j))
		}
		return m
	case array.ListLike:
		from, to := a.ValueOffsets(i)
		l := make([]any, 0, to-from)
		for j := from; j < to; j++ {
			l = append(l, Value(a.ListValues(), int(j)))
		}
		return l
	case *array.Struct:
		t := a.DataType().(*arrow.StructType)
		m := make(map[string]any, a.NumField())
		for f := range a.NumField() {
			m[t.Field(f).Name] = Value(a.Field(f), i)
		}
		return m
	case *array.Dictionary:
		return Value(a.Dictionary(), a.GetValueIndex(i))
	}
	return a.ValueStr(i)
}

// DecimalText writes unscaled × 10^-scale with exactly scale digits after the point.
func DecimalText(unscaled *big.Int, scale int32) string {
	s := unscaled.String()
	if scale <= 0 {
		return s
	}
	neg := strings.HasPrefix(s, "-")
	s = strings.TrimPrefix(s, "-")
	if pad := int(scale) + 1 - len(s); pad > 0 {
		s = strings.Repeat("0", pad) + s
	}
	s = s[:len(s)-int(scale)] + "." + s[len(s)-int(scale):]
	if neg {
		return "-" + s
	}
	return s
}

// TimeText writes a time of day as 15:04:05, with fractions of a second where there are any.
func TimeText(t time.Time) string { return t.UTC().Format("15:04:05.999999999") }

// IntervalText writes an interval as an ISO 8601 duration, for example P1M2DT3.5S.
func IntervalText(v arrow.MonthDayNanoInterval) string {
	var b strings.Builder
	b.WriteByte('P')
	if v.Months != 0 {
		fmt.Fprintf(&b, "%dM", v.Months)
	}
	if v.Days != 0 {
		fmt.Fprintf(&b, "%dD", v.Days)
	}
	if v.Nanoseconds != 0 || b.Len() == 1 {
		s := DecimalText(big.NewInt(v.Nanoseconds), 9)
		b.WriteString("T" + strings.TrimSuffix(strings.TrimRight(s, "0"), ".") + "S")
	}
	return b.String()
}
