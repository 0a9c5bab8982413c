package replay

import (
	"slices"

	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// cut returns the records of a message from offset from on and before next, without those to skip, which
// are in order: as one entry for each run without a gap. When the last ones are skipped, an entry
// without segments follows. Whole segments are handed on as they are.
func cut(e stream.Entry, from, next uint64, skip []uint64) []stream.Entry {
	var out []stream.Entry
	reached := from // everything before it is in out or passed over
	add := func(base uint64, seg record.Segment) {
		if n := len(out); n == 0 || reached != base {
			out = append(out, stream.Entry{Seq: e.Seq, Time: e.Time, Batch: record.Batch{Base: base}})
		}
		b := &out[len(out)-1].Batch
		b.Segments = append(b.Segments, seg)
		reached = base + uint64(seg.Count)
	}
	at := e.Batch.Base
	for _, seg := range e.Batch.Segments {
		end := at + uint64(seg.Count)
		lo, hi := max(at, from), min(end, next)
		i, _ := slices.BinarySearch(skip, lo)
		j, _ := slices.BinarySearch(skip, hi)
		switch {
		case lo >= hi:
		case lo == at && hi == end && (i == j || i >= len(skip)):
			add(at, seg)
		default:
			for _, run := range runs(lo, hi, skip[i:max(i, j)]) {
				add(run.From, part(seg, int(run.From-at), int(run.Next-at)))
			}
		}
		at = end
	}
	if reached < next {
		last := passed(next)
		last.Seq = e.Seq
		out = append(out, last)
	}
	return out
}

// runs returns what is left of [lo, hi) without the offsets to skip.
func runs(lo, hi uint64, skip []uint64) []Span {
	var out []Span
	for _, s := range skip {
		if s > lo {
			out = append(out, Span{lo, s})
		}
		lo = s + 1
	}
	if lo < hi {
		out = append(out, Span{lo, hi})
	}
	return out
}

// part is the records lo to hi of a segment. Their shapes are left to the reader.
func part(seg record.Segment, lo, hi int) record.Segment {
	p := seg
	p.Payload, p.Count, p.Shapes, p.ShapesOverflow = nil, hi-lo, nil, seg.Format == record.JSON
	for i, rec := range seg.Records() {
		if i >= lo && i < hi {
			p.Payload = record.AppendRecord(p.Payload, rec, seg.Lines)
		}
	}
	return p
}
