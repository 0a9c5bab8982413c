package query

import (
	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck/ast"
)

// condition is what is understood of a filter. may reports whether a file may hold a row for which
// the filter is true; it says true unless the file's statistics surely say otherwise.
type condition interface{ may(*facts) bool }

type (
	and     []condition
	or      []condition
	unknown struct{} // a filter that is not understood
	compare struct {
		col   column
		casts []string // types the column is cast to, innermost first
		op    string   // COMPARE_EQUAL, COMPARE_LESSTHAN, …
		value key
	}
	prefix struct {
		col  column
		text string
	}
	isNull struct {
		col  column
		want bool // IS NULL, not IS NOT NULL
	}
)

// column is a path of names from a table's column to a leaf.
type column []string

// facts are what is known of one file.
type facts struct {
	schema tarn.Schema
	file   File
}

// bounds returns the field and statistics of a leaf column.
func (f *facts) bounds(c column) (*tarn.Field, Bounds, bool) {
	if len(c) == 0 {
		return nil, Bounds{}, false
	}
	field := f.schema.Lookup(c[0])
	for _, name := range c[1:] {
		if field == nil {
			return nil, Bounds{}, false
		}
		field = field.Type.Lookup(name)
	}
	if field == nil || field.ID == 0 {
		return nil, Bounds{}, false
	}
	b, ok := f.file.Stats[field.ID]
	return field, b, ok
}

func (a and) may(f *facts) bool {
	for _, c := range a {
		if !c.may(f) {
			return false
		}
	}
	return true
}

func (o or) may(f *facts) bool {
	for _, c := range o {
		if c.may(f) {
			return true
		}
	}
	return len(o) == 0
}

func (unknown) may(*facts) bool { return true }

// may rests on the order of keys being the order DuckDB compares by, and on casts that keep it.
// NaN is greater than every number to DuckDB, so a file that may hold one has no upper bound.
func (c compare) may(f *facts) bool {
	field, b, ok := f.bounds(c.col)
	if !ok {
		return true
	}
	if mirrored[c.op] == "" {
		return true // <> says little, and IS [NOT] DISTINCT FROM may want the NULLs
	}
	if len(c.col) == 1 && b.Values > 0 && b.Nulls == b.Values {
		return false // NULL compares as true with nothing
	}
	lower, hasLower := castAll(keyOf(field.Type, b.Lower), c.casts)
	upper, hasUpper := castAll(keyOf(field.Type, b.Upper), c.casts)
	if isFloat(field.Type) && b.NaNs != 0 {
		hasUpper = false
	}
	below, lowOK := order(c.value, lower) // value against the least of the file
	above, highOK := order(c.value, upper)
	lowOK, highOK = lowOK && hasLower, highOK && hasUpper
	switch c.op {
	case "COMPARE_EQUAL":
		return !(lowOK && below < 0 || highOK && above > 0)
	case "COMPARE_LESSTHAN":
		return !(lowOK && below <= 0)
	case "COMPARE_LESSTHANOREQUALTO":
		return !(lowOK && below < 0)
	case "COMPARE_GREATERTHAN":
		return !(highOK && above >= 0)
	case "COMPARE_GREATERTHANOREQUALTO":
		return !(highOK && above > 0)
	}
	return true
}

func isFloat(t tarn.Type) bool { return t.Kind == tarn.Float || t.Kind == tarn.Double }

func (p prefix) may(f *facts) bool {
	field, b, ok := f.bounds(p.col)
	if !ok || field.Type.Kind != tarn.String {
		return true
	}
	if upper, ok := b.Upper.(string); ok && upper < p.text {
		return false
	}
	lower, ok := b.Lower.(string)
	return !ok || lower <= p.text || len(lower) >= len(p.text) && lower[:len(p.text)] == p.text
}

func (n isNull) may(f *facts) bool {
	_, b, ok := f.bounds(n.col)
	switch {
	case !ok || len(n.col) > 1: // counts of struct members mean different things to different writers
		return true
	case n.want:
		return b.Nulls != 0
	}
	return b.Nulls < 0 || b.Values < 0 || b.Nulls < b.Values
}

// tableFilter reads a filter that DuckDB moved into a scan, on one column.
func tableFilter(n ast.Node, col column) condition {
	switch ast.Str(n, "filter_type") {
	case "CONSTANT_COMPARISON":
		v, _ := n["constant"].(ast.Node)
		if k, ok := keyOfValue(v); ok {
			return compare{col: col, op: ast.Str(n, "comparison_type"), value: k}
		}
	case "CONJUNCTION_AND", "CONJUNCTION_OR":
		kids, _ := n["child_filters"].([]any)
		list := make([]condition, 0, len(kids))
		for _, k := range kids {
			k, _ := k.(ast.Node)
			list = append(list, tableFilter(k, col))
		}
		if ast.Str(n, "filter_type") == "CONJUNCTION_AND" {
			return and(list)
		}
		return or(list)
	case "STRUCT_EXTRACT":
		child, _ := n["child_filter"].(ast.Node)
		if name := ast.Str(n, "child_name"); name != "" {
			return tableFilter(child, append(col[:len(col):len(col)], name))
		}
	case "IS_NULL":
		return isNull{col: col, want: true}
	case "IS_NOT_NULL":
		return isNull{col: col}
	case "IN_FILTER":
		values, _ := n["values"].([]any)
		var list or
		for _, v := range values {
			v, _ := v.(ast.Node)
			k, ok := keyOfValue(v)
			if !ok {
				return unknown{}
			}
			list = append(list, compare{col: col, op: "COMPARE_EQUAL", value: k})
		}
		return list
	case "EXPRESSION_FILTER":
		expr, _ := n["expr"].(ast.Node)
		return expression(expr, []column{col})
	}
	return unknown{}
}
