package filedrop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
	"os"
)

// hashDigits is how many hexadecimal digits of its hash name a file.
const hashDigits = 32

// algorithm is what a file was hashed with. See docs/adr/0019-take-over.md.
type algorithm string

const (
	byBLAKE3 algorithm = "blake3"
	bySHA256 algorithm = "sha256" // files that were taken before there was the other
)

func (a algorithm) new() hash.Hash {
	if a == bySHA256 {
		return sha256.New()
	}
	return &blake3{}
}

// digits is the name that a hash gives.
func digits(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil))[:hashDigits] }

// named gives a file the name under which the same bytes were taken before there was BLAKE3, if they were: a file
// keeps its name for ever. It is hashed once more only if one of its size has such a name.
func (d *Door) named(ctx context.Context, s spooled) (spooled, error) {
	var same int
	err := d.o.DB.QueryRow(ctx, "SELECT count(*) FROM taken_files WHERE pipeline = ? AND size = ? AND algorithm = 'sha256'", d.o.Pipeline, s.size).Scan(&same)
	if err != nil || same == 0 {
		return s, err
	}
	f, err := os.Open(s.path)
	if err != nil {
		return s, err
	}
	defer f.Close()
	h := bySHA256.new()
	if _, err := io.CopyBuffer(h, reading{ctx, f}, make([]byte, pieceBytes)); err != nil {
		return s, err
	}
	before, err := d.find(ctx, digits(h))
	if err == nil && before != nil {
		s.hash, s.algorithm = before.hash, bySHA256
	}
	return s, err
}
