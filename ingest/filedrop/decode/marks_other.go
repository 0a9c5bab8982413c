//go:build !amd64

package decode

// mark sets the marks of as many blocks of 64 bytes as ends and odd are long.
func mark(ends, odd []uint64, text []byte, delim byte) { markWords(ends, odd, text, delim) }
