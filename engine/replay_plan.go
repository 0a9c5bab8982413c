package engine

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/delivery/replay"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
)

// newTable is what the name of a replay's table looks like.
var newTable = regexp.MustCompile(`^` + tableZone + `\.[A-Za-z_][A-Za-z0-9_]{0,62}$`)

// StartReplay begins a replay, which goes on in the background and through restarts.
func (e *Engine) StartReplay(ctx context.Context, pipeline string, req server.ReplayRequest) (server.ReplayDoc, error) {
	job, err := e.planReplay(ctx, pipeline, req)
	if err != nil {
		return server.ReplayDoc{}, err
	}
	free := func() {}
	if job.Into == "" {
		if free, err = e.replays.claim(job.Table); err != nil {
			return server.ReplayDoc{}, err
		}
	}
	if err := (replay.Jobs{DB: e.db}).Create(ctx, job); err != nil {
		free()
		return server.ReplayDoc{}, err
	}
	e.runReplay(job, free)
	return e.replayDoc(job), nil
}

// planReplay decides what a request means.
func (e *Engine) planReplay(ctx context.Context, pipeline string, req server.ReplayRequest) (replay.Job, error) {
	now := time.Now().UTC()
	job := replay.Job{Pipeline: pipeline, Into: req.Into, Source: req.Source, From: req.From, To: req.To, State: replay.Running, StartedAt: now}
	p := e.running.Load().byName[pipeline]
	if p == nil {
		return job, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no pipeline %q", pipeline), Hint: "tarn pipelines ls lists them"}
	}
	if err := p.refuse(); err != nil {
		return job, err
	}
	var tables []string
	for _, d := range p.deliveries {
		if d.spec.Table != "" && (req.Table == "" || d.spec.Table == req.Table) {
			tables = append(tables, d.spec.Table)
		}
	}
	switch {
	case len(tables) > 1:
		return job, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the pipeline %s delivers to %s", pipeline, strings.Join(tables, " and ")), Hint: "name one with --table"}
	case len(tables) == 0 && req.Table != "":
		return job, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the pipeline %s does not deliver to the table %s", pipeline, req.Table), Hint: "tarn pipelines ls shows where it delivers"}
	case len(tables) == 0:
		return job, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("the pipeline %s delivers to no table of the lake", pipeline), Hint: "replay runs into tables of the lake only"}
	}
	job.Table = tables[0]
	if req.Into != "" {
		if !newTable.MatchString(req.Into) {
			return job, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%q is not the name of a new table", req.Into), Hint: "write one such as " + job.Table + "_again"}
		}
		if _, err := e.Table(ctx, req.Into); tarn.CodeOf(err) != tarn.CodeNotFound {
			if err != nil {
				return job, err
			}
			return job, &tarn.Error{Code: tarn.CodeConflict, Detail: "the table " + req.Into + " exists", Hint: "a replay makes a new one; give another name"}
		}
		if _, d := e.deliveryTo(req.Into); d != nil {
			return job, &tarn.Error{Code: tarn.CodeConflict, Detail: "a pipeline delivers to the table " + req.Into, Hint: "give another name"}
		}
	}
	if job.Source == "" {
		job.Source = sourceStream
	}
	if job.Source == sourceRaw {
		if p.backup == nil {
			return job, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the pipeline " + pipeline + " has no raw backup", Hint: "write raw_backup: true, or replay from the stream"}
		}
		if err := p.backup.Flush(ctx); err != nil {
			return job, err
		}
	}
	var err error
	if job.Ranges, err = e.replayRanges(ctx, p, job); err != nil {
		return job, err
	}
	if job.Code, err = e.code(p); err != nil {
		return job, err
	}
	job.ID = now.Format("20060102T150405.000000")
	plan := e.replayPlan(&job, p, nil)
	job.Records, err = plan.Total(ctx)
	return job, err
}

// The sources of a replay.
const (
	sourceStream = "stream"
	sourceRaw    = "raw"
)

// code is the fingerprint of everything that makes rows of the records of a pipeline.
func (e *Engine) code(p *pipe) (string, error) {
	project := e.running.Load().project
	spec := p.spec
	spec.Owner, spec.Description, spec.File = "", "", ""
	var functions []any
	for _, name := range spec.Functions() {
		functions = append(functions, project.Function(name))
	}
	text, err := json.Marshal([]any{spec, functions})
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:16]), err
}

// replayPlan is what package replay needs to run a job.
func (e *Engine) replayPlan(job *replay.Job, p *pipe, r *replaying) *replay.Plan {
	plan := &replay.Plan{ID: job.ID, Store: e.store, Stream: p.stream, Ranges: job.Ranges, Into: job.Into}
	if job.Source == sourceRaw && p.backup != nil {
		plan.Archive = p.backup.Archive()
	}
	i := slices.IndexFunc(p.deliveries, func(d *runningDelivery) bool { return d.spec.Table == job.Table })
	d := p.deliveries[i]
	plan.Config = func() (delivery.Config, error) { return e.deliveryConfig(p.spec, d.spec, p.stream) }
	plan.Hold = d.worker.Hold
	if r != nil {
		plan.Done = r.done.Store
	}
	return plan
}

// replayRanges turns what was asked for into offsets.
func (e *Engine) replayRanges(ctx context.Context, p *pipe, job replay.Job) ([]replay.Span, error) {
	var archive *raw.Archive
	if job.Source == sourceRaw {
		archive = p.backup.Archive()
	}
	ranges := make([]replay.Span, p.stream.Shards())
	from, err := e.replayEnds(ctx, p.stream, archive, job.From, true)
	if err != nil {
		return nil, err
	}
	to, err := e.replayEnds(ctx, p.stream, archive, job.To, false)
	if err != nil {
		return nil, err
	}
	progress, err := e.store.Progress(ctx, job.Table)
	if err != nil {
		return nil, err
	}
	empty := true
	for shard := range ranges {
		r := replay.Span{From: from[shard], Next: to[shard]}
		if job.Into == "" { // what is not committed yet will be, by the code of today
			committed := uint64(0)
			for _, row := range progress {
				if row.Stream == p.stream.Name() && row.Shard == shard {
					committed = row.Next
				}
			}
			r.Next = min(r.Next, committed)
		}
		if r.Next < r.From {
			r = replay.Span{}
		}
		ranges[shard] = r
		empty = empty && r.From == r.Next
	}
	if empty {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "there are no records from " + job.From + " to " + toText(job.To), Hint: "tarn streams describe " + p.stream.Name() + " shows what there is"}
	}
	return ranges, nil
}

func toText(to string) string {
	if to == "" {
		return "the end"
	}
	return to
}

// replayEnds returns, by shard, the offset that a text means: earliest, a time, a position. A position
// says of the other shards that nothing of them is meant.
func (e *Engine) replayEnds(ctx context.Context, s *stream.Stream, archive *raw.Archive, text string, begin bool) ([]uint64, error) {
	out := make([]uint64, s.Shards())
	pos, perr := tarn.ParsePosition(text)
	at, terr := time.Parse(time.RFC3339Nano, text)
	for shard := range out {
		st, err := s.State(ctx, shard)
		if err != nil {
			return nil, err
		}
		switch {
		case text == "" && !begin:
			out[shard] = st.Next
		case text == "earliest" && begin:
			out[shard], err = firstOf(ctx, st, archive)
		case perr == nil && pos.Shard == shard:
			out[shard] = min(pos.Offset, st.Next)
		case perr == nil && begin:
			out[shard] = st.Next
		case perr == nil:
			out[shard] = 0
		case terr == nil:
			out[shard], err = offsetAt(ctx, s, st, archive, at)
		default:
			return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%q says not where a replay begins or ends", text),
				Hint: "write a time such as 2026-11-20T03:00:00Z, a position such as 0:1842, or earliest to begin with the first record"}
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// firstOf returns the first offset that can be read.
func firstOf(ctx context.Context, st stream.ShardState, archive *raw.Archive) (uint64, error) {
	first := st.First
	if archive == nil {
		return first, nil
	}
	progress, err := archive.Progress(ctx)
	for _, p := range progress {
		if p.Shard == st.Shard && p.Next >= st.First {
			first = min(first, p.First)
		}
	}
	return first, err
}

// offsetAt returns the offset of the first record that arrived at a time or later.
func offsetAt(ctx context.Context, s *stream.Stream, st stream.ShardState, archive *raw.Archive, at time.Time) (uint64, error) {
	if archive != nil && (st.Messages == 0 || at.Before(st.FirstTime)) {
		for rec, err := range archive.Records(ctx, raw.Select{Shards: []int{st.Shard}, Since: at}) {
			return rec.Position.Offset, err
		}
	}
	c, err := s.Seek(ctx, st.Shard, at)
	return c.Offset, err
}
