package firehose

import (
	"encoding/base64"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tarn-data/tarn"
)

// MaxEventBytes is the largest event that a function takes, as in AWS Lambda.
const MaxEventBytes = 6 << 20

// Record is one record for a function.
type Record struct {
	Position     tarn.Position // names it, in the event as in the answer
	Arrival      time.Time     // when it was accepted
	PartitionKey string        // part of the event only with Header.Kinesis
	Data         []byte
}

// Header is the part of an event that does not depend on its records.
type Header struct {
	InvocationID string // of this attempt
	Stream       string // the name of the stream the records come from
	Kinesis      bool   // add kinesisRecordMetadata to each record, as Firehose does when it reads from a Kinesis stream
}

const region = "us-east-1"

// AppendEvent appends the event for records to dst. Its recordId is the record's position.
func AppendEvent(dst []byte, h Header, records []Record) []byte {
	dst = appendHead(dst, h)
	for i := range records {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendRecord(dst, h, &records[i])
	}
	return append(dst, tail...)
}

const tail = `]}`

// Fit returns how many of the first records one event can hold, 0 when the first alone is too large,
// and the size of that event in bytes.
func Fit(h Header, records []Record) (n, size int) {
	return fit(h, records, MaxEventBytes)
}

func fit(h Header, records []Record, limit int) (n, size int) {
	var scratch [512]byte
	total := len(appendHead(scratch[:0], h)) + len(tail)
	for i := range records {
		frame := records[i]
		frame.Data = nil
		size := len(appendRecord(scratch[:0], h, &frame)) + base64.StdEncoding.EncodedLen(len(records[i].Data))
		if i > 0 {
			size++ // the comma
		}
		if total+size > limit {
			return i, total
		}
		total += size
	}
	return len(records), total
}

func appendHead(dst []byte, h Header) []byte {
	dst = append(dst, `{"invocationId":`...)
	dst = appendString(dst, h.InvocationID)
	dst = append(dst, `,"deliveryStreamArn":`...)
	dst = appendString(dst, "arn:aws:firehose:"+region+":000000000000:deliverystream/"+h.Stream)
	if h.Kinesis {
		dst = append(dst, `,"sourceKinesisStreamArn":`...)
		dst = appendString(dst, "arn:aws:kinesis:"+region+":000000000000:stream/"+h.Stream)
	}
	return append(dst, `,"region":"`+region+`","records":[`...)
}

func appendRecord(dst []byte, h Header, r *Record) []byte {
	arrival := r.Arrival.UnixMilli()
	dst = append(dst, `{"recordId":"`...)
	dst = appendPosition(dst, r.Position)
	dst = append(dst, `","approximateArrivalTimestamp":`...)
	dst = strconv.AppendInt(dst, arrival, 10)
	if h.Kinesis {
		dst = append(dst, `,"kinesisRecordMetadata":{"sequenceNumber":"`...)
		dst = strconv.AppendUint(dst, r.Position.Offset, 10)
		dst = append(dst, `","subsequenceNumber":0,"partitionKey":`...)
		dst = appendString(dst, r.PartitionKey)
		dst = append(dst, `,"shardId":"shardId-`...)
		dst = appendPadded(dst, r.Position.Shard)
		dst = append(dst, `","approximateArrivalTimestamp":`...)
		dst = strconv.AppendInt(dst, arrival, 10)
		dst = append(dst, '}')
	}
	dst = append(dst, `,"data":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, r.Data)
	return append(dst, `"}`...)
}

// appendPosition appends the form of tarn.Position.String.
func appendPosition(dst []byte, p tarn.Position) []byte {
	dst = strconv.AppendInt(dst, int64(p.Shard), 10)
	dst = append(dst, ':')
	return strconv.AppendUint(dst, p.Offset, 10)
}

// appendPadded appends n with twelve digits, as Kinesis numbers shards.
func appendPadded(dst []byte, n int) []byte {
	var digits [20]byte
	s := strconv.AppendInt(digits[:0], int64(n), 10)
	for range 12 - len(s) {
		dst = append(dst, '0')
	}
	return append(dst, s...)
}

const hexDigits = "0123456789abcdef"

// appendString appends s as a JSON string; bytes that are not UTF-8 become U+FFFD.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, '\\', byte(r))
		case r < 0x20:
			dst = append(dst, `\u00`...)
			dst = append(dst, hexDigits[r>>4], hexDigits[r&0xf])
		default:
			dst = utf8.AppendRune(dst, r)
		}
	}
	return append(dst, '"')
}
