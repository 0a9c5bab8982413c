package decode

import "encoding/binary"

// marks says of a run of text where its fields end, a bit for each byte.
type marks struct {
	from, to int64              // of the run in the whole text
	ends     [markBlocks]uint64 // delimiters, line breaks and quotes
	odd      [markBlocks]uint64 // bytes that are none of them, and that a JSON string cannot hold as they are or that are not ASCII
}

// markBlocks is how many blocks of 64 bytes a run has.
const markBlocks = 64

// markAll marks whole blocks of text, as many as fit, and returns how many bytes.
func (m *marks) markAll(text []byte, delim byte) int {
	blocks := min(len(text)/64, markBlocks)
	if blocks > 0 {
		mark(m.ends[:blocks], m.odd[:blocks], text[:64*blocks], delim)
	}
	return 64 * blocks
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
