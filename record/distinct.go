package record

import "strings"

// AppendDistinct appends rec, a valid JSON record, as one line like AppendNDJSON, but of members
// of an object with the same key only the last. Blanks between tokens are dropped; keys, strings
// and numbers stay as they are written.
func AppendDistinct(dst, rec []byte) []byte {
	p := distinct{b: rec}
	return append(p.value(dst), '\n')
}

// distinct walks JSON that is known to be valid.
type distinct struct {
	b []byte
	i int
}

func (p *distinct) value(dst []byte) []byte {
	p.i = skipBlank(p.b, p.i)
	start := p.i
	switch p.b[p.i] {
	case '{':
		return p.object(dst)
	case '[':
		dst = append(dst, '[')
		p.i = skipBlank(p.b, p.i+1)
		for n := 0; p.b[p.i] != ']'; n++ {
			if n > 0 {
				dst = append(dst, ',')
			}
			dst = p.value(dst)
			p.comma()
		}
		p.i++
		return append(dst, ']')
	case '"':
		p.i = stringEnd(p.b, p.i)
	default:
		for p.i < len(p.b) && strings.IndexByte(" \t\r\n,]}", p.b[p.i]) < 0 {
			p.i++
		}
	}
	return append(dst, p.b[start:p.i]...)
}

func (p *distinct) object(dst []byte) []byte {
	// Where the members are, then those that are last of their key.
	type member struct {
		key   string
		start int // of the key
		value int
		last  bool
	}
	var members []member
	at := map[string]int{}
	p.i = skipBlank(p.b, p.i+1)
	for p.b[p.i] != '}' {
		m := member{start: p.i, last: true}
		in := inspector{b: p.b, i: p.i}
		m.key = in.text()
		m.value = skipBlank(p.b, skipBlank(p.b, in.i)+1)
		if old, ok := at[m.key]; ok {
			members[old].last = false
		}
		at[m.key] = len(members)
		members = append(members, m)
		p.i = m.value
		p.skip()
		p.comma()
	}
	p.i++
	end := p.i
	dst = append(dst, '{')
	first := true
	for _, m := range members {
		if !m.last {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, p.b[m.start:stringEnd(p.b, m.start)]...)
		dst = append(dst, ':')
		p.i = m.value
		dst = p.value(dst)
	}
	p.i = end
	return append(dst, '}')
}

// skip goes past the value at p.i.
func (p *distinct) skip() {
	s := scanner{depth: maxStack}
	p.i, _, _ = s.value(p.b, p.i)
}

// comma goes past blanks and one comma.
func (p *distinct) comma() {
	if p.i = skipBlank(p.b, p.i); p.b[p.i] == ',' {
		p.i = skipBlank(p.b, p.i+1)
	}
}

// stringEnd returns the index after the valid string that begins at b[i].
func stringEnd(b []byte, i int) int {
	var s scanner
	end, _ := s.str(b, i+1)
	return end
}
