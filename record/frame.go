package record

import (
	"fmt"
	"time"

	tarn "github.com/tarn-data/tarn"
)

// Kind says how a body is framed.
type Kind uint8

// The kinds of bodies.
//
// KindAuto reads what JSON producers send: one object, an array of objects, or objects one after
// the other with or without newlines between them, each pretty-printed or not. A body that begins
// with '[' is one array. KindNDJSON holds to one record per line: a newline always ends a record.
// KindOpaque takes the whole body as one record.
//
// In JSON bodies a UTF-8 byte order mark at the start is skipped; lines may end in CRLF; empty
// lines are skipped and not counted; the last line needs no newline; blanks around a record are
// not part of it. A record must be an object: scalars and arrays in its place are rejected.
// Keys may repeat, the last counts: DuckDB refuses such an object when it reads it, so whoever
// converts records looks at Node.Repeats of their shape and goes through AppendDistinct. Numbers
// may have any size. Invalid UTF-8, half surrogate pairs and control characters in strings are
// rejected here, because DuckDB and most readers would refuse them later.
//
// A record that is rejected does not take others with it. In lines, the rest of its line goes with
// it; when a record of several lines breaks, reading goes on, now strictly line by line, where
// next a line begins with '{'. In an array what follows a syntax error is rejected as one record,
// since it is not known where the next begins.
const (
	KindAuto Kind = iota
	KindNDJSON
	KindOpaque
)

// Defaults of Limits.
const (
	DefaultRecordBytes = 1 << 20
	DefaultBodyBytes   = 16 << 20
	DefaultDepth       = 128
)

// MaxRejects is the number of rejected records that Framed lists. More are only counted, so that
// the answer to a body of garbage stays small (I8).
const MaxRejects = 1000

// Limits bound what a body may hold. Zero fields take the defaults.
type Limits struct {
	RecordBytes int // one record
	BodyBytes   int // the whole body, decompressed
	Depth       int // nesting of objects and arrays; a flat object has 1
}

// FrameOptions say how records are limited and placed.
type FrameOptions struct {
	Limits
	Shards  int       // number of shards of the stream, 0 means 1
	Shard   int       // shard of records without a key, modulo Shards; callers count it up from request to request
	Key     string    // partition key the producer gave for all records
	KeyPath string    // else dotted path to the partition key within a JSON record, as device.id
	Arrival time.Time // stored with the segments
}

// Framed is a body split into records.
type Framed struct {
	Parts         []Part   // one per shard that got records
	Accepted      int      // records in Parts
	Rejected      []Reject // the first MaxRejects refused records, in order of the request
	RejectedTotal int      // all refused records
}

// Part holds the records of the body that go to one shard. The segment's payload may alias the
// body.
type Part struct {
	Shard   int
	Segment Segment
	Index   []int32 // index in the request of each record; nil when record i is index i
}

// Reject names one refused record by its index in the request, counting from 0 all records,
// refused ones too.
type Reject struct {
	Index  int       `json:"index"`
	Code   tarn.Code `json:"code"`
	Detail string    `json:"detail"`
}

// Frame splits a body into records, validates them and computes their shapes. The error is a
// *tarn.Error with CodeTooLarge, for a body over its limit; records refused one by one are in the
// result. It is safe for concurrent use.
func Frame(body []byte, kind Kind, o FrameOptions) (Framed, error) {
	o.Limits = o.Limits.withDefaults()
	if len(body) > o.BodyBytes {
		return Framed{}, &tarn.Error{Code: tarn.CodeTooLarge,
			Detail: fmt.Sprintf("the body has %d bytes, the limit is %d (body)", len(body), o.BodyBytes),
			Hint:   "send smaller batches"}
	}
	f := newFramer(body, o)
	switch kind {
	case KindOpaque:
		f.opaque()
	case KindNDJSON:
		f.scan.strict = true
		f.json(false)
	default:
		f.json(true)
	}
	return f.finish(), nil
}

func (l Limits) withDefaults() Limits {
	if l.RecordBytes <= 0 {
		l.RecordBytes = DefaultRecordBytes
	}
	if l.BodyBytes <= 0 {
		l.BodyBytes = DefaultBodyBytes
	}
	if l.Depth <= 0 {
		l.Depth = DefaultDepth
	}
	return l
}

// More faults, found by the framer.
const (
	faultTrailing   fault = "unexpected text after the record"
	faultAfterArray fault = "unexpected text after the array"

	detailNotObject = "a record must be a JSON object"
)

func invalid(what fault, pos int) *tarn.Error {
	return &tarn.Error{Code: tarn.CodeInvalidJSON, Detail: fmt.Sprintf("invalid JSON at byte %d of the record: %s", pos, string(what))}
}
