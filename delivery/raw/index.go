package raw

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/klauspost/compress/zstd"
)

// The index of an object is one skippable frame (RFC 8878, 3.1.2) at its end. All numbers of the
// frame are little-endian:
//
//	magic 0x184D2A5D, size of the rest                     2 × uint32
//	content, compressed                                    one zstd frame
//	length of the content, length compressed, CRC-32C      3 × uint32
//	version, "TRN"                                         4 bytes
//
// The sum is over the compressed content, the two lengths and the version. The content, in varints
// (signed where it says so):
//
//	shard, first offset, records, form (0 ndjson, 1 frames, 2 opaque)
//	number of frames, then for each: bytes compressed, bytes, records
//	number of groups, then for each: records, microseconds of arrival since the group before
//	(signed; the first since 1970), key: 0 as the group before, else its length plus one and its bytes,
//	routes: 0 as the group before, 1 all deliveries, else their number plus two, each length and bytes
//
// A group is a run of records with one arrival time, partition key and routes. Before the first are
// no key and all deliveries.
const (
	indexMagic   = 0x184D2A5D
	indexVersion = 1
	indexHead    = 8
	indexFoot    = 16
	indexMark    = "TRN"
)

// The bounds on what an index may ask a reader to hold in memory (I8).
const (
	maxIndexBytes = 64 << 20
	maxFrameBytes = 256 << 20
)

// errIndex is wrapped by every error of decodeIndex.
var errIndex = errors.New("the index is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var forms = []Form{NDJSON, Frames, Opaque}

// frame is one zstd frame of an object.
type frame struct {
	at      int64 // in the file; not in the index, which has it from the sizes
	bytes   int   // compressed
	raw     int
	records int
}

// index is what an object says of itself.
type index struct {
	shard   int
	first   uint64
	records uint64
	form    Form
	frames  []frame
	groups  groups
}

// groups reads the groups of an index one by one; they may be as many as there are records.
type groups struct {
	left    uint64
	content []byte
	arrival int64
	key     string
	routes  []string
}

// next returns the next group, or false after the last. What it reads has been checked.
func (g *groups) next() (group, bool) {
	if g.left == 0 {
		return group{}, false
	}
	g.left--
	d := numbers{rest: g.content}
	records := d.uvarint()
	g.arrival += d.varint()
	if n := d.uvarint(); n > 0 {
		g.key = string(d.bytes(n - 1))
	}
	if n := d.uvarint(); n > 0 {
		g.routes = d.routes(n)
	}
	g.content = d.rest
	return group{records, g.arrival, g.key, g.routes}, d.err == nil
}

// group is a run of records with what they have in common.
type group struct {
	records uint64
	arrival int64 // microseconds since 1970
	key     string
	routes  []string // see record.Segment
}

// appendGroup appends a group that follows another.
func appendGroup(dst []byte, before, g group) []byte {
	dst = binary.AppendUvarint(dst, g.records)
	dst = binary.AppendVarint(dst, g.arrival-before.arrival)
	if g.key == before.key {
		dst = append(dst, 0)
	} else {
		dst = binary.AppendUvarint(dst, uint64(len(g.key))+1)
		dst = append(dst, g.key...)
	}
	switch {
	case sameRoutes(g.routes, before.routes):
		return append(dst, 0)
	case g.routes == nil:
		return append(dst, 1)
	}
	dst = binary.AppendUvarint(dst, uint64(len(g.routes))+2)
	for _, r := range g.routes {
		dst = binary.AppendUvarint(dst, uint64(len(r)))
		dst = append(dst, r...)
	}
	return dst
}

// sameRoutes tells all deliveries (nil) from none (empty).
func sameRoutes(a, b []string) bool { return (a == nil) == (b == nil) && slices.Equal(a, b) }

// appendIndex appends the frame of an index whose groups are encoded already.
func appendIndex(dst []byte, x *index, enc *zstd.Encoder) []byte {
	var form uint64
	for i, f := range forms {
		if f == x.form {
			form = uint64(i)
		}
	}
	var c []byte
	for _, v := range []uint64{uint64(x.shard), x.first, x.records, form, uint64(len(x.frames))} {
		c = binary.AppendUvarint(c, v)
	}
	for _, f := range x.frames {
		for _, v := range []int{f.bytes, f.raw, f.records} {
			c = binary.AppendUvarint(c, uint64(v))
		}
	}
	c = binary.AppendUvarint(c, x.groups.left)
	c = append(c, x.groups.content...)

	start := len(dst)
	dst = binary.LittleEndian.AppendUint32(dst, indexMagic)
	dst = binary.LittleEndian.AppendUint32(dst, 0)
	dst = enc.EncodeAll(c, dst)
	size := len(dst) - start - indexHead
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c)))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(size))
	dst = binary.LittleEndian.AppendUint32(dst, indexSum(dst[start+indexHead:], indexVersion))
	dst = append(append(dst, indexVersion), indexMark...)
	binary.LittleEndian.PutUint32(dst[start+4:], uint32(len(dst)-start-indexHead))
	return dst
}

func indexSum(b []byte, version byte) uint32 {
	return crc32.Update(crc32.Checksum(b, castagnoli), castagnoli, []byte{version})
}

// indexSize returns the size of the whole skippable frame from the last indexFoot bytes of an object.
func indexSize(foot []byte) (int64, error) {
	if len(foot) != indexFoot || string(foot[13:]) != indexMark {
		return 0, fmt.Errorf("%w: it does not end in %s", errIndex, indexMark)
	}
	if foot[12] != indexVersion {
		return 0, fmt.Errorf("the index has version %d, this program knows %d", foot[12], indexVersion)
	}
	size := int64(binary.LittleEndian.Uint32(foot[4:]))
	if size > maxIndexBytes {
		return 0, fmt.Errorf("%w: it says it has %d bytes", errIndex, size)
	}
	return indexHead + size + indexFoot, nil
}

// decodeIndex reads the whole skippable frame. It never panics, and allocates at most in proportion
// to b and to the length the content says it has, which is bounded.
func decodeIndex(b []byte, dec *zstd.Decoder) (*index, error) {
	bad := func(what string) error { return fmt.Errorf("%w: %s", errIndex, what) }
	if len(b) < indexHead+indexFoot {
		return nil, bad("it is too short")
	}
	foot := b[len(b)-indexFoot:]
	size, err := indexSize(foot)
	switch {
	case err != nil:
		return nil, err
	case size != int64(len(b)) || binary.LittleEndian.Uint32(b) != indexMagic || int(binary.LittleEndian.Uint32(b[4:])) != len(b)-indexHead:
		return nil, bad("its sizes disagree")
	case indexSum(b[indexHead:len(b)-8], foot[12]) != binary.LittleEndian.Uint32(foot[8:]):
		return nil, bad("its checksum is wrong")
	}
	length := binary.LittleEndian.Uint32(foot)
	if length > maxIndexBytes {
		return nil, bad("it is too large")
	}
	content, err := dec.DecodeAll(b[indexHead:len(b)-indexFoot], make([]byte, 0, length))
	if err != nil || len(content) != int(length) {
		return nil, bad("it does not decompress")
	}
	return parseIndex(content)
}

func parseIndex(content []byte) (*index, error) {
	bad := func(what string) error { return fmt.Errorf("%w: %s", errIndex, what) }
	d := numbers{rest: content}
	shard, first, records, form, n := d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint(), d.uvarint()
	if d.err != nil || shard > 1<<30 || form >= uint64(len(forms)) || records == 0 || first+records < first || n > uint64(len(d.rest)/3) {
		return nil, bad("its head is wrong")
	}
	x := &index{shard: int(shard), first: first, records: records, form: forms[form], frames: make([]frame, n)}
	var at int64
	var sum uint64
	for i := range x.frames {
		size, raw, recs := d.uvarint(), d.uvarint(), d.uvarint()
		if d.err != nil || size > maxFrameBytes || raw > maxFrameBytes || recs == 0 || recs > raw {
			return nil, bad("a frame is wrong")
		}
		x.frames[i] = frame{at: at, bytes: int(size), raw: int(raw), records: int(recs)}
		at += int64(size)
		sum += recs
	}
	if sum != records {
		return nil, bad("its frames do not hold the records")
	}
	groups := groups{left: d.uvarint()}
	if d.err != nil || groups.left > uint64(len(d.rest)/4) {
		return nil, bad("its groups are wrong")
	}
	groups.content = d.rest
	sum = 0
	for range groups.left {
		recs := d.uvarint()
		d.varint()
		if key := d.uvarint(); key > 0 {
			d.bytes(key - 1)
		}
		if n := d.uvarint(); n > 0 {
			d.routes(n)
		}
		if d.err != nil || recs == 0 || recs > records-sum {
			return nil, bad("a group is wrong")
		}
		sum += recs
	}
	if sum != records || len(d.rest) > 0 {
		return nil, bad("its groups do not hold the records")
	}
	x.groups = groups
	return x, nil
}

// numbers reads varints; after the first fault it reads zeros and keeps the fault.
type numbers struct {
	rest []byte
	err  error
}

func (d *numbers) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	return take(d, v, n)
}

func (d *numbers) varint() int64 {
	v, n := binary.Varint(d.rest)
	return take(d, v, n)
}

func take[T uint64 | int64](d *numbers, v T, n int) T {
	if n <= 0 {
		d.rest, d.err = nil, errIndex
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *numbers) bytes(n uint64) []byte {
	if n > uint64(len(d.rest)) {
		d.rest, d.err = nil, errIndex
		return nil
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b
}

// routes reads what follows the number of a group's routes.
func (d *numbers) routes(n uint64) []string {
	if n == 1 || n-2 > uint64(len(d.rest)) {
		if n > 1 {
			d.rest, d.err = nil, errIndex
		}
		return nil
	}
	names := make([]string, 0, n-2)
	for range n - 2 {
		names = append(names, string(d.bytes(d.uvarint())))
	}
	return names
}
