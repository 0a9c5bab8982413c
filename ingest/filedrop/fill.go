package filedrop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

const (
	// inFlight is how many chunks of a file are framed and appended while the next is read.
	inFlight = 2
	// noteEvery is how often the progress of a file is stored. What lies behind the last note is read
	// again from the stream after a crash.
	noteEvery = time.Second
)

// filling brings the records of one file into the stream.
type filling struct {
	d       *Door
	t       *taken
	ids     stream.Series
	have    stream.Found // in the stream since before
	next    uint32       // chunks before it are there too, and counted in the note
	rejects *rejectList

	flight []*flight // in order
	last   *flight   // the one sent last
	free   []*chunk
	noted  time.Time
	due    *note // to be stored once the chunks before it are in the stream
}

// flight is a chunk on its way.
type flight struct {
	chunk *chunk
	begun chan struct{} // closed when all of it has its place in the stream, or never will:
	kept  error         // why
	done  chan struct{}
	acks  []ack
	bad   []RejectedRecord
	all   int64 // rejected
	err   error
}

// ack says where a part of a chunk is.
type ack struct {
	shard int
	stream.Span
}

// fill appends what of the file is not in the stream yet and counts what is. Its outcome stands in t
// also after an error.
func (d *Door) fill(ctx context.Context, t *taken, records decode.Records, rejects *rejectList) error {
	ids := requestsOf(d.o.Pipeline, t.id)
	have, err := d.o.Stream.Find(ctx, ids, t.note.Cursors)
	if err != nil {
		return err
	}
	if len(have.Gaps) > 0 {
		return forgotten(have.Gaps[0])
	}
	o := &t.outcome
	o.Accepted, o.Rejected, o.Rejects, o.Fault = 0, 0, nil, nil
	o.Shards = append([]Shard{}, t.note.Shards...)
	if t.plan.Refer {
		release, err := d.alone(ctx, t.size)
		if err != nil {
			return err
		}
		defer release()
	}
	f := &filling{d: d, t: t, ids: ids, have: have, next: t.note.Next, rejects: rejects, noted: d.o.Clock()}
	// The appends must have ended when fill returns: they read the chunks.
	ctx, cancel := context.WithCancel(ctx)
	err = f.all(ctx, newChunker(records, t.plan, t.name, t.hash))
	if err != nil {
		var bad *fileError
		if !errors.As(err, &bad) {
			cancel()
		}
	}
	for len(f.flight) > 0 {
		if e := f.settle(ctx); e != nil && err == nil {
			err = e
			cancel()
		}
	}
	cancel()
	for _, s := range o.Shards {
		o.Accepted += s.Accepted
	}
	return err
}

// forgotten is the fault of a file that was half taken when the stream lost sight of that time.
func forgotten(g stream.Gap) error {
	return &fileError{Fault{Code: tarn.CodeConflict,
		Detail: fmt.Sprintf("the file was being taken when the process stopped, and shard %d of the stream no longer holds the records of that time: which of the file's records are in it cannot be told", g.Shard),
		Hint:   "compare with the rows that have its _file_hash; tarn run --again takes the whole file once more"}, g.Err}
}

// all reads the file to its end.
func (f *filling) all(ctx context.Context, k *chunker) error {
	for {
		c := f.chunk()
		fault := k.fill(c)
		if fault == io.EOF && c.badAll == 0 {
			return nil
		}
		if err := f.send(ctx, c); err != nil {
			return err
		}
		switch {
		case fault == io.EOF:
			return nil
		case fault != nil:
			return faulty(fault, k.line)
		}
	}
}

func (f *filling) chunk() *chunk {
	if n := len(f.free); n > 0 {
		c := f.free[n-1]
		f.free = f.free[:n-1]
		return c
	}
	return &chunk{body: make([]byte, 0, min(int64(f.t.plan.ChunkBytes), 4*f.t.size+4096))} // a small file gives a small chunk
}

// send puts a chunk on its way; it waits while too many are.
func (f *filling) send(ctx context.Context, c *chunk) error {
	if len(f.flight) == inFlight {
		if err := f.settle(ctx); err != nil {
			return err
		}
	}
	if err := f.prepareNote(ctx, c.number); err != nil {
		return err
	}
	w, before := &flight{chunk: c, begun: make(chan struct{}), done: make(chan struct{})}, f.last
	f.flight, f.last = append(f.flight, w), w
	go func() {
		defer close(w.done)
		w.err = f.append(ctx, w, before)
	}()
	return nil
}

// settle waits for the chunk that is longest on its way and counts it.
func (f *filling) settle(ctx context.Context) error {
	w := f.flight[0]
	<-w.done
	f.flight = f.flight[1:]
	o := &f.t.outcome
	for _, a := range w.acks {
		o.add(a)
	}
	o.Rejected += w.all
	if err := f.rejects.add(w.bad); err != nil {
		return err
	}
	o.Rejects = append(o.Rejects, w.bad[:min(len(w.bad), maxOutcomeRejects-len(o.Rejects))]...)
	if w.err != nil {
		return w.err
	}
	number := w.chunk.number
	f.free = append(f.free, w.chunk)
	if f.due != nil && f.due.Next <= number+1 {
		f.due.Shards = slices.Clone(o.Shards)
		f.t.note, f.due = *f.due, nil
		return f.d.saveNote(ctx, f.t)
	}
	return nil
}

// prepareNote notes the ends of the shards before a chunk is appended, when it is time for that.
func (f *filling) prepareNote(ctx context.Context, number uint32) error {
	if f.due != nil || f.d.o.Clock().Sub(f.noted) < noteEvery {
		return nil
	}
	cursors, err := f.d.o.Stream.Cursors(ctx)
	if err != nil {
		return err
	}
	f.noted = f.d.o.Clock()
	f.due = &note{Next: number, Cursors: cursors}
	return nil
}

// append frames a chunk and appends the parts that are not in the stream, behind those of the chunk
// before it: records keep the order of the file.
func (f *filling) append(ctx context.Context, w, before *flight) error {
	parts, err := f.frame(w)
	if before != nil {
		<-before.begun
		err = cmp.Or(err, before.kept)
	}
	var waits []func() error
	for i := range parts {
		if err == nil {
			var wait func() error
			wait, err = f.begin(ctx, w, &parts[i])
			waits = append(waits, wait)
		}
	}
	w.kept = err
	close(w.begun)
	for _, wait := range waits {
		if wait != nil {
			err = cmp.Or(err, wait())
		}
	}
	return err
}

// frame checks the records of a chunk and returns those that are good, by shard.
func (f *filling) frame(w *flight) ([]record.Part, error) {
	c := w.chunk
	w.bad, w.all = c.bad, c.badAll
	if len(c.starts) == 0 {
		return nil, nil
	}
	framed, referred, err := f.refer(c)
	if err == nil && !referred {
		framed, err = f.framed(c)
	}
	for _, r := range framed.Rejected {
		w.bad = append(w.bad, RejectedRecord{Line: c.lines[r.Index], Code: r.Code, Detail: r.Detail + encodingHint(r.Detail, f.t.plan.Read.Format), Text: c.text(r.Index)})
	}
	w.all += int64(framed.RejectedTotal)
	if c.number < f.next { // it is in the stream, and counted by the note
		return nil, err
	}
	return framed.Parts, err
}

// encodingHint is said of a record that is not UTF-8, where another encoding can be said.
func encodingHint(detail string, format decode.Format) string {
	if !strings.HasSuffix(detail, "not valid UTF-8") || format == decode.Parquet || format == decode.Avro {
		return ""
	}
	return "; if the file is written in Latin-1, say so with csv: {encoding: latin-1} in the pipeline's source"
}

func (f *filling) framed(c *chunk) (record.Framed, error) {
	p := &f.t.plan
	return record.Frame(c.body, record.KindNDJSON, record.FrameOptions{
		Limits: record.Limits{RecordBytes: p.Read.RecordBytes, BodyBytes: len(c.body), Depth: p.Depth},
		Shards: p.Shards, Shard: f.shard(c), KeyPath: p.KeyPath, Arrival: f.arrival(),
	})
}

// shard is where the records of a chunk go that have no key.
func (f *filling) shard(c *chunk) int { return int(c.number % uint32(f.t.plan.Shards)) }

func (f *filling) arrival() time.Time { return f.d.o.Clock().UTC().Truncate(time.Microsecond) }

// begin gives a part of a chunk its place in its shard, unless it is there. wait returns when it is
// durable (I1).
func (f *filling) begin(ctx context.Context, w *flight, p *record.Part) (wait func() error, err error) {
	number, shard := w.chunk.number, p.Shard
	if s, ok := f.have.At[stream.Place{Number: number, Shard: shard}]; ok {
		w.acks = append(w.acks, ack{shard, s})
		return nil, nil
	}
	seg := p.Segment
	seg.Request = f.ids.Request(number)
	if f.t.plan.Routed {
		seg.Routes = append([]string{}, f.t.plan.Routes...)
	}
	var durable func(context.Context) (stream.Ack, error)
	err = stream.Patiently(ctx, f.d.o.Admit, func() (err error) {
		durable, err = f.d.o.Stream.Begin(ctx, shard, seg)
		return err
	})
	if tarn.CodeOf(err) == tarn.CodeTooLarge { // a record that fits no message; it is alone in its chunk
		w.bad = append(w.bad, RejectedRecord{Line: w.chunk.lines[0], Code: tarn.CodeRecordTooLarge, Detail: "the record fits no message of the stream", Text: w.chunk.text(0)})
		w.all += int64(seg.Count)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return func() error {
		a, err := durable(ctx)
		if err == nil {
			w.acks = append(w.acks, ack{shard, stream.Span{First: a.First.Offset, Count: a.Count}})
		}
		return err
	}, nil
}

// add counts a part.
func (o *Outcome) add(a ack) {
	i, ok := slices.BinarySearchFunc(o.Shards, a.shard, func(s Shard, n int) int { return s.Shard - n })
	if !ok {
		o.Shards = slices.Insert(o.Shards, i, Shard{Shard: a.shard})
	}
	s := &o.Shards[i]
	first, last := tarn.Position{Shard: a.shard, Offset: a.First}, tarn.Position{Shard: a.shard, Offset: a.First + uint64(a.Count) - 1}
	if s.Accepted == 0 || first.Offset < s.First.Offset {
		s.First = first
	}
	if s.Accepted == 0 || last.Offset > s.Last.Offset {
		s.Last = last
	}
	s.Accepted += int64(a.Count)
}
