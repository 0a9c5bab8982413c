package httpdoor

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// encodeAnswer writes the document of 200 (IngestDoc of package server), without reflection on the
// way of every request. With more than one shard, first_position and last_position are those of the
// request's first and last accepted record, and shards says what lies where.
func encodeAnswer(f *record.Framed, acks []stream.Ack) []byte {
	b := make([]byte, 0, 160)
	b = append(b, `{"accepted":`...)
	b = strconv.AppendInt(b, int64(f.Accepted), 10)
	b = append(b, `,"rejected":`...)
	b = appendRejects(b, f.Rejected)
	if f.RejectedTotal > len(f.Rejected) {
		b = append(b, `,"rejected_total":`...)
		b = strconv.AppendInt(b, int64(f.RejectedTotal), 10)
	}
	first, last := ends(f.Parts)
	b = appendPosition(b, `,"first_position":"`, acks[first].First)
	b = appendPosition(b, `,"last_position":"`, acks[last].Last)
	if len(acks) > 1 {
		b = append(b, `,"shards":[`...)
		for i := range acks {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, `{"accepted":`...)
			b = strconv.AppendInt(b, int64(f.Parts[i].Segment.Count), 10)
			b = appendPosition(b, `,"first_position":"`, acks[i].First)
			b = appendPosition(b, `,"last_position":"`, acks[i].Last)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	return append(b, '}', '\n')
}

// ends returns the parts that hold the first and the last accepted record of the request.
func ends(parts []record.Part) (first, last int) {
	index := func(p *record.Part, i int) int32 {
		if p.Index == nil {
			return int32(i)
		}
		return p.Index[i]
	}
	for i := range parts {
		if index(&parts[i], 0) < index(&parts[first], 0) {
			first = i
		}
		if index(&parts[i], parts[i].Segment.Count-1) > index(&parts[last], parts[last].Segment.Count-1) {
			last = i
		}
	}
	return first, last
}

func appendPosition(b []byte, name string, p tarn.Position) []byte {
	b = append(b, name...)
	b = strconv.AppendInt(b, int64(p.Shard), 10)
	b = append(b, ':')
	b = strconv.AppendUint(b, p.Offset, 10)
	return append(b, '"')
}

func appendRejects(b []byte, rejects []record.Reject) []byte {
	if len(rejects) == 0 {
		return append(b, "[]"...)
	}
	j, err := json.Marshal(rejects)
	if err != nil { // numbers and strings always marshal
		panic(err)
	}
	return append(b, j...)
}

var jsonType = []string{"application/json"}

func writeAnswer(w http.ResponseWriter, a []byte, replayed bool) {
	h := w.Header()
	h["Content-Type"] = jsonType
	h["Content-Length"] = []string{strconv.Itoa(len(a))}
	if replayed {
		h.Set("Idempotent-Replayed", "true")
	}
	_, _ = w.Write(a) // a client that is gone finds the records stored
}

// refused is the error of a body none of whose records were accepted.
type refused struct {
	cause    *tarn.Error
	rejected []record.Reject
	total    int
}

// Error implements error.
func (e *refused) Error() string { return e.cause.Error() }

// Unwrap gives the *tarn.Error.
func (e *refused) Unwrap() error { return e.cause }

// ProblemMembers adds the rejected records to the problem document.
func (e *refused) ProblemMembers() map[string]any {
	m := map[string]any{"accepted": 0, "rejected": e.rejected}
	if e.rejected == nil {
		m["rejected"] = []record.Reject{}
	}
	if e.total > len(e.rejected) {
		m["rejected_total"] = e.total
	}
	return m
}

func nothingAccepted(f *record.Framed) error {
	if f.RejectedTotal == 0 {
		return &refused{cause: &tarn.Error{Code: tarn.CodeInvalidJSON, Detail: "the body holds no records", Hint: "send one JSON object per line, an object or an array of objects"}}
	}
	r := f.Rejected[0]
	e := &tarn.Error{Code: r.Code, Detail: r.Detail}
	if f.RejectedTotal > 1 {
		e.Detail = "none of the " + strconv.Itoa(f.RejectedTotal) + " records was accepted; the first: " + r.Detail
	}
	switch r.Code {
	case tarn.CodeInvalidJSON:
		e.Hint = "send one JSON object per line, an object or an array of objects"
	case tarn.CodeRecordTooLarge:
		e.Hint = "make the record smaller, or raise limits.record in tarn.yaml"
	}
	return &refused{cause: e, rejected: f.Rejected, total: f.RejectedTotal}
}
