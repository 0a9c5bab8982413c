package replay

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/table"
)

// The parts of the history that a replay in place runs: the records asked for, and all others.
const (
	partRange = "range"
	partRest  = "rest"
)

// aside is the delivery.Store of one part: the table as it is, and commits beside it.
type aside struct {
	*table.Store
	built *table.Aside
	part  string
}

// Documents implements delivery.Store.
func (a aside) Documents(ctx context.Context, _ string) (map[string][]byte, error) {
	return a.built.Documents(ctx)
}

// Progress implements delivery.Store.
func (a aside) Progress(ctx context.Context, _ string) ([]table.ProgressRow, error) {
	return a.built.Progress(ctx, a.part)
}

// Commit implements delivery.Store.
func (a aside) Commit(ctx context.Context, name string, c table.Commit) (*table.State, error) {
	if err := a.built.Commit(ctx, a.part, c); err != nil {
		return nil, err
	}
	return a.State(ctx, name)
}

// The attempts to put what was built in its place: so many before the delivery is held, and in all.
const (
	freeAttempts  = 4
	placeAttempts = 200
	stalePasses   = 3
)

// InPlace runs the ranges through today's code and replaces the partitions of the table they touch.
//
// A partition holds rows of other records too, and which rows came from which record is not known. So
// all records of the history are run, aside of the table, those of the ranges apart from the others. The
// partitions replaced are those that
//
//   - the ranges give rows to today, and
//   - do not have as many rows as the other records give them today: there the ranges' old rows are.
//
// In all other partitions the rows of the other records stay as they are. That is right as long as those
// records are placed today as they were: when some partition has fewer rows than they give it today, they
// are not, and every partition is replaced. Records outside the ranges that had failed stay failed; when
// others of them fail today, nothing is replaced.
//
// The commit is fenced by the table's snapshot and the positions of its delivery, which goes on
// meanwhile: what it commits during the replay is run too, until both agree (I2, I3).
func InPlace(ctx context.Context, p *Plan, name string) (Result, error) {
	for pass := 1; ; pass++ {
		res, err := inPlace(ctx, p, name)
		if !errors.Is(err, table.ErrStaleSchema) || pass == stalePasses {
			return res, err
		}
		if err := p.Store.Aside(p.ID, name).Drop(ctx); err != nil { // built again, in the new types
			return res, err
		}
	}
}

func inPlace(ctx context.Context, p *Plan, name string) (Result, error) {
	a := p.Store.Aside(p.ID, name)
	begins, err := p.begins(ctx, name)
	if err != nil {
		return Result{}, err
	}
	h, err := p.history(ctx)
	if err != nil {
		return Result{}, err
	}
	h.strict = true
	for shard, r := range p.Ranges {
		h.spans[shard] = spansOf(Span{max(r.From, begins[shard]), r.Next})
	}
	if err := p.part(ctx, a, h, name, partRange); err != nil {
		return Result{}, err
	}
	held := false
	defer func() {
		if held {
			p.Hold(false)
		}
	}()
	for attempt := 1; ; attempt++ {
		res, err := p.place(ctx, a, name, begins)
		if err == nil || tarn.CodeOf(err) != tarn.CodeConflict || errors.Is(err, errIncomplete) || attempt == placeAttempts {
			return res, err
		}
		if attempt == freeAttempts && p.Hold != nil {
			p.Hold(true)
			held = true
		}
	}
}

// part runs what h holds as a part of the history.
func (p *Plan) part(ctx context.Context, a *table.Aside, h *history, name, part string) error {
	count := func(ctx context.Context) ([]table.ProgressRow, error) {
		rows, err := a.Progress(ctx, partRange)
		if err != nil {
			return nil, err
		}
		more, err := a.Progress(ctx, partRest)
		return append(rows, more...), err
	}
	return p.drain(ctx, count, func(c *delivery.Config) {
		c.Table, c.Source, c.Store = name, h, aside{p.Store, a, part}
	})
}

// begins returns where the history of every shard begins. An error when it does not hold all that is in
// the table.
func (p *Plan) begins(ctx context.Context, name string) ([]uint64, error) {
	rows, err := p.Store.Progress(ctx, name)
	if err != nil {
		return nil, err
	}
	begins := make([]uint64, p.Stream.Shards())
	for _, r := range rows {
		if r.Stream != p.Stream.Name() || r.Shard >= len(begins) {
			return nil, &tarn.Error{Code: tarn.CodeUnsupported, Detail: fmt.Sprintf("the table %s also has rows from shard %d of the stream %s", name, r.Shard, r.Stream),
				Hint: "replay into a new table with --into"}
		}
		st, err := p.Stream.State(ctx, r.Shard)
		if err != nil {
			return nil, err
		}
		begin := st.First
		if p.Archive != nil {
			backed, err := p.Archive.Progress(ctx)
			if err != nil {
				return nil, err
			}
			for _, b := range backed {
				if b.Shard == r.Shard && b.Next >= st.First {
					begin = min(begin, b.First)
				}
			}
		}
		if begin != 0 && begin != r.Expired { // what is gone was never in the table, or is missed
			return nil, incomplete(p.Stream.Name(), r.Shard, 0, begin)
		}
		begins[r.Shard] = begin
	}
	return begins, nil
}

// place runs what the delivery has committed meanwhile, and replaces the partitions.
func (p *Plan) place(ctx context.Context, a *table.Aside, name string, begins []uint64) (Result, error) {
	progress, err := p.Store.Progress(ctx, name)
	if err != nil {
		return Result{}, err
	}
	rest, err := p.history(ctx)
	if err != nil {
		return Result{}, err
	}
	rest.strict = true
	rest.failed = func(ctx context.Context, shard int, from uint64, limit int) ([]uint64, error) {
		return p.Store.FailedOffsets(ctx, name, p.Stream.Name(), shard, from, limit)
	}
	for _, r := range progress {
		in := p.Ranges[r.Shard]
		if in.From >= in.Next { // nothing of this shard is asked for
			in = Span{r.Next, r.Next}
		}
		rest.spans[r.Shard] = spansOf(Span{begins[r.Shard], in.From}, Span{max(in.Next, begins[r.Shard]), r.Next})
	}
	if err := p.part(ctx, a, rest, name, partRest); err != nil {
		return Result{}, err
	}
	if err := othersFail(ctx, a); err != nil {
		return Result{}, err
	}
	st, err := p.Store.State(ctx, name)
	if err != nil {
		return Result{}, err
	}
	r := table.Replacement{Snapshot: st.SnapshotID}
	if r.Shards, err = p.accounts(ctx, a, rest, progress, begins); err != nil {
		return Result{}, err
	}
	res, err := p.choose(ctx, a, st, &r)
	if err != nil {
		return res, err
	}
	if p.Also != nil {
		r.Also = func(ctx context.Context, tx *metadb.Tx) error { return p.Also(ctx, tx, res) }
	}
	if _, err = a.Replace(ctx, r); err != nil {
		return res, err
	}
	return res, a.Drop(ctx)
}

// othersFail refuses a replay under which records outside the ranges would leave the table, because
// today's code fails on them.
func othersFail(ctx context.Context, a *table.Aside) error {
	rows, err := a.Progress(ctx, partRest)
	if err != nil {
		return err
	}
	var n uint64
	for _, r := range rows {
		n += r.Failed
	}
	if n == 0 {
		return nil
	}
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("today's code fails on %d records outside the range, which would leave the table; nothing was changed", n),
		Hint: "mend the code, give a range that holds them too, or replay into a new table with --into"}
}

// accounts says what the records of every shard have become, and proves that none is left out (I3).
func (p *Plan) accounts(ctx context.Context, a *table.Aside, rest *history, progress []table.ProgressRow, begins []uint64) ([]table.Account, error) {
	var all []table.ProgressRow
	for _, part := range []string{partRange, partRest} {
		rows, err := a.Progress(ctx, part)
		if err != nil {
			return nil, err
		}
		all = append(all, rows...)
	}
	var out []table.Account
	for _, r := range progress {
		in := p.Ranges[r.Shard]
		acc := table.Account{Stream: r.Stream, Shard: r.Shard, Next: r.Next, RecordsIn: r.Next - begins[r.Shard], Expired: begins[r.Shard], From: in.From, To: in.Next}
		var read uint64
		for _, row := range all {
			if row.Shard == r.Shard {
				read += row.RecordsIn
				acc.RowsOut += row.RowsOut
				acc.Failed += row.Failed
				acc.Dropped += row.Dropped
			}
		}
		for _, s := range rest.spans[r.Shard] {
			var skip skipper
			for at := s.From; at < s.Next; {
				next := min(at+1_000_000, s.Next)
				failed, err := skip.between(ctx, rest, r.Shard, at, next)
				if err != nil {
					return nil, err
				}
				read += uint64(len(failed))
				acc.Failed += uint64(len(failed))
				at = next
			}
		}
		if read != acc.RecordsIn {
			return nil, fmt.Errorf("replay of shard %d read %d records of %d", r.Shard, read, acc.RecordsIn)
		}
		out = append(out, acc)
	}
	return out, nil
}

// choose finds the partitions to replace, see InPlace.
func (p *Plan) choose(ctx context.Context, a *table.Aside, st *table.State, r *table.Replacement) (Result, error) {
	var res Result
	built, err := a.Files(ctx)
	if err != nil {
		return res, err
	}
	have, err := p.Store.Files(ctx, st)
	if err != nil {
		return res, err
	}
	type rows struct{ old, ranges, rest int64 }
	parts := map[string]*rows{}
	of := func(f table.DataFile) *rows {
		name := table.PartitionPath(st.Partition, f.Partition)
		if parts[name] == nil {
			parts[name] = &rows{}
		}
		return parts[name]
	}
	for _, f := range have {
		of(f).old += f.Rows
	}
	for _, f := range built {
		if f.Part == partRange {
			of(f.DataFile).ranges += f.Rows
		} else {
			of(f.DataFile).rest += f.Rows
		}
	}
	for _, n := range parts {
		res.Whole = res.Whole || n.old < n.rest
	}
	touched := func(f table.DataFile) bool {
		n := of(f)
		return res.Whole || n.ranges > 0 || n.old != n.rest
	}
	for _, f := range have {
		if touched(f) {
			r.Remove = append(r.Remove, f)
		}
	}
	for _, f := range built {
		if touched(f.DataFile) {
			r.Add = append(r.Add, f)
		}
	}
	for _, n := range parts {
		if res.Whole || n.ranges > 0 || n.old != n.rest {
			res.Partitions++
		}
	}
	for _, s := range r.Shards {
		res.Failed += s.Failed
		res.Rows += s.RowsOut
	}
	res.Whole = res.Partitions == len(parts) && len(parts) > 0
	return res, nil
}
