package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-data/tarn/record"
)

// Fetch returns the records that a reference stands for. An error that wraps ErrExpired says that a lifecycle
// removed them, one that wraps record.ErrCorrupt that they are lost; after another the same call may succeed.
// It is safe for concurrent use.
type Fetch func(context.Context, FetchRequest) (Fetched, error)

// FetchRequest is what a Fetch gets.
type FetchRequest struct {
	Ref   []byte
	Buf   []byte // the lines may be written to Buf[:0], which may be nil
	Later bool   // the records may be read later
}

// Fetched are the records of a segment: lines, complete with the members in Common. With Later nothing was
// read yet.
type Fetched struct {
	Lines  []byte
	Later  record.Later
	Common []record.Member
}

// ErrExpired: records that a reference stands for were removed where they lay, as their owner wished.
var ErrExpired = errors.New("the records have expired")

// Compact makes the reader leave out members that all records of a segment share (record.Segment.Common). An
// entry with such a segment is valid until the next is read. Records that lie elsewhere stay there where
// later, which is asked for each segment of them, says so (record.Segment.Later). Call it before the first read.
func (r *Reader) Compact(later func(*record.Segment) bool) { r.compact, r.later = true, later }

// KeepReferences makes the reader return references in place of the records they stand for, for callers
// that look at requests and counts alone. Call it before the first read.
func (r *Reader) KeepReferences() { r.keep = true }

// split returns the parts of an entry: the segments that refer to records elsewhere, each alone, and the
// runs of segments between them. So no more is in memory than one reference stands for (I8), and records
// that cannot be fetched do not take others with them.
func split(e Entry) []Entry {
	var parts []Entry
	at := e.Batch.Base
	for i := range e.Batch.Segments {
		seg := &e.Batch.Segments[i]
		if i == 0 || seg.Ref != nil || e.Batch.Segments[i-1].Ref != nil {
			part := e
			part.Batch.Base, part.Batch.Segments = at, nil
			parts = append(parts, part)
		}
		last := &parts[len(parts)-1]
		last.Batch.Segments = append(last.Batch.Segments, *seg)
		at += uint64(seg.Count)
	}
	return parts
}

// part returns the next part of the message that was read last, with its records, or false if there is
// none.
func (r *Reader) part(ctx context.Context) (Entry, bool, error) {
	for len(r.parts) > 0 {
		e := r.parts[0]
		next := e.Batch.Base + uint64(e.Batch.Count())
		if next <= r.offset { // the caller has it already
			r.parts = r.parts[1:]
			continue
		}
		if seg := &e.Batch.Segments[0]; seg.Ref != nil {
			err := r.fetch(ctx, seg)
			switch {
			case err == nil:
			case errors.Is(err, ErrExpired):
				r.expired += next - max(r.offset, e.Batch.Base)
				r.parts, r.offset = r.parts[1:], next
				e.Batch.Base, e.Batch.Segments = next, nil
				return e, true, nil
			case !errors.Is(err, record.ErrCorrupt):
				return Entry{}, false, err
			default:
				lost := &DamagedError{Stream: r.sh.s.cfg.Name, Shard: r.sh.id, From: max(r.offset, e.Batch.Base), Next: next, Referred: true, Err: err}
				r.parts, r.offset = r.parts[1:], next
				return Entry{}, false, lost
			}
			if e.Size = len(seg.Payload); seg.Later != nil {
				e.Size = int(seg.Later.Size())
			}
		}
		r.parts, r.offset = r.parts[1:], next
		return e, true, nil
	}
	return Entry{}, false, nil
}

// fetch puts the records of a reference in its place.
func (r *Reader) fetch(ctx context.Context, seg *record.Segment) error {
	if r.sh.s.cfg.Fetch == nil {
		return fmt.Errorf("records lie outside of the stream %s, and it was opened without a way to them", r.sh.s.cfg.Name)
	}
	fetch, q := r.sh.s.cfg.Fetch, FetchRequest{Ref: seg.Ref, Buf: r.buf, Later: r.later != nil}
	got, err := fetch(ctx, q)
	if err == nil && got.Later != nil {
		later := *seg
		if later.Later, later.Common, later.Ref = got.Later, got.Common, nil; r.later(&later) {
			*seg = later
			return nil
		}
		q.Later = false
		got, err = fetch(ctx, q)
	}
	if err != nil {
		return err
	}
	seg.Payload, seg.Common, seg.Ref = got.Lines, got.Common, nil
	if err := seg.Check(); err != nil {
		return err
	}
	if r.compact {
		r.buf = got.Lines
	} else {
		seg.Complete()
	}
	return nil
}

// refers reports whether some segment is a reference.
func refers(b record.Batch) bool {
	for i := range b.Segments {
		if b.Segments[i].Ref != nil {
			return true
		}
	}
	return false
}
