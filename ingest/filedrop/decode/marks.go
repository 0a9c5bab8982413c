package decode

import (
	"encoding/binary"
	"math/bits"
)

// The ends of fields are marked for some KiB of text at once, 64 bytes at a time, and most rows are found by these marks
// alone. What they are no help for is left to anyRow: the end of the text, rows of wrong quotes, too long rows.

// marks says of a run of text where its fields end, a bit for each byte.
type marks struct {
	from, to int64              // of the run in the whole text
	ends     [markBlocks]uint64 // delimiters, line breaks and quotes
	odd      [markBlocks]uint64 // bytes that are none of them, and that a JSON string cannot hold as they are or that are not ASCII
}

// markBlocks is how many blocks of 64 bytes a run has.
const markBlocks = 64

// markedRow is row for one that is well formed and in memory, with some bytes behind it. It returns 0 for others.
func (t *table) markedRow() int {
	if len(t.delim) != 1 {
		return 0
	}
	b, m := t.r, &t.marks
	begin := b.base + int64(b.at)
	if (begin < m.from || begin >= m.to) && !t.mark(begin) {
		return 0
	}
	rest := b.rest()
	i := int(begin - m.from)       // in the marks
	shift, k := -i, i>>6           // from the marks to rest; the block
	keep := ^uint64(0) << (i & 63) // of the block, what belongs to the row
	fields, n := t.fields[:cap(t.fields)], 0
	var (
		from   int    // where the field begins that the row goes on with
		quotes quotes // of it
		inside bool   // ends of fields stood in quotes
		odd    uint64 // marks of the row
		breaks int64  // in quotes
	)
	for {
		for ends := m.ends[k] & keep; ends != 0; ends &= ends - 1 {
			at := shift + k<<6 + bits.TrailingZeros64(ends)
			c := rest[at]
			if c == '"' {
				if !quotes.quote(at, from) {
					return 0
				}
				continue
			}
			if quotes.open() {
				inside = true
				if c == '\n' {
					breaks++
				}
				continue
			}
			end, before := at, ends&-ends-1 // the bits before that of at
			if c == '\n' && at > from && rest[at-1] == '\r' {
				end--
				before >>= 1
			}
			if n == len(fields) {
				fields = append(fields, make([]field, n+16)...)
			}
			f := &fields[n]
			n++
			*f = field{start: from, end: end}
			if quotes.seen > 0 {
				if quotes.last != end-1 {
					return 0
				}
				*f = field{start: from + 1, end: end - 1, quoted: true, doubled: quotes.seen > 2}
				quotes.seen = 0
			}
			if c == '\n' {
				if at >= b.limit {
					return 0
				}
				odd |= m.odd[k] & keep & before
				t.fields, t.plain = fields[:n], odd == 0 && !inside
				b.line += breaks + 1
				return at + 1
			}
			from = at + 1
		}
		odd |= m.odd[k] & keep
		keep = ^uint64(0)
		if k++; int64(k)<<6 == m.to-m.from {
			if shift += k << 6; shift >= b.limit || !t.mark(m.to) {
				return 0
			}
			k = 0
		}
	}
}

// quotes are those of a field that began with one.
type quotes struct {
	seen int
	last int // where the last is
}

// open reports whether the field goes on, whatever follows.
func (q *quotes) open() bool { return q.seen&1 != 0 }

// quote notes a quote of the field that begins at from. It reports false for one that is not the first of the
// field, does not close it, and is not doubled.
func (q *quotes) quote(at, from int) bool {
	good := q.seen&1 != 0 || q.seen == 0 && at == from || q.seen > 0 && q.last == at-1
	q.seen++
	q.last = at
	return good
}

// mark marks what is in memory of the text from a place on, as much as fits. It reports false for less than a block.
func (t *table) mark(from int64) bool {
	m, text := &t.marks, t.r.buf[from-t.r.base:]
	blocks := min(len(text)/64, markBlocks)
	m.from, m.to = from, from+int64(64*blocks)
	if blocks > 0 {
		mark(m.ends[:blocks], m.odd[:blocks], text, t.delim[0])
	}
	return blocks > 0
}

// markWords is mark for any processor: eight bytes at a time.
func markWords(ends, odd []uint64, text []byte, delim byte) {
	d := uint64(delim) * ones
	for k := range ends {
		var e, o uint64
		block := text[64*k : 64*k+64]
		for i := 0; i < 64; i += 8 {
			w := binary.LittleEndian.Uint64(block[i:])
			end := zeros(w^d) | zeros(w^'\n'*ones) | zeros(w^'"'*ones)
			plain := (w&^highs + (0x80-' ')*ones) &^ w &^ zeros(w^'\\'*ones) & highs
			e |= gather(end) << i
			o |= gather(highs&^plain&^end) << i
		}
		ends[k], odd[k] = e, o
	}
}

// gather makes eight bits of the high bits of eight bytes.
func gather(m uint64) uint64 { return (m >> 7) * 0x0102040810204080 >> 56 }

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// zeros marks the zero bytes of w in their high bits.
func zeros(w uint64) uint64 { return ^((w&^highs + (highs - ones)) | w | (highs - ones)) }
