package pull

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/function/schedule"
)

// maxCheckpoint bounds the state that a function may return, which travels in every event.
const maxCheckpoint = 256 << 10

// run brings a run to its end. An error leaves it as it is stored.
func (p *Puller) run(ctx context.Context, r *run) error {
	p.set(func(s *Status) { s.State, s.Error, s.Next = StateRunning, "", time.Time{} })
	if r.State == RunRunning {
		if err := p.answer(ctx, r); err != nil {
			return err
		}
	}
	if r.State == RunAnswered {
		if err := p.fill(ctx, r); err != nil {
			return err
		}
	}
	r.Finished = p.o.Clock().UTC()
	var checkpoint []byte
	if r.State == RunDone {
		checkpoint = schedule.State(r.answer)
	}
	if err := p.saveEnd(ctx, r, checkpoint); err != nil {
		return err
	}
	p.report(r)
	return nil
}

// report tells of the end of a run, and when the next one of a continuous source may begin.
func (p *Puller) report(r *run) {
	log := p.o.Logger.With("run", r.Number, "slot", r.Slot)
	rest := time.Duration(0)
	if r.State == RunFailed {
		p.failures++
		rest = pause(p.o.RetryPause, p.failures, maxFailPause)
		log.Error("the run of a source function failed; the next slot goes on", "attempts", r.Attempts, "code", r.Code, "why", r.Error, "records", r.Records)
	} else {
		p.failures = 0
		if r.Records == 0 {
			rest = p.o.IdlePause
		}
		log.Debug("a source function has run", "records", r.Records)
	}
	if r.Rejected > 0 {
		log.Warn("a source function answered what are no records", "rejected", r.Rejected, "first", r.Rejects[0].Detail, "index", r.Rejects[0].Index)
	}
	p.notBefore = r.Finished.Add(rest)
	p.o.Ended(r.Run)
}

// answer invokes the function until it answers or its attempts are used up, and stores the answer.
func (p *Puller) answer(ctx context.Context, r *run) error {
	event := p.event(r)
	for {
		answer, err := p.o.Invoke(ctx, event, fmt.Sprintf("%s.%d", p.runID(r), r.Attempts+1))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, function.ErrClosed) { // being replaced or stopped: not the fault of this run
			if err := sleep(ctx, p.o.RetryPause); err != nil {
				return err
			}
			continue
		}
		r.Attempts++
		if err == nil {
			err = check(answer)
		}
		if err == nil {
			return p.accept(ctx, r, answer)
		}
		if r.Attempts > p.o.Retries {
			p.fail(r, err)
			return nil
		}
		p.set(func(s *Status) { s.State, s.Error = StateRetrying, describe(err).Detail })
		if err := sleep(ctx, pause(p.o.RetryPause, r.Attempts, maxRetryPause)); err != nil {
			return err
		}
	}
}

// check returns why an answer cannot be used.
func check(answer []byte) error {
	if _, err := schedule.Records(answer); err != nil {
		return err
	}
	if n := len(schedule.State(answer)); n > maxCheckpoint {
		return &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("the state that the function returned has %d bytes, more than %d", n, maxCheckpoint),
			Hint: "keep only what the next run needs to know"}
	}
	return nil
}

// accept stores the answer. From here on its records may be in the stream. One without records ends the
// run by itself.
func (p *Puller) accept(ctx context.Context, r *run, answer []byte) error {
	if records, err := schedule.Records(answer); err != nil || len(records) == 0 {
		r.State, r.answer = RunDone, answer
		return err
	}
	cursors, err := p.o.Stream.Cursors(ctx)
	if err != nil {
		return err
	}
	r.State, r.answer = RunAnswered, answer
	r.plan = plan{Version: planVersion, Arrival: p.o.Clock().UTC().Truncate(time.Microsecond), Shards: p.o.Shards, KeyPath: p.o.KeyPath, Opaque: p.o.Opaque,
		RecordBytes: p.o.Limits.RecordBytes, Depth: p.o.Limits.Depth, ChunkBytes: min(p.chunk, p.o.Stream.MaxMessage()/2), Cursors: cursors}
	return p.saveAnswer(ctx, r)
}

// fail makes r a failed run.
func (p *Puller) fail(r *run, err error) {
	e := describe(err)
	r.State, r.Code, r.Error = RunFailed, e.Code, e.Detail
}

// describe is an error as a person may read it: of a function that refused, what it said too.
func describe(err error) *tarn.Error {
	var known *tarn.Error
	if !errors.As(err, &known) {
		return &tarn.Error{Code: tarn.CodeInternal, Detail: err.Error()}
	}
	out := &tarn.Error{Code: known.Code, Detail: known.Detail}
	var start *function.InitError
	var said *function.FunctionError
	var ended *function.ExitError
	switch {
	case errors.As(err, &start):
		out.Detail += ": " + start.Error()
	case errors.As(err, &said):
		out.Detail += ": " + said.Error()
	case errors.As(err, &ended):
		out.Detail += ": " + ended.Status
	}
	return out
}

// event is the same for every attempt at a run.
func (p *Puller) event(r *run) []byte {
	state := json.RawMessage(p.source.checkpoint)
	if len(state) == 0 {
		state = json.RawMessage("null")
	}
	detail, _ := json.Marshal(map[string]json.RawMessage{"state": state}) // it was JSON when it was stored
	return schedule.Event{ID: p.runID(r), Pipeline: p.o.Pipeline, Slot: r.Slot, Detail: detail}.Append(nil)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
