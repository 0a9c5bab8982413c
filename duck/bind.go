package duck

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"time"

	capi "github.com/duckdb/duckdb-go-bindings"

	"github.com/tarn-data/tarn"
)

// bind gives the statement its arguments. Accepted: nil, bool, integers, floats, string, []byte,
// time.Time (as TIMESTAMP holding UTC), json.Number, *big.Int, []string, []int64, []any of those
// (as VARCHAR[] unless all are of one kind), json.RawMessage and maps (as JSON text).
func bind(p capi.PreparedStatement, args []any) error {
	if want := int(capi.NParams(p)); want != len(args) {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the statement takes %s, not %d", count(want, "parameter"), len(args)),
			Hint: "give one value for each of $1, $2, … or ?"}
	}
	for i, a := range args {
		if err := bindOne(p, capi.IdxT(i+1), a); err != nil {
			return err
		}
	}
	return nil
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

func bindOne(p capi.PreparedStatement, i capi.IdxT, a any) error {
	v, err := value(a)
	if err == nil && v.Ptr == nil { // DuckDB makes no value of a text that is not UTF-8
		err = errors.New("the text is not UTF-8")
	}
	if err != nil {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("parameter %d: %v", i, err)}
	}
	defer capi.DestroyValue(&v)
	if capi.BindValue(p, i, v) == capi.StateError {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("parameter %d does not fit: %s", i, Brief(capi.PrepareError(p)))}
	}
	return nil
}

func value(a any) (capi.Value, error) {
	switch a := a.(type) {
	case nil:
		return capi.CreateNullValue(), nil
	case bool:
		return capi.CreateBool(a), nil
	case int:
		return capi.CreateInt64(int64(a)), nil
	case int32:
		return capi.CreateInt32(a), nil
	case int64:
		return capi.CreateInt64(a), nil
	case uint32:
		return capi.CreateUInt32(a), nil
	case uint64:
		return capi.CreateUInt64(a), nil
	case float32:
		return capi.CreateFloat(a), nil
	case float64:
		return capi.CreateDouble(a), nil
	case string:
		return capi.CreateVarcharLength(a, capi.IdxT(len(a))), nil
	case []byte:
		return capi.CreateBlob(a), nil
	case time.Time:
		return capi.CreateTimestamp(capi.NewTimestamp(a.UnixMicro())), nil
	case json.Number:
		return number(a)
	case *big.Int:
		return capi.CreateVarchar(a.String()), nil
	case json.RawMessage:
		return capi.CreateVarchar(string(a)), nil
	case []string:
		return list(a)
	case []int64:
		return list(a)
	case []any:
		return list(a)
	case map[string]any:
		b, err := json.Marshal(a)
		return capi.CreateVarchar(string(b)), err
	}
	return capi.Value{}, fmt.Errorf("a %T is not a value SQL can take", a)
}

func number(n json.Number) (capi.Value, error) {
	if i, err := n.Int64(); err == nil {
		return capi.CreateInt64(i), nil
	}
	f, err := n.Float64()
	if err != nil {
		return capi.Value{}, fmt.Errorf("%s is not a number SQL can take", n)
	}
	return capi.CreateDouble(f), nil
}

// list makes a list value of the element type all elements share; VARCHAR when they differ.
func list[T any](elems []T) (capi.Value, error) {
	kind := capi.TypeSQLNull
	for _, e := range elems {
		k := elemKind(any(e))
		switch {
		case k == capi.TypeSQLNull || k == kind:
		case kind == capi.TypeSQLNull:
			kind = k
		case kind == capi.TypeBigInt && k == capi.TypeDouble || kind == capi.TypeDouble && k == capi.TypeBigInt:
			kind = capi.TypeDouble
		default:
			kind = capi.TypeVarchar
		}
	}
	if kind == capi.TypeSQLNull {
		kind = capi.TypeVarchar
	}
	values := make([]capi.Value, 0, len(elems))
	defer func() {
		for i := range values {
			capi.DestroyValue(&values[i])
		}
	}()
	for _, e := range elems {
		v, err := value(asKind(any(e), kind))
		if err == nil && v.Ptr == nil {
			err = errors.New("a text in a list is not UTF-8")
		}
		if err != nil {
			return v, err
		}
		values = append(values, v)
	}
	lt := capi.CreateLogicalType(kind)
	defer capi.DestroyLogicalType(&lt)
	return capi.CreateListValue(lt, values), nil
}

func elemKind(a any) capi.Type {
	switch a := a.(type) {
	case nil:
		return capi.TypeSQLNull
	case bool:
		return capi.TypeBoolean
	case int, int64:
		return capi.TypeBigInt
	case float64:
		return capi.TypeDouble
	case time.Time:
		return capi.TypeTimestamp
	case json.Number:
		if _, err := a.Int64(); err == nil {
			return capi.TypeBigInt
		}
		return capi.TypeDouble
	}
	return capi.TypeVarchar
}

func asKind(a any, kind capi.Type) any {
	switch n := a.(type) {
	case json.Number:
		if kind == capi.TypeDouble {
			f, _ := n.Float64()
			return f
		}
	case int64:
		if kind == capi.TypeDouble {
			return float64(n)
		}
	case int:
		if kind == capi.TypeDouble {
			return float64(n)
		}
	}
	if kind == capi.TypeVarchar && a != nil {
		if s, ok := a.(string); ok {
			return s
		}
		b, err := json.Marshal(a)
		if err != nil {
			return fmt.Sprint(a)
		}
		return string(b)
	}
	return a
}
