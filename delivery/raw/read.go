package raw

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
)

// Record is one record of an archive. Bytes are valid until the next one.
type Record struct {
	Position tarn.Position
	Arrival  time.Time // UTC, microsecond resolution
	Key      string    // partition key, may be empty
	Routes   []string  // the deliveries that take it; nil means all, see record.Segment
	Bytes    []byte    // exactly as accepted (I5)
}

// newDecoder returns a decompressor of bounded memory.
func newDecoder() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxFrameBytes), zstd.WithDecodeAllCapLimit(true))
}

// Records yields the selected records, shard after shard, each in order of its offsets. Positions
// that the stream no longer had when they were backed up are passed over; Objects names them. It
// holds one frame and one index in memory (I8).
//
// Every checksum and count on the way is verified: the error for an object that is missing or
// damaged names it, and ends the iteration before any record of the damaged frame.
func (a *Archive) Records(ctx context.Context, s Select) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		dec, err := newDecoder()
		if err != nil {
			yield(Record{}, err)
			return
		}
		defer dec.Close()
		for o, err := range a.Objects(ctx, s) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			if o.Gap() {
				continue
			}
			more, err := a.readObject(ctx, o, s, dec, yield)
			if err != nil {
				yield(Record{}, err)
			}
			if err != nil || !more {
				return
			}
		}
	}
}

// readObject yields the selected records of one object. more is false when yield wants no more.
func (a *Archive) readObject(ctx context.Context, o Object, s Select, dec *zstd.Decoder, yield func(Record, error) bool) (more bool, err error) {
	c, err := a.openObject(ctx, o, dec)
	if err != nil {
		return false, err
	}
	defer c.Close()
	from, to := max(s.From, o.First), o.Next
	if s.To > 0 {
		to = min(to, s.To)
	}
	at := o.First
	var buf []byte
	groups := c.index.groups
	var left uint64 // records of the group not passed yet
	rec := Record{Position: tarn.Position{Shard: o.Shard}}
	for _, f := range c.index.frames {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		end := at + uint64(f.records)
		wanted := end > from && at < to
		if wanted {
			if buf, err = c.frame(f, dec, buf); err != nil {
				return false, a.damaged(o, err)
			}
		}
		rest := buf
		for ; at < end; at++ {
			if left == 0 {
				g, _ := groups.next() // the index has been checked
				left, rec.Arrival, rec.Key, rec.Routes = g.records, time.UnixMicro(g.arrival).UTC(), g.key, g.routes
			}
			if !wanted { // only the groups are of interest
				n := min(left, end-at)
				left -= n
				at += n - 1
				continue
			}
			left--
			rec.Bytes, rest = cutRecord(rest, o.Form) // the frame has been checked
			if at < from || at >= to || !s.Since.IsZero() && rec.Arrival.Before(s.Since) || !s.Until.IsZero() && !rec.Arrival.Before(s.Until) {
				continue
			}
			rec.Position.Offset = at
			if !yield(rec, nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// content is an open object.
type content struct {
	lake.Object
	index *index
	form  Form
	comp  []byte
}

// openObject opens an object and compares what it says of itself with its row.
func (a *Archive) openObject(ctx context.Context, o Object, dec *zstd.Decoder) (_ *content, err error) {
	f, err := a.bucket.Open(ctx, o.Key)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, a.damaged(o, err)
	}
	defer func() {
		if err != nil {
			err = a.damaged(o, errors.Join(err, f.Close()))
		}
	}()
	if f.Size() != o.Bytes {
		return nil, fmt.Errorf("it has %d bytes, %d were registered", f.Size(), o.Bytes)
	}
	foot := make([]byte, min(indexFoot, f.Size()))
	if err := readAt(f, foot, f.Size()-int64(len(foot))); err != nil {
		return nil, err
	}
	size, err := indexSize(foot)
	if err != nil {
		return nil, err
	}
	if size > f.Size() {
		return nil, fmt.Errorf("%w: it is longer than the object", errIndex)
	}
	b := make([]byte, size)
	if err := readAt(f, b, f.Size()-size); err != nil {
		return nil, err
	}
	x, err := decodeIndex(b, dec)
	if err != nil {
		return nil, err
	}
	if x.shard != o.Shard || x.first != o.First || x.records != o.Next-o.First || int64(x.records) != o.Records || x.form != o.Form {
		return nil, errors.New("it holds other records than were registered")
	}
	var bytes, raw int64
	for _, fr := range x.frames {
		bytes += int64(fr.bytes)
		raw += int64(fr.raw)
	}
	if bytes+size != f.Size() || raw != o.RawBytes {
		return nil, errors.New("its frames have other sizes than were registered")
	}
	return &content{Object: f, index: x, form: o.Form}, nil
}

func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// frame returns the records of a frame in buf, grown as needed. zstd verifies the checksum of the
// content; the number of records is verified here.
func (c *content) frame(f frame, dec *zstd.Decoder, buf []byte) ([]byte, error) {
	if cap(c.comp) < f.bytes {
		c.comp = make([]byte, f.bytes)
	}
	comp := c.comp[:f.bytes]
	if err := readAt(c, comp, f.at); err != nil {
		return nil, err
	}
	if cap(buf) < f.raw {
		buf = make([]byte, 0, f.raw)
	}
	out, err := dec.DecodeAll(comp, buf[:0:f.raw])
	if err != nil {
		return nil, err
	}
	if len(out) != f.raw || countRecords(out, c.form) != f.records {
		return nil, errors.New("a frame holds other records than the index says")
	}
	return buf[:f.raw], nil // out is its beginning: there was room
}

// countRecords returns the number of records in a frame, or -1 when it is not well-formed.
func countRecords(p []byte, form Form) int {
	if form == NDJSON {
		if len(p) > 0 && p[len(p)-1] != '\n' {
			return -1
		}
		return bytes.Count(p, []byte{'\n'})
	}
	n := 0
	for ; len(p) > 0; n++ {
		size, w := binary.Uvarint(p)
		if w <= 0 || size > uint64(len(p)-w) {
			return -1
		}
		p = p[w+int(size):]
	}
	return n
}

// cutRecord returns the first record of a well-formed frame and the rest.
func cutRecord(p []byte, form Form) (rec, rest []byte) {
	if form == NDJSON {
		n := bytes.IndexByte(p, '\n')
		return p[:n:n], p[n+1:]
	}
	size, w := binary.Uvarint(p)
	end := w + int(size)
	return p[w:end:end], p[end:]
}
