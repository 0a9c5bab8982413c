package record

import (
	"encoding/binary"
	"math/bits"

	"github.com/tarn-data/tarn/record/column"
)

// form is what records of one shape and one producer have in common, as for a template: the bytes between
// their values, and for each value the column that it goes to.
type form struct {
	fields []field
	words  []uint64         // the bytes before each value, padded to whole words
	inside []*column.Column // structs that the records have
}

// field is a run of bytes that all records of a form have, and the value behind it.
type field struct {
	word, words int
	size        int
	mask        uint64         // which bits of its last word count
	class       uint64         // of the value, 0 after the last
	to          *column.Column // nil for a value without a column
}

const (
	maxForms   = 8  // that are kept
	formMisses = 32 // after so many records in a row without a form
	formRest   = 512
)

// match takes the record at b[i] apart by the first form that fits and returns where it ends, or -1.
func (s *Shredder) match(to *column.Batch, b []byte, i, n, row int) int {
	texts := len(to.Unescaped)
	for k, f := range s.forms {
		if end := s.fit(f, to, b, i, n, row); end >= 0 {
			if k > 0 {
				copy(s.forms[1:k+1], s.forms[:k])
				s.forms[0] = f
			}
			return end
		}
		to.Unescaped = to.Unescaped[:texts] // those of values that were taken back
	}
	return -1
}

// fit takes a record apart by a form. A record that does not fit leaves no value.
func (s *Shredder) fit(f *form, to *column.Batch, b []byte, i, n, row int) int {
	for k := range f.fields {
		fd := &f.fields[k]
		if i+fd.size > n {
			return f.undo(k, row)
		}
		words := f.words[fd.word : fd.word+fd.words]
		at, last := i, len(words)-1
		for _, w := range words[:last] {
			if load(b, at) != w {
				return f.undo(k, row)
			}
			at += 8
		}
		if (load(b, at)^words[last])&fd.mask != 0 {
			return f.undo(k, row)
		}
		i += fd.size
		if fd.class == 0 {
			for _, c := range f.inside {
				c.Set(row)
			}
			return i
		}
		if i >= n {
			return f.undo(k, row)
		}
		if fd.to != nil {
			i = s.scalar(to, fd.to, b, i, n, row)
		} else {
			i = s.skip(fd.class, b, i, n)
		}
		if i < 0 {
			return f.undo(k, row)
		}
	}
	return -1
}

// undo takes back the values of the first fields.
func (f *form) undo(fields, row int) int {
	for _, fd := range f.fields[:fields] {
		if fd.to != nil {
			fd.to.Valid[row>>6] &^= 1 << (row & 63)
		}
	}
	return -1
}

// skip returns where a value of the class ends that begins at b[i], or -1.
func (s *Shredder) skip(class uint64, b []byte, i, n int) int {
	if class == shapeString {
		if b[i] != '"' {
			return -1
		}
		for i++; ; i += 8 {
			if m := special(load(b, i)); m != 0 {
				i += bits.TrailingZeros64(m) >> 3
				break
			}
			if i+8 >= n {
				return -1
			}
		}
		end, hard := s.scan.str(b[:n], i)
		if hard != "" {
			return -1
		}
		return end
	}
	if c := b[i]; c != '-' && c-'0' > 9 && c != 't' && c != 'f' {
		return -1
	}
	end, _, hard := s.scan.value(b[:n], i)
	if hard != "" {
		return -1
	}
	return end
}

// learn makes the form of a record that was taken apart.
func (s *Shredder) learn(rec []byte, row int) {
	if s.misses++; s.misses > formMisses {
		s.misses, s.rest, s.forms = 0, formRest, s.forms[:0]
		return
	}
	l := learner{f: &form{}, rec: rec, row: row}
	if !l.object(s.root) {
		return
	}
	l.add(len(rec), 0, nil)
	if len(s.forms) < maxForms {
		s.forms = append(s.forms, nil)
	}
	copy(s.forms[1:], s.forms)
	s.forms[0] = l.f
}

// learner walks over a valid record of which some columns have their values.
type learner struct {
	f    *form
	rec  []byte
	row  int
	i    int
	from int // where the run of common bytes began
}

func (l *learner) blanks() { l.i = skipBlank(l.rec, l.i) }

// object learns the object where the walk is; it reports false when no form can be made.
func (l *learner) object(in *level) bool {
	l.i++
	for l.blanks(); l.rec[l.i] != '}'; l.blanks() {
		end := quoted(l.rec, l.i)
		var m *target
		if in != nil {
			if at, ok := in.byKey[string(l.rec[l.i+1:end-1])]; ok {
				m = &in.members[at]
			}
		}
		l.i = end
		l.blanks()
		l.i++ // the colon
		l.blanks()
		if !l.value(m) {
			return false
		}
		if l.blanks(); l.rec[l.i] == ',' {
			l.i++
		}
	}
	l.i++
	return true
}

func (l *learner) value(m *target) bool {
	var to *column.Column
	var inside *level
	if m != nil {
		to, inside = m.column, m.inside
	}
	at := l.i
	switch c := l.rec[at]; {
	case c == '{':
		if inside != nil {
			l.f.inside = append(l.f.inside, to)
		}
		return l.object(inside)
	case c == '[': // as long as it likes
		return false
	case c == 'n':
		l.i += 4
		return true
	case c == '"':
		l.i = quoted(l.rec, at)
		return l.add(at, shapeString, to)
	case c == 't', c == 'f':
		l.i += 4
		if c == 'f' {
			l.i++
		}
		return l.add(at, shapeBool, to)
	}
	l.i, _ = number(l.rec, at)
	return l.add(at, shapeInt, to)
}

// add ends a run of common bytes before the value at a place.
func (l *learner) add(at int, class uint64, to *column.Column) bool {
	run := l.rec[l.from:at]
	l.from = l.i
	fd := field{word: len(l.f.words), size: len(run), class: class, to: to, mask: ^uint64(0)}
	for len(run) >= 8 {
		l.f.words = append(l.f.words, binary.LittleEndian.Uint64(run))
		run = run[8:]
	}
	if len(run) > 0 {
		var last [8]byte
		copy(last[:], run)
		l.f.words = append(l.f.words, binary.LittleEndian.Uint64(last[:]))
		fd.mask = 1<<(8*len(run)) - 1
	}
	fd.words = len(l.f.words) - fd.word
	l.f.fields = append(l.f.fields, fd)
	return len(l.f.fields) < maxSlots && len(l.f.words) < maxSlotBytes/8
}
