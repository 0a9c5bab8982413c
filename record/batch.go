package record

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"iter"
	"time"
)

// Format says what the records of a segment are.
type Format uint8

// The formats.
const (
	JSON   Format = iota // every record is one JSON object (RFC 8259)
	Opaque               // bytes that Tarn does not look into
)

// MaxShapes is the number of distinct shapes a segment lists; with more it says ShapesOverflow.
const MaxShapes = 64

// RequestID identifies an idempotent request: the 128-bit digest of its Idempotency-Key. The zero
// value means the request carried none.
type RequestID [16]byte

// Segment holds the records of one request for one shard, in the order of the request.
type Segment struct {
	Format  Format
	Arrival time.Time // UTC, microsecond resolution
	Key     string    // producer-given partition key of all its records, may be empty
	Request RequestID // set for idempotent requests
	Count   int       // number of records, at least 1

	// Routes names the deliveries that take the records; nil means all of them, empty means none.
	Routes []string

	// Payload holds the records. With Lines each is followed by '\n' and holds no raw newline or
	// carriage return, so Payload is NDJSON as it stands; without, each is preceded by its length
	// as an unsigned varint.
	Payload []byte
	Lines   bool

	// Ref names, for records that lie elsewhere, where that is; Payload is empty then. What it says is
	// known to who wrote it, see stream.Config.Fetch.
	Ref []byte

	// Common are members that all records of the segment end with and Payload leaves out. Segments
	// in a log have none: a reader may ask for them in place of records written out, see Complete.
	Common []Member

	// Later is the records in place of Payload, for readers that asked for it. As for Common, segments in
	// a log have none.
	Later Later

	// Shapes lists the distinct shapes of JSON records in order of first occurrence. It is nil
	// for opaque records, and when there are more than MaxShapes (ShapesOverflow).
	Shapes         []ShapeRef
	ShapesOverflow bool
}

// Member is a member of an object whose value is a string.
type Member struct{ Name, Value string }

// ShapeRef is one distinct shape of a segment.
type ShapeRef struct {
	Hash  uint64 // see Shape
	First uint32 // index within the segment of the first record having it
}

// Batch is the content of one stream message.
type Batch struct {
	Base     uint64 // offset of the first record
	Writer   uint64 // number the writer gave this message, to recognise its own after an ambiguous append
	Segments []Segment
}

// Count returns the number of records.
func (b Batch) Count() int {
	n := 0
	for i := range b.Segments {
		n += b.Segments[i].Count
	}
	return n
}

// Records yields every record with its index in the segment, without the members in Common. The slices
// alias the payload.
func (s Segment) Records() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		p := s.Payload
		for i := 0; len(p) > 0; i++ {
			var rec []byte
			if s.Lines {
				n := bytes.IndexByte(p, '\n')
				if n < 0 {
					return
				}
				rec, p = p[:n:n], p[n+1:]
			} else {
				n, w := binary.Uvarint(p)
				if w <= 0 || n > uint64(len(p)-w) {
					return
				}
				end := w + int(n)
				rec, p = p[w:end:end], p[end:]
			}
			if !yield(i, rec) {
				return
			}
		}
	}
}

// AppendRecord appends rec to the payload of a segment in the given layout. With lines, rec must
// hold no raw newline or carriage return.
func AppendRecord(payload, rec []byte, lines bool) []byte {
	if lines {
		return append(append(payload, rec...), '\n')
	}
	return append(binary.AppendUvarint(payload, uint64(len(rec))), rec...)
}

// AppendNDJSON appends rec, a valid JSON text, as one line ended by '\n'. Raw newlines and
// carriage returns in rec, which valid JSON has only between tokens, become spaces.
func AppendNDJSON(dst, rec []byte) []byte {
	start := len(dst)
	dst = append(dst, rec...)
	for _, c := range []byte("\n\r") {
		line := dst[start:]
		for n := bytes.IndexByte(line, c); n >= 0; n = bytes.IndexByte(line, c) {
			line[n] = ' '
			line = line[n+1:]
		}
	}
	return append(dst, '\n')
}

// AppendMembers appends the members as they stand in an object behind another member.
func AppendMembers(dst []byte, members []Member) []byte {
	for _, m := range members {
		name, _ := json.Marshal(m.Name) // a string always encodes
		value, _ := json.Marshal(m.Value)
		dst = append(append(dst, ','), name...)
		dst = append(append(dst, ':'), value...)
	}
	return dst
}

// Complete writes the members in Common out into every record. The records must be lines that end with
// the brace of an object that is not empty, as readers give them.
func (s *Segment) Complete() {
	if len(s.Common) == 0 {
		return
	}
	members := AppendMembers(nil, s.Common)
	payload := make([]byte, 0, len(s.Payload)+s.Count*len(members))
	for _, rec := range s.Records() {
		payload = append(payload, rec[:len(rec)-1]...)
		payload = append(payload, members...)
		payload = append(payload, '}', '\n')
	}
	s.Payload, s.Common = payload, nil
}

// maxReferred is how many records a reference may stand for: far more than any writer puts into one.
const maxReferred = 1 << 24

// check reports whether the payload holds exactly Count records.
func (s *Segment) check() error {
	if s.Ref != nil {
		if len(s.Ref) == 0 || s.Count == 0 || !s.Lines || s.Format != JSON {
			return fmt.Errorf("%w: a segment refers to nothing", ErrCorrupt)
		}
		return nil
	}
	return s.Check()
}

// Check reports, wrapping ErrCorrupt, whether the payload holds exactly Count records.
func (s *Segment) Check() error {
	n := 0
	if s.Lines {
		n = bytes.Count(s.Payload, []byte{'\n'})
		if len(s.Payload) > 0 && s.Payload[len(s.Payload)-1] != '\n' {
			return fmt.Errorf("%w: the last line of a segment is not ended", ErrCorrupt)
		}
	} else {
		for p := s.Payload; len(p) > 0; n++ {
			l, w := binary.Uvarint(p)
			if w <= 0 || l > uint64(len(p)-w) {
				return fmt.Errorf("%w: a record reaches past its segment", ErrCorrupt)
			}
			p = p[w+int(l):]
		}
	}
	if n != s.Count || n == 0 {
		return fmt.Errorf("%w: a segment holds %d records and says %d", ErrCorrupt, n, s.Count)
	}
	return nil
}
