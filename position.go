package tarn

import (
	"fmt"
	"strconv"
	"strings"
)

// Position names one record: its shard and its offset there. Offsets are dense: the first record
// a shard ever accepted has offset 0 and every later one the next number, so counts of records are
// differences of offsets. Positions of one shard are totally ordered; those of different shards are not.
type Position struct {
	Shard  int
	Offset uint64
}

// String returns the textual form "shard:offset", for example "0:1842".
func (p Position) String() string {
	return strconv.Itoa(p.Shard) + ":" + strconv.FormatUint(p.Offset, 10)
}

// MarshalText implements encoding.TextMarshaler with the form of String.
func (p Position) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Position) UnmarshalText(b []byte) error {
	q, err := ParsePosition(string(b))
	if err == nil {
		*p = q
	}
	return err
}

// ParsePosition reads the form that String writes.
func ParsePosition(s string) (Position, error) {
	shard, offset, ok := strings.Cut(s, ":")
	n, err1 := strconv.ParseUint(shard, 10, 31) // unsigned: no sign is accepted
	o, err2 := strconv.ParseUint(offset, 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Position{}, &Error{Code: CodeInvalid, Detail: fmt.Sprintf("%q is not a position", s), Hint: "write SHARD:OFFSET, for example 0:1842"}
	}
	return Position{Shard: int(n), Offset: o}, nil
}
