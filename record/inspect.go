package record

import "bytes"

// Class is the class of a JSON value, as shapes tell them apart.
type Class uint8

// The classes.
const (
	Null Class = iota
	Bool
	Int    // an integer that fits 64 bits signed
	Double // any other number
	String
	Array
	Object
)

// String returns the name of the class in lower case.
func (c Class) String() string {
	return [...]string{"null", "bool", "int", "double", "string", "array", "object"}[c]
}

// Node is a JSON value taken apart for inference.
type Node struct {
	Class    Class
	Shape    uint64
	Keys     []string // objects: the keys in order, a repeated one only where it is last
	Children []*Node  // objects: the members, as Keys; arrays: the first element of each shape
	Repeats  bool     // an object in it has a key more than once; all records of the shape do
	Text     string   // scalars: the text of numbers and literals, the unescaped content of strings
}

// Member returns the member of that key, or nil. Safe on nil and on values that are no objects.
func (n *Node) Member(key string) *Node {
	if n == nil || n.Class != Object {
		return nil
	}
	for i, k := range n.Keys {
		if k == key {
			return n.Children[i]
		}
	}
	return nil
}

// Inspect takes one JSON record apart. It accepts what Frame accepts at any depth; errors
// are *tarn.Error with CodeInvalidJSON. It allocates in proportion to the record.
func Inspect(rec []byte) (*Node, error) {
	if _, err := Shape(rec); err != nil {
		return nil, err
	}
	p := inspector{b: rec}
	return p.value(), nil
}

// inspector walks JSON that is known to be valid.
type inspector struct {
	b []byte
	i int
}

func (p *inspector) value() *Node {
	p.i = skipBlank(p.b, p.i)
	switch c := p.b[p.i]; c {
	case '{':
		return p.object()
	case '[':
		return p.array()
	case '"':
		return &Node{Class: String, Shape: shapeString, Text: p.text()}
	case 't', 'f', 'n':
		length := 4
		if c == 'f' {
			length = 5
		}
		n := &Node{Class: Bool, Shape: shapeBool, Text: string(p.b[p.i : p.i+length])}
		if c == 'n' {
			n.Class, n.Shape = Null, shapeNull
		}
		p.i += length
		return n
	}
	end, shape := number(p.b, p.i)
	n := &Node{Class: Int, Shape: shape, Text: string(p.b[p.i:end])}
	if shape == shapeDouble || shape == shapeBig {
		n.Class = Double
	}
	p.i = end
	return n
}

func (p *inspector) object() *Node {
	n := &Node{Class: Object, Shape: shapeObject}
	at := map[string]int{}
	p.i = skipBlank(p.b, p.i+1)
	for p.b[p.i] != '}' {
		raw := p.i + 1
		key := p.text()
		n.Shape = shapeKeyTail(n.Shape, p.b[raw:p.i-1], p.i-1-raw)
		p.i = skipBlank(p.b, p.i) + 1 // the colon
		child := p.value()
		n.Shape = mix(n.Shape, child.Shape)
		n.Repeats = n.Repeats || child.Repeats
		if old, ok := at[key]; ok {
			n.Children[old] = nil
			n.Repeats = true
		}
		at[key] = len(n.Keys)
		n.Keys, n.Children = append(n.Keys, key), append(n.Children, child)
		if p.i = skipBlank(p.b, p.i); p.b[p.i] == ',' {
			p.i = skipBlank(p.b, p.i+1)
		}
	}
	p.i++
	if len(at) < len(n.Keys) {
		keys, children := n.Keys[:0], n.Children[:0]
		for i, c := range n.Children {
			if c != nil {
				keys, children = append(keys, n.Keys[i]), append(children, c)
			}
		}
		n.Keys, n.Children = keys, children
	}
	return n
}

func (p *inspector) array() *Node {
	n := &Node{Class: Array, Shape: shapeArray}
	seen := map[uint64]bool{}
	prev := uint64(0)
	p.i = skipBlank(p.b, p.i+1)
	for p.b[p.i] != ']' {
		child := p.value()
		if child.Shape != prev {
			n.Shape, prev = mix(n.Shape, child.Shape), child.Shape
		}
		n.Repeats = n.Repeats || child.Repeats
		if !seen[child.Shape] {
			seen[child.Shape] = true
			n.Children = append(n.Children, child)
		}
		if p.i = skipBlank(p.b, p.i); p.b[p.i] == ',' {
			p.i = skipBlank(p.b, p.i+1)
		}
	}
	p.i++
	return n
}

// text reads the string at p.i and resolves its escapes.
func (p *inspector) text() string {
	start := p.i + 1
	var s scanner
	p.i, _ = s.str(p.b, start)
	content := p.b[start : p.i-1]
	if bytes.IndexByte(content, '\\') < 0 {
		return string(content)
	}
	return string(AppendUnescaped(nil, content))
}
