package ast

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
)

// Node is one object of the tree: an expression, a table reference, a query, a modifier.
type Node = map[string]any

// Tree is one parsed SELECT statement.
type Tree struct {
	root Node // {"error": false, "statements": [{"node": …, "named_param_map": …}]}
}

// SyntaxError is the parser's refusal of a text.
type SyntaxError struct {
	Message string
	Offset  int // 0-based byte offset into the text, -1 when unknown
}

// Error implements error.
func (e *SyntaxError) Error() string { return e.Message }

// KindError says that the text is not exactly one SELECT statement.
type KindError struct {
	Statements int // number of statements found; 1 when it is of another kind than SELECT
}

// Error implements error.
func (e *KindError) Error() string {
	switch e.Statements {
	case 0:
		return "there is no statement"
	case 1:
		return "only SELECT statements are allowed"
	}
	return fmt.Sprintf("one statement is allowed, not %d", e.Statements)
}

// Decode reads the answer of json_serialize_sql. Errors: *SyntaxError, *KindError, or one about the
// JSON itself.
func Decode(answer []byte) (*Tree, error) {
	dec := json.NewDecoder(bytes.NewReader(answer))
	dec.UseNumber() // locations use all 64 bits
	var root Node
	if err := dec.Decode(&root); err != nil {
		return nil, fmt.Errorf("syntax tree: %w", err)
	}
	if failed, _ := root["error"].(bool); failed {
		if Str(root, "error_type") == "not implemented" {
			return nil, &KindError{Statements: 1}
		}
		e := &SyntaxError{Message: Str(root, "error_message"), Offset: -1}
		if n, err := strconv.Atoi(Str(root, "position")); err == nil {
			e.Offset = n
		}
		return nil, e
	}
	if list, _ := root["statements"].([]any); len(list) != 1 {
		return nil, &KindError{Statements: len(list)}
	}
	return &Tree{root: root}, nil
}

// Encode returns the form json_deserialize_sql reads.
func (t *Tree) Encode() ([]byte, error) { return json.Marshal(t.root) }

// Query returns the outermost query node.
func (t *Tree) Query() Node {
	list, _ := t.root["statements"].([]any)
	stmt, _ := list[0].(Node)
	q, _ := stmt["node"].(Node)
	return q
}

// Str returns a string member of a node, or "".
func Str(n Node, key string) string {
	s, _ := n[key].(string)
	return s
}

// Strs returns a member that is a list of strings.
func Strs(n Node, key string) []string {
	list, _ := n[key].([]any)
	out := make([]string, 0, len(list))
	for _, v := range list {
		if s, ok := v.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// Offset returns the 0-based byte offset of the node in the text it was parsed from, or -1.
func Offset(n Node) int {
	num, ok := n["query_location"].(json.Number)
	if !ok {
		return -1
	}
	i, err := strconv.Atoi(num.String())
	if err != nil || i < 0 {
		return -1 // 2⁶⁴-1 marks unknown
	}
	return i
}

// FirstOffset returns the smallest offset of the node and all under it, or -1.
func FirstOffset(n Node) int {
	least := Offset(n)
	var look func(v any)
	look = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				look(e)
			}
		case Node:
			if at := Offset(v); at >= 0 && (least < 0 || at < least) {
				least = at
			}
			for _, e := range v {
				look(e)
			}
		}
	}
	look(n)
	return least
}

// Constant returns the value of a CONSTANT expression: nil, bool, string or json.Number. ok is false
// for other nodes and for constants of other forms.
func Constant(n Node) (value any, ok bool) {
	if Str(n, "class") != "CONSTANT" {
		return nil, false
	}
	v, _ := n["value"].(Node)
	if null, _ := v["is_null"].(bool); null {
		return nil, true
	}
	switch x := v["value"].(type) {
	case bool, string, json.Number:
		return x, true
	}
	return nil, false
}
