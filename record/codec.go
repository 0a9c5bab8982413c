package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// The encoding of a batch, versions 1 to 3. Integers are little endian; uvarint and varint are those of
// encoding/binary.
//
//	offset  0  version: 3 when some segment is a reference, 2 when some has routes, else 1, so that
//	           older programs read what they can
//	        1  flags: 1 = some segment has a request id
//	        2  CRC-32C of the segments followed by bytes 0, 1 and 6 to 21
//	        6  base: offset of the first record, uint64
//	       14  writer, uint64
//	       22  segments, to the end of the message; none where it only says the base of what follows
//
//	segment    flags: 1 opaque, 2 lines, 4 shapes overflow, 8 request id, 16 routes (from
//	           version 2), 32 reference (version 3)
//	           arrival, varint microseconds since 1970 UTC
//	           key, uvarint length and bytes
//	           request id, 16 bytes, only with flag 8
//	           routes, uvarint number, each uvarint length and bytes, only with flag 16
//	           count, uvarint
//	           shapes, uvarint number, each 8 bytes hash and uvarint first
//	           payload, or with flag 32 the reference, uvarint length and bytes
//
// The checksum covers the segments first so that it can be carried along while segments are added
// and the header, whose base is known only when the message is sent, is closed last.
const (
	version1   = 1
	version2   = 2 // with routes
	version3   = 3 // with references
	headerSize = 22

	batchHasRequests = 1

	segOpaque   = 1
	segLines    = 2
	segOverflow = 4
	segRequest  = 8
	segRoutes   = 16
	segRef      = 32
	segKnown    = segOpaque | segLines | segOverflow | segRequest | segRoutes | segRef
)

// ErrCorrupt is wrapped by every error of DecodeBatch.
var ErrCorrupt = errors.New("corrupt batch")

// castagnoli is a constant table.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Builder assembles one message from segments that arrive one by one, without a second copy: Add
// encodes into the message itself and carries the checksum along, Seal closes the header. The
// zero value is ready. Not safe for concurrent use.
type Builder struct {
	buf     []byte
	crc     uint32
	count   int
	segs    int
	flags   byte
	version byte // that the segments need, 0 for the first
}

// NewBuilder returns a builder that appends to buf[:0].
func NewBuilder(buf []byte) *Builder {
	return &Builder{buf: append(buf[:0], make([]byte, headerSize)...)}
}

// Add appends a segment. It copies what it needs.
func (b *Builder) Add(s *Segment) {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, headerSize)...)
	}
	start := len(b.buf)
	b.buf = appendSegment(b.buf, s)
	b.crc = crc32.Update(b.crc, castagnoli, b.buf[start:])
	b.count += s.Count
	b.segs++
	if s.Request != (RequestID{}) {
		b.flags |= batchHasRequests
	}
	b.version = max(b.version, s.version())
}

// Count returns the number of records added.
func (b *Builder) Count() int { return b.count }

// Segments returns the number of segments added.
func (b *Builder) Segments() int { return b.segs }

// Size returns the size of the message so far in bytes.
func (b *Builder) Size() int { return max(len(b.buf), headerSize) }

// HasRequests reports whether some segment carries a request id.
func (b *Builder) HasRequests() bool { return b.flags&batchHasRequests != 0 }

// Seal closes the message for the given base offset and writer number and returns it. It may be
// called again with other values; the returned slice is the builder's own.
func (b *Builder) Seal(base, writer uint64) []byte {
	if len(b.buf) == 0 {
		b.buf = append(b.buf, make([]byte, headerSize)...)
	}
	seal(b.buf, b.crc, max(b.version, version1), b.flags, base, writer)
	return b.buf
}

// version is the first version that knows all that the segment uses.
func (s *Segment) version() byte {
	switch {
	case s.Ref != nil:
		return version3
	case s.Routes != nil:
		return version2
	}
	return version1
}

func seal(msg []byte, crc uint32, version, flags byte, base, writer uint64) {
	msg[0], msg[1] = version, flags
	binary.LittleEndian.PutUint64(msg[6:], base)
	binary.LittleEndian.PutUint64(msg[14:], writer)
	binary.LittleEndian.PutUint32(msg[2:], headerCRC(crc, msg))
}

func crcOf(segments []byte) uint32 { return crc32.Checksum(segments, castagnoli) }

// headerCRC extends the checksum of the segments over the header.
func headerCRC(crc uint32, msg []byte) uint32 {
	crc = crc32.Update(crc, castagnoli, msg[0:2])
	return crc32.Update(crc, castagnoli, msg[6:headerSize])
}

// AppendBatch appends the encoding of a batch of these segments to dst.
func AppendBatch(dst []byte, base uint64, segs []Segment) []byte {
	start := len(dst)
	dst = append(dst, make([]byte, headerSize)...)
	var flags byte
	version := byte(version1)
	for i := range segs {
		dst = appendSegment(dst, &segs[i])
		if segs[i].Request != (RequestID{}) {
			flags |= batchHasRequests
		}
		version = max(version, segs[i].version())
	}
	msg := dst[start:]
	seal(msg, crcOf(msg[headerSize:]), version, flags, base, 0)
	return dst
}

func appendSegment(dst []byte, s *Segment) []byte {
	var flags byte
	if s.Format == Opaque {
		flags |= segOpaque
	}
	if s.Lines {
		flags |= segLines
	}
	if s.ShapesOverflow {
		flags |= segOverflow
	}
	if s.Request != (RequestID{}) {
		flags |= segRequest
	}
	if s.Routes != nil {
		flags |= segRoutes
	}
	payload := s.Payload
	if s.Ref != nil {
		flags |= segRef
		payload = s.Ref
	}
	dst = append(dst, flags)
	dst = binary.AppendVarint(dst, s.Arrival.UnixMicro())
	dst = binary.AppendUvarint(dst, uint64(len(s.Key)))
	dst = append(dst, s.Key...)
	if flags&segRequest != 0 {
		dst = append(dst, s.Request[:]...)
	}
	if flags&segRoutes != 0 {
		dst = appendRoutes(dst, s.Routes)
	}
	dst = binary.AppendUvarint(dst, uint64(s.Count))
	dst = binary.AppendUvarint(dst, uint64(len(s.Shapes)))
	for _, r := range s.Shapes {
		dst = binary.LittleEndian.AppendUint64(dst, r.Hash)
		dst = binary.AppendUvarint(dst, uint64(r.First))
	}
	dst = binary.AppendUvarint(dst, uint64(len(payload)))
	return append(dst, payload...)
}

func appendRoutes(dst []byte, routes []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(routes)))
	for _, r := range routes {
		dst = binary.AppendUvarint(dst, uint64(len(r)))
		dst = append(dst, r...)
	}
	return dst
}

// Header is the part of a message that DecodeHeader reads.
type Header struct {
	Base, Writer uint64
	HasRequests  bool
}

// DecodeHeader reads the header of a message without checking its sum.
func DecodeHeader(msg []byte) (Header, error) {
	if len(msg) < headerSize || msg[0] < version1 || msg[0] > version3 || msg[1]&^batchHasRequests != 0 {
		return Header{}, fmt.Errorf("%w: %d bytes that are no header of version %d to %d", ErrCorrupt, len(msg), version1, version3)
	}
	return Header{
		Base:        binary.LittleEndian.Uint64(msg[6:]),
		Writer:      binary.LittleEndian.Uint64(msg[14:]),
		HasRequests: msg[1]&batchHasRequests != 0,
	}, nil
}

// DecodeBatch reads a message. Keys and payloads alias msg; it allocates only the slice of
// segments and their lists of shapes, at most proportional to len(msg). Errors wrap ErrCorrupt; it never panics.
func DecodeBatch(msg []byte) (Batch, error) {
	h, err := DecodeHeader(msg)
	if err != nil {
		return Batch{}, err
	}
	sum := headerCRC(crcOf(msg[headerSize:]), msg)
	if sum != binary.LittleEndian.Uint32(msg[2:]) {
		return Batch{}, fmt.Errorf("%w: checksum mismatch", ErrCorrupt)
	}
	b := Batch{Base: h.Base, Writer: h.Writer}
	d := decoder{buf: msg[headerSize:], known: segKnown}
	if msg[0] < version3 {
		d.known &^= segRef
	}
	if msg[0] < version2 {
		d.known &^= segRoutes
	}
	total := uint64(0)
	for len(d.buf) > 0 {
		s, err := d.segment()
		if err != nil {
			return Batch{}, err
		}
		b.Segments = append(b.Segments, s)
		total += uint64(s.Count)
	}
	if h.Base > math.MaxUint64-total {
		return Batch{}, fmt.Errorf("%w: %d records from offset %d", ErrCorrupt, total, h.Base)
	}
	return b, nil
}

// decoder reads fields; after the first fault every read returns zero values.
type decoder struct {
	buf   []byte
	known byte // flags of segments in this version
	bad   bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.buf)
	if n <= 0 {
		d.bad, d.buf = true, nil
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) bytes(n uint64) []byte {
	if n > uint64(len(d.buf)) {
		d.bad, d.buf = true, nil
		return nil
	}
	p := d.buf[:n:n]
	d.buf = d.buf[n:]
	return p
}

func (d *decoder) routes() []string {
	n := d.uvarint()
	if n > uint64(len(d.buf)) { // each takes a byte at least
		d.bad = true
		return nil
	}
	routes := make([]string, n)
	for i := range routes {
		routes[i] = string(d.bytes(d.uvarint()))
	}
	return routes
}

func (d *decoder) segment() (Segment, error) {
	flags := d.bytes(1)[0]
	if flags&^d.known != 0 {
		return Segment{}, fmt.Errorf("%w: unknown segment flags %#x", ErrCorrupt, flags)
	}
	s := Segment{Lines: flags&segLines != 0, ShapesOverflow: flags&segOverflow != 0}
	if flags&segOpaque != 0 {
		s.Format = Opaque
	}
	micros, n := binary.Varint(d.buf)
	if n <= 0 {
		return Segment{}, fmt.Errorf("%w: a segment is cut short", ErrCorrupt)
	}
	d.buf = d.buf[n:]
	s.Arrival = time.UnixMicro(micros).UTC()
	s.Key = string(d.bytes(d.uvarint()))
	if flags&segRequest != 0 {
		copy(s.Request[:], d.bytes(16))
	}
	if flags&segRoutes != 0 {
		s.Routes = d.routes()
	}
	count := d.uvarint()
	shapes := d.uvarint()
	most := uint64(len(d.buf))
	if flags&segRef != 0 {
		most = maxReferred
	}
	if shapes > MaxShapes || count > most {
		return Segment{}, fmt.Errorf("%w: a segment says %d records and %d shapes", ErrCorrupt, count, shapes)
	}
	s.Count = int(count)
	if shapes > 0 && !d.bad {
		s.Shapes = make([]ShapeRef, shapes)
		for i := range s.Shapes {
			if h := d.bytes(8); h != nil {
				s.Shapes[i].Hash = binary.LittleEndian.Uint64(h)
			}
			first := d.uvarint()
			if first >= count {
				d.bad = true
			}
			s.Shapes[i].First = uint32(first)
		}
	}
	payload := d.bytes(d.uvarint())
	if flags&segRef != 0 {
		s.Ref = payload
	} else {
		s.Payload = payload
	}
	if d.bad {
		return Segment{}, fmt.Errorf("%w: a segment is cut short", ErrCorrupt)
	}
	return s, s.check()
}
