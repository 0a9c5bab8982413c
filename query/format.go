package query

import (
	"fmt"
	"mime"
	"strings"

	"github.com/tarn-data/tarn"
)

// Format is how a result is written. An error after the first byte is told as each format allows;
// Write returns it in every case.
//
//	JSON     {"columns": [{"name", "type"}], "rows": [{…}, …], "row_count": n, "elapsed_ms": x}
//	         error: the rows end, and "error": {"code", "detail", "hint"} stands beside them
//	NDJSON   one object per line; error: a last line {"error": {…}}, its only member
//	CSV      RFC 4180 with a header line; error: the output breaks off, the connection must too
//	Arrow    IPC stream; error: the output breaks off without the end-of-stream mark
//	Parquet  a whole file, made before the first byte is written: no error comes later
//
// JSON and NDJSON write integers of any size and decimals as numbers with all their digits, NaN and
// infinite numbers as null, times in RFC 3339 in UTC, DATE as 2006-01-02, TIME as 15:04:05.999999,
// INTERVAL as an ISO 8601 duration, BLOB in base64, UUID, ENUM and BIT as text, JSON columns as the
// JSON they hold, lists as arrays, structs as objects, maps as objects by the text of their keys. A
// column name that repeats gets _1, _2, … appended.
//
// CSV writes the same texts without quotes where it needs none, nested values as JSON, NULL as
// nothing and the empty text as "".
type Format uint8

// The formats.
const (
	JSON Format = iota
	NDJSON
	CSV
	Arrow
	Parquet
)

var formatNames = [...]string{"json", "ndjson", "csv", "arrow", "parquet"}

var contentTypes = [...]string{"application/json", "application/x-ndjson", "text/csv; charset=utf-8",
	"application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"}

// String returns the name ParseFormat reads.
func (f Format) String() string { return formatNames[f] }

// ContentType returns the media type of the format.
func (f Format) ContentType() string { return contentTypes[f] }

// ParseFormat reads json, ndjson, csv, arrow or parquet.
func ParseFormat(s string) (Format, error) {
	for i, n := range formatNames {
		if strings.EqualFold(s, n) {
			return Format(i), nil
		}
	}
	return 0, &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("%q is not a result format", s), Hint: "use " + strings.Join(formatNames[:], ", ")}
}

// FormatOf chooses by an HTTP Accept header: the first type in it that is known, JSON when it is
// empty or accepts anything. Errors: tarn.CodeUnsupported.
func FormatOf(accept string) (Format, error) {
	if strings.TrimSpace(accept) == "" {
		return JSON, nil
	}
	for part := range strings.SplitSeq(accept, ",") {
		media, _, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		switch media {
		case "*/*", "application/*", "application/json":
			return JSON, nil
		case "application/x-ndjson", "application/ndjson", "application/jsonl":
			return NDJSON, nil
		case "text/csv", "text/*":
			return CSV, nil
		case "application/vnd.apache.arrow.stream":
			return Arrow, nil
		case "application/vnd.apache.parquet":
			return Parquet, nil
		}
	}
	return 0, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "no result format is accepted", Hint: "accept " + strings.Join(contentTypes[:], ", ")}
}
