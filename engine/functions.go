package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"sync"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/project"
)

// functions are the running functions of the project. Pipelines hold on to their hosts, which put a
// new version in place of an old one while records go through them.
type functions struct {
	mu     sync.Mutex
	byName map[string]*hosted
}

// hosted is one function. Its fields are guarded by functions.mu.
type hosted struct {
	spec    project.Function
	runs    project.Function // what runs, when that is not spec
	version string           // the digest of what runs, or would
	host    *function.Host
	logs    *function.Logs
	fault   error // why spec does not run; an older version may
}

// hosted returns the function of that name, or nil.
func (f *functions) get(name string) *hosted {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.byName[name]
}

// effective returns what runs, or would.
func (h *hosted) effective() project.Function {
	if h.fault != nil && h.host.Pool() != nil {
		return h.runs
	}
	return h.spec
}

// applyFunctions starts the functions that are new and replaces those that have changed. One that does
// not start holds back the pipelines that need it; one whose new version does not start goes on as before.
func (e *Engine) applyFunctions(ctx context.Context, p *project.Project) (short []shortfall) {
	f := &e.functions
	for _, spec := range p.Functions {
		was := f.get(spec.Name)
		if was != nil && was.fault == nil && reflect.DeepEqual(was.spec, spec) {
			continue
		}
		now, err := e.host(ctx, p, spec, was)
		if err != nil {
			state := stateHeld
			if now.host.Pool() != nil {
				state = stateBefore
			}
			short = append(short, shortfall{"function", spec.Name, state, err})
		}
		f.mu.Lock()
		if f.byName == nil {
			f.byName = map[string]*hosted{}
		}
		f.byName[spec.Name] = now
		f.mu.Unlock()
	}
	return short
}

// host starts a function, or its next version. When that does not start, the version that runs goes on.
func (e *Engine) host(ctx context.Context, p *project.Project, spec project.Function, was *hosted) (*hosted, error) {
	run, err := functionSpec(p, spec)
	if was != nil && was.host.Pool() != nil { // deliveries hold this host: it stays, whatever comes of the next version
		now := &hosted{spec: spec, version: spec.Digest, host: was.host, logs: was.logs}
		if err == nil {
			err = now.host.Replace(ctx, run)
		}
		if err != nil {
			now.version, now.runs, now.fault = was.version, was.effective(), err
			return now, err
		}
		e.log.Info("a new version of the function runs", "function", spec.Name, "version", spec.Digest)
		return now, nil
	}
	now := &hosted{spec: spec, version: spec.Digest, host: function.NewHost(function.Options{}), logs: function.NewLogs(function.LogsOptions{})}
	if err == nil {
		now.host = function.NewHost(function.Options{Spec: run, WorkDir: e.path("staging", "functions", spec.Name), Logger: e.log, Logs: now.logs, Observe: e.observe(spec.Name)})
		if err = now.host.Start(ctx); err == nil {
			e.sayIsolation(spec, now.host.Pool().Isolation())
		}
	}
	now.fault = err
	return now, err
}

// sayIsolation tells what a function is kept from, and plainly when that is not everything.
func (e *Engine) sayIsolation(spec project.Function, is function.Isolation) {
	switch {
	case spec.Sandbox == project.SandboxOff:
		e.log.Warn("the function runs without a sandbox, as its settings say: it can do what this process can", "function", spec.Name)
	case !is.Complete():
		e.log.Warn("this machine cannot isolate the function completely; sandbox: required would refuse it", "function", spec.Name, "isolation", is.String())
	default:
		e.log.Info("function started", "function", spec.Name, "isolation", is.String())
	}
}

// functionSpec is what a function of the project runs as.
func functionSpec(p *project.Project, f project.Function) (function.Spec, error) {
	env, err := f.Environ(os.LookupEnv)
	if err != nil {
		return function.Spec{}, err
	}
	secrets := map[string]function.Secret{}
	for _, name := range f.Secrets {
		secrets[name] = function.Secret(env[name])
		delete(env, name)
	}
	dir, err := filepath.EvalSymlinks(p.Path(f.Dir))
	if err != nil {
		return function.Spec{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the folder " + f.Dir + " cannot be read", Err: err}
	}
	return function.Spec{
		Name: f.Name, Dir: dir, Runtime: string(f.Runtime), Handler: f.Handler, Timeout: f.Timeout, MemoryBytes: f.MemoryBytes,
		Concurrency: f.Concurrency, Environment: env, Secrets: secrets, Network: f.Network, Sandbox: string(f.Sandbox), Retries: f.Retries,
	}, nil
}

// dropFunctions stops the functions that the project no longer has.
func (e *Engine) dropFunctions(p *project.Project) {
	f := &e.functions
	f.mu.Lock()
	var gone []*hosted
	for name, h := range f.byName {
		if p == nil || p.Function(name) == nil {
			gone = append(gone, h)
			delete(f.byName, name)
		}
	}
	f.mu.Unlock()
	for _, h := range gone {
		if err := h.host.Close(); err != nil {
			e.log.Warn("a function did not stop well", "function", h.spec.Name, "error", err)
		}
	}
}

// steps returns what a pipeline does to its records: the functions it calls, and the SQL after them.
func (e *Engine) steps(spec project.Pipeline) (calls []delivery.Function, steps []delivery.Step, err error) {
	for _, t := range spec.Transforms {
		if t.Kind() != project.StepFunction {
			steps = append(steps, delivery.Step{Transform: t, RowByRow: rowByRow(t.SQL)})
			continue
		}
		h := e.functions.get(t.Function)
		if h == nil {
			return nil, nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no function %q", t.Function)}
		}
		concurrency := h.spec.Concurrency
		if pool := h.host.Pool(); pool != nil { // else what calls it is held back
			concurrency = pool.Spec().Concurrency
		}
		calls = append(calls, delivery.Function{Name: t.Function, Host: h.host, Concurrency: concurrency,
			Records: h.spec.Batch.Records, Bytes: h.spec.Batch.Bytes, Wait: h.spec.Batch.Wait, Retries: h.spec.Retries})
	}
	return calls, steps, nil
}

// sameCalls reports whether the functions a pipeline calls are called alike; their code may differ.
func sameCalls(old, now *project.Project, spec project.Pipeline) bool {
	for _, name := range spec.Functions() {
		a, b := old.Function(name), now.Function(name)
		if a == nil || b == nil || a.Batch != b.Batch || a.Concurrency != b.Concurrency || a.Retries != b.Retries {
			return false
		}
	}
	return true
}
