package infer

import (
	"strconv"
	"sync"

	"github.com/tarn-data/tarn"
)

// Options of a State. The zero value is ready for use.
type Options struct {
	Policy Policy
	// Limits; 0 takes the default.
	MaxColumns int // top-level columns, default 500; further keys go into the rest column
	MaxMembers int // keys of a struct, default 64
	MaxDepth   int // levels of lists and structs, default 6; what is deeper is JSON
	MaxLeaves  int // Parquet columns of the table, default 2,000
	MaxShapes  int // learned shapes, default 65,536; the set is emptied when full
	// CanWiden is asked before a BIGINT becomes DOUBLE; false makes the record a misfit. The caller
	// knows the files: a column that holds integers beyond ±2^53 would lose digits. It is called
	// under the state's lock and must not call back. Nil means yes.
	CanWiden func(Path) bool
}

func (o Options) withDefaults() Options {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.MaxColumns, 500)
	def(&o.MaxMembers, 64)
	def(&o.MaxDepth, 6)
	def(&o.MaxLeaves, 2000)
	def(&o.MaxShapes, 1<<16)
	return o
}

// schema is the part of a State that its document holds.
type schema struct {
	records  uint64 // sampled
	decided  bool
	declared bool
	root     *node  // Struct; its children are the columns
	restName string // of the column for members that have none
	restUsed bool
	closed   string // why no further column is added, or ""
	notes    []remark
}

// remark is a member without a column.
type remark struct {
	path    Path
	ignored bool // left out by policy; else kept in the rest column
	reason  string
}

const maxRemarks = 100

func (s *schema) clone() *schema {
	c := *s
	c.root = s.root.clone()
	c.notes = append([]remark(nil), s.notes...)
	return &c
}

// remark notes a member without a column, once, and reports whether that was news.
func (s *schema) remark(p Path, ignored bool, reason string) bool {
	for _, r := range s.notes {
		if r.ignored == ignored && samePath(r.path, p) {
			return false
		}
	}
	if len(s.notes) >= maxRemarks {
		return false
	}
	s.notes = append(s.notes, remark{path: append(Path(nil), p...), ignored: ignored, reason: reason})
	return true
}

func samePath(a, b Path) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// State is the input schema of one stream for one delivery. All methods are safe for concurrent
// use; Observe, Check, Rewrite and Knows run beside each other as long as no record changes the
// schema.
type State struct {
	opts  Options
	trees sync.Pool

	mu  sync.RWMutex
	cur *schema

	shapesMu sync.RWMutex
	shapes   map[uint64]Verdict
}

// New returns a state that knows the declared columns, or none when declared is nil.
func New(declared *tarn.Schema, o Options) *State {
	s := &schema{root: &node{kind: tarn.Struct}, restName: "_rest"}
	if declared != nil {
		s.declared = true
		for _, f := range declared.Fields {
			s.root.add(declare(f))
		}
		for i := 1; s.taken(s.restName); i++ {
			s.restName = "_rest_" + strconv.Itoa(i)
		}
		s.decided = o.Policy != Evolve // nothing is left to learn from a sample
	}
	return newState(s, o)
}

func (s *schema) taken(name string) bool {
	for _, c := range s.root.children {
		if foldEqual(c.key, name) {
			return true
		}
	}
	return false
}

func newState(s *schema, o Options) *State {
	return &State{opts: o.withDefaults(), cur: s, shapes: map[uint64]Verdict{}, trees: sync.Pool{New: func() any { return new(tree) }}}
}

// Clone returns an independent copy without the learned shapes.
func (s *State) Clone() *State {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return newState(s.cur.clone(), s.opts)
}

// Knows returns the learned verdict on a shape, or Unknown.
func (s *State) Knows(shape uint64) Verdict {
	s.shapesMu.RLock()
	defer s.shapesMu.RUnlock()
	return s.shapes[shape]
}

// Learn keeps the verdict on a shape; Unknown is not kept. Verdicts stay true as the schema
// evolves: columns are added and widened, never taken away.
func (s *State) Learn(shape uint64, v Verdict) {
	if v == Unknown {
		return
	}
	s.shapesMu.Lock()
	defer s.shapesMu.Unlock()
	if len(s.shapes) >= s.opts.MaxShapes {
		clear(s.shapes) // I8: bounded, whatever the producers send
	}
	s.shapes[shape] = v
}

// Decided reports whether the columns are fixed, so that only evolution changes them.
func (s *State) Decided() bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cur.decided
}

// parse takes a tree from the pool; the caller returns it with s.trees.Put.
func (s *State) parse(rec []byte) (*tree, error) {
	t := s.trees.Get().(*tree)
	if err := t.parse(rec); err != nil {
		s.trees.Put(t)
		return nil, err
	}
	return t, nil
}
