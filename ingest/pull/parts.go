package pull

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"io"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function/schedule"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// chunkBytes is about the size of one request to the stream.
const chunkBytes = 1 << 20

// maxRejectText is how much of a rejected record is kept.
const maxRejectText = 500

// chunk is the records of an answer that are appended together, one request a shard.
type chunk struct {
	number uint32
	parts  []record.Part
	index  []int // in the answer, of each record given to the framing
}

// framing makes the chunks of an answer. The same answer and plan give the same chunks.
type framing struct {
	plan    plan
	run     int64
	records [][]byte
	next    int    // record
	number  uint32 // chunk
	out     *Outcome
}

func newFraming(r *run) (*framing, error) {
	records, err := schedule.Records(r.answer)
	return &framing{plan: r.plan, run: r.Number, records: records, out: &r.Outcome}, err
}

// chunk returns the next chunk, or false behind the last. Records that are none are counted.
func (f *framing) chunk() (chunk, bool, error) {
	if f.next == len(f.records) {
		return chunk{}, false, nil
	}
	c := chunk{number: f.number}
	f.number++
	if f.plan.Opaque {
		f.opaque(&c)
		return c, true, nil
	}
	var body []byte
	for ; f.next < len(f.records); f.next++ {
		rec := f.records[f.next]
		if len(body) > 0 && len(body)+len(rec) >= f.plan.ChunkBytes {
			break
		}
		if why := notALine(rec); why != "" {
			f.reject(f.next, tarn.CodeInvalidJSON, why)
			continue
		}
		body = record.AppendNDJSON(body, rec)
		c.index = append(c.index, f.next)
	}
	framed, err := record.Frame(body, record.KindNDJSON, record.FrameOptions{
		Limits: record.Limits{RecordBytes: f.plan.RecordBytes, BodyBytes: len(body) + 1, Depth: f.plan.Depth},
		Shards: f.plan.Shards, Shard: f.shard(c.number), KeyPath: f.plan.KeyPath, Arrival: f.plan.Arrival,
	})
	if err != nil {
		return c, false, err
	}
	for _, bad := range framed.Rejected {
		f.reject(c.index[bad.Index], bad.Code, bad.Detail)
	}
	f.out.Rejected += int64(framed.RejectedTotal - len(framed.Rejected))
	c.parts = framed.Parts
	return c, true, nil
}

// shard is where the records without a key go.
func (f *framing) shard(number uint32) int {
	return int((f.run + int64(number)) % int64(f.plan.Shards))
}

// opaque fills a chunk with records whose bytes nobody looks into.
func (f *framing) opaque(c *chunk) {
	seg := record.Segment{Format: record.Opaque, Arrival: f.plan.Arrival}
	for ; f.next < len(f.records); f.next++ {
		rec := f.records[f.next]
		if len(rec) > f.plan.RecordBytes {
			f.reject(f.next, tarn.CodeRecordTooLarge, "the record is over the limit (record)")
			continue
		}
		if seg.Count > 0 && len(seg.Payload)+len(rec) >= f.plan.ChunkBytes {
			break
		}
		seg.Payload = record.AppendRecord(seg.Payload, rec, false)
		seg.Count++
		c.index = append(c.index, f.next)
	}
	if seg.Count > 0 {
		c.parts = []record.Part{{Shard: f.shard(c.number), Segment: seg}}
	}
}

func (f *framing) reject(i int, code tarn.Code, detail string) {
	f.out.Rejected++
	if len(f.out.Rejects) == MaxRejects {
		return
	}
	text := bytes.ToValidUTF8(f.records[i][:min(len(f.records[i]), maxRejectText)], []byte("\uFFFD"))
	f.out.Rejects = append(f.out.Rejects, Reject{Index: i, Code: code, Detail: detail, Text: string(text)})
}

// notALine says why a record cannot be a line of NDJSON that is framed as that one record, "" when it can.
func notALine(rec []byte) string {
	switch {
	case len(bytes.TrimSpace(bytes.TrimPrefix(rec, []byte("\xef\xbb\xbf")))) == 0:
		return "the record is an empty text"
	case bytes.ContainsAny(rec, "\n\r") && !json.Valid(rec):
		return "the record is not valid JSON"
	}
	return ""
}

// runSum digests what names a run: the pipeline, the slot and, since a slot may be lost with the
// database, the number.
func (p *Puller) runSum(r *run) (sum [32]byte) {
	h := sha256.New()
	for _, s := range []string{"tarn run", p.o.Pipeline} {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s)))) // a hash takes everything
		_, _ = io.WriteString(h, s)
	}
	_, _ = h.Write(binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(r.Slot.UnixMicro())), uint64(r.Number)))
	return [32]byte(h.Sum(nil))
}

// runID is the id of the event.
func (p *Puller) runID(r *run) string {
	sum := p.runSum(r)
	return uuid.UUID(sum[16:32]).String()
}

// requestsOf names the requests of the parts of one run.
func (p *Puller) requestsOf(r *run) stream.Series {
	sum := p.runSum(r)
	return stream.Series(sum[:12])
}
