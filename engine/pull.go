package engine

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/ingest/pull"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
)

// sourceFunction returns what runs the function that brings records into a pipeline, nil for a pipeline
// with another source.
func (e *Engine) sourceFunction(in *project.Project, spec project.Pipeline, s *stream.Stream) (*pull.Puller, error) {
	src := spec.Source.Function
	if src == nil {
		return nil, nil
	}
	f := in.Function(src.Function)
	if f == nil {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no function %q", src.Function)}
	}
	p, err := pull.New(pull.Options{
		Pipeline: spec.Name, Function: src.Function, CatchUp: src.CatchUp, Retries: f.Retries,
		Timetable: pull.Timetable{Schedule: src.Schedule, Every: src.Every, Continuous: src.Continuous},
		Invoke: func(ctx context.Context, event []byte, requestID string) ([]byte, error) {
			return e.invokeFunction(ctx, src.Function, function.Invocation{Payload: event, Pipeline: spec.Name, RequestID: requestID})
		},
		Stream: s, Shards: spec.Stream.Shards, KeyPath: spec.Stream.PartitionKey, Opaque: spec.Records == project.RecordsOpaque,
		Limits: record.Limits{RecordBytes: int(e.limits.RecordBytes)}, DB: e.db, Admit: e.admit, Ended: e.sourceRan, Logger: e.log,
	})
	if err != nil {
		return nil, err
	}
	_, paused := e.paused.Load(spec.Name)
	p.Pause(paused)
	return p, nil
}

// invokeFunction runs the version of a function that is current now. One of which none runs fails with
// the reason.
func (e *Engine) invokeFunction(ctx context.Context, name string, in function.Invocation) ([]byte, error) {
	h := e.functions.get(name)
	if h == nil {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no function %q", name)}
	}
	if h.host.Pool() == nil && h.fault != nil {
		return nil, h.fault
	}
	return h.host.Invoke(ctx, in)
}

// sourceRan counts a run that ended.
func (e *Engine) sourceRan(r pull.Run) {
	outcome := "ok"
	if r.State == pull.RunFailed {
		outcome = string(r.Code)
	}
	e.metrics.SourceRuns.WithLabelValues(r.Pipeline, outcome).Inc()
	e.metrics.SourceRecords.WithLabelValues(r.Pipeline).Add(float64(r.Records))
}

// describeSource describes the source of a pipeline, nil where it is not a function.
func describeSource(p *pipe) *server.SourceDoc {
	if p.puller == nil {
		return nil
	}
	src, st := p.spec.Source.Function, p.puller.Status()
	doc := &server.SourceDoc{
		Function: src.Function, When: pull.Timetable{Schedule: src.Schedule, Every: src.Every, Continuous: src.Continuous}.String(),
		State: st.State, Error: st.Error, Runs: st.Runs, FailedRuns: st.Failed, SkippedSlots: st.Skipped, Records: st.Records,
	}
	if !src.Continuous {
		doc.CatchUp = string(src.CatchUp)
	}
	if !st.Next.IsZero() {
		doc.NextRun = &st.Next
	}
	if st.Last != nil {
		doc.LastRun = runDoc(st.Last)
	}
	if p.sourceHeld != nil {
		doc.State, doc.Error = stateHeld, reason(p.sourceHeld)
	}
	return doc
}

func runDoc(r *pull.Run) *server.SourceRunDoc {
	d := &server.SourceRunDoc{Run: r.Number, Slot: r.Slot, State: r.State, Attempts: r.Attempts, Records: r.Records, Rejected: r.Rejected, Error: r.Error, StartedAt: r.Started}
	if !r.Finished.IsZero() {
		d.FinishedAt = &r.Finished
	}
	return d
}

// maxRunRows bounds the rows of system.runs (I8).
const maxRunRows = 10_000

// runRows are the rows of system.runs, newest first.
func runRows(ctx context.Context, e *Engine) ([][]any, error) {
	runs, err := pull.Runs(ctx, e.db, maxRunRows)
	if err != nil {
		return nil, err
	}
	rows := make([][]any, len(runs))
	for i, r := range runs {
		var rejects any
		if len(r.Rejects) > 0 {
			doc, err := json.Marshal(r.Rejects)
			if err != nil {
				return nil, err
			}
			rejects = json.RawMessage(doc)
		}
		rows[i] = []any{r.Pipeline, r.Number, r.Function, r.Slot, r.State, r.Attempts, r.Records, r.Rejected, rejects, textOrNull(string(r.Code)), textOrNull(r.Error),
			timeOrNull(r.Started), timeOrNull(r.Finished)}
	}
	return rows, nil
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}
