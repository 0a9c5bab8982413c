package infer

import (
	"fmt"

	"github.com/tarn-data/tarn"
)

// Observe judges one record and evolves the schema when the policy allows it. Call it for the first
// record of each shape that Knows does not know, apply what Effect says to the table, then Learn
// Effect.Verdict. Before Decide the record counts as the whole sample. The error is a *tarn.Error
// with CodeInvalidJSON for bytes that are no JSON object; it leaves the state as it was.
func (s *State) Observe(rec []byte) (Effect, error) {
	t, err := s.parse(rec)
	if err != nil {
		return Effect{}, err
	}
	defer s.trees.Put(t)
	var added []Addition
	if !s.Decided() {
		added = s.decideWith(t)
	}
	s.mu.RLock()
	m := matcher{s: s.cur, o: &s.opts, t: t}
	m.record()
	s.mu.RUnlock()
	if m.change && m.eff.Misfit == nil {
		m = s.evolve(t)
	}
	m.eff.Added = append(added, m.eff.Added...)
	m.eff.Changed = m.eff.Changed || len(added) > 0
	if m.eff.Misfit != nil {
		m.eff = Effect{Misfit: m.eff.Misfit, Added: added, Changed: len(added) > 0}
	}
	return m.eff, nil
}

func (s *State) decideWith(t *tree) []Addition {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cur.decided {
		return nil
	}
	if s.cur.records == 0 {
		s.cur.records++
		sampler{o: &s.opts, t: t}.members(s.cur.root, 0, trackedColumns(&s.opts))
	}
	return s.decide()
}

// evolve judges the record once more on a copy that may change, and keeps the copy when it fits.
func (s *State) evolve(t *tree) matcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := matcher{s: s.cur.clone(), o: &s.opts, t: t, mutate: true}
	m.record()
	if m.eff.Misfit == nil {
		m.eff.Changed = true
		s.cur = m.s
	}
	return m
}

// Check judges one record without changing anything: nil when it fits or would fit after evolution.
// Deliveries use it to find the culprit of a batch that DuckDB refused; what it calls a misfit
// DuckDB refuses too, or would store altered.
func (s *State) Check(rec []byte) (*Misfit, error) {
	t, err := s.parse(rec)
	if err != nil {
		return nil, err
	}
	defer s.trees.Put(t)
	s.mu.RLock()
	defer s.mu.RUnlock()
	m := matcher{s: s.cur, o: &s.opts, t: t}
	m.record()
	return m.eff.Misfit, nil
}

// matcher walks one record along the schema. Without mutate it only finds out whether the schema
// has to change.
type matcher struct {
	s      *schema
	o      *Options
	t      *tree
	mutate bool
	change bool
	eff    Effect
	path   Path
}

func (m *matcher) record() {
	m.eff.Learnable = true
	m.members(m.s.root, 0, 0, false)
}

func (m *matcher) members(n *node, v int32, depth int, listed bool) {
	for i := m.t.vals[v].first; i != none && m.eff.Misfit == nil; i = m.t.vals[i].next {
		x := &m.t.vals[i]
		if x.dup {
			m.eff.Rewrite = true // DuckDB refuses a repeated key; the last one counts
			continue
		}
		c := n.child(x.key)
		if c != nil {
			m.path = append(m.path, c.key)
		} else {
			m.path = append(m.path, string(x.key))
		}
		if c != nil && c.kind != tarn.Invalid {
			m.value(c, i, depth+1, listed)
		} else if x.class != null {
			m.unknown(n, c, i, depth, listed)
		}
		m.path = m.path[:len(m.path)-1]
	}
	for _, c := range n.children {
		if c.required() && m.eff.Misfit == nil && !m.has(v, c.key) {
			m.path = append(m.path, c.key)
			m.misfit(c, &value{class: null}, "the column is required")
			m.path = m.path[:len(m.path)-1]
		}
	}
}

func (m *matcher) has(v int32, key string) bool {
	for i := m.t.vals[v].first; i != none; i = m.t.vals[i].next {
		if string(m.t.vals[i].key) == key {
			return true
		}
	}
	return false
}

func (m *matcher) misfit(c *node, v *value, why string) {
	if m.eff.Misfit != nil {
		return
	}
	want := newField
	if c != nil {
		want = clip(c.typ().SQL())
	}
	m.eff.Misfit = &Misfit{Path: append(Path(nil), m.path...), Want: want, Got: v.class.String(), Text: clip(v.raw), Why: why}
}

// unknown places a member that has a value and no column yet.
func (m *matcher) unknown(n, c *node, i int32, depth int, listed bool) {
	x, top := &m.t.vals[i], depth == 0
	if c != nil && c.rest || top && m.s.closed != "" {
		m.toRest(m.s.closed)
		return
	}
	switch m.o.Policy {
	case Fail:
		m.misfit(nil, x, "on_schema_change is fail")
		return
	case Ignore:
		m.note(true, "on_schema_change is ignore")
		return
	}
	d := decider{o: m.o, s: m.s}
	if why := d.noRoom(n, string(x.key), top); why != "" {
		m.toRest(why)
		return
	}
	if m.change = true; !m.mutate {
		return
	}
	fresh := &node{key: string(x.key)}
	sampler{o: m.o, t: m.t}.value(fresh, i)
	if c == nil {
		c = n.add(fresh)
	} else {
		index := c.index
		*c = *fresh
		if c.index == nil {
			c.index = index
		}
	}
	d.member(n, c, m.path, depth, listed)
	for k, a := range d.added {
		d.added[k].Parent = append(Path(nil), a.Parent...)
	}
	m.eff.Added = append(m.eff.Added, d.added...)
	m.value(c, i, depth+1, listed)
}

func (m *matcher) toRest(why string) {
	m.eff.Rewrite = true
	if !m.s.restUsed {
		if m.change = true; m.mutate {
			m.s.restUsed = true
			m.eff.Added = append(m.eff.Added, Addition{Field: m.s.restField()})
		}
	}
	m.note(false, why)
}

// note records a member without a column; it is news for the document once.
func (m *matcher) note(ignored bool, why string) {
	if m.mutate {
		m.s.remark(m.path, ignored, why)
		return
	}
	probe := schema{notes: m.s.notes[:len(m.s.notes):len(m.s.notes)]}
	m.change = m.change || probe.remark(m.path, ignored, why)
}

// value judges a value against a decided node.
func (m *matcher) value(n *node, i int32, depth int, listed bool) {
	v := &m.t.vals[i]
	if v.class == null {
		if n.required() {
			m.misfit(n, v, "the column is required")
		}
		return
	}
	switch n.kind {
	case tarn.JSON:
	case tarn.Struct:
		if v.class != object {
			m.misfit(n, v, "")
			return
		}
		m.members(n, i, depth, listed)
	case tarn.List, tarn.Map:
		m.elements(n, i, depth)
	default:
		m.scalar(n, v)
	}
}

func (m *matcher) elements(n *node, i int32, depth int) {
	v, want, part := &m.t.vals[i], array, "element"
	if n.kind == tarn.Map {
		want, part = object, "value"
	}
	if v.class != want {
		m.misfit(n, v, "")
		return
	}
	m.path = append(m.path, part)
	for e := v.first; e != none && m.eff.Misfit == nil; e = m.t.vals[e].next {
		if m.t.vals[e].dup {
			m.eff.Rewrite = true
			continue
		}
		m.value(n.elem, e, depth+1, true)
	}
	m.path = m.path[:len(m.path)-1]
}

func (m *matcher) scalar(n *node, v *value) {
	f, why := fitScalar(n, v)
	switch f {
	case fits:
		if n.kind == tarn.Long && n.decl == nil && n.ev.inexact == 0 && len(v.raw) > exactDigits && !holdsExactly(v.raw) {
			m.pin(n)
		}
	case fitsByValue:
		m.eff.Learnable = false
	case fitsRewritten:
		m.eff.Rewrite = true
	case fitsWider:
		m.widen(n, v)
	default:
		m.misfit(n, v, why)
	}
}

// pin keeps a BIGINT from ever becoming DOUBLE: it holds an integer that a double would round.
func (m *matcher) pin(n *node) {
	if m.change = true; m.mutate {
		n.ev.inexact++
	}
}

// widen turns an inferred BIGINT into DOUBLE, unless that would round what it holds.
func (m *matcher) widen(n *node, v *value) {
	switch {
	case m.o.Policy != Evolve:
		m.misfit(n, v, fmt.Sprintf("on_schema_change is %s, so it is not widened", m.o.Policy))
		return
	case n.ev.inexact > 0 || m.o.CanWiden != nil && !m.o.CanWiden(append(Path(nil), m.path...)):
		m.misfit(n, v, "widening to DOUBLE would round integers the column holds")
		return
	}
	if m.change = true; !m.mutate {
		return
	}
	n.kind, n.reason = tarn.Double, n.reason+"; widened when a number with a fraction, an exponent or beyond 64 bits came"
	m.eff.Widened = append(m.eff.Widened, Widening{Path: append(Path(nil), m.path...), From: tarn.Type{Kind: tarn.Long}, To: tarn.Type{Kind: tarn.Double}})
}
