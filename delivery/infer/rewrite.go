package infer

import (
	"bytes"
	"encoding/json"

	"github.com/tarn-data/tarn"
)

// Rewrite appends to dst the record as one line, without the newline, in the form DuckDB reads
// without loss: of a repeated key the last value, members without a column gathered in the rest
// column with the nesting they had, numbers for wide DECIMAL columns as strings. Every other value
// keeps its bytes. Call it for records whose verdict is Rewrite, after Observe has seen one of
// their shape; it is correct, only slower, for any record that fits. The accepted bytes in the
// stream stay as they are (I5).
func (s *State) Rewrite(dst, rec []byte) ([]byte, error) {
	t, err := s.parse(rec)
	if err != nil {
		return dst, err
	}
	defer s.trees.Put(t)
	s.mu.RLock()
	defer s.mu.RUnlock()
	w := rewriter{s: s.cur, o: &s.opts, t: t}
	start := len(dst)
	dst = append(dst, '{')
	dst = w.members(dst, s.cur.root, 0, true)
	if rest, ok := w.rest(nil, s.cur.root, 0, true); ok {
		if !s.cur.restUsed {
			return dst[:start], &tarn.Error{Code: tarn.CodeInternal, Detail: "the record has members that were not observed"}
		}
		name, _ := json.Marshal(s.cur.restName)
		if len(dst) > start+1 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, name...), ':')
		dst = append(dst, rest...)
	}
	return append(dst, '}'), nil
}

type rewriter struct {
	s *schema
	o *Options
	t *tree
}

// placed reports whether the member has a column of its own.
func placed(c *node) bool { return c != nil && c.kind != tarn.Invalid }

// dropped reports whether a member without a column is left out: null says nothing, and the policy
// may not keep new fields.
func (w rewriter) dropped(c *node, v *value, top bool) bool {
	if v.class == null {
		return true
	}
	if c != nil && c.rest || top && w.s.closed != "" {
		return false
	}
	return w.o.Policy != Evolve
}

func (w rewriter) members(dst []byte, n *node, v int32, all bool) []byte {
	first := true
	for i := w.t.vals[v].first; i != none; i = w.t.vals[i].next {
		x := &w.t.vals[i]
		if x.dup {
			continue
		}
		c := n.elem // a map's values
		if all {
			if c = n.child(x.key); !placed(c) {
				continue
			}
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(append(dst, x.rawKey...), ':')
		dst = w.value(dst, c, i)
	}
	return dst
}

func (w rewriter) value(dst []byte, n *node, i int32) []byte {
	v := &w.t.vals[i]
	switch {
	case n.kind == tarn.Struct && v.class == object:
		return append(w.members(append(dst, '{'), n, i, true), '}')
	case n.kind == tarn.Map && v.class == object:
		return append(w.members(append(dst, '{'), n, i, false), '}')
	case n.kind == tarn.List && v.class == array:
		dst = append(dst, '[')
		for e := v.first; e != none; e = w.t.vals[e].next {
			if e != v.first {
				dst = append(dst, ',')
			}
			dst = w.value(dst, n.elem, e)
		}
		return append(dst, ']')
	case n.kind == tarn.Decimal && v.class == number:
		return append(append(append(dst, '"'), v.raw...), '"')
	}
	return appendLine(dst, v.raw)
}

// rest appends what of the value at i has no column, in the nesting it had; false when nothing is.
func (w rewriter) rest(dst []byte, n *node, i int32, top bool) ([]byte, bool) {
	v, found := &w.t.vals[i], false
	switch {
	case n.kind == tarn.List && v.class == array:
		dst = append(dst, '[')
		for e := v.first; e != none; e = w.t.vals[e].next {
			if e != v.first {
				dst = append(dst, ',')
			}
			var ok bool
			if dst, ok = w.rest(dst, n.elem, e, false); !ok {
				dst = append(dst, "null"...)
			}
			found = found || ok
		}
		return append(dst, ']'), found
	case (n.kind == tarn.Struct || n.kind == tarn.Map) && v.class == object:
		dst = append(dst, '{')
		for e := v.first; e != none; e = w.t.vals[e].next {
			x := &w.t.vals[e]
			if x.dup {
				continue
			}
			c := n.elem
			if n.kind == tarn.Struct {
				c = n.child(x.key)
			}
			mark := len(dst)
			if found {
				dst = append(dst, ',')
			}
			dst = append(append(dst, x.rawKey...), ':')
			ok := false
			if placed(c) {
				dst, ok = w.rest(dst, c, e, false)
			} else if ok = !w.dropped(c, x, top); ok {
				dst = appendLine(dst, x.raw)
			}
			if !ok {
				dst = dst[:mark]
			}
			found = found || ok
		}
		return append(dst, '}'), found
	}
	return dst, false
}

// appendLine appends JSON text with its raw newlines, which can only be blanks, as spaces.
func appendLine(dst, raw []byte) []byte {
	start := len(dst)
	dst = append(dst, raw...)
	if bytes.IndexByte(raw, '\n') >= 0 || bytes.IndexByte(raw, '\r') >= 0 {
		for i := start; i < len(dst); i++ {
			if dst[i] == '\n' || dst[i] == '\r' {
				dst[i] = ' '
			}
		}
	}
	return dst
}
