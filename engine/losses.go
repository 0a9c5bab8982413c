package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// openStream opens a stream so that no offset is given twice, even if its log comes back shorter than it
// was (I3): every shard goes on behind its mark and behind what tables have committed of it.
func (e *Engine) openStream(ctx context.Context, cfg stream.Config) (*stream.Stream, error) {
	progress, err := e.store.Progress(ctx, "")
	if err != nil {
		return nil, err
	}
	progress = slices.DeleteFunc(progress, func(r table.ProgressRow) bool { return r.Stream != cfg.Name })
	cfg.Floors = e.marks.floors(cfg.Name)
	for _, r := range progress {
		cfg.Floors = floor(cfg.Floors, r.Shard, r.Next)
	}
	cfg.OnLoss = func(l stream.Loss) error {
		found := loss{First: l.From, Next: l.Next, FoundAt: time.Now().UTC().Truncate(time.Second), Tables: map[string]uint64{}}
		for _, r := range progress {
			if r.Shard == l.Shard {
				found.Tables[r.Table] = r.Next
			}
		}
		e.marks.lose(shardID{cfg.Name, l.Shard}, found)
		return e.marks.save(ctx)
	}
	return stream.Open(ctx, e.streams, cfg)
}

// markEvery bounds what a damaged log can lose unseen: what was acknowledged since the last mark.
const markEvery = time.Second

// keepMarks notes the ends of the streams from time to time.
func (e *Engine) keepMarks() {
	tick := time.NewTicker(markEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.ctx.Done():
			return
		case <-tick.C:
		}
		if err := e.saveMarks(e.ctx); err != nil && e.ctx.Err() == nil {
			e.log.Warn("the ends of the streams are not noted", "error", err)
		}
	}
}

// saveMarks notes the ends of all shards, and the time by which their records age.
func (e *Engine) saveMarks(ctx context.Context) error {
	for _, p := range e.pipes() {
		e.markEnds(p.stream)
	}
	e.marks.seeTime(e.ages.now(), machineUptime())
	return e.marks.save(ctx)
}

// markEnds notes the ends of the shards of a stream, to be saved later.
func (e *Engine) markEnds(s *stream.Stream) {
	for i := range s.Shards() {
		e.marks.see(shardID{s.Name(), i}, s.End(i))
	}
}

// offsets are those from first to next-1.
type offsets struct{ first, next uint64 }

// positions names them for people.
func (o offsets) positions(shard int) string {
	return fmt.Sprintf("%s to %s", tarn.Position{Shard: shard, Offset: o.first}, tarn.Position{Shard: shard, Offset: o.next - 1})
}

// within returns how many of the offsets lie between from and to-1.
func within(runs []offsets, from, to uint64) (n uint64) {
	for _, o := range runs {
		if first, next := max(o.first, from), min(o.next, to); first < next {
			n += next - first
		}
	}
	return n
}

// lostTo returns the offsets that a table will never get, in order. What it had committed when a loss was
// found is not lost to it. A later loss may reach back over an earlier one.
func (k mark) lostTo(table string) []offsets {
	var runs []offsets
	for _, l := range k.lost {
		if first := max(l.First, l.Tables[table]); first < l.Next {
			runs = append(runs, offsets{first, l.Next})
		}
	}
	slices.SortFunc(runs, func(a, b offsets) int { return cmp.Compare(a.first, b.first) })
	var out []offsets
	for _, o := range runs {
		if n := len(out); n > 0 && o.first <= out[n-1].next {
			out[n-1].next = max(out[n-1].next, o.next)
		} else {
			out = append(out, o)
		}
	}
	return out
}

// lossesOutside names losses that are in no account: those of streams without a table, and, as a note, those
// that all tables had committed before.
func (e *Engine) lossesOutside(losses *lossNaming) {
	for _, p := range e.pipes() {
		readers := e.running.Load().readersOf(p)
		for shard := range p.stream.Shards() {
			id := shardID{p.stream.Name(), shard}
			k := e.marks.of(id)
			missed := slices.ContainsFunc(readers, func(d *runningDelivery) bool { return len(k.lostTo(d.name())) > 0 })
			for _, l := range k.lostTo("") {
				subject := fmt.Sprintf("%s shard %d", p.stream.Name(), shard)
				switch {
				case len(readers) == 0:
					losses.name(id, subject, l)
				case !missed:
					losses.doc.Notes = append(losses.doc.Notes, server.VerifyProblem{Subject: subject, Detail: "the storage of the stream lost the records " + l.positions(shard) + "; the tables have them"})
				}
			}
		}
	}
}
