package filedrop

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"slices"

	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/record/column"
	"github.com/tarn-data/tarn/stream"
)

// The bytes of large files are not written once more into the stream: its messages say where in the copy
// of the file their records are, and readers fetch them from there (docs/adr/0015-references.md).
const (
	referBytes      = 1 << 20  // of a file; smaller ones go into the stream with their bytes
	referChunkBytes = 64 << 10 // of a chunk
)

// reference is what the stream holds in place of the records of a chunk. It holds all that it takes to
// make them again.
type reference struct {
	Object string      `json:"object"` // key in the lake
	File   string      `json:"file"`
	Hash   string      `json:"hash"`
	Read   decode.Plan `json:"read"`
	Piece  piece       `json:"piece"`
}

// refer makes a reference of a chunk, if its piece is worth one and all of its records are good. Else the
// chunk becomes what is framed.
func (f *filling) refer(c *chunk) (_ record.Framed, ok bool, err error) {
	if !f.t.plan.Refer {
		return record.Framed{}, false, nil
	}
	if c.badAll == 0 && len(c.body) >= f.d.chunkRefers && c.piece.Bytes > 0 && c.piece.Bytes <= maxPiece {
		framed, ok, err := f.shapes(c)
		if err != nil || ok {
			return framed, ok, err
		}
	}
	return record.Framed{}, false, c.complete(f.t)
}

// shapes is the framing of a chunk that is referred to: what its records are, with lineage. It reports false
// when some are refused.
func (f *filling) shapes(c *chunk) (framed record.Framed, ok bool, err error) {
	switch {
	case c.doubt:
		return framed, false, nil
	case c.shapes.Overflow || c.shapes.Refs != nil:
		seg := record.Segment{Arrival: f.arrival(), Count: len(c.starts), Shapes: slices.Clone(c.shapes.Refs), ShapesOverflow: c.shapes.Overflow}
		framed = record.Framed{Accepted: seg.Count, Parts: []record.Part{{Shard: f.shard(c), Segment: seg}}}
	default:
		if framed, err = f.framed(c); err != nil || framed.RejectedTotal > 0 || len(framed.Parts) != 1 || !framed.Parts[0].Segment.Lines {
			return framed, false, err
		}
	}
	seg, t := &framed.Parts[0].Segment, f.t
	seg.Payload, seg.Lines = nil, true
	seg.Ref, _ = json.Marshal(reference{Object: f.d.key(t), File: t.name, Hash: t.hash, Read: t.plan.Read, Piece: c.piece}) // plain data
	for i := range seg.Shapes {
		shape := record.ShapeWith(seg.Shapes[i].Hash, decode.LineMember, record.ScalarInt)
		for _, m := range lineage(t.name, t.hash) {
			shape = record.ShapeWith(shape, m.Name, record.ScalarString)
		}
		seg.Shapes[i].Hash = shape
	}
	return framed, true, nil
}

// castagnoli is a constant table.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// maxPiece bounds what is read for a reference (I8). A piece is smaller than the records made of it, unless
// it is full of blanks.
const maxPiece = 16 << 20

// Fetch implements stream.Fetch for the references that doors write: the records of a chunk as they were
// framed, with their lines; the members of the file are common to all. It fails with stream.ErrExpired when
// the lifecycle has removed the copy, and with record.ErrCorrupt when it is lost or its bytes are not those
// that came (I5).
func (o *Originals) Fetch(ctx context.Context, q stream.FetchRequest) (stream.Fetched, error) {
	var r reference
	if err := json.Unmarshal(q.Ref, &r); err != nil || r.Piece.Bytes <= 0 || r.Piece.Bytes > maxPiece || r.Piece.From.Offset < 0 {
		return stream.Fetched{}, fmt.Errorf("%w: a reference of %d bytes says nothing", record.ErrCorrupt, len(q.Ref))
	}
	got := stream.Fetched{Common: lineage(r.File, r.Hash)}
	later := &laterPiece{o, r}
	if q.Later && r.Read.Columnar() {
		got.Later = later
		return got, nil
	}
	var err error
	got.Lines, err = later.Lines(ctx, q.Buf)
	return got, err
}

// laterPiece is a piece of an original.
type laterPiece struct {
	o *Originals
	r reference
}

// Size implements record.Later.
func (l *laterPiece) Size() int64 { return l.r.Piece.Bytes }

// Columns implements record.Later.
func (l *laterPiece) Columns(columns []*column.Column) record.RowReader {
	return decode.Columns(l.r.Read, l.r.Piece.From, columns)
}

// corrupt says what is wrong with the original.
func (l *laterPiece) corrupt(what string) error {
	return fmt.Errorf("%w: the original %s %s; the first of them is at line %d", record.ErrCorrupt, l.r.Object, what, l.r.Piece.From.Line)
}

// Load implements record.Later.
func (l *laterPiece) Load(ctx context.Context, buf []byte) ([]byte, error) {
	o, r := l.o, &l.r
	object, err := o.bucket.Open(ctx, r.Object)
	if errors.Is(err, lake.ErrNotFound) || errors.Is(err, lake.ErrKey) {
		if expired, err := o.expired(ctx, *r); err != nil || expired {
			return nil, cmp.Or(err, stream.ErrExpired)
		}
		return nil, l.corrupt("is missing")
	}
	if err != nil {
		return nil, err
	}
	defer object.Close()
	if r.Piece.From.Offset+r.Piece.Bytes > object.Size() {
		return nil, l.corrupt("is cut short")
	}
	buf = slices.Grow(buf[:0], int(r.Piece.Bytes)+record.Padding)[:r.Piece.Bytes]
	if _, err := object.ReadAt(buf, r.Piece.From.Offset); err != nil && err != io.EOF {
		return nil, err
	}
	if crc32.Checksum(buf, castagnoli) != r.Piece.Sum { // I5
		return nil, l.corrupt("is damaged")
	}
	return buf, nil
}

// Lines implements record.Later.
func (l *laterPiece) Lines(ctx context.Context, buf []byte) ([]byte, error) {
	piece := l.o.pieces.Get().(*[]byte)
	defer l.o.pieces.Put(piece)
	loaded, err := l.Load(ctx, *piece)
	if err != nil {
		return nil, err
	}
	*piece = loaded
	records, err := decode.OpenRange(loaded, l.r.Read, l.r.Piece.From)
	if err != nil {
		return nil, l.corrupt("cannot be read: " + err.Error())
	}
	k := &chunker{records: records, bytes: math.MaxInt}
	c := &chunk{body: buf}
	if c.body == nil {
		c.body = make([]byte, 0, len(loaded)+len(loaded)/8)
	}
	if err := k.fill(c); err != nil || c.badAll > 0 {
		return nil, l.corrupt("has no records where the stream says so")
	}
	return c.body, nil
}

// expired reports whether the lifecycle removed the copy.
func (o *Originals) expired(ctx context.Context, r reference) (bool, error) {
	parts := originalKey.FindStringSubmatch(r.Object)
	if parts == nil {
		return false, nil
	}
	rows, err := o.db.Query(ctx, "SELECT min(original_gone) FROM taken_files WHERE pipeline = ? AND hash = ? AND name = ?", parts[1], parts[2], r.File)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	var gone sql.NullInt64 // 0: one that came again should be there
	if rows.Next() {
		err = rows.Scan(&gone)
	}
	return gone.Int64 > 0, errors.Join(err, rows.Err())
}

// held reports whether some stream still refers to the original.
func (o *Originals) held(ctx context.Context, x original) (bool, error) {
	if o.Held == nil {
		return false, nil
	}
	rows, err := o.db.Query(ctx, "SELECT plan, outcome, finished_at FROM taken_files WHERE pipeline = ? AND hash = ? AND name = ?", x.pipeline, x.hash, x.name)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for rows.Next() {
		var p, out []byte
		var at int64
		if err := rows.Scan(&p, &out, &at); err != nil {
			return false, err
		}
		var t taken
		if err := errors.Join(json.Unmarshal(p, &t.plan), json.Unmarshal(out, &t.outcome)); err != nil {
			return false, err
		}
		if !t.plan.Refer {
			continue
		}
		for _, s := range t.outcome.Shards {
			if held, err := o.Held(ctx, cmp.Or(t.plan.Stream, x.pipeline), s.Last, metadb.Time(at)); err != nil || held {
				return held, err
			}
		}
	}
	return false, rows.Err()
}

// alone waits until no other file of the door is brought into the stream by reference: readers are fastest
// while the pieces of a file follow each other. The caller has slots for the size, which are free for others meanwhile.
func (d *Door) alone(ctx context.Context, size int64) (release func(), err error) {
	if d.referring.TryAcquire(1) {
		return func() { d.referring.Release(1) }, nil
	}
	d.o.Slots.Release(slots(size))
	err = d.referring.Acquire(ctx, 1)
	if e := d.o.Slots.Acquire(context.WithoutCancel(ctx), slots(size)); e != nil { // their owner gives them back
		err = errors.Join(err, e)
	}
	if err != nil {
		return nil, err
	}
	return func() { d.referring.Release(1) }, nil
}
