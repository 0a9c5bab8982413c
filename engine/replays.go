package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/replay"
	"github.com/tarn-data/tarn/server"
)

// replays says what is being done to the past of which table.
type replays struct {
	mu      sync.Mutex
	settled map[string]int  // how many requests settle failed records of the table
	remade  map[string]bool // a replay replaces rows of the table
	jobs    map[string]*replaying
}

// replaying is a replay that runs.
type replaying struct {
	cancel context.CancelCauseFunc
	done   atomic.Uint64 // records that are converted
	began  time.Time     // in this process
	ended  chan struct{}
}

// share lets failed records of a table be settled, unless a replay replaces rows of the table.
func (r *replays) share(table string) (done func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.remade[table] {
		return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: "a replay is replacing rows of " + table, Hint: "wait for it (tarn replay ls), or cancel it"}
	}
	if r.settled == nil {
		r.settled = map[string]int{}
	}
	r.settled[table]++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.settled[table]--
	}, nil
}

// claim keeps others from the rows and failed records of a table.
func (r *replays) claim(table string) (done func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.remade[table]:
		return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: "another replay is replacing rows of " + table, Hint: "wait for it (tarn replay ls), or cancel it"}
	case r.settled[table] > 0:
		return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: "failed records of " + table + " are being retried or discarded", Hint: "try again in a moment"}
	}
	if r.remade == nil {
		r.remade = map[string]bool{}
	}
	r.remade[table] = true
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.remade, table)
	}, nil
}

// CancelReplay ends a replay and removes what it has made. It waits for that.
func (e *Engine) CancelReplay(ctx context.Context, id string) (server.ReplayDoc, error) {
	e.replays.mu.Lock()
	r := e.replays.jobs[id]
	e.replays.mu.Unlock()
	if r != nil {
		r.cancel(errCanceled)
		select {
		case <-r.ended:
		case <-ctx.Done():
			return server.ReplayDoc{}, ctx.Err()
		}
	}
	doc, err := e.Replay(ctx, id)
	if err == nil && r == nil {
		err = &tarn.Error{Code: tarn.CodeConflict, Detail: "the replay " + id + " does not run: it is " + doc.State}
	}
	return doc, err
}

// Replay describes one replay.
func (e *Engine) Replay(ctx context.Context, id string) (server.ReplayDoc, error) {
	job, err := replay.Jobs{DB: e.db}.Get(ctx, id)
	return e.replayDoc(job), err
}

// Replays lists the last replays, the newest first.
func (e *Engine) Replays(ctx context.Context) ([]server.ReplayDoc, error) {
	jobs, err := replay.Jobs{DB: e.db}.List(ctx, false)
	var docs []server.ReplayDoc
	for _, j := range jobs {
		docs = append(docs, e.replayDoc(j))
	}
	return docs, err
}

func (e *Engine) replayDoc(j replay.Job) server.ReplayDoc {
	d := server.ReplayDoc{ID: j.ID, Pipeline: j.Pipeline, Table: j.Table, Into: j.Into, Source: j.Source, From: j.From, To: j.To, State: string(j.State), Error: j.Error,
		Records: j.Records, Rows: j.Result.Rows, Failed: j.Result.Failed, Partitions: j.Result.Partitions, Whole: j.Result.Whole, StartedAt: j.StartedAt}
	for shard, r := range j.Ranges {
		if r.From < r.Next {
			d.Ranges = append(d.Ranges, server.ReplayRange{First: tarn.Position{Shard: shard, Offset: r.From}, Last: tarn.Position{Shard: shard, Offset: r.Next - 1}})
		}
	}
	if !j.FinishedAt.IsZero() {
		d.FinishedAt = &j.FinishedAt
	}
	if j.State == replay.Done {
		d.Done = j.Records
	}
	e.replays.mu.Lock()
	r := e.replays.jobs[j.ID]
	e.replays.mu.Unlock()
	if r != nil && j.State == replay.Done { // committed, and being tidied up
		d.State, d.FinishedAt = string(replay.Running), nil
	}
	if r != nil && j.State == replay.Running {
		d.Done = min(r.done.Load(), j.Records)
		if took := time.Since(r.began).Seconds(); took > 0 {
			d.RecordsPerSecond = float64(d.Done) / took
		}
	}
	return d
}
