package filedrop

import (
	"encoding/binary"
	"math/bits"

	"lukechampine.com/blake3/guts"
)

// blockBytes is a subtree of 16 chunks of BLAKE3, which the processor compresses side by side.
const blockBytes = guts.MaxSIMD * guts.ChunkSize

// blake3 hashes a stream with BLAKE3, as section 2 of its specification says (github.com/BLAKE3-team/BLAKE3-specs):
// a hash.Hash of 32 bytes. The library's own hasher starts a goroutine for each block, which takes half as long
// again on the core that the file has.
type blake3 struct {
	buf    [blockBytes]byte
	held   int           // bytes in buf; the last block of the file stays there
	blocks uint64        // compressed
	trees  [50][8]uint32 // values of whole trees of 1, 2, 4 … blocks: one for each bit that is set in blocks
}

// Write implements io.Writer; it never fails.
func (h *blake3) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if h.held == blockBytes {
			h.compress(&h.buf)
			h.held = 0
		}
		for h.held == 0 && len(p) > blockBytes {
			h.compress((*[blockBytes]byte)(p))
			p = p[blockBytes:]
		}
		k := copy(h.buf[h.held:], p)
		h.held += k
		p = p[k:]
	}
	return n, nil
}

// compress adds a block that is not the last, and joins trees of the same size.
func (h *blake3) compress(block *[blockBytes]byte) {
	value := guts.ChainingValue(guts.CompressBuffer(block, blockBytes, &guts.IV, h.blocks*guts.MaxSIMD, 0))
	h.blocks++
	size := bits.TrailingZeros64(h.blocks)
	for i := range size {
		value = guts.ChainingValue(guts.ParentNode(h.trees[i], value, &guts.IV, 0))
	}
	h.trees[size] = value
}

// Sum implements hash.Hash.
func (h *blake3) Sum(b []byte) []byte {
	node := guts.CompressBuffer(&h.buf, h.held, &guts.IV, h.blocks*guts.MaxSIMD, 0)
	for i := range bits.Len64(h.blocks) {
		if h.blocks&(1<<i) != 0 {
			node = guts.ParentNode(h.trees[i], guts.ChainingValue(node), &guts.IV, 0)
		}
	}
	node.Flags |= guts.FlagRoot
	words := guts.CompressNode(node)
	for _, w := range words[:h.Size()/4] {
		b = binary.LittleEndian.AppendUint32(b, w)
	}
	return b
}

// Reset implements hash.Hash.
func (h *blake3) Reset() { *h = blake3{} }

// Size implements hash.Hash.
func (h *blake3) Size() int { return 32 }

// BlockSize implements hash.Hash.
func (h *blake3) BlockSize() int { return guts.BlockSize }
