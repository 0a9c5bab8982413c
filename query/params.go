package query

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// literals writes the parameters of a statement as SQL. They become part of the text, quoted, rather
// than bound: so a string takes the type its place asks for (a time, a date, a UUID) and DuckDB and
// the pruning see the value. Strings are untyped, numbers BIGINT or DOUBLE, time.Time a TIMESTAMP in
// UTC, lists a list, json.RawMessage and maps JSON.
func (st *statement) literals(params []any) ([]string, error) {
	if len(params) != st.params {
		wanted := fmt.Sprintf("%d parameters", st.params)
		if st.params == 1 {
			wanted = "1 parameter"
		}
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the statement takes %s, not %d", wanted, len(params)),
			Hint: "give one value for each of $1, $2, … or ?"}
	}
	out := make([]string, len(params))
	for i, p := range params {
		s, err := literal(p, 0)
		if err != nil {
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("parameter %d: %v", i+1, err)}
		}
		out[i] = s
	}
	return out, nil
}

func literal(p any, depth int) (string, error) {
	if depth > 8 {
		return "", fmt.Errorf("lists are nested deeper than 8")
	}
	switch v := p.(type) {
	case nil:
		return "NULL", nil
	case bool:
		return strconv.FormatBool(v), nil
	case int:
		return integerLiteral(int64(v)), nil
	case int32:
		return integerLiteral(int64(v)), nil
	case int64:
		return integerLiteral(v), nil
	case uint64:
		return strconv.FormatUint(v, 10), nil
	case float64:
		return doubleLiteral(v), nil
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return integerLiteral(i), nil
		}
		f, err := v.Float64()
		if err != nil {
			return "", fmt.Errorf("%s is not a number SQL can take", v)
		}
		return doubleLiteral(f), nil
	case string:
		if strings.IndexByte(v, 0) >= 0 || !utf8.ValidString(v) {
			return "", fmt.Errorf("a text must be UTF-8 without NUL characters")
		}
		return tarn.QuoteLiteral(v), nil
	case []byte:
		return "unhex('" + hex.EncodeToString(v) + "')", nil
	case time.Time:
		return "TIMESTAMP '" + v.UTC().Format("2006-01-02 15:04:05.999999") + "'", nil
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			s, err := literal(e, depth+1)
			if err != nil {
				return "", err
			}
			parts[i] = s
		}
		return "[" + strings.Join(parts, ", ") + "]", nil
	case json.RawMessage, map[string]any:
		b, err := json.Marshal(v)
		return tarn.QuoteLiteral(string(b)) + "::JSON", err
	}
	return "", fmt.Errorf("a %T is not a value SQL can take", p)
}

// integerLiteral stands in parentheses when negative: "- -1" must not become a comment.
func integerLiteral(i int64) string {
	if i < 0 {
		if i == math.MinInt64 {
			return "(-9223372036854775808)::BIGINT"
		}
		return "(" + strconv.FormatInt(i, 10) + ")"
	}
	return strconv.FormatInt(i, 10)
}

func doubleLiteral(f float64) string {
	return "'" + strconv.FormatFloat(f, 'g', -1, 64) + "'::DOUBLE"
}
