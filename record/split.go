package record

import (
	"fmt"

	tarn "github.com/tarn-data/tarn"
)

// SegmentSize returns an upper bound of the size in bytes of a message that holds only s.
func SegmentSize(s *Segment) int {
	size := headerSize + 1 + 10 + 10 + len(s.Key) + 16 + 10 + 10 + 13*len(s.Shapes) + 10 + len(s.Payload) + len(s.Ref)
	if s.Routes != nil {
		size += 10
		for _, r := range s.Routes {
			size += 10 + len(r)
		}
	}
	return size
}

// Split cuts s into segments that each fit a message of size bytes, in order. The cuts depend on
// nothing but the records and the size. The error is a *tarn.Error with CodeTooLarge when one
// record alone does not fit.
func (s Segment) Split(size int) ([]Segment, error) {
	room := size - (SegmentSize(&s) - len(s.Payload)) - 13*(MaxShapes-len(s.Shapes))
	var out []Segment
	at, from := 0, 0 // position in the payload, and where the piece begins
	piece := s
	flush := func(to int) {
		if piece.Count > 0 {
			piece.Payload = s.Payload[from:to:to]
			out = append(out, piece)
		}
		from = to
		piece.Count, piece.Shapes, piece.ShapesOverflow = 0, nil, s.ShapesOverflow
	}
	flushed := func() { flush(at) }
	piece.Count, piece.Shapes = 0, nil
	for _, rec := range s.Records() {
		length := recordSize(rec, s.Lines)
		if length > room {
			return nil, &tarn.Error{Code: tarn.CodeTooLarge,
				Detail: fmt.Sprintf("a record of %d bytes does not fit a message of the stream's engine, which holds %d", len(rec), size),
				Hint:   "raise max_payload of the NATS servers"}
		}
		if at+length-from > room {
			flushed()
		}
		if s.Format == JSON && !s.ShapesOverflow && len(s.Shapes) > 0 {
			piece.note(rec)
		}
		piece.Count++
		at += length
	}
	flushed()
	return out, nil
}

// note lists the shape of rec, the next record of s, if it is new.
func (s *Segment) note(rec []byte) {
	hash, err := Shape(rec)
	if err != nil {
		return
	}
	for _, r := range s.Shapes {
		if r.Hash == hash {
			return
		}
	}
	s.Shapes = append(s.Shapes, ShapeRef{Hash: hash, First: uint32(s.Count)})
}

// recordSize returns how many bytes of a payload a record takes.
func recordSize(rec []byte, lines bool) int {
	if lines {
		return len(rec) + 1
	}
	n := 1
	for l := len(rec); l >= 0x80; l >>= 7 {
		n++
	}
	return n + len(rec)
}
