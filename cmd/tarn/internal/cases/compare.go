package cases

import (
	"maps"
	"slices"
)

// Diff is how rows differ from those expected.
type Diff struct {
	Expected int        `json:"expected"`
	Actual   int        `json:"actual"`
	Missing  []Numbered `json:"missing,omitempty"` // expected and not there
	Extra    []string   `json:"extra,omitempty"`   // there and not expected
	Changed  []Change   `json:"changed,omitempty"` // one of each that are alike
}

// Numbered is an expected row by its number in the file, from 1.
type Numbered struct {
	Row  int    `json:"row"`
	Text string `json:"text"`
}

// Change is an expected row and the one that is there in its place.
type Change struct {
	Row     int      `json:"row"` // in the file of expectations, from 1
	Columns []Column `json:"columns"`
}

// Column is a column that differs; an empty text is no value.
type Column struct {
	Name string `json:"name"`
	Want string `json:"want,omitempty"`
	Got  string `json:"got,omitempty"`
}

// OK reports whether there is no difference.
func (d Diff) OK() bool { return len(d.Missing)+len(d.Extra)+len(d.Changed) == 0 }

// Compare compares rows as sets that may hold a row more than once, or one by one when their order counts.
func Compare(want, got []Row, ordered bool) Diff {
	d := Diff{Expected: len(want), Actual: len(got)}
	var missing, extra []int
	if ordered {
		for i := range max(len(want), len(got)) {
			switch {
			case i >= len(want):
				extra = append(extra, i)
			case i >= len(got):
				missing = append(missing, i)
			case !maps.Equal(want[i], got[i]):
				d.Changed = append(d.Changed, change(i, want[i], got[i]))
			}
		}
	} else {
		missing, extra = unmatched(want, got)
		missing, extra = d.pair(want, got, missing, extra)
	}
	for _, i := range missing {
		d.Missing = append(d.Missing, Numbered{i + 1, want[i].String()})
	}
	for _, i := range extra {
		d.Extra = append(d.Extra, got[i].String())
	}
	return d
}

// unmatched returns the indexes of rows that have no equal on the other side.
func unmatched(want, got []Row) (missing, extra []int) {
	have := map[string][]int{}
	for i, r := range got {
		s := r.String()
		have[s] = append(have[s], i)
	}
	for i, r := range want {
		s := r.String()
		if left := have[s]; len(left) > 0 {
			have[s] = left[1:]
			continue
		}
		missing = append(missing, i)
	}
	for _, left := range have {
		extra = append(extra, left...)
	}
	slices.Sort(extra)
	return missing, extra
}

// maxPairs bounds the work of finding which rows are alike.
const maxPairs = 1_000_000

// pair makes changes of rows that share at least half of their columns, the most alike first.
func (d *Diff) pair(want, got []Row, missing, extra []int) (m, e []int) {
	if len(missing)*len(extra) > maxPairs {
		return missing, extra
	}
	for _, i := range missing {
		best, score := -1, 0
		for k, j := range extra {
			if s := alike(want[i], got[j]); s > score && 2*s >= len(want[i]) {
				best, score = k, s
			}
		}
		if best < 0 {
			m = append(m, i)
			continue
		}
		d.Changed = append(d.Changed, change(i, want[i], got[extra[best]]))
		extra = slices.Delete(extra, best, best+1)
	}
	return m, extra
}

// alike counts the columns that two rows share.
func alike(a, b Row) (n int) {
	for k, v := range a {
		if b[k] == v {
			n++
		}
	}
	return n
}

func change(i int, want, got Row) Change {
	c := Change{Row: i + 1}
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, k := range slices.Sorted(maps.Keys(names)) {
		if want[k] != got[k] {
			c.Columns = append(c.Columns, Column{Name: k, Want: want[k], Got: got[k]})
		}
	}
	return c
}
