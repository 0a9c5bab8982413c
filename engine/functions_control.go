package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
)

// Functions describes the functions of the project in order of name.
func (e *Engine) Functions(context.Context) ([]server.FunctionDoc, error) {
	p := e.running.Load().project
	if p == nil {
		return nil, nil
	}
	var docs []server.FunctionDoc
	for _, spec := range p.Functions {
		if h := e.functions.get(spec.Name); h != nil {
			docs = append(docs, functionDoc(p, h))
		}
	}
	return docs, nil
}

func functionDoc(p *project.Project, h *hosted) server.FunctionDoc {
	f, pool, st := h.spec, h.host.Pool(), h.host.Stats()
	d := server.FunctionDoc{
		Name: f.Name, Runtime: string(f.Runtime), Handler: f.Handler, Version: h.version, State: st.State,
		Workers: st.Workers, Busy: st.Busy, Waiting: st.Waiting, Invocations: st.Invocations, Errors: st.Errors, Timeouts: st.Timeouts,
		Crashes: st.Crashes, InitErrors: st.InitErrors, ColdStarts: st.ColdStarts, ColdStartMS: milliseconds(st.ColdStart),
		P50MS: milliseconds(st.P50), P99MS: milliseconds(st.P99), LastError: st.LastError,
		Settings: server.FunctionSettingsDoc{Timeout: f.Timeout.String(), MemoryBytes: f.MemoryBytes, Concurrency: f.Concurrency, Network: f.Network, Sandbox: string(f.Sandbox),
			Retries: f.Retries, BatchRecords: f.Batch.Records, BatchBytes: f.Batch.Bytes, BatchWait: f.Batch.Wait.String(), Environment: f.Environment, Secrets: f.Secrets},
		Isolation: server.IsolationDoc{Summary: "none", Isolated: []string{}, Missing: []string{}}, Pipelines: []server.FunctionUseDoc{},
	}
	if !st.RetryAt.IsZero() {
		d.RetryAt = &st.RetryAt
	}
	if h.fault != nil {
		d.Fault = reason(h.fault)
	}
	if pool == nil {
		d.State = stateHeld
	} else {
		d.Settings.Concurrency = pool.Spec().Concurrency
		d.Isolation = isolationDoc(f, pool.Isolation())
	}
	for _, pipeline := range p.Pipelines {
		if src := pipeline.Source.Function; src != nil && src.Function == f.Name {
			d.Pipelines = append(d.Pipelines, server.FunctionUseDoc{Pipeline: pipeline.Name, As: "source"})
		}
		if slices.ContainsFunc(pipeline.Transforms, func(t project.Transform) bool { return t.Function == f.Name }) {
			d.Pipelines = append(d.Pipelines, server.FunctionUseDoc{Pipeline: pipeline.Name, As: "transform"})
		}
	}
	return d
}

func isolationDoc(f project.Function, is function.Isolation) server.IsolationDoc {
	d := server.IsolationDoc{Summary: "complete", Isolated: append([]string{}, is.Isolated...), Missing: append([]string{}, is.Missing...), Memory: is.Memory}
	switch {
	case f.Sandbox == project.SandboxOff:
		d.Summary = "off"
	case !is.Complete():
		d.Summary = "partial"
	}
	return d
}

// reason is why a function does not run, with what its code said.
func reason(err error) string {
	text := err.Error()
	var start *function.InitError
	if errors.As(err, &start) {
		for _, line := range start.Stack {
			text += "\n" + line
		}
	}
	return text
}

// Invoke runs a function on an event for a client. Its answer goes to the client alone.
func (e *Engine) Invoke(ctx context.Context, name string, in function.Invocation) ([]byte, error) {
	if e.functions.get(name) == nil {
		return nil, e.noFunction(name)
	}
	return e.invokeFunction(ctx, name, in)
}

// FunctionLogs returns the output of a function.
func (e *Engine) FunctionLogs(name string) (*function.Logs, error) {
	h := e.functions.get(name)
	if h == nil {
		return nil, e.noFunction(name)
	}
	return h.logs, nil
}

func (e *Engine) noFunction(name string) error {
	names := []string{}
	if p := e.running.Load().project; p != nil {
		for _, f := range p.Functions {
			names = append(names, f.Name)
		}
	}
	return server.NotFound("function", name, names)
}

// observe counts what a function does.
func (e *Engine) observe(name string) function.Observer {
	m := e.metrics
	took, cold, loaded := m.FunctionSeconds.WithLabelValues(name), m.FunctionColdStarts.WithLabelValues(name), m.FunctionColdSeconds.WithLabelValues(name)
	return function.Observer{
		Invoked: func(d time.Duration, err error) {
			m.FunctionInvocations.WithLabelValues(name, outcomeOf(err)).Inc()
			if err == nil {
				took.Observe(d.Seconds())
			}
		},
		Loaded: func(d time.Duration) {
			cold.Inc()
			loaded.Observe(d.Seconds())
		},
	}
}

// outcomeOf names how an invocation ended.
func outcomeOf(err error) string {
	var said *function.FunctionError
	var late *function.TimeoutError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &said):
		return "error"
	case errors.As(err, &late):
		return "timeout"
	case errors.Is(err, context.Canceled), errors.Is(err, function.ErrClosed):
		return "canceled"
	}
	return "crash"
}

// measureFunctions sets the gauges of the functions.
func (e *Engine) measureFunctions(g gauges) {
	p := e.running.Load().project
	if p == nil {
		return
	}
	for _, spec := range p.Functions {
		if h := e.functions.get(spec.Name); h != nil {
			st := h.host.Stats()
			g.set(float64(st.Busy), e.metrics.FunctionWorkers, spec.Name, "busy")
			g.set(float64(st.Workers-st.Busy), e.metrics.FunctionWorkers, spec.Name, "idle")
		}
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
