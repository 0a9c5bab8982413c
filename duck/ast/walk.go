package ast

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Kind is what a node is.
type Kind uint8

// The kinds.
const (
	Query    Kind = iota + 1 // SELECT_NODE, SET_OPERATION_NODE, RECURSIVE_CTE_NODE, CTE_NODE
	TableRef                 // BASE_TABLE, SUBQUERY, JOIN, TABLE_FUNCTION, …
	Expr                     // anything with a "class"
	Modifier                 // ORDER_MODIFIER, LIMIT_MODIFIER, …
	TypeInfo                 // the inside of a type, as in a CAST
)

var kinds = map[string]Kind{
	"SELECT_NODE": Query, "SET_OPERATION_NODE": Query, "RECURSIVE_CTE_NODE": Query, "CTE_NODE": Query,
	"BASE_TABLE": TableRef, "SUBQUERY": TableRef, "JOIN": TableRef, "TABLE_FUNCTION": TableRef, "EMPTY": TableRef,
	"EXPRESSION_LIST": TableRef, "PIVOT": TableRef, "SHOW_REF": TableRef,
	"ORDER_MODIFIER": Modifier, "LIMIT_MODIFIER": Modifier, "LIMIT_PERCENT_MODIFIER": Modifier, "DISTINCT_MODIFIER": Modifier,
	"STRUCT_TYPE_INFO": TypeInfo, "LIST_TYPE_INFO": TypeInfo, "ARRAY_TYPE_INFO": TypeInfo, "DECIMAL_TYPE_INFO": TypeInfo,
	"UNBOUND_TYPE_INFO": TypeInfo, "STRING_TYPE_INFO": TypeInfo,
	// The directions of an ORDER BY item stand where other nodes have their kind.
	"ORDER_DEFAULT": Modifier, "ASCENDING": Modifier, "DESCENDING": Modifier,
}

var classes = map[string]bool{
	"CONSTANT": true, "COLUMN_REF": true, "FUNCTION": true, "OPERATOR": true, "COMPARISON": true, "CONJUNCTION": true,
	"CASE": true, "CAST": true, "BETWEEN": true, "SUBQUERY": true, "STAR": true, "WINDOW": true, "LAMBDA": true,
	"PARAMETER": true, "POSITIONAL_REFERENCE": true, "COLLATE": true,
}

// UnknownError is about a node of a kind the walk does not know.
type UnknownError struct{ Name string }

// Error implements error.
func (e *UnknownError) Error() string {
	return fmt.Sprintf("the construct %q is not supported", e.Name)
}

// Scope is the set of common table expressions visible at a node.
type Scope struct {
	up    *Scope
	names map[string]bool
}

// Has reports whether an unqualified table name means a common table expression here. DuckDB
// compares names without regard to (ASCII) case, quoted or not.
func (s *Scope) Has(name string) bool {
	for ; s != nil; s = s.up {
		if s.names[fold(name)] {
			return true
		}
	}
	return false
}

func (s *Scope) with(name string) *Scope {
	return &Scope{up: s, names: map[string]bool{fold(name): true}}
}

func fold(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// Visitor is called for every node before what is under it. An error ends the walk.
type Visitor func(n Node, k Kind, s *Scope) error

// Walk visits every node of the tree. Errors: *UnknownError, or the visitor's.
func (t *Tree) Walk(f Visitor) error { return (&walker{f}).value(t.root["statements"], nil) }

// Under visits n and every node under it, with the scope s at n.
func Under(n Node, s *Scope, f Visitor) error { return (&walker{f}).value(n, s) }

type walker struct{ f Visitor }

func (w *walker) value(v any, s *Scope) error {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if err := w.value(e, s); err != nil {
				return err
			}
		}
	case Node:
		return w.node(v, s)
	}
	return nil
}

func (w *walker) node(n Node, s *Scope) error {
	kind, err := kindOf(n)
	if err != nil {
		return err
	}
	if kind != 0 {
		if err := w.f(n, kind, s); err != nil {
			return err
		}
	}
	skip := ""
	switch {
	case kind == Query:
		if s, err = w.ctes(n, s); err != nil {
			return err
		}
		skip = "cte_map"
		if name := Str(n, "cte_name"); name != "" {
			s = s.with(name)
		}
	case kind == Expr && Str(n, "class") == "CONSTANT":
		return nil // what is under it is data
	}
	for _, key := range slices.Sorted(maps.Keys(n)) {
		if key == skip {
			continue
		}
		if err := w.value(n[key], s); err != nil {
			return err
		}
	}
	return nil
}

// ctes walks the common table expressions of a query, each seeing those before it, and returns the
// scope of the query itself.
func (w *walker) ctes(n Node, s *Scope) (*Scope, error) {
	m, _ := n["cte_map"].(Node)
	list, _ := m["map"].([]any)
	for _, e := range list {
		entry, _ := e.(Node)
		if err := w.value(entry["value"], s); err != nil {
			return nil, err
		}
		s = s.with(Str(entry, "key"))
	}
	return s, nil
}

// kindOf returns 0 for objects that only hold others (entries of lists, data types, values).
func kindOf(n Node) (Kind, error) {
	if class, ok := n["class"].(string); ok {
		if !classes[class] {
			return 0, &UnknownError{Name: class}
		}
		return Expr, nil
	}
	name, ok := n["type"].(string)
	if !ok {
		return 0, nil
	}
	k, ok := kinds[name]
	if !ok {
		return 0, &UnknownError{Name: name}
	}
	return k, nil
}
