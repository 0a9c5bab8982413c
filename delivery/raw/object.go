package raw

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// Form says what a range of positions is in the archive.
type Form string

// The forms. The last two are not objects: they account for positions that the stream no longer had
// when the backup came to them.
const (
	NDJSON  Form = "ndjson"  // JSON records, one a line
	Frames  Form = "frames"  // JSON records, each behind its length
	Opaque  Form = "opaque"  // records of which some are bytes, each behind its length
	Expired Form = "expired" // dropped by the stream's retention first
	Damaged Form = "damaged" // not readable in the stream's storage
)

// Object is one row of the archive: a range of offsets of one shard and the object that holds them.
type Object struct {
	Shard                     int
	First, Next               uint64 // offsets: of the first record, and after the last
	Form                      Form
	Key                       string // of the bucket; empty for Expired and Damaged
	Records                   int64
	Bytes                     int64 // of the object
	RawBytes                  int64 // decompressed
	FirstArrival, LastArrival time.Time
}

// Gap reports whether the range has no object.
func (o Object) Gap() bool { return o.Form == Expired || o.Form == Damaged }

// Positions is the range as text, for example 0:12 to 0:15.
func (o Object) Positions() string {
	return tarn.Position{Shard: o.Shard, Offset: o.First}.String() + " to " + tarn.Position{Shard: o.Shard, Offset: o.Next - 1}.String()
}

// prefix is where the objects of a stream are.
func prefix(stream string) string { return "raw/" + stream + "/" }

// The ends of the names of objects.
const (
	ndjsonSuffix = ".ndjson.zst"
	framesSuffix = ".frames.zst"
)

// objectKey names an object from its positions, so that one written again overwrites itself. The
// numbers are padded to sort as text.
func objectKey(stream string, hour time.Time, form Form, shard int, first, next uint64) string {
	suffix := framesSuffix
	if form == NDJSON {
		suffix = ndjsonSuffix
	}
	return fmt.Sprintf("%s%s/%04d-%020d-%020d%s", prefix(stream), hour.UTC().Format("year=2006/month=01/day=02/hour=15"), shard, first, next-1, suffix)
}

// parseKey reads a key that objectKey made for the stream: shard, offsets and, of the form, whether
// it is NDJSON.
func parseKey(stream, key string) (Object, bool) {
	o := Object{Form: NDJSON, Key: key}
	name, ok := strings.CutSuffix(path.Base(key), ndjsonSuffix)
	if !ok {
		o.Form = Frames
		if name, ok = strings.CutSuffix(name, framesSuffix); !ok {
			return o, false
		}
	}
	dir, ok := strings.CutPrefix(path.Dir(key)+"/", prefix(stream))
	hour, err := time.Parse("year=2006/month=01/day=02/hour=15/", dir)
	parts := strings.Split(name, "-")
	if !ok || err != nil || len(parts) != 3 {
		return o, false
	}
	shard, err1 := strconv.Atoi(parts[0])
	first, err2 := strconv.ParseUint(parts[1], 10, 64)
	last, err3 := strconv.ParseUint(parts[2], 10, 64)
	o.Shard, o.First, o.Next = shard, first, last+1
	return o, err1 == nil && err2 == nil && err3 == nil && key == objectKey(stream, hour, o.Form, shard, first, o.Next)
}
