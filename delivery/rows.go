package delivery

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/table"
)

// convert turns a chunk into an item of the tail: staged for the next merge, or straight into final
// files when it is large enough to be files of its own. Records that can not be converted become
// failed records; the others go on.
func (w *Worker) convert(ctx context.Context, c *chunk, p *plan) (*item, error) {
	defer w.spares.put(c)
	if p != nil {
		defer p.lookups.Release()
	}
	began := time.Now()
	it := &item{failed: c.failed, failedBytes: c.refused, bytes: c.bytes, oldest: c.oldest}
	if c.lines > 0 {
		err := w.target.rows(ctx, c, p, it)
		if err != nil && blamesData(err) {
			err = w.convertGood(ctx, c, p, it)
		}
		if err != nil {
			return nil, fmt.Errorf("conversion: %w", err)
		}
	}
	it.spans = w.tallies(c, it)
	for _, r := range c.failed {
		if m := w.cfg.Metrics.Failed; m != nil {
			m(r.Stage, 1)
		}
	}
	if m := w.cfg.Metrics.Staged; m != nil {
		m(c.records(), time.Since(began))
	}
	return it, nil
}

// rows converts the lines of a chunk. What needs more memory than there is gets a second try alone
// and into the tail, where no partition has to be kept open.
func (w tableTarget) rows(ctx context.Context, c *chunk, p *plan, it *item) error {
	err := w.write(ctx, c, p, it, c.bytes >= w.cfg.DirectBytes && !w.scattered())
	if tarn.CodeOf(err) != tarn.CodeTooLarge {
		return err
	}
	w.cfg.Logger.Warn("a conversion ran out of memory and is tried alone", "bytes", c.bytes, "error", err)
	done, err := w.conv.alone(ctx)
	if err != nil {
		return err
	}
	defer done()
	return w.write(ctx, c, p, it, false)
}

// write converts a chunk into an item. A chunk whose conversion must give a row for every record
// and does not is a defect, and refused rather than committed short (I3).
func (w tableTarget) write(ctx context.Context, c *chunk, p *plan, it *item, final bool) error {
	it.final = final
	err := p.converted(ctx, w.conv.db, c, func(sel string) (err error) {
		if !final {
			it.segs, it.rows, err = w.conv.stage(ctx, sel, p.schema())
			return err
		}
		var files []table.DataFile
		files, it.rows, err = w.conv.final(ctx, sel, p.schema(), p.parts, p.state)
		w.newFiles.Store(int64(len(files)))
		for i := range files {
			p.bound(&files[i], c.common)
			it.segs = append(it.segs, newSegment(files[i]))
		}
		it.schemaID = p.state.SchemaID
		return err
	})
	if err == nil {
		err = p.complete(c, it)
	}
	return err
}

// complete refuses an item that lacks rows (I3).
func (p *plan) complete(c *chunk, it *item) error {
	if !p.exact || it.rows == int64(c.lines) {
		return nil
	}
	it.letGo()
	return fmt.Errorf("%d records gave %d rows", c.lines, it.rows)
}

// convertGood converts the records of a chunk that can be, and fails the others.
func (w *Worker) convertGood(ctx context.Context, c *chunk, p *plan, it *item) error {
	faults, err := w.isolate(ctx, c, p)
	if err != nil {
		return err
	}
	if len(faults) == 0 {
		return errors.New("the records convert one by one and not together")
	}
	good, err := w.without(ctx, c, faults)
	if err != nil {
		return err
	}
	defer good.discard()
	it.failed, it.failedBytes, c.failed = good.failed, good.refused, good.failed
	if good.lines == 0 {
		return nil
	}
	err = w.target.rows(ctx, good, p, it)
	c.failed = it.failed // the target may have found more of them
	return err
}

// without copies a chunk, leaving out the lines at fault, which become failed records.
func (w *Worker) without(ctx context.Context, c *chunk, faults []fault) (*chunk, error) {
	good, err := w.newChunk(nil)
	if err != nil {
		return nil, err
	}
	good.spans, good.input, good.failed, good.refused = c.spans, c.input, c.failed, c.refused
	defer w.again.forget()
	next := 0
	err = c.eachLine(func(line int, text []byte) error {
		r, offset := c.locate(line)
		if next == len(faults) || faults[next].line != line {
			return good.append(r.shard, offset, r.arrive, 1, append(text, '\n'), r.edited)
		}
		good.fail(w.blame(ctx, c, faults[next], text))
		next++
		return nil
	})
	if err = errors.Join(err, good.close()); err != nil {
		good.discard()
		return nil, err
	}
	return good, nil
}

// blame makes a failed record of a line at fault.
func (w *Worker) blame(ctx context.Context, c *chunk, f fault, text []byte) table.FailedRecord {
	r, offset := c.locate(f.line)
	rec := append([]byte(nil), text...)
	if r.edited || w.cfg.Opaque { // keep what was accepted, to the byte, while the source has it
		if was, _, err := w.again.record(ctx, w.cfg.Source, tarn.Position{Shard: r.shard, Offset: offset}); err == nil {
			rec = was
		}
	}
	return w.failed(r.shard, offset, r.arrive, f.stage, tarn.CodeSchema, f.reason, rec)
}

func (w *Worker) failed(shard int, offset uint64, arrive time.Time, stage string, code tarn.Code, reason string, rec []byte) table.FailedRecord {
	return table.FailedRecord{Pipeline: w.cfg.Pipeline, Table: w.cfg.Table, Stream: w.cfg.Source.Name(), Shard: shard, Offset: offset,
		Stage: stage, Reason: reason, Code: code, Attempts: 1, Arrival: arrive, FailedAt: time.Now().UTC(), Record: rec}
}

// tallies counts what became of the records of each shard. Rows are known for the whole chunk only;
// a transform that is not row by row therefore gets chunks of one shard.
func (w *Worker) tallies(c *chunk, it *item) []tally {
	out := make([]tally, len(c.spans))
	for i, s := range c.spans {
		out[i].span = s
	}
	for _, f := range c.failed {
		out[f.Shard].failed++
	}
	for i := range out {
		t := &out[i]
		records := t.next - t.from - t.expired
		if records == 0 {
			continue
		}
		t.rows, t.dropped = records-t.failed-t.lost-t.left, t.lost+t.left
		if !w.tr.exact {
			converted := t.rows
			t.rows = uint64(it.rows)
			t.dropped += converted - min(converted, t.rows)
		}
	}
	return out
}
