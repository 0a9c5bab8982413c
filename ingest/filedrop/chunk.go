package filedrop

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/record"
)

// chunkBytes is the size of one request to the stream: a message of its own, large enough that its
// fsync does not count.
const chunkBytes = 4 << 20

// maxBad is how many refused pieces end a chunk, so that a file of nothing else is stopped in time.
const maxBad = 10_000

// chunk is the records of a file that are appended together, as NDJSON with their lineage.
type chunk struct {
	number uint32
	body   []byte
	starts []int   // of each record in body
	lines  []int64 // of each record in the file
	bad    []RejectedRecord
	badAll int64 // rejected while reading; bad lists the first
}

func (c *chunk) reset(number uint32) {
	*c = chunk{number: number, body: c.body[:0], starts: c.starts[:0], lines: c.lines[:0], bad: c.bad[:0]}
}

// text returns the start of record i as it stands in the chunk.
func (c *chunk) text(i int) string {
	end := len(c.body)
	if i+1 < len(c.starts) {
		end = c.starts[i+1]
	}
	return printable(bytes.TrimSuffix(c.body[c.starts[i]:end], []byte{'\n'}))
}

// printable returns the start of a rejected piece as a JSON string can hold it.
func printable(b []byte) string {
	return string(bytes.ToValidUTF8(b[:min(len(b), decode.MaxRejectText)], []byte("\uFFFD")))
}

// chunker cuts the records of a file into chunks. The cuts depend on the file and the plan alone.
type chunker struct {
	records decode.Records
	bytes   int    // of a chunk; a larger record is a chunk of its own
	lineage []byte // ,"_file":"…","_file_hash":"…","_line":
	next    uint32
	held    []byte // read, but too large for the chunk before
	line    int64  // of held, or where reading is
	end     bool
}

func newChunker(r decode.Records, p plan, name, hash string) *chunker {
	file, _ := json.Marshal(name) // a string always marshals
	l := []byte(`,"_file":`)
	l = append(l, file...)
	l = append(l, `,"_file_hash":"`+hash+`","_line":`...)
	return &chunker{records: r, bytes: p.ChunkBytes, lineage: l}
}

// fill makes c the next chunk. It returns io.EOF behind the last, and what ended reading otherwise; c
// holds what was read before.
func (k *chunker) fill(c *chunk) error {
	c.reset(k.next)
	k.next++
	if k.held != nil {
		k.add(c, k.held, k.line)
		k.held = nil
	}
	for !k.end {
		rec, line, err := k.records.Next()
		k.line = line
		if err == nil {
			if len(c.body) > 0 && len(c.body)+len(rec)+len(k.lineage)+24 > k.bytes {
				k.held = append([]byte{}, rec...)
				return nil
			}
			k.add(c, rec, line)
			continue
		}
		var bad *decode.Reject
		switch {
		case errors.As(err, &bad):
			c.reject(RejectedRecord{Line: line, Code: bad.Code, Detail: bad.Detail, Text: printable(bad.Text)})
			if c.badAll >= maxBad {
				return nil
			}
		case err == io.EOF:
			k.end = true
			return nil
		default:
			k.end = true
			return err
		}
	}
	if len(c.starts) == 0 {
		return io.EOF
	}
	return nil
}

func (c *chunk) reject(r RejectedRecord) {
	if len(c.bad) < record.MaxRejects {
		c.bad = append(c.bad, r)
	}
	c.badAll++
}

// add appends a record with its lineage before the last brace. A record that is no object stays as it
// is and is refused by the framing; one that is no valid JSON does not become valid by the addition,
// since that begins with a comma and a quoted name outside of any string, and ends at the brace that
// stood there before.
func (k *chunker) add(c *chunk, rec []byte, line int64) {
	c.starts = append(c.starts, len(c.body))
	c.lines = append(c.lines, line)
	last := len(rec) - 1
	for last >= 0 && isBlank(rec[last]) {
		last--
	}
	if last < 0 || rec[last] != '}' {
		c.body = append(append(c.body, rec...), '\n')
		return
	}
	c.body = append(c.body, rec[:last]...)
	members := k.lineage
	if empty(rec[:last]) {
		members = members[1:]
	}
	c.body = append(c.body, members...)
	c.body = strconv.AppendInt(c.body, line, 10)
	c.body = append(c.body, '}', '\n')
}

// empty reports whether an object that is closed behind b has no members.
func empty(b []byte) bool {
	last := len(b) - 1
	for last >= 0 && isBlank(b[last]) {
		last--
	}
	return last >= 0 && b[last] == '{'
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// requests makes the request ids of the chunks of one file: 12 bytes that only it has, then the number.
type requests [12]byte

func requestsOf(pipeline string, f id) requests {
	h := sha256.New()
	for _, s := range []string{"tarn file", pipeline, f.hash, strconv.Itoa(f.take)} {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		_, _ = io.WriteString(h, s)
	}
	return requests(h.Sum(nil)[:12])
}

func (r requests) id(number uint32) record.RequestID {
	return record.RequestID(binary.BigEndian.AppendUint32(append([]byte{}, r[:]...), number))
}

// number is the inverse of id; false for the request of anything else.
func (r requests) number(id record.RequestID) (uint32, bool) {
	return binary.BigEndian.Uint32(id[12:]), requests(id[:12]) == r
}
