package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/replay"
	"github.com/tarn-data/tarn/metadb"
)

// runReplay runs a job in the background. free is called at its end.
func (e *Engine) runReplay(job replay.Job, free func()) {
	ctx, cancel := context.WithCancelCause(e.ctx)
	r := &replaying{cancel: cancel, began: time.Now(), ended: make(chan struct{})}
	e.replays.mu.Lock()
	if e.replays.jobs == nil {
		e.replays.jobs = map[string]*replaying{}
	}
	e.replays.jobs[job.ID] = r
	e.replays.mu.Unlock()
	e.done.Go(func() {
		defer close(r.ended)
		defer cancel(nil)
		e.log.Info("replay", "id", job.ID, "pipeline", job.Pipeline, "into", job.Into, "records", job.Records)
		err := e.replay(ctx, &job, r)
		if err = e.endReplay(ctx, job, err); err != nil && e.ctx.Err() == nil {
			e.log.Error("a replay could not be ended; it is taken up at the next start", "id", job.ID, "error", err)
		}
		free() // before anybody can see that it has ended
		e.replays.mu.Lock()
		delete(e.replays.jobs, job.ID)
		e.replays.mu.Unlock()
	})
}

// errCanceled ends a replay for good.
var errCanceled = errors.New("canceled")

// replay runs a job to its end. When the code of the pipeline changes meanwhile, it begins anew, so that no
// table holds rows of both.
func (e *Engine) replay(ctx context.Context, job *replay.Job, r *replaying) error {
	for pass := 1; ; pass++ {
		p := e.awaitPipe(ctx, job.Pipeline)
		if p == nil || !slices.ContainsFunc(p.deliveries, func(d *runningDelivery) bool { return d.spec.Table == job.Table }) || len(job.Ranges) != p.stream.Shards() {
			return &tarn.Error{Code: tarn.CodeConflict, Detail: "the pipeline " + job.Pipeline + " or its delivery to " + job.Table + " is gone, or has another number of shards"}
		}
		code, err := e.code(p)
		if err != nil {
			return err
		}
		if code != job.Code {
			if err := e.undoReplay(ctx, *job); err != nil {
				return err
			}
			job.Code = code
			if err := (replay.Jobs{DB: e.db}).Save(ctx, *job); err != nil {
				return err
			}
		}
		err = e.replayOnce(ctx, job, p, r)
		if !errors.Is(err, errOtherCode) || pass == 10 {
			return err
		}
	}
}

// awaitPipe returns a running pipeline, nil for none. One that is held back is waited for while ctx lasts.
func (e *Engine) awaitPipe(ctx context.Context, name string) *pipe {
	for {
		p := e.running.Load().byName[name]
		if p == nil || p.held == nil {
			return p
		}
		select {
		case <-ctx.Done():
			return p
		case <-time.After(time.Second):
		}
	}
}

// errOtherCode says that the pipeline was changed during a replay.
var errOtherCode = errors.New("the pipeline was changed")

func (e *Engine) replayOnce(ctx context.Context, job *replay.Job, p *pipe, r *replaying) error {
	same := func() error {
		now := e.running.Load().byName[job.Pipeline]
		if now == nil {
			return errOtherCode
		}
		if code, err := e.code(now); err != nil || code != job.Code {
			return errors.Join(errOtherCode, err)
		}
		return nil
	}
	plan := e.replayPlan(job, p, r)
	if job.Into != "" {
		res, err := replay.IntoTable(ctx, plan)
		if other := same(); other != nil {
			return other
		}
		job.Result = res
		return err
	}
	plan.Also = func(ctx context.Context, tx *metadb.Tx, res replay.Result) error { // the last moment
		if err := same(); err != nil {
			return err
		}
		ended := *job
		ended.State, ended.Result, ended.FinishedAt = replay.Done, res, time.Now().UTC()
		return replay.Jobs{DB: e.db}.SaveIn(ctx, tx, ended)
	}
	res, err := replay.InPlace(ctx, plan, job.Table)
	if other := same(); other != nil && err != nil {
		return other
	}
	job.Result = res
	return err
}

// endReplay keeps how a job ended. One that the engine's end cut off is taken up at the next start.
func (e *Engine) endReplay(ctx context.Context, job replay.Job, err error) error {
	jobs := replay.Jobs{DB: e.db}
	canceled := errors.Is(context.Cause(ctx), errCanceled)
	if err != nil && !canceled && e.ctx.Err() != nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx)
	job.FinishedAt = time.Now().UTC()
	switch kept, gerr := jobs.Get(ctx, job.ID); {
	case gerr != nil:
		return gerr
	case kept.State == replay.Done || err == nil: // in place it is committed with the table
		job.State = replay.Done
		return jobs.Save(ctx, job)
	case canceled:
		job.State = replay.Canceling
		if err := jobs.Save(ctx, job); err != nil {
			return err
		}
		if err := e.undoReplay(ctx, job); err != nil {
			return err
		}
		job.State = replay.Canceled
		return jobs.Save(ctx, job)
	}
	e.log.Error("a replay failed", "id", job.ID, "error", err)
	job.State, job.Error = replay.Failed, "an internal fault; see the log"
	var known *tarn.Error
	if errors.As(err, &known) {
		job.Error = known.Detail
		if known.Hint != "" {
			job.Error += "; " + known.Hint
		}
	}
	if err := e.undoReplay(ctx, job); err != nil {
		return err
	}
	return jobs.Save(ctx, job)
}

// undoReplay removes what an unfinished replay has made.
func (e *Engine) undoReplay(ctx context.Context, job replay.Job) error {
	if job.Into != "" {
		return e.store.Drop(ctx, job.Into)
	}
	return e.store.Aside(job.ID, job.Table).Drop(ctx)
}

// resumeReplays takes up what the end of the process before cut off.
func (e *Engine) resumeReplays(ctx context.Context) error {
	unfinished, err := replay.Jobs{DB: e.db}.List(ctx, true)
	if err != nil {
		return err
	}
	running := map[string]bool{}
	for _, job := range unfinished {
		running[job.ID] = true
	}
	built, err := e.store.Asides(ctx)
	if err != nil {
		return err
	}
	for id, table := range built {
		if !running[id] {
			if err := e.store.Aside(id, table).Drop(ctx); err != nil {
				return err
			}
		}
	}
	for _, job := range unfinished {
		if job.State == replay.Canceling {
			if err := e.undoReplay(ctx, job); err != nil {
				return err
			}
			job.State = replay.Canceled
			if err := (replay.Jobs{DB: e.db}).Save(ctx, job); err != nil {
				return err
			}
			continue
		}
		free := func() {}
		if job.Into == "" {
			if free, err = e.replays.claim(job.Table); err != nil {
				return err
			}
		}
		e.runReplay(job, free)
	}
	return nil
}
