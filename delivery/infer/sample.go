package infer

import (
	"slices"

	"github.com/tarn-data/tarn"
)

// Sample takes a record as evidence for Decide and changes nothing else. After Decide it does
// nothing. The error is a *tarn.Error with CodeInvalidJSON for bytes that are no JSON object.
func (s *State) Sample(rec []byte) error {
	t, err := s.parse(rec)
	if err != nil {
		return err
	}
	defer s.trees.Put(t)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.cur.decided {
		s.cur.records++
		sampler{o: &s.opts, t: t}.members(s.cur.root, 0, trackedColumns(&s.opts))
	}
	return nil
}

// trackedColumns bounds how many distinct top-level keys a sample is kept of.
func trackedColumns(o *Options) int { return 4 * o.MaxColumns }

type sampler struct {
	o *Options
	t *tree
}

func (s sampler) members(n *node, v int32, limit int) {
	for i := s.t.vals[v].first; i != none; i = s.t.vals[i].next {
		m := &s.t.vals[i]
		if m.dup {
			continue
		}
		c := n.child(m.key)
		if c == nil {
			if len(n.children) >= limit {
				n.crowded = true
				continue
			}
			c = n.add(&node{key: string(m.key)})
		}
		s.value(c, i)
	}
}

func (s sampler) value(n *node, i int32) {
	v := &s.t.vals[i]
	if n.kind == tarn.Invalid {
		n.ev.take(v)
	}
	switch {
	case v.class == object && n.kind == tarn.Invalid:
		if !n.crowded {
			s.members(n, i, s.o.MaxMembers)
		}
		if n.crowded {
			n.children, n.index = nil, nil
		}
	case v.class == object && n.kind == tarn.Struct:
		s.members(n, i, max(s.o.MaxMembers, len(n.children)))
	case v.class == array && (n.kind == tarn.Invalid || n.kind == tarn.List), v.class == object && n.kind == tarn.Map:
		if n.elem == nil {
			n.elem = &node{key: "element"}
		}
		for e := v.first; e != none; e = s.t.vals[e].next {
			s.value(n.elem, e)
		}
	}
}

func (e *evidence) take(v *value) {
	e.seen[v.class]++
	switch v.class {
	case text:
		e.moments[momentOf(unquote(v.raw))]++
	case integer, big:
		if !holdsExactly(v.raw) {
			e.inexact++
		}
	case number:
		if !finite(v.raw) {
			e.overflow++
		}
	case null, array, object:
		return
	}
	if len(e.samples) < maxSamples {
		txt := clip(v.raw)
		if v.class == text {
			txt = clip(unquote(v.raw))
		}
		if !slices.Contains(e.samples, txt) {
			e.samples = append(e.samples, txt)
		}
	}
}
