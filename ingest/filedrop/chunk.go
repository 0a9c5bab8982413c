package filedrop

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// chunkBytes is the size of one request to the stream: a message of its own, large enough that its
// fsync does not count.
const chunkBytes = 4 << 20

// maxBad is how many refused pieces end a chunk, so that a file of nothing else is stopped in time.
const maxBad = 10_000

// chunk is the records of a file that are appended together, as NDJSON with their lineage; or, where the
// stream may get a reference, without it, and those of CSV as they stand in the file.
type chunk struct {
	number uint32
	body   []byte
	raw    bool    // body has records as they stand in the file, see Shaped
	size   int     // of the NDJSON
	starts []int   // of each record in body
	lines  []int64 // of each record in the file
	bad    []RejectedRecord
	badAll int64 // rejected while reading; bad lists the first
	piece  piece // of the file that it was read from, where that is known

	shapes record.ShapeList // of the records without lineage, where they are known
	doubt  bool             // some may be refused
}

// piece is a piece of a file, from one record to another.
type piece struct {
	From  decode.Place `json:"from"`
	Bytes int64        `json:"bytes"`
	Sum   uint32       `json:"crc32c"`
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
	placed  decode.Placed // where the records are, nil when they are not referred to; with it they stay as they are
	shaped  decode.Shaped // what they are, nil when that is not known before they are framed
	limit   int           // of a record, with placed
	bytes   int           // of a chunk; a larger record is a chunk of its own
	members []byte        // what lineage adds behind the line
	next    uint32
	from    decode.Place // where the next chunk begins
	held    found        // read, but too large for the chunk before, where holds says so
	holds   bool
	line    int64 // where reading is
	end     bool
}

// found is a record that was read.
type found struct {
	text  []byte // the record; with chunker.shaped as it stands in the file
	size  int    // of the record
	shape uint64 // with chunker.shaped, 0 where it may be refused
	line  int64
}

// lineage is what records of the file have in common.
func lineage(file, hash string) []record.Member {
	return []record.Member{{Name: "_file", Value: file}, {Name: "_file_hash", Value: hash}}
}

func newChunker(r decode.Records, p plan, name, hash string) *chunker {
	k := &chunker{records: r, bytes: p.ChunkBytes, members: record.AppendMembers(nil, lineage(name, hash))}
	if p.Refer {
		if c, ok := r.(closing); ok {
			r = c.Records
		}
		k.placed, k.limit = r.(decode.Placed), p.Read.RecordBytes // see plan
		k.shaped, _ = r.(decode.Shaped)
		k.from = decode.Place{Line: 1, Header: p.Read.Header}
	}
	return k
}

// read returns the next record.
func (k *chunker) read() (f found, err error) {
	if k.shaped == nil {
		f.text, f.line, err = k.records.Next()
		f.size = len(f.text)
		return f, err
	}
	f.text, f.size, f.shape, f.line, err = k.shaped.NextShape()
	return f, err
}

// fill makes c the next chunk. It returns io.EOF behind the last, and what ended reading otherwise; c
// holds what was read before.
func (k *chunker) fill(c *chunk) error {
	c.reset(k.next)
	k.next++
	if k.holds {
		k.add(c, &k.held)
		k.held, k.holds = found{}, false
	}
	for !k.end {
		f, err := k.read()
		k.line = f.line
		if err == nil {
			if len(c.starts) > 0 && c.size+k.sized(f.size) > k.bytes {
				f.text = append([]byte{}, f.text...)
				k.held, k.holds = f, true
				k.cut(c, true)
				return nil
			}
			k.add(c, &f)
			continue
		}
		var bad *decode.Reject
		switch {
		case errors.As(err, &bad):
			c.reject(RejectedRecord{Line: f.line, Code: bad.Code, Detail: bad.Detail, Text: printable(bad.Text)})
			if c.badAll >= maxBad {
				k.cut(c, false)
				return nil
			}
		case err == io.EOF:
			k.end = true
			k.cut(c, false)
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

// sized is an upper bound of the bytes of a record with its lineage.
func (k *chunker) sized(rec int) int { return rec + len(lineKey) + len(k.members) + 24 }

// cut ends the piece of a chunk where reading is, or before the record read last.
func (k *chunker) cut(c *chunk, before bool) {
	if k.placed == nil {
		return
	}
	to := k.placed.Place()
	if before {
		to = k.placed.Start()
	}
	c.piece = piece{From: k.from, Bytes: to.Offset - k.from.Offset, Sum: k.placed.Cut(to.Offset)}
	k.from = to
}

func (c *chunk) reject(r RejectedRecord) {
	if len(c.bad) < record.MaxRejects {
		c.bad = append(c.bad, r)
	}
	c.badAll++
}

// lineKey begins the lineage of a record.
const lineKey = `,"` + decode.LineMember + `":`

func (k *chunker) add(c *chunk, f *found) {
	c.starts = append(c.starts, len(c.body))
	c.lines = append(c.lines, f.line)
	c.size += k.sized(f.size)
	if k.placed == nil {
		c.body = appendRecord(c.body, f.text, f.line, k.members)
		return
	}
	c.doubt = c.doubt || k.sized(f.size) > k.limit // with its lineage, which counts too
	if k.shaped != nil {
		c.raw = true
		c.shapes.Add(f.shape, len(c.starts)-1)
		c.doubt = c.doubt || f.shape == 0
	}
	c.body = append(c.body, f.text...)
	if bytes.HasSuffix(f.text, []byte{'\r'}) { // or it would be read as a part of the line break
		c.body = append(c.body, '\r')
	}
	c.body = append(c.body, '\n')
}

// appendRecord appends a record with its lineage before the last brace. A record that is no object stays as
// it is and is refused by the framing; one that is no valid JSON does not become valid by the addition,
// since that begins with a comma and a quoted name outside of any string, and ends at the brace that stood
// there before. Blanks around it are no part of it, as for the framing.
func appendRecord(dst, rec []byte, line int64, members []byte) []byte {
	for len(rec) > 0 && isBlank(rec[0]) {
		rec = rec[1:]
	}
	last := len(rec) - 1
	for last >= 0 && isBlank(rec[last]) {
		last--
	}
	if last < 0 || rec[last] != '}' {
		return append(append(dst, rec...), '\n')
	}
	dst = append(dst, rec[:last]...)
	key := lineKey
	if empty(rec[:last]) {
		key = key[1:]
	}
	dst = strconv.AppendInt(append(dst, key...), line, 10)
	return append(append(dst, members...), '}', '\n')
}

// complete makes the NDJSON of a chunk that may have been referred to.
func (c *chunk) complete(t *taken) error {
	read := t.plan.Read
	read.RecordBytes = len(c.body) // which of them are too large the framing says
	if !c.raw {
		read.Format = decode.NDJSON
	}
	records, err := decode.OpenRange(c.body, read, decode.Place{Offset: 1}) // not at a header
	if err != nil {
		return err
	}
	body := make([]byte, 0, c.size)
	members := record.AppendMembers(nil, lineage(t.name, t.hash))
	for i, line := range c.lines {
		rec, _, err := records.Next()
		if err != nil {
			return fmt.Errorf("record %d of %d of a chunk of %s: %w", i, len(c.lines), t.name, err) // it was read before
		}
		c.starts[i] = len(body)
		body = appendRecord(body, rec, line, members)
	}
	c.body = body
	return nil
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

// requestsOf names the requests of the chunks of one file.
func requestsOf(pipeline string, f id) stream.Series {
	h := sha256.New()
	for _, s := range []string{"tarn file", pipeline, f.hash, strconv.Itoa(f.take)} {
		_, _ = h.Write(binary.BigEndian.AppendUint32(nil, uint32(len(s))))
		_, _ = io.WriteString(h, s)
	}
	return stream.Series(h.Sum(nil)[:12])
}
