package query

import "github.com/tarn-data/tarn/duck/ast"

// mirrored are the comparisons with their sides exchanged.
var mirrored = map[string]string{
	"COMPARE_EQUAL": "COMPARE_EQUAL", "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN", "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN",
	"COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
}

// expression reads a bound boolean expression over the columns cols.
func expression(n ast.Node, cols []column) condition {
	switch ast.Str(n, "expression_class") {
	case "BOUND_CONJUNCTION":
		return conjunction(n, cols)
	case "BOUND_COMPARISON":
		l, _ := n["left"].(ast.Node)
		r, _ := n["right"].(ast.Node)
		op := ast.Str(n, "type")
		if ast.Str(l, "expression_class") == "BOUND_CONSTANT" {
			l, r, op = r, l, mirrored[op]
		}
		return comparison(op, l, r, cols)
	case "BOUND_BETWEEN":
		return between(n, cols)
	case "BOUND_OPERATOR":
		return operation(n, cols)
	case "BOUND_FUNCTION":
		if kids := nodes(n, "children"); ast.Str(n, "name") == "prefix" && len(kids) == 2 {
			v, _ := kids[1]["value"].(ast.Node)
			if k, ok := keyOfValue(v); ok && k.kind == textKey {
				if col, casts, ok := columnOf(kids[0], cols); ok && len(casts) == 0 {
					return prefix{col: col, text: k.text}
				}
			}
		}
	}
	return unknown{}
}

func nodes(n ast.Node, key string) []ast.Node {
	list, _ := n[key].([]any)
	out := make([]ast.Node, len(list))
	for i, e := range list {
		out[i], _ = e.(ast.Node)
	}
	return out
}

func conjunction(n ast.Node, cols []column) condition {
	kids := nodes(n, "children")
	list := make([]condition, len(kids))
	for i, k := range kids {
		list[i] = expression(k, cols)
	}
	switch ast.Str(n, "type") {
	case "CONJUNCTION_AND":
		return and(list)
	case "CONJUNCTION_OR":
		return or(list)
	}
	return unknown{}
}

func comparison(op string, l, r ast.Node, cols []column) condition {
	col, casts, ok := columnOf(l, cols)
	if !ok || ast.Str(r, "expression_class") != "BOUND_CONSTANT" || op == "" {
		return unknown{}
	}
	v, _ := r["value"].(ast.Node)
	if k, ok := keyOfValue(v); ok {
		return compare{col: col, casts: casts, op: op, value: k}
	}
	return unknown{}
}

func between(n ast.Node, cols []column) condition {
	in, _ := n["input"].(ast.Node)
	lo, _ := n["lower"].(ast.Node)
	hi, _ := n["upper"].(ast.Node)
	ge, le := "COMPARE_GREATERTHANOREQUALTO", "COMPARE_LESSTHANOREQUALTO" // wider than exclusive ends: safe
	return and{comparison(ge, in, lo, cols), comparison(le, in, hi, cols)}
}

func operation(n ast.Node, cols []column) condition {
	kids := nodes(n, "children")
	if len(kids) == 0 {
		return unknown{}
	}
	switch ast.Str(n, "type") {
	case "COMPARE_IN":
		var list or
		for _, k := range kids[1:] {
			list = append(list, comparison("COMPARE_EQUAL", kids[0], k, cols))
		}
		return list
	case "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL":
		if col, casts, ok := columnOf(kids[0], cols); ok && len(casts) == 0 {
			return isNull{col: col, want: ast.Str(n, "type") == "OPERATOR_IS_NULL"}
		}
	}
	return unknown{}
}

// columnOf reads a column, a member of a struct column, or casts of them.
func columnOf(n ast.Node, cols []column) (column, []string, bool) {
	switch ast.Str(n, "expression_class") {
	case "BOUND_REF":
		if i, ok := index(n["index"], len(cols)); ok && len(cols[i]) > 0 {
			return cols[i], nil, true
		}
	case "BOUND_CAST":
		child, _ := n["child"].(ast.Node)
		typ, _ := n["return_type"].(ast.Node)
		col, casts, ok := columnOf(child, cols)
		return col, append(casts, ast.Str(typ, "id")), ok
	case "BOUND_FUNCTION":
		kids := nodes(n, "children")
		if ast.Str(n, "name") != "struct_extract" || len(kids) != 2 {
			break
		}
		v, _ := kids[1]["value"].(ast.Node)
		member, ok := keyOfValue(v)
		col, casts, ok2 := columnOf(kids[0], cols)
		if ok && ok2 && member.kind == textKey && len(casts) == 0 {
			return append(col[:len(col):len(col)], member.text), nil, true
		}
	}
	return nil, nil, false
}
