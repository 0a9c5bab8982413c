package raw

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn/record"
)

const (
	// frameBytes is where a zstd frame ends: with the record that reaches it. It is fixed, so that
	// the same records give the same bytes again.
	frameBytes = 1 << 20

	// framesRun is how long an object of length-framed records takes lines along.
	framesRun = 4 << 20

	// maxGroupBytes is where an object ends because of its index (I8).
	maxGroupBytes = 8 << 20
)

// newEncoder returns the compressor of a writer. Backup must not slow deliveries: the fastest level
// still makes a fifth of typical JSON.
func newEncoder() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(true))
}

// open is an object being written to a local file. It is not safe for concurrent use.
type open struct {
	Object
	hour    time.Time
	path    string
	file    *os.File
	enc     *zstd.Encoder
	began   time.Time // when its first record was read
	index   index
	buf     []byte  // records of the frame to come
	records int     // in buf
	comp    *[]byte // scratch, shared by the objects of a writer

	group  group // to come
	before group
}

// create begins an object with its first segment.
func create(path string, enc *zstd.Encoder, comp *[]byte, shard int, first uint64, seg *record.Segment, now time.Time) (*open, error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	o := &open{Object: Object{Shard: shard, First: first, Next: first, Form: Frames, FirstArrival: seg.Arrival, LastArrival: seg.Arrival},
		hour: seg.Arrival.UTC().Truncate(time.Hour), path: path, file: f, enc: enc, comp: comp, began: now}
	if isLines(seg) {
		o.Form = NDJSON
	}
	return o, nil
}

// isLines reports whether the records of a segment may stand one a line.
func isLines(s *record.Segment) bool { return s.Lines && s.Format == record.JSON }

// takes reports whether a segment may join the object.
func (o *open) takes(s *record.Segment, most int64) bool {
	if o.RawBytes+int64(len(o.buf)) >= most || len(o.index.groups.content) >= maxGroupBytes || s.Arrival.UTC().Truncate(time.Hour).After(o.hour) {
		return false
	}
	if isLines(s) {
		return o.Form == NDJSON || o.RawBytes+int64(len(o.buf)) < framesRun
	}
	return o.Form != NDJSON
}

// held is the memory the object takes.
func (o *open) held() int { return cap(o.buf) + cap(o.index.groups.content) }

// add appends the records of a segment after the first skip of them.
func (o *open) add(s *record.Segment, skip int) error {
	o.note(group{uint64(s.Count - skip), s.Arrival.UnixMicro(), strings.Clone(s.Key), cloneRoutes(s.Routes)})
	if s.Format == record.Opaque {
		o.Form = Opaque
	}
	if s.Arrival.Before(o.FirstArrival) {
		o.FirstArrival = s.Arrival
	}
	if s.Arrival.After(o.LastArrival) {
		o.LastArrival = s.Arrival
	}
	o.Next += uint64(s.Count - skip)
	o.Records += int64(s.Count - skip)
	if o.Form == NDJSON {
		return o.addLines(skipLines(s.Payload, skip))
	}
	for i, rec := range s.Records() {
		if i < skip {
			continue
		}
		o.buf = record.AppendRecord(o.buf, rec, false) // I5: the bytes as they are
		o.records++
		if len(o.buf) >= frameBytes {
			if err := o.cut(); err != nil {
				return err
			}
		}
	}
	return nil
}

// cloneRoutes keeps nil and empty apart.
func cloneRoutes(routes []string) []string {
	if routes == nil {
		return nil
	}
	own := make([]string, len(routes))
	for i, r := range routes {
		own[i] = strings.Clone(r)
	}
	return own
}

// skipLines returns what follows the first n lines.
func skipLines(p []byte, n int) []byte {
	for range n {
		p = p[bytes.IndexByte(p, '\n')+1:]
	}
	return p
}

// addLines appends lines, many at a time.
func (o *open) addLines(p []byte) error {
	for len(p) > 0 {
		end := len(p)
		if room := frameBytes - len(o.buf); room < len(p) {
			end = room + bytes.IndexByte(p[room-1:], '\n')
		}
		o.buf = append(o.buf, p[:end]...) // I5: the bytes as they are
		o.records += bytes.Count(p[:end], []byte{'\n'})
		p = p[end:]
		if len(o.buf) >= frameBytes {
			if err := o.cut(); err != nil {
				return err
			}
		}
	}
	return nil
}

// note adds records to the group to come, or closes it.
func (o *open) note(g group) {
	if o.group.records > 0 && (g.arrival != o.group.arrival || g.key != o.group.key || !sameRoutes(g.routes, o.group.routes)) {
		o.closeGroup()
	}
	g.records += o.group.records
	o.group = g
}

func (o *open) closeGroup() {
	x := &o.index.groups
	x.left++
	x.content = appendGroup(x.content, o.before, o.group)
	o.before, o.group.records = o.group, 0
}

// cut writes what waits as one frame.
func (o *open) cut() error {
	if len(o.buf) == 0 {
		return nil
	}
	comp := o.enc.EncodeAll(o.buf, (*o.comp)[:0])
	*o.comp = comp
	if _, err := o.file.Write(comp); err != nil {
		return fmt.Errorf("write a raw object: %w", err)
	}
	o.index.frames = append(o.index.frames, frame{bytes: len(comp), raw: len(o.buf), records: o.records})
	o.RawBytes += int64(len(o.buf))
	o.Bytes += int64(len(comp))
	o.buf, o.records = o.buf[:0], 0
	return nil
}

// close ends the file and names the object. The file is not durable yet.
func (o *open) close(stream string) error {
	err := o.cut()
	if err == nil {
		o.closeGroup()
		o.index.shard, o.index.first, o.index.records, o.index.form = o.Shard, o.First, uint64(o.Records), o.Form
		b := appendIndex((*o.comp)[:0], &o.index, o.enc)
		_, err = o.file.Write(b)
		o.Bytes += int64(len(b))
		o.Key = objectKey(stream, o.hour, o.Form, o.Shard, o.First, o.Next)
	}
	if cerr := o.file.Close(); err == nil {
		err = cerr
	}
	o.buf, o.index = nil, index{}
	return err
}
