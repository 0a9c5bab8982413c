//go:build !amd64

package decode

// mark sets the marks of blocks of 64 bytes.
func mark(ends, odd []uint64, text []byte, delim byte) { markWords(ends, odd, text, delim) }
