package infer

import (
	"encoding/json"
	"fmt"

	"github.com/tarn-data/tarn"
)

// documentVersion is raised when an older program could not read the document.
const documentVersion = 1

type document struct {
	Version  int         `json:"version"`
	Records  uint64      `json:"records"`
	Decided  bool        `json:"decided"`
	Declared bool        `json:"declared,omitempty"`
	Rest     string      `json:"rest"`
	RestUsed bool        `json:"rest_used,omitempty"`
	Closed   string      `json:"closed,omitempty"`
	Columns  []nodeDoc   `json:"columns"`
	Crowded  bool        `json:"crowded,omitempty"`
	Notes    []remarkDoc `json:"notes,omitempty"`
}

type nodeDoc struct {
	Key      string            `json:"key"`
	Type     string            `json:"type,omitempty"` // SQL; of lists and structs only the word
	Declared *fieldDoc         `json:"declared,omitempty"`
	Rest     bool              `json:"rest,omitempty"`
	Reason   string            `json:"reason,omitempty"`
	Seen     map[string]uint64 `json:"seen,omitempty"`
	Times    map[string]uint64 `json:"times,omitempty"`
	Inexact  uint64            `json:"inexact,omitempty"`
	Overflow uint64            `json:"overflow,omitempty"`
	Samples  []string          `json:"samples,omitempty"`
	Members  []nodeDoc         `json:"members,omitempty"`
	Element  *nodeDoc          `json:"element,omitempty"`
	Crowded  bool              `json:"crowded,omitempty"`
}

type fieldDoc struct {
	Type     string `json:"type"`
	ID       int    `json:"id,omitempty"`
	Required bool   `json:"required,omitempty"`
	Doc      string `json:"doc,omitempty"`
}

type remarkDoc struct {
	Path    []string `json:"path"`
	Ignored bool     `json:"ignored,omitempty"`
	Reason  string   `json:"reason"`
}

var momentNames = [numMoment]string{"none", "date", "local", "zoned", "finer"}

// Document returns the state for keeping with the table, as versioned JSON. Equal states give equal
// bytes. Learned shapes are not part of it: they are found again.
func (s *State) Document() []byte {
	s.mu.RLock()
	defer s.mu.RUnlock()
	c := s.cur
	d := document{Version: documentVersion, Records: c.records, Decided: c.decided, Declared: c.declared, Rest: c.restName,
		RestUsed: c.restUsed, Closed: c.closed, Columns: []nodeDoc{}, Crowded: c.root.crowded}
	for _, n := range c.root.children {
		d.Columns = append(d.Columns, encode(n))
	}
	for _, r := range c.notes {
		d.Notes = append(d.Notes, remarkDoc{Path: r.path, Ignored: r.ignored, Reason: r.reason})
	}
	b, err := json.Marshal(d)
	if err != nil {
		panic(err) // strings, numbers and maps of them always encode
	}
	return b
}

// Load reads what Document wrote. The error is a *tarn.Error with CodeUnsupported for a document of
// a later version and CodeInvalid for anything else that is not one.
func Load(doc []byte, o Options) (*State, error) {
	var d document
	if err := json.Unmarshal(doc, &d); err != nil {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the inferred schema cannot be read", Err: err}
	}
	if d.Version < 1 || d.Version > documentVersion {
		return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("the inferred schema has version %d, this program reads up to %d", d.Version, documentVersion)}
	}
	if d.Rest == "" {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the inferred schema names no rest column"}
	}
	s := &schema{records: d.Records, decided: d.Decided, declared: d.Declared, restName: d.Rest, restUsed: d.RestUsed,
		closed: d.Closed, root: &node{kind: tarn.Struct, crowded: d.Crowded}}
	for _, c := range d.Columns {
		n, err := decode(c, 0)
		if err != nil {
			return nil, err
		}
		s.root.add(n)
	}
	for _, r := range d.Notes {
		s.notes = append(s.notes, remark{path: r.Path, ignored: r.Ignored, reason: r.Reason})
	}
	return newState(s, o), nil
}

func encode(n *node) nodeDoc {
	d := nodeDoc{Key: n.key, Rest: n.rest, Reason: n.reason, Inexact: n.ev.inexact, Overflow: n.ev.overflow, Samples: n.ev.samples, Crowded: n.crowded}
	switch n.kind {
	case tarn.Invalid:
	case tarn.Struct, tarn.List, tarn.Map:
		d.Type = composite[n.kind]
	default:
		d.Type = n.typ().SQL()
	}
	if n.decl != nil {
		d.Declared = &fieldDoc{Type: n.decl.Type.SQL(), ID: n.decl.ID, Required: n.decl.Required, Doc: n.decl.Doc}
	}
	d.Seen = counts(n.ev.seen[:], classNames[:])
	d.Times = counts(n.ev.moments[:], momentNames[:])
	for _, c := range n.children {
		d.Members = append(d.Members, encode(c))
	}
	if n.elem != nil {
		e := encode(n.elem)
		d.Element = &e
	}
	return d
}

var composite = map[tarn.Kind]string{tarn.Struct: "STRUCT", tarn.List: "LIST", tarn.Map: "MAP"}

func counts(n []uint64, names []string) map[string]uint64 {
	var m map[string]uint64
	for i, k := range n {
		if k > 0 {
			if m == nil {
				m = map[string]uint64{}
			}
			m[names[i]] = k
		}
	}
	return m
}

func decode(d nodeDoc, depth int) (*node, error) {
	bad := func(err error) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the inferred schema holds a malformed type at " + Path{d.Key}.String(), Err: err}
	}
	if depth > maxNesting {
		return nil, bad(nil)
	}
	n := &node{key: d.Key, rest: d.Rest, reason: d.Reason, crowded: d.Crowded}
	n.ev.inexact, n.ev.overflow, n.ev.samples = d.Inexact, d.Overflow, d.Samples
	for i, name := range classNames {
		n.ev.seen[i] = d.Seen[name]
	}
	for i, name := range momentNames {
		n.ev.moments[i] = d.Times[name]
	}
	if f := d.Declared; f != nil {
		t, err := tarn.ParseType(f.Type)
		if err != nil {
			return nil, bad(err)
		}
		n.decl = &tarn.Field{Name: d.Key, Type: t, ID: f.ID, Required: f.Required, Doc: f.Doc}
	}
	if d.Type != "" {
		for k, name := range composite {
			if d.Type == name {
				n.kind = k
			}
		}
		if n.kind == tarn.Invalid {
			t, err := tarn.ParseType(d.Type)
			if err != nil {
				return nil, bad(err)
			}
			n.kind = t.Kind
		}
	}
	for _, m := range d.Members {
		c, err := decode(m, depth+1)
		if err != nil {
			return nil, err
		}
		n.add(c)
	}
	if d.Element != nil {
		e, err := decode(*d.Element, depth+1)
		if err != nil {
			return nil, err
		}
		n.elem = e
	}
	whole := n.elem != nil || n.kind != tarn.List && n.kind != tarn.Map
	declared := n.decl != nil && n.decl.Type.Kind == n.kind
	if !whole || (n.kind == tarn.Map || n.kind == tarn.Decimal) && !declared {
		return nil, bad(nil)
	}
	return n, nil
}
