package replay

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// Plan is one replay. Done again after a crash, with the same ID and ranges, it goes on where it was.
type Plan struct {
	ID     string
	Config func() (delivery.Config, error) // of the delivery, for one more worker
	Store  *table.Store
	Stream *stream.Stream
	// Archive is read before the stream, as far as it goes; nil reads the stream alone.
	Archive *raw.Archive
	Ranges  []Span // of the records to replay, by shard
	Into    string // a table to make; empty replaces what is in the delivery's own

	// Done is called with the number of records that are converted, committed or not. An attempt that
	// fails falls back to what is committed.
	Done func(records uint64)
	// Hold stops the delivery from reading its stream, so that a commit of the replay finds a moment
	// between its own, and lets it go on.
	Hold func(on bool)
	// Also runs in the transaction that ends a replay in place.
	Also func(context.Context, *metadb.Tx, Result) error
}

// Result is what a replay came to.
type Result struct {
	Rows       uint64 `json:"rows"`
	Failed     uint64 `json:"failed"`
	Partitions int    `json:"partitions,omitempty"` // replaced
	Whole      bool   `json:"whole,omitempty"`      // all of them
}

// Total is how many records a plan reads: those of the ranges into a new table, all of them in place.
func (p *Plan) Total(ctx context.Context) (uint64, error) {
	var n uint64
	for shard, r := range p.Ranges {
		if p.Into != "" {
			n += r.Next - r.From
			continue
		}
		st, err := p.Stream.State(ctx, shard)
		if err != nil {
			return 0, err
		}
		n += st.Next
	}
	return n, nil
}

// IntoTable runs the ranges into a table of their own. Its progress is committed with it, so that a
// repeat goes on behind what is there (I2).
func IntoTable(ctx context.Context, p *Plan) (Result, error) {
	h, err := p.history(ctx)
	if err != nil {
		return Result{}, err
	}
	for shard, r := range p.Ranges {
		h.spans[shard] = spansOf(r)
	}
	count := func(ctx context.Context) ([]table.ProgressRow, error) { return p.Store.Progress(ctx, p.Into) }
	err = p.drain(ctx, count, func(c *delivery.Config) {
		c.Table, c.Source, c.Store = p.Into, h, p.Store
	})
	var res Result
	rows, perr := count(ctx)
	for _, r := range rows {
		res.Rows += r.RowsOut
		res.Failed += r.Failed
	}
	return res, errors.Join(err, perr)
}

func spansOf(spans ...Span) []Span {
	var out []Span
	for _, s := range spans {
		if s.From < s.Next {
			out = append(out, s)
		}
	}
	return out
}

// history returns a source without spans yet.
func (p *Plan) history(ctx context.Context) (*history, error) {
	cfg, err := p.Config()
	if err != nil {
		return nil, err
	}
	h := &history{stream: p.Stream, archive: p.Archive, opaque: cfg.Opaque, spans: make([][]Span, p.Stream.Shards()), backed: make([]uint64, p.Stream.Shards())}
	if p.Archive == nil {
		return h, nil
	}
	progress, err := p.Archive.Progress(ctx)
	for _, a := range progress {
		if a.Shard < len(h.backed) {
			h.backed[a.Shard] = a.Next
		}
	}
	return h, err
}

// The attempts of one step, and the pause before the second.
const (
	drainAttempts = 6
	drainPause    = 200 * time.Millisecond
)

// drain runs workers until one has delivered everything of its source. count is what is committed.
func (p *Plan) drain(ctx context.Context, count func(context.Context) ([]table.ProgressRow, error), set func(*delivery.Config)) error {
	chunk := int64(0)
	for attempt := 1; ; attempt++ {
		cfg, err := p.Config()
		if err != nil {
			return err
		}
		set(&cfg)
		rows, err := count(ctx)
		if err != nil {
			return err
		}
		var committed uint64
		for _, r := range rows {
			committed += r.RecordsIn
		}
		cfg.BufferInterval = time.Hour
		cfg.Metrics = p.progress(committed)
		if chunk != 0 {
			cfg.ChunkBytes = chunk
		}
		w, err := delivery.New(cfg)
		if err != nil {
			return err
		}
		err = w.Drain(ctx)
		if err == nil || ctx.Err() != nil || final(err) || attempt == drainAttempts {
			return err
		}
		if tarn.CodeOf(err) == tarn.CodeTooLarge {
			chunk = max(cfg.ChunkBytes/2, 1<<20) // the same chunk would fail for ever
		}
		cfg.Logger.Warn("replay tries again from what is committed", "attempt", attempt, "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(drainPause << attempt):
		}
	}
}

// progress tells Done what a worker converts, in addition to what is committed.
func (p *Plan) progress(done uint64) delivery.Metrics {
	if p.Done == nil {
		return delivery.Metrics{}
	}
	p.Done(done)
	var mu sync.Mutex
	return delivery.Metrics{Staged: func(records int, _ time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		done += uint64(records)
		p.Done(done)
	}}
}

// final reports whether an error stays however often it is tried.
func final(err error) bool {
	switch tarn.CodeOf(err) {
	case tarn.CodeInvalid, tarn.CodeSchema, tarn.CodeUnsupported, tarn.CodeNotFound, tarn.CodeForbidden:
		return true
	}
	return errors.Is(err, errIncomplete)
}

var errIncomplete = errors.New("the history is not complete")

// incomplete is the error for a history with a hole.
func incomplete(name string, shard int, from, next uint64) error {
	return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("the history of %s is not complete: the records %d:%d to %d:%d cannot be read any more", name, shard, from, shard, next-1),
		Hint: "replay with --source raw where the pipeline has a raw backup of them, or into a new table with --into", Err: errIncomplete}
}
