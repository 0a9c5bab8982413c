package record

import (
	"math/bits"

	tarn "github.com/tarn-data/tarn"
)

// A shape is a 64-bit hash of the structure of a JSON value: of objects the keys in order and the
// shapes of their members, of arrays the shapes of the elements with equal neighbours taken once
// (so that length does not matter), of scalars the class: null, boolean, integer of at most 15
// digits, longer integer that fits 64 bits signed, number that may need more, any other number,
// string. Records of one shape convert alike. Shapes are stored in streams: the constants and
// functions here belong to version 1 of the batch encoding.
const (
	shapeNull   uint64 = 0x9e6c63d0876a9a47
	shapeBool   uint64 = 0xc2b2ae3d27d4eb4f
	shapeInt    uint64 = 0x165667b19e3779f9
	shapeDouble uint64 = 0x27d4eb2f165667c5
	shapeWide   uint64 = 0x9e3779b97f4a7c15 // 64-bit integers that a double may round
	shapeBig    uint64 = 0xd6e8feb86659fd93 // numbers that may be out of the range of a type
	shapeString uint64 = 0x85ebca77c2b2ae63
	shapeArray  uint64 = 0xa0761d6478bd642f
	shapeObject uint64 = 0xe7037ed1a0b428db

	shapePrime uint64 = 0x8ebc6af09c88c6e3
)

// mix folds v into the shape h; the order of calls matters.
func mix(h, v uint64) uint64 {
	hi, lo := bits.Mul64(h^v, shapePrime)
	return hi ^ lo
}

// shapeKeyTail mixes the rest of a key into h: whole words of 8 bytes first, then what is left
// with the length of the whole key in the top byte.
func shapeKeyTail(h uint64, tail []byte, length int) uint64 {
	for len(tail) >= 8 {
		h = mix(h, load(tail, 0))
		tail = tail[8:]
	}
	w := uint64(length) << 56
	for i, c := range tail {
		w ^= uint64(c) << (8 * i)
	}
	return mix(h, w)
}

// Scalar is the shape of a scalar.
type Scalar uint64

// The scalars that need no look at the value.
const (
	ScalarNull   = Scalar(shapeNull)
	ScalarBool   = Scalar(shapeBool)
	ScalarInt    = Scalar(shapeInt) // an integer of at most 15 digits
	ScalarString = Scalar(shapeString)
)

// ScalarOfNumber returns the shape of a number, and false for text that is no number of JSON.
func ScalarOfNumber(b []byte) (Scalar, bool) {
	if len(b) == 0 || b[0] != '-' && b[0]-'0' > 9 {
		return 0, false
	}
	end, class := number(b, 0)
	return Scalar(class), class != 0 && end == len(b)
}

// EmptyShape is the shape of an object without members.
const EmptyShape = shapeObject

// ShapeWith returns the shape of an object that has one more member at its end. The key is what stands
// between its quotes.
func ShapeWith(object uint64, key string, value Scalar) uint64 {
	return mix(shapeKeyTail(object, []byte(key), len(key)), uint64(value))
}

// Shape validates one JSON record, which must be an object, and returns its shape. The error is a
// *tarn.Error with CodeInvalidJSON.
func Shape(rec []byte) (uint64, error) {
	s := scanner{depth: maxStack}
	i := s.blanks(rec, 0)
	end, shape, hard := s.value(rec, i)
	if hard != "" {
		return 0, invalid(hard, end)
	}
	if s.soft != "" {
		return 0, invalid(s.soft, s.softPos)
	}
	if rec[i] != '{' {
		return 0, &tarn.Error{Code: tarn.CodeInvalidJSON, Detail: detailNotObject}
	}
	if end = s.blanks(rec, end); end < len(rec) {
		return 0, invalid(faultTrailing, end)
	}
	return shape, nil
}

// ShapeList lists the distinct shapes of records in order of first occurrence. The zero value is ready.
type ShapeList struct {
	Refs     []ShapeRef
	Overflow bool // there are more than MaxShapes; Refs is nil

	last  uint64
	begun bool
}

// Add notes the shape of the record at the index.
func (l *ShapeList) Add(shape uint64, index int) {
	if l.begun && shape == l.last {
		return
	}
	l.last, l.begun = shape, true
	if l.Overflow {
		return
	}
	for i := range l.Refs {
		if l.Refs[i].Hash == shape {
			return
		}
	}
	if len(l.Refs) == MaxShapes {
		l.Refs, l.Overflow = nil, true
		return
	}
	l.Refs = append(l.Refs, ShapeRef{Hash: shape, First: uint32(index)})
}
