package query

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck/ast"
)

// filters says, per stub, which rows a plan looks at: those that any of its scans lets through.
type filters map[string][]condition

// readPlan finds the scans of a plan with the filters on them. An error means that the plan is not
// understood, and nothing may be pruned.
func readPlan(plan string) (filters, error) {
	dec := json.NewDecoder(strings.NewReader(plan))
	dec.UseNumber()
	var root ast.Node
	if err := dec.Decode(&root); err != nil {
		return nil, err
	}
	if failed, _ := root["error"].(bool); failed {
		return nil, errors.New(ast.Str(root, "error_message"))
	}
	f := filters{}
	return f, f.collect(root["plans"])
}

func (f filters) collect(v any) error {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := f.collect(e); err != nil {
				return err
			}
		}
	case ast.Node:
		return f.operator(v)
	}
	return nil
}

func (f filters) operator(n ast.Node) error {
	switch ast.Str(n, "type") {
	case "LOGICAL_GET":
		return f.scan(n, nil)
	case "LOGICAL_FILTER":
		if kids, _ := n["children"].([]any); len(kids) == 1 {
			if get, _ := kids[0].(ast.Node); ast.Str(get, "type") == "LOGICAL_GET" {
				return f.scan(get, n)
			}
		}
	}
	for _, v := range n {
		if err := f.collect(v); err != nil {
			return err
		}
	}
	return nil
}

// scan adds what one LOGICAL_GET lets through, with the LOGICAL_FILTER right above it, if any.
func (f filters) scan(get, above ast.Node) error {
	if ast.Str(get, "name") != "seq_scan" {
		return nil // range(), unnest(): not a table of ours
	}
	data, _ := get["function_data"].(ast.Node)
	table := ast.Str(data, "table")
	names := ast.Strs(get, "names")
	if table == "" || len(names) == 0 {
		return errors.New("a scan without a name")
	}
	var all and
	tf, _ := get["table_filters"].(ast.Node)
	list, _ := tf["filters"].([]any)
	for _, e := range list {
		entry, _ := e.(ast.Node)
		i, ok := index(entry["key"], len(names))
		value, _ := entry["value"].(ast.Node)
		if !ok {
			continue
		}
		all = append(all, tableFilter(value, column{names[i]}))
	}
	if above != nil {
		out := output(get, names)
		exprs, _ := above["expressions"].([]any)
		for _, e := range exprs {
			expr, _ := e.(ast.Node)
			all = append(all, expression(expr, out))
		}
	}
	f[table] = append(f[table], all)
	return nil
}

func index(v any, n int) (int, bool) {
	num, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := num.Int64()
	return int(i), err == nil && i >= 0 && int(i) < n
}

// output returns the columns a scan hands up, in order; nil for those that are not table columns.
func output(get ast.Node, names []string) []column {
	cols, _ := get["column_indexes"].([]any)
	read := make([]column, len(cols))
	for i, c := range cols {
		n, _ := c.(ast.Node)
		kids, _ := n["child_indexes"].([]any)
		if j, ok := index(n["index"], len(names)); ok && len(kids) == 0 {
			read[i] = column{names[j]}
		}
	}
	proj, _ := get["projection_ids"].([]any)
	if len(proj) == 0 {
		return read
	}
	out := make([]column, len(proj))
	for i, p := range proj {
		if j, ok := index(p, len(read)); ok {
			out[i] = read[j]
		}
	}
	return out
}

// prune returns the files that may hold a row the plan looks at.
func (f filters) prune(stub string, schema tarn.Schema, files []File) []File {
	scans := f[stub] // none: the plan does not look at the table at all
	kept := make([]File, 0, len(files))
	for _, file := range files {
		facts := facts{schema: schema, file: file}
		for _, c := range scans {
			if c.may(&facts) {
				kept = append(kept, file)
				break
			}
		}
	}
	return kept
}
