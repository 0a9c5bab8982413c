package record

import (
	"encoding/binary"
	"math/bits"
)

// template is what records of one shape and one producer have in common: the bytes between their
// values. Records made by machines differ in values only, so most of a body can be checked by
// comparing those bytes eight at a time and scanning just the values: a record that matches is
// valid and has the template's shape, because the record the template was made of was and had it.
// One that does not match is scanned as any other, so a template changes no outcome, only the time.
type template struct {
	shape uint64
	slots []slot
	words []uint64 // the bytes between the values, each run padded to whole words
	made  bool

	sample []byte // record of which the template is made when another follows
	misses int    // records in a row that did not match
	rest   int    // records for which it is not tried
	hits   int    // records that matched since it was made
}

// slot is a run of bytes that is the same in all records, and the class of the value behind it.
type slot struct {
	word, words int    // where the run is
	size        int    // of the run in bytes
	mask        uint64 // which bits of its last word count
	class       uint64 // shape of the value, 0 after the last
}

const (
	maxSlots     = 256
	maxSlotBytes = 8 << 10

	templateMisses = 2  // after so many in a row a new template is made
	templateWorth  = 8  // one that matched fewer records did not pay:
	templateRest   = 64 // so many are scanned without one
)

// match checks the record at b[i] and returns where it ends, or -1.
func (t *template) match(s *scanner, b []byte, i int) int {
	s.soft, s.breaks, s.feeds = faultNone, false, false
	for k := range t.slots {
		sl := &t.slots[k]
		if i+sl.words*8 > len(b) {
			return -1
		}
		words := t.words[sl.word : sl.word+sl.words]
		at := i
		last := len(words) - 1
		for _, w := range words[:last] {
			if load(b, at) != w {
				return -1
			}
			at += 8
		}
		if (load(b, at)^words[last])&sl.mask != 0 {
			return -1
		}
		i += sl.size
		switch sl.class {
		case shapeString:
			for i+8 <= len(b) {
				if m := special(load(b, i)); m != 0 {
					i += bits.TrailingZeros64(m) >> 3
					break
				}
				i += 8
			}
			if i < len(b) && b[i] != '"' {
				end, hard := s.str(b, i)
				if hard != "" {
					return -1
				}
				i = end - 1
			}
		case shapeInt, shapeWide, shapeDouble, shapeBig:
			if i >= len(b) || b[i] != '-' && b[i]-'0' > 9 {
				return -1
			}
			end, class := number(b, i)
			if class != sl.class {
				return -1
			}
			i = end
		case shapeBool:
			if i+8 > len(b) {
				return -1
			}
			switch w := load(b, i); {
			case uint32(w) == 0x65757274: // true
				i += 4
			case w&0xffffffffff == 0x65736c6166: // false
				i += 5
			default:
				return -1
			}
		case 0:
			return i
		}
	}
	return -1
}

// learn makes the template of a valid record without raw newlines.
func (t *template) learn(rec []byte, shape uint64) {
	t.made, t.misses, t.hits = false, 0, 0
	t.shape = shape
	t.slots, t.words = t.slots[:0], t.words[:0]
	from := 0 // where the run of common bytes began
	for i := 0; i < len(rec); {
		c := rec[i]
		switch {
		case c == '"':
			end := quoted(rec, i)
			next := skipBlank(rec, end)
			if next >= len(rec) || rec[next] != ':' { // no key
				t.add(rec[from:i+1], shapeString)
				from = end - 1
			}
			i = end
		case c == '-' || c-'0' <= 9:
			end, class := number(rec, i)
			t.add(rec[from:i], class)
			from, i = end, end
		case c == 't' || c == 'f':
			t.add(rec[from:i], shapeBool)
			if i += 4; c == 'f' {
				i++
			}
			from = i
		case c == 'n': // null is the same in all records
			i += 4
		default:
			i++
		}
		if len(t.slots) >= maxSlots || len(t.words) >= maxSlotBytes/8 {
			return
		}
	}
	t.add(rec[from:], 0)
	t.made = true
}

// add appends a run of common bytes, at least one, and the class of the value behind it.
func (t *template) add(run []byte, class uint64) {
	sl := slot{word: len(t.words), size: len(run), class: class, mask: ^uint64(0)}
	for len(run) >= 8 {
		t.words = append(t.words, binary.LittleEndian.Uint64(run))
		run = run[8:]
	}
	if len(run) > 0 {
		var last [8]byte
		copy(last[:], run)
		t.words = append(t.words, binary.LittleEndian.Uint64(last[:]))
		sl.mask = 1<<(8*len(run)) - 1
	}
	sl.words = len(t.words) - sl.word
	t.slots = append(t.slots, sl)
}

// value scans the JSON value at b[i] like scanner.value, by the template where that matches.
func (t *template) value(s *scanner, b []byte, i int) (end int, shape uint64, hard fault) {
	if t.rest > 0 {
		t.rest--
		return s.value(b, i)
	}
	if t.sample != nil {
		t.learn(t.sample, t.shape)
		t.sample = nil
	}
	if t.made {
		if end := t.match(s, b, i); end >= 0 {
			t.hits++
			t.misses = 0
			return end, t.shape, ""
		}
		t.misses++
	}
	end, shape, hard = s.value(b, i)
	if t.made && t.misses < templateMisses || hard != "" || s.soft != "" || s.breaks || b[i] != '{' {
		return end, shape, hard
	}
	if t.made && t.hits < templateWorth { // it did not pay
		t.made, t.rest = false, templateRest
		return end, shape, hard
	}
	t.sample, t.shape, t.made = b[i:end], shape, false
	return end, shape, hard
}
