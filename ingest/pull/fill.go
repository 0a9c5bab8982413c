package pull

import (
	"context"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// fill appends what of the answer is not in the stream yet, and makes r a run that is done, or failed
// where that cannot be told.
func (p *Puller) fill(ctx context.Context, r *run) error {
	r.Records, r.Rejected, r.Rejects = 0, 0, nil
	ids := p.requestsOf(r)
	have, err := p.o.Stream.Find(ctx, ids, r.plan.Cursors)
	if err != nil {
		return err
	}
	if len(have.Gaps) > 0 {
		p.fail(r, forgotten(have.Gaps[0]))
		return nil
	}
	f, err := newFraming(r)
	if err != nil {
		return err
	}
	for {
		c, ok, err := f.chunk()
		if err != nil {
			return err
		}
		if !ok {
			r.State = RunDone
			return nil
		}
		for i := range c.parts {
			n, err := p.part(ctx, f, &c, &c.parts[i], ids, have)
			if err != nil {
				return err
			}
			r.Records += n
		}
	}
}

// part makes one part durable in its shard (I1), unless it is there, and returns its records.
func (p *Puller) part(ctx context.Context, f *framing, c *chunk, part *record.Part, ids stream.Series, have stream.Found) (int64, error) {
	n := int64(part.Segment.Count)
	if _, ok := have.At[stream.Place{Number: c.number, Shard: part.Shard}]; ok {
		return n, nil
	}
	seg := part.Segment
	seg.Request = ids.Request(c.number)
	err := stream.Patiently(ctx, p.o.Admit, func() error {
		_, err := p.o.Stream.Append(ctx, part.Shard, seg, "")
		return err
	})
	if tarn.CodeOf(err) == tarn.CodeTooLarge { // of a record that fits no message, which is alone in its chunk
		for k := range part.Segment.Count {
			i := k
			if part.Index != nil {
				i = int(part.Index[k])
			}
			f.reject(c.index[i], tarn.CodeRecordTooLarge, "the record fits no message of the stream")
		}
		return 0, nil
	}
	return n, err
}

// forgotten says that the stream no longer holds the records of the time of a run.
func forgotten(g stream.Gap) error {
	return &tarn.Error{Code: tarn.CodeConflict, Err: g.Err,
		Detail: fmt.Sprintf("the process stopped during the run, and shard %d of the stream no longer holds the records of that time: which of the answer's records are in it cannot be told", g.Shard),
		Hint:   "compare with what the function's source has"}
}
