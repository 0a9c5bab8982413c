// Package tarn holds the nouns every part of Tarn shares: positions, errors with stable codes,
// schemas, types and partition transforms.
//
// It imports the standard library only, so that any package may import it. Nothing here does I/O;
// all values are safe to copy and safe for concurrent reads.
package tarn
