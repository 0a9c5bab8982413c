package infer

import (
	"slices"
	"strings"

	"github.com/tarn-data/tarn"
)

// evidence is what was seen at one path before its type was decided.
type evidence struct {
	seen     [classes]uint64   // values by class
	moments  [numMoment]uint64 // strings by what they say about time
	inexact  uint64            // integers that a double would round
	overflow uint64            // numbers that a double turns into infinity
	samples  []string          // first distinct scalar texts
}

const maxSamples = 3

func (e *evidence) values() uint64 {
	var n uint64
	for c := boolean; c < classes; c++ {
		n += e.seen[c]
	}
	return n
}

// node is one path: a column, a struct member or a list's element. Its kind is tarn.Invalid while
// nothing but null was seen. A decided node keeps its kind but for BIGINT, which may widen.
type node struct {
	key      string
	kind     tarn.Kind
	decl     *tarn.Field // the declared field, nil when inferred
	rest     bool        // seen while sampling, but has no column: its values go into the rest column
	reason   string
	ev       evidence
	children []*node // members of an object, in order of first sight
	elem     *node   // elements of an array, values of a map
	crowded  bool    // more distinct keys than are worth tracking
	index    map[string]*node
}

const indexFrom = 8 // members; below a walk is as quick as a map

func (n *node) child(key []byte) *node {
	if n.index != nil {
		return n.index[string(key)]
	}
	for _, c := range n.children {
		if c.key == string(key) {
			return c
		}
	}
	return nil
}

func (n *node) add(c *node) *node {
	n.children = append(n.children, c)
	if n.index != nil {
		n.index[c.key] = c
	} else if len(n.children) > indexFrom {
		n.reindex()
	}
	return c
}

func (n *node) reindex() {
	n.index = make(map[string]*node, len(n.children))
	for _, c := range n.children {
		n.index[c.key] = c
	}
}

func (n *node) clone() *node {
	if n == nil {
		return nil
	}
	c := *n
	c.ev.samples = slices.Clone(n.ev.samples)
	c.elem = n.elem.clone()
	c.index = nil
	c.children = make([]*node, len(n.children))
	for i, m := range n.children {
		c.children[i] = m.clone()
	}
	if len(c.children) > indexFrom {
		c.reindex()
	}
	return &c
}

// members counts the decided members.
func (n *node) members() int {
	k := 0
	for _, c := range n.children {
		if c.kind != tarn.Invalid {
			k++
		}
	}
	return k
}

// leaves counts the columns Parquet stores for n.
func (n *node) leaves() int {
	switch n.kind {
	case tarn.Invalid:
		return 0
	case tarn.List, tarn.Map:
		return n.elem.leaves()
	case tarn.Struct:
		k := 0
		for _, c := range n.children {
			k += c.leaves()
		}
		return k
	}
	return 1
}

// levels counts the nesting of what was seen below n: 0 for scalars.
func (n *node) levels() int {
	k := 0
	for _, c := range n.children {
		k = max(k, 1+c.levels())
	}
	if n.elem != nil {
		k = max(k, 1+n.elem.levels())
	}
	return k
}

// typ returns the decided type.
func (n *node) typ() tarn.Type {
	t := tarn.Type{Kind: n.kind}
	switch n.kind {
	case tarn.Decimal:
		t.Precision, t.Scale = n.decl.Type.Precision, n.decl.Type.Scale
	case tarn.List:
		f := n.elem.field()
		f.Name = "element"
		t.Elem = &f
	case tarn.Map:
		key := *n.decl.Type.Key
		f := n.elem.field()
		f.Name = "value"
		t.Key, t.Elem = &key, &f
	case tarn.Struct:
		t.Fields = n.fields()
	}
	return t
}

func (n *node) fields() []tarn.Field {
	var fs []tarn.Field
	for _, c := range n.children {
		if c.kind != tarn.Invalid {
			fs = append(fs, c.field())
		}
	}
	return fs
}

func (n *node) field() tarn.Field {
	f := tarn.Field{Name: n.key, Type: n.typ()}
	if n.decl != nil {
		f.ID, f.Required, f.Doc = n.decl.ID, n.decl.Required, n.decl.Doc
	}
	return f
}

func (n *node) required() bool { return n.decl != nil && n.decl.Required }

// declare builds the node of a declared field.
func declare(f tarn.Field) *node {
	n := &node{key: f.Name, kind: f.Type.Kind, decl: &f, reason: "declared"}
	for _, m := range f.Type.Fields {
		n.add(declare(m))
	}
	if f.Type.Elem != nil {
		n.elem = declare(*f.Type.Elem)
	}
	return n
}

// unusable says why a key cannot name a column, or returns "". DuckDB has no empty names, and
// control characters or very long names break tools that read the table.
func unusable(key string) string {
	switch {
	case key == "":
		return "an empty key cannot name a column"
	case len(key) > maxNameBytes:
		return "the key is longer than 255 bytes"
	case strings.ContainsFunc(key, func(r rune) bool { return r < 0x20 || r == 0x7F }):
		return "the key holds a control character"
	}
	return ""
}

const maxNameBytes = 255

// foldEqual compares as DuckDB compares identifiers: ASCII letters in either case are equal.
func foldEqual(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
