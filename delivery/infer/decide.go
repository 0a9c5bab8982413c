package infer

import (
	"fmt"
	"strings"

	"github.com/tarn-data/tarn"
)

const (
	fewObjects     = 10   // sightings below which an object must be small and flat to be a struct
	smallMembers   = 32   // keys of such an object
	sparseMembers  = 8    // keys above which presence counts
	sparsePresence = 0.25 // mean share of the keys an object must have
	rareShare      = 0.02 // a key in fewer of the objects is rare
	rareMembers    = 16   // keys above which rare ones count
	stablePresence = 0.05 // share of the records a key needs for a column when keys explode
)

// Decide fixes the columns from what was sampled and returns those that are new. With a declared
// schema it decides the other fields. A second call returns nothing.
func (s *State) Decide() []Addition {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.decide()
}

func (s *State) decide() []Addition {
	c := s.cur
	if c.decided {
		return nil
	}
	d := decider{o: &s.opts, s: c, sampled: true}
	c.decided = true
	d.explosion()
	d.undecided(c.root, nil, 0, false)
	return d.added
}

// decider gives types to undecided nodes.
type decider struct {
	o       *Options
	s       *schema
	sampled bool // a sample stands behind the evidence; else one record does
	added   []Addition
}

// explosion closes the top level when a sample has more keys than the table may have columns:
// keys that few records have then go into the rest column instead of one column each.
func (d *decider) explosion() {
	s, valued := d.s, 0
	for _, c := range s.root.children {
		if c.kind != tarn.Invalid || c.ev.values() > 0 {
			valued++
		}
	}
	if valued <= d.o.MaxColumns && !s.root.crowded {
		return
	}
	s.closed = fmt.Sprintf("the sample has more than %d distinct top-level keys; only those in at least %.0f %% of its records are columns", d.o.MaxColumns, 100*stablePresence)
	kept := s.root.children[:0:0]
	for _, c := range s.root.children {
		present := c.ev.values() + c.ev.seen[null]
		if c.kind != tarn.Invalid || float64(present) >= stablePresence*float64(s.records) {
			kept = append(kept, c)
		}
	}
	s.root.children = kept
	s.root.reindex()
	d.useRest()
}

// useRest brings the rest column to life.
func (d *decider) useRest() {
	if !d.s.restUsed {
		d.s.restUsed = true
		d.added = append(d.added, Addition{Field: d.s.restField()})
	}
}

func (s *schema) restField() tarn.Field {
	return tarn.Field{Name: s.restName, Type: tarn.Type{Kind: tarn.JSON}}
}

// undecided decides the members of n that have no type yet.
func (d *decider) undecided(n *node, path Path, depth int, listed bool) {
	for _, c := range n.children {
		p := append(path[:len(path):len(path)], c.key)
		if c.kind == tarn.Invalid {
			d.member(n, c, p, depth, listed)
		} else if c.kind != tarn.JSON {
			d.inside(c, p, depth+1, listed)
		}
	}
}

// inside looks for undecided members below a decided one.
func (d *decider) inside(n *node, path Path, depth int, listed bool) {
	switch n.kind {
	case tarn.Struct:
		d.undecided(n, path, depth, listed)
	case tarn.List, tarn.Map:
		part := "element"
		if n.kind == tarn.Map {
			part = "value"
		}
		d.inside(n.elem, append(path[:len(path):len(path)], part), depth+1, true)
	}
}

// member gives c, a member of n, its type, or sends it to the rest column when n has no room.
func (d *decider) member(n, c *node, path Path, depth int, listed bool) {
	if c.ev.values() == 0 {
		return
	}
	if why := d.noRoom(n, c.key, depth == 0); why != "" {
		c.rest, c.children, c.index, c.elem = true, nil, nil, nil
		d.useRest()
		d.s.remark(path, false, why)
		return
	}
	d.settle(c, depth+1, listed)
	if room := d.o.MaxLeaves - d.s.root.leaves(); room < 0 {
		c.become(tarn.JSON, fmt.Sprintf("as separate columns it would take the table over %d", d.o.MaxLeaves))
	}
	d.added = append(d.added, Addition{Parent: path[: len(path)-1 : len(path)-1], Field: c.field()})
}

// noRoom says why key cannot become a member of n, or returns "". The answer for a key stays the
// same for good, which keeps learned verdicts true.
func (d *decider) noRoom(n *node, key string, top bool) string {
	if why := unusable(key); why != "" {
		return why
	}
	if top && d.s.closed != "" && !d.sampled {
		return d.s.closed
	}
	if top && foldEqual(key, d.s.restName) {
		return "the name is taken by the column for members without one"
	}
	limit := d.o.MaxMembers
	if top {
		limit = d.o.MaxColumns
	}
	if n.members() >= limit {
		return fmt.Sprintf("there are %d members already, the limit", limit)
	}
	if d.s.root.leaves() >= d.o.MaxLeaves {
		return fmt.Sprintf("the table has %d columns already, the limit", d.o.MaxLeaves)
	}
	for _, c := range n.children {
		if c.kind != tarn.Invalid && c.key != key && foldEqual(c.key, key) {
			return fmt.Sprintf("it differs from %s only in case, and SQL does not tell them apart", Path{c.key})
		}
	}
	return ""
}

// become decides n and drops the evidence below it that no longer matters.
func (n *node) become(k tarn.Kind, reason string) {
	n.kind, n.reason = k, reason
	if k != tarn.Struct {
		n.children, n.index = nil, nil
	}
	if k != tarn.List {
		n.elem = nil
	}
}

// settle decides n from its evidence, which holds at least one value.
func (d *decider) settle(n *node, depth int, listed bool) {
	e := &n.ev
	numbers := e.seen[integer] + e.seen[big] + e.seen[number]
	var have []string
	for _, g := range []struct {
		name string
		n    uint64
	}{{"boolean", e.seen[boolean]}, {"number", numbers}, {"string", e.seen[text]}, {"array", e.seen[array]}, {"object", e.seen[object]}} {
		if g.n > 0 {
			have = append(have, amount(g.n, g.name))
		}
	}
	switch {
	case len(have) > 1:
		n.become(tarn.JSON, "mixed: "+strings.Join(have, ", "))
	case e.seen[boolean] > 0:
		n.become(tarn.Boolean, have[0])
	case numbers > 0:
		d.number(n, have[0])
	case e.seen[text] > 0:
		d.text(n, have[0], listed)
	case e.seen[array] > 0:
		d.array(n, depth)
	default:
		d.object(n, depth, listed)
	}
}

// amount writes a count with its noun: 1 number, 2 numbers.
func amount(n uint64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func (d *decider) number(n *node, have string) {
	e := &n.ev
	switch {
	case e.seen[big]+e.seen[number] == 0:
		n.become(tarn.Long, amount(e.seen[integer], "integer")+" of at most 64 bits")
	case e.inexact > 0:
		n.become(tarn.JSON, have+", among them integers that a DOUBLE would round; JSON keeps integers of any length")
	case e.overflow > 0:
		n.become(tarn.JSON, have+", among them some beyond the range of a DOUBLE")
	default:
		n.become(tarn.Double, fmt.Sprintf("%s, %d with a fraction, an exponent or beyond 64 bits", have, e.seen[number]+e.seen[big]))
	}
}

func (d *decider) text(n *node, have string, listed bool) {
	m := &n.ev.moments
	all := n.ev.seen[text]
	switch {
	case m[noTime] > 0:
		n.become(tarn.String, have)
	case listed:
		n.become(tarn.String, have+", each a point in time; inside arrays they stay text")
	case !d.sampled:
		n.become(tarn.String, have+"; it looks like a point in time, but one value is no sample: declare the column to have it as one")
	case m[nanoTime] > 0:
		n.become(tarn.String, have+", each a point in time, some finer than the microseconds of a TIMESTAMP")
	case m[day] == all:
		n.become(tarn.Date, have+", each an ISO date")
	case m[zoned] == all:
		n.become(tarn.Timestamp, have+", each an ISO timestamp with an offset; stored as UTC")
	case m[local] == all:
		n.become(tarn.Timestamp, have+", each an ISO timestamp without an offset; taken as UTC")
	default:
		n.become(tarn.String, fmt.Sprintf("%s: %d timestamps with an offset, %d without, %d dates", have, m[zoned], m[local], m[day]))
	}
}

const elementsVary = "the elements of its arrays vary: "

func (d *decider) array(n *node, depth int) {
	e := n.elem
	switch {
	case e == nil || e.ev.values() == 0:
		n.become(tarn.JSON, amount(n.ev.seen[array], "array")+" without a value, so the type of the elements is unknown")
	case depth >= d.o.MaxDepth:
		n.become(tarn.JSON, fmt.Sprintf("arrays at level %d, the deepest that is taken apart", depth))
	default:
		d.settle(e, depth+1, true)
		if e.kind == tarn.JSON {
			n.become(tarn.JSON, elementsVary+strings.TrimPrefix(e.reason, elementsVary)) // arrays in arrays: said once
			return
		}
		n.become(tarn.List, amount(n.ev.seen[array], "array")+" of one kind of element")
	}
}

func (d *decider) object(n *node, depth int, listed bool) {
	if why := d.unstable(n, depth); why != "" {
		n.become(tarn.JSON, why)
		return
	}
	mixed := ""
	for _, c := range n.children {
		if c.ev.values() == 0 {
			continue
		}
		if d.settle(c, depth+1, listed); c.kind == tarn.JSON && c.ev.seen[object] < c.ev.values() && c.ev.seen[array] < c.ev.values() {
			mixed += " " + Path{c.key}.String()
		}
	}
	// A member of varying kind is JSON inside the struct; many of them make the struct a fiction.
	if k := strings.Count(mixed, " "); k > 1 && 4*k > n.members() {
		n.become(tarn.JSON, "the values of these keys vary in kind:"+mixed)
		return
	}
	n.become(tarn.Struct, amount(n.ev.seen[object], "object")+" with "+amount(uint64(n.members()), "key"))
}

// unstable says why the objects seen at n are not one struct, or returns "".
func (d *decider) unstable(n *node, depth int) string {
	objects, keys, valued := n.ev.seen[object], len(n.children), 0
	for _, c := range n.children {
		if c.ev.values() > 0 {
			valued++
		}
	}
	switch {
	case n.crowded:
		return fmt.Sprintf("%s with more than %d distinct keys", amount(objects, "object"), d.o.MaxMembers)
	case valued == 0:
		return amount(objects, "object") + " without a value"
	case depth >= d.o.MaxDepth:
		return fmt.Sprintf("objects at level %d, the deepest that is taken apart", depth)
	case objects < fewObjects && (keys > smallMembers || n.levels() > 2):
		return fmt.Sprintf("%s, too few to tell whether %s on %s are stable", amount(objects, "object"), amount(uint64(keys), "key"), amount(uint64(n.levels()), "level"))
	}
	present, rare, ids := uint64(0), 0, 0
	for i, c := range n.children {
		seen := c.ev.values() + c.ev.seen[null]
		present += seen
		if float64(seen) <= max(1, rareShare*float64(objects)) {
			rare++
		}
		if idLike(c.key) {
			ids++
		}
		if why := unusable(c.key); why != "" {
			return why
		}
		for _, o := range n.children[:i] {
			if foldEqual(o.key, c.key) {
				return fmt.Sprintf("the keys %s and %s differ only in case", Path{o.key}, Path{c.key})
			}
		}
	}
	share := float64(present) / float64(objects*uint64(keys))
	switch {
	case 2*ids > keys:
		return "its keys look like identifiers, such as " + Path{n.children[0].key}.String()
	case objects >= fewObjects && keys > rareMembers && 2*rare > keys:
		return fmt.Sprintf("%d of its %d keys are in fewer than 2 %% of %d objects", rare, keys, objects)
	case objects >= fewObjects && keys > sparseMembers && share < sparsePresence:
		return fmt.Sprintf("an object has %.0f %% of its %d keys on average", 100*share, keys)
	}
	return ""
}

// idLike reports whether a key is data rather than a name: digits, a UUID or a long hex number, a date.
func idLike(key string) bool {
	digits, hex, other := 0, 0, 0
	for i := 0; i < len(key); i++ {
		switch c := lower(key[i]); {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f':
			hex++
		case c == '-':
		default:
			other++
		}
	}
	return other == 0 && digits > 0 && (hex == 0 || digits+hex >= 16)
}
