package decode

import "golang.org/x/sys/cpu"

// mark sets the marks of as many blocks of 64 bytes as ends and odd are long.
func mark(ends, odd []uint64, text []byte, delim byte) {
	if !cpu.X86.HasAVX2 {
		markWords(ends, odd, text, delim)
		return
	}
	markAVX2(&ends[0], &odd[0], &text[0], len(ends), delim)
}

// markAVX2 is markWords with vectors of 32 bytes.
//
//go:noescape
func markAVX2(ends, odd *uint64, text *byte, blocks int, delim byte)
