package infer

import (
	"fmt"

	"github.com/tarn-data/tarn"
)

// Note explains one path of the input schema.
type Note struct {
	Path   string
	Type   string // the SQL type; "" for what has no column
	Reason string
}

// Explain says of each path what it is stored as and why: columns and their members in order, then
// members that are kept in the rest column or left out.
func (s *State) Explain() []Note {
	s.mu.RLock()
	defer s.mu.RUnlock()
	notes := explain(nil, s.cur.root, nil)
	if s.cur.restUsed {
		why := "members that have no column of their own"
		if s.cur.closed != "" {
			why += "; " + s.cur.closed
		}
		notes = append(notes, Note{Path: Path{s.cur.restName}.String(), Type: "JSON", Reason: why})
	}
	for _, r := range s.cur.notes {
		n := Note{Path: r.path.String(), Reason: "kept in " + s.cur.restName + ": " + r.reason}
		if r.ignored {
			n.Reason = "left out: " + r.reason
		}
		notes = append(notes, n)
	}
	if len(s.cur.notes) >= maxRemarks {
		notes = append(notes, Note{Path: "…", Reason: fmt.Sprintf("only the first %d paths without a column are named", maxRemarks)})
	}
	return notes
}

func explain(notes []Note, n *node, path Path) []Note {
	for _, c := range n.children {
		p := append(path[:len(path):len(path)], c.key)
		switch {
		case c.kind != tarn.Invalid:
			notes = append(notes, Note{Path: p.String(), Type: c.typ().SQL(), Reason: c.reason})
			notes = explain(notes, c, p)
		case !c.rest:
			notes = append(notes, Note{Path: p.String(), Reason: "only null so far; the first value makes it a column"})
		}
	}
	if n.elem != nil && n.kind != tarn.Invalid {
		part := "element"
		if n.kind == tarn.Map {
			part = "value"
		}
		p := append(path[:len(path):len(path)], part)
		notes = append(notes, Note{Path: p.String(), Type: n.elem.typ().SQL(), Reason: n.elem.reason})
		notes = explain(notes, n.elem, p)
	}
	return notes
}
