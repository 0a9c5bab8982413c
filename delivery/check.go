package delivery

import (
	"context"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/infer"
	"github.com/tarn-data/tarn/record"
)

// segment adds a segment's records but the first skip ones. Records whose shapes are all known to
// fit are copied as they are, without a look at each.
func (g *gatherer) segment(ctx context.Context, c *chunk, shard int, base uint64, seg *record.Segment, skip int) error {
	if g.compacts(c, seg, skip) {
		if c.common = seg.Common; seg.Later == nil {
			return c.addLines(shard, base, seg.Arrival, seg.Count, seg.Payload)
		}
		c.addLater(shard, base, seg.Arrival, seg.Count, seg.Later)
		return nil
	}
	if seg.Later != nil {
		if err := readNow(ctx, seg); err != nil {
			return err
		}
	}
	seg.Complete()
	switch {
	case g.w.cfg.Opaque:
		return g.opaque(c, shard, base, seg, skip)
	case seg.Format != record.JSON:
		for i, rec := range seg.Records() {
			if i >= skip {
				c.fail(g.w.failed(shard, base+uint64(i), seg.Arrival, stageDecode, tarn.CodeInvalidJSON,
					"the record is not JSON, and the pipeline reads JSON", clone(rec)))
			}
		}
		return nil
	case g.sample != nil:
		return g.addSample(c, shard, base, seg, skip)
	}
	if !seg.ShapesOverflow && skip == 0 && seg.Lines {
		fits, err := g.fits(seg)
		if err != nil {
			return err
		}
		if fits {
			return c.addLines(shard, base, seg.Arrival, seg.Count, seg.Payload)
		}
	}
	for i, rec := range seg.Records() {
		if i < skip {
			continue
		}
		if err := g.record(c, shard, base+uint64(i), seg.Arrival, rec, 0, false); err != nil {
			return err
		}
	}
	return nil
}

// fits reports whether every record of the segment can be read as it stands, learning new shapes.
func (g *gatherer) fits(seg *record.Segment) (bool, error) {
	st := g.w.input.state
	for _, ref := range seg.Shapes {
		v := st.Knows(ref.Hash)
		if v == infer.Unknown {
			for i, rec := range seg.Records() {
				if i == int(ref.First) {
					e, err := g.w.input.observe(rec)
					if err != nil {
						return false, err
					}
					v = e.Verdict()
					st.Learn(ref.Hash, v)
					break
				}
			}
		}
		if v != infer.Fits {
			return false, nil
		}
	}
	return true, nil
}

// record adds one record after checking it against the input schema.
func (g *gatherer) record(c *chunk, shard int, offset uint64, arrive time.Time, rec []byte, hash uint64, edited bool) error {
	st := g.w.input.state
	var err error
	if hash == 0 {
		if hash, err = record.Shape(rec); err != nil {
			return fmt.Errorf("record %d:%d: %w", shard, offset, err)
		}
	}
	v := st.Knows(hash)
	if v == infer.Unknown {
		e, err := g.w.input.observe(rec)
		if err != nil {
			return fmt.Errorf("record %d:%d: %w", shard, offset, err)
		}
		if e.Misfit != nil {
			r := e.Misfit.Err()
			if edited {
				if was, _, err := g.w.again.record(context.Background(), g.w.cfg.Source, tarn.Position{Shard: shard, Offset: offset}); err == nil {
					rec = was
				}
			}
			c.fail(g.w.failed(shard, offset, arrive, stageConvert, r.Code, r.Detail, clone(rec)))
			return nil
		}
		v = infer.Fits
		if e.Rewrite {
			v = infer.Rewrite
		}
		if e.Learnable {
			st.Learn(hash, v)
		}
	}
	if v == infer.Rewrite {
		line, err := st.Rewrite(nil, rec)
		if err != nil {
			return fmt.Errorf("record %d:%d: %w", shard, offset, err)
		}
		return c.append(shard, offset, arrive, 1, record.AppendNDJSON(nil, line), true)
	}
	if edited {
		return c.append(shard, offset, arrive, 1, record.AppendNDJSON(nil, rec), true)
	}
	return c.addRecord(shard, offset, arrive, rec)
}

// edited adds a record that a function made.
func (g *gatherer) edited(c *chunk, shard int, offset uint64, arrive time.Time, rec []byte) error {
	if g.sample == nil {
		return g.record(c, shard, offset, arrive, rec, 0, true)
	}
	if g.sampled < sampleRecords {
		if err := g.w.input.state.Sample(rec); err != nil {
			return fmt.Errorf("record %d:%d: %w", shard, offset, err)
		}
		g.sampled++
	}
	return c.append(shard, offset, arrive, 1, record.AppendNDJSON(nil, rec), true)
}

// addSample keeps records aside until the columns are decided.
func (g *gatherer) addSample(c *chunk, shard int, base uint64, seg *record.Segment, skip int) error {
	for i, rec := range seg.Records() {
		if i < skip {
			continue
		}
		if g.sampled < sampleRecords {
			if err := g.w.input.state.Sample(rec); err != nil {
				return fmt.Errorf("record %d:%d: %w", shard, base+uint64(i), err)
			}
			g.sampled++
		}
		if err := c.addRecord(shard, base+uint64(i), seg.Arrival, rec); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) opaque(c *chunk, shard int, base uint64, seg *record.Segment, skip int) error {
	for i, rec := range seg.Records() {
		if i < skip {
			continue
		}
		at := base + uint64(i)
		line := opaqueLine(c.w.AvailableBuffer(), rec, seg.Arrival, seg.Key, shard, at)
		if err := c.append(shard, at, seg.Arrival, 1, line, true); err != nil {
			return err
		}
	}
	return nil
}

func clone(b []byte) []byte { return append([]byte(nil), b...) }
