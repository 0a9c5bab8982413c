package replay

import (
	"bytes"
	"context"
	"iter"
	"slices"

	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// archived reads one shard of a raw backup as the stream would be read, and goes on in the stream where
// the backup ends.
type archived struct {
	h     *history
	shard int
	at    uint64
	next  func() (raw.Record, error, bool)
	stop  func()
	held  *raw.Record // read, and not part of the last entry
	ended bool
	live  delivery.Reader
}

func newArchived(ctx context.Context, h *history, shard int, at uint64) *archived {
	a := &archived{h: h, shard: shard, at: at}
	a.next, a.stop = iter.Pull2(h.archive.Records(ctx, raw.Select{Shards: []int{shard}, From: at, To: h.backed[shard]}))
	return a
}

// Close implements delivery.Reader.
func (a *archived) Close() {
	a.stop()
	if a.live != nil {
		a.live.Close()
	}
}

// The records of one entry.
const (
	entryRecords = 2000
	entryBytes   = 1 << 20
)

// Poll implements delivery.Reader.
func (a *archived) Poll(ctx context.Context) (stream.Entry, bool, error) {
	if a.ended {
		return a.poll(ctx)
	}
	var e stream.Entry
	count, size := 0, 0
	for count < entryRecords && size < entryBytes {
		rec, ok, err := a.read()
		if err != nil {
			return e, false, err
		}
		if !ok {
			a.ended = true
			break
		}
		if count == 0 {
			e.Batch.Base = rec.Position.Offset
		} else if rec.Position.Offset != e.Batch.Base+uint64(count) {
			a.held = rec
			break
		}
		a.add(&e.Batch, rec)
		count, size = count+1, size+len(rec.Bytes)
	}
	if count == 0 {
		return a.poll(ctx)
	}
	a.at = e.Batch.Base + uint64(count)
	return e, true, nil
}

// poll reads the stream behind the backup.
func (a *archived) poll(ctx context.Context) (stream.Entry, bool, error) {
	if a.live == nil {
		var err error
		if a.live, err = delivery.Live(a.h.stream).Reader(ctx, a.shard, stream.Cursor{Offset: max(a.at, a.h.backed[a.shard])}); err != nil {
			return stream.Entry{}, false, err
		}
	}
	return a.live.Poll(ctx)
}

// read returns the next record of the backup. Its bytes are valid until the next one.
func (a *archived) read() (*raw.Record, bool, error) {
	if a.held != nil {
		rec := a.held
		a.held = nil
		return rec, true, nil
	}
	rec, err, ok := a.next()
	return &rec, ok, err
}

// add appends a record to the last segment of a batch, or to a new one when it is of another kind.
func (a *archived) add(b *record.Batch, rec *raw.Record) {
	format, shape := record.Opaque, uint64(0)
	if !a.h.opaque {
		if hash, err := record.Shape(rec.Bytes); err == nil {
			format, shape = record.JSON, hash
		}
	}
	lines := format == record.JSON && bytes.IndexByte(rec.Bytes, '\n') < 0 && bytes.IndexByte(rec.Bytes, '\r') < 0
	n := len(b.Segments)
	if n == 0 || !continues(&b.Segments[n-1], rec, format, lines) {
		b.Segments = append(b.Segments, record.Segment{Format: format, Lines: lines, Arrival: rec.Arrival, Key: rec.Key, Routes: cloneRoutes(rec.Routes)})
		n++
	}
	s := &b.Segments[n-1]
	s.Payload = record.AppendRecord(s.Payload, rec.Bytes, lines)
	if format == record.JSON && !s.ShapesOverflow {
		known := slices.ContainsFunc(s.Shapes, func(r record.ShapeRef) bool { return r.Hash == shape })
		switch {
		case known:
		case len(s.Shapes) == record.MaxShapes:
			s.Shapes, s.ShapesOverflow = nil, true
		default:
			s.Shapes = append(s.Shapes, record.ShapeRef{Hash: shape, First: uint32(s.Count)})
		}
	}
	s.Count++
}

// continues reports whether a record may join a segment.
func continues(s *record.Segment, rec *raw.Record, format record.Format, lines bool) bool {
	return s.Format == format && s.Lines == lines && s.Arrival.Equal(rec.Arrival) && s.Key == rec.Key &&
		(s.Routes == nil) == (rec.Routes == nil) && slices.Equal(s.Routes, rec.Routes)
}

// cloneRoutes keeps apart nil, which is everybody, and empty, which is nobody.
func cloneRoutes(routes []string) []string {
	if routes == nil {
		return nil
	}
	return append([]string{}, routes...)
}
