package query

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/duck/ast"
)

// sizes bounds the argument of functions that make something as large as they are told: DuckDB
// allocates it at once, uncounted and not to be interrupted (I8).
var sizes = map[string]struct {
	arg int
	max int64
}{
	"repeat": {1, 1000}, "lpad": {1, 10_000}, "rpad": {1, 10_000}, "bar": {3, 1000},
	"list_resize": {1, 100_000}, "array_resize": {1, 100_000},
	"range": {0, 1_000_000}, "generate_series": {0, 1_000_000},
}

// wideFormat finds a width of four digits or more in a format.
var wideFormat = regexp.MustCompile(`[0-9]{4,}`)

// bound refuses a call that asks for too much, and has one that may ask for too much checked when it
// runs. Table functions stream their rows and need no bound.
func (c *cutter) bound(n ast.Node) error {
	name := ast.Str(n, "function_name")
	args, _ := n["children"].([]any)
	if (name == "printf" || name == "format") && len(args) > 0 {
		first, _ := args[0].(ast.Node)
		if s, _ := ast.Constant(first); s != nil && wideFormat.MatchString(fmt.Sprint(s)) {
			return c.tooWide(n, name, 999)
		}
		return nil
	}
	b, ok := sizes[name]
	if !ok || b.arg >= len(args) || c.streamed[reflect.ValueOf(n).Pointer()] {
		return nil
	}
	if text, _ := args[0].(ast.Node); name == "repeat" && ast.Str(text, "class") == "CONSTANT" {
		if s, _ := ast.Constant(text); len(fmt.Sprint(s)) <= 10 {
			b.max = 10_000
		}
	}
	if b.arg == 0 && len(args) > 1 { // range(start, stop[, step])
		if from, ok1 := whole(args[0]); ok1 {
			if to, ok2 := whole(args[1]); ok2 && to-from > b.max && len(args) == 2 {
				return c.tooWide(n, name, b.max)
			}
		}
		return nil
	}
	if v, ok := whole(args[b.arg]); ok {
		if v > b.max {
			return c.tooWide(n, name, b.max)
		}
		return nil
	}
	arg, index := args[b.arg], b.arg
	c.later = append(c.later, func() error {
		checked, err := c.checkedSize(name, b.max, arg)
		args[index] = checked
		return err
	})
	return nil
}

func (c *cutter) tooWide(n ast.Node, name string, most int64) error {
	return duck.At(c.text, ast.Offset(n), &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("%s makes more than %d here", name, most),
		Hint: "to make many rows use it after FROM, as in FROM range(1000000)"})
}

func whole(v any) (int64, bool) {
	n, _ := v.(ast.Node)
	if ast.Str(n, "class") == "CAST" {
		return whole(n["child"])
	}
	num, _ := ast.Constant(n)
	j, ok := num.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := j.Int64()
	return i, err == nil
}

// checkedSize wraps an argument so that it is evaluated once and an error when it is over most.
func (c *cutter) checkedSize(name string, most int64, arg any) (any, error) {
	t, err := c.planner.Parse(c.ctx, fmt.Sprintf("SELECT list_transform(['size'], lambda tarn_n : CASE WHEN tarn_n > %d THEN error('%s makes more than %d here') ELSE tarn_n END)[1]", most, name, most))
	if err != nil {
		return nil, err
	}
	list, _ := t.Query()["select_list"].([]any)
	var place func(v any) any
	place = func(v any) any {
		switch v := v.(type) {
		case []any:
			for i := range v {
				v[i] = place(v[i])
			}
		case ast.Node:
			if s, _ := ast.Constant(v); s == "size" {
				return arg
			}
			for k := range v {
				v[k] = place(v[k])
			}
		}
		return v
	}
	return place(list[0]), nil
}
