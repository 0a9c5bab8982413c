package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
)

// start starts a pool and waits for its first worker. It is closed at the end of the test.
func start(t testing.TB, o function.Options) *function.Pool {
	t.Helper()
	p := prepare(t, o)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// prepare makes a pool that is closed at the end of the test.
func prepare(t testing.TB, o function.Options) *function.Pool {
	t.Helper()
	needs(t, o.Spec.Runtime)
	if o.Spec.Name == "" {
		o.Spec.Name = "tested"
	}
	if o.Spec.Dir == "" {
		o.Spec.Dir, _ = filepath.Abs(filepath.Join("testdata", o.Spec.Runtime))
	}
	if o.WorkDir == "" {
		o.WorkDir = filepath.Join(t.TempDir(), "work")
	}
	p := function.New(o)
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if _, err := os.Stat(o.WorkDir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("Close left %s behind: %v", o.WorkDir, err)
		}
	})
	return p
}

// needs skips the test where the interpreter is not installed.
func needs(t testing.TB, runtime string) {
	t.Helper()
	program := map[string]string{function.RuntimePython: "python3", function.RuntimeNode: "node"}[runtime]
	if program == "" {
		return
	}
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("NOTICE: %s is not installed on this machine; what it runs is not tested", program)
	}
}

func python(handler string) function.Spec {
	return function.Spec{Runtime: function.RuntimePython, Handler: handler}
}

func invoke(t testing.TB, p *function.Pool, event string) (string, error) {
	t.Helper()
	out, err := p.Invoke(t.Context(), function.Invocation{Payload: []byte(event), Pipeline: "telemetry"})
	return string(out), err
}

// must invokes and fails the test on an error.
func must(t testing.TB, p *function.Pool, event string) string {
	t.Helper()
	out, err := invoke(t, p, event)
	if err != nil {
		t.Fatalf("%s: %v", event, err)
	}
	return out
}

func TestConcurrentInvocations(t *testing.T) {
	spec := python("app.echo")
	spec.Concurrency = 3
	p := start(t, function.Options{Spec: spec})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			event := fmt.Sprintf(`{"n":%d}`, i)
			if out, err := invoke(t, p, event); err != nil || out != event {
				t.Errorf("%s: %s, %v", event, out, err)
			}
		})
	}
	wg.Wait()
	s := p.Stats()
	if s.Invocations != 200 || s.Errors != 0 || s.Workers != 3 || s.ColdStarts != 3 || s.Waiting != 0 || s.Busy != 0 || s.P50 <= 0 || s.P99 < s.P50 || s.ColdStart <= 0 {
		t.Errorf("%+v", s)
	}
}

func TestPayloads(t *testing.T) {
	p := start(t, function.Options{Spec: python("app.act")})
	t.Run("event of 6 MiB", func(t *testing.T) {
		event := `{"x":"` + strings.Repeat("x", function.MaxPayloadBytes-8) + `"}`
		must(t, p, event)
		if _, err := invoke(t, p, event+" "); tarn.CodeOf(err) != tarn.CodeTooLarge {
			t.Errorf("one byte more: %v", err)
		}
	})
	t.Run("answer of 6 MiB", func(t *testing.T) {
		if out := must(t, p, fmt.Sprintf(`{"large":%d}`, function.MaxPayloadBytes-2)); len(out) != function.MaxPayloadBytes {
			t.Errorf("%d bytes", len(out))
		}
		_, err := invoke(t, p, fmt.Sprintf(`{"large":%d}`, function.MaxPayloadBytes-1))
		if tarn.CodeOf(err) != tarn.CodeTooLarge {
			t.Errorf("one byte more: %v", err)
		}
		_, err = invoke(t, p, `{"large":30000000}`)
		if tarn.CodeOf(err) != tarn.CodeTooLarge {
			t.Errorf("30 MB: %v", err)
		}
		must(t, p, `{}`)
		if s := p.Stats(); s.Crashes != 0 {
			t.Errorf("%+v", s)
		}
	})
}

func TestTimeout(t *testing.T) {
	spec := python("app.act")
	spec.Timeout = time.Second // long enough for the other one on a busy machine
	spec.Concurrency = 2
	p := start(t, function.Options{Spec: spec})
	good := make(chan error, 1)
	go func() { _, err := invoke(t, p, `{"sleep":0.2}`); good <- err }()
	_, err := invoke(t, p, `{"sleep":60}`)
	var timeout *function.TimeoutError
	if !errors.As(err, &timeout) || tarn.CodeOf(err) != tarn.CodeTimeout || timeout.After < spec.Timeout {
		t.Fatalf("got %v", err)
	}
	if err := <-good; err != nil {
		t.Errorf("the invocation beside it: %v", err)
	}
	must(t, p, `{}`)
	if s := p.Stats(); s.Timeouts != 1 || s.Crashes != 0 {
		t.Errorf("%+v", s)
	}
	t.Run("deadline of the caller", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := p.Invoke(ctx, function.Invocation{Payload: []byte(`{"sleep":60}`)})
		if !errors.As(err, &timeout) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("caller goes away", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := p.Invoke(ctx, function.Invocation{Payload: []byte(`{"sleep":60}`)})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		must(t, p, `{}`)
	})
}

func TestWaitingCallerGoesAway(t *testing.T) {
	spec := python("app.act")
	spec.Concurrency = 1
	p := start(t, function.Options{Spec: spec})
	busy := make(chan error, 1)
	go func() { _, err := invoke(t, p, `{"sleep":0.3}`); busy <- err }()
	until(t, "the worker is busy", func() bool { return p.Stats().Busy == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.Invoke(ctx, function.Invocation{Payload: []byte(`{"exit":1}`)}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if err := <-busy; err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.Waiting != 0 || s.Crashes != 0 || s.ColdStarts != 1 {
		t.Errorf("%+v", s)
	}
}

func TestErrors(t *testing.T) {
	p := start(t, function.Options{Spec: python("app.act")})
	_, err := invoke(t, p, `{"raise":"no such wagon"}`)
	var f *function.FunctionError
	if !errors.As(err, &f) || f.Type != "ValueError" || f.Message != "no such wagon" || len(f.Stack) == 0 || !strings.Contains(f.Stack[0], "app.py") {
		t.Errorf("raise: %v, %+v", err, f)
	}
	if tarn.CodeOf(err) != function.CodeFailed {
		t.Errorf("code %s", tarn.CodeOf(err))
	}
	if _, err = invoke(t, p, `{"unserializable":1}`); !errors.As(err, &f) || f.Type != "TypeError" {
		t.Errorf("unserializable: %v", err)
	}
	if _, err = invoke(t, p, `not JSON`); !errors.As(err, &f) || f.Type != "JSONDecodeError" {
		t.Errorf("not JSON: %v", err)
	}
	_, err = invoke(t, p, `{"exit":3}`)
	var exit *function.ExitError
	if !errors.As(err, &exit) || exit.Status != "exit status 3" || len(exit.Stderr) == 0 || exit.Stderr[len(exit.Stderr)-1] != "leaving" {
		t.Errorf("exit: %v", err)
	}
	must(t, p, `{}`)
	if s := p.Stats(); s.Errors != 4 || s.Crashes != 1 || s.ColdStarts != 2 {
		t.Errorf("%+v", s)
	}
}

func TestInitErrors(t *testing.T) {
	for name, tc := range map[string]struct{ handler, kind, message string }{
		"module not there":   {"absent.handler", "ModuleNotFoundError", "absent"},
		"import fails":       {"broken.handler", "ModuleNotFoundError", "not_there"},
		"syntax":             {"wrong.handler", "SyntaxError", "expected ':'"},
		"no such function":   {"app.absent", "AttributeError", "Handler 'absent' missing"},
		"process ends":       {"leaves.handler", "", "exit status 3: no configuration"},
		"module in a folder": {"sub/deep.absent", "ModuleNotFoundError", "sub"},
	} {
		t.Run(name, func(t *testing.T) {
			p := prepare(t, function.Options{Spec: python(tc.handler)})
			if err := p.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, err := range []error{p.Ready(t.Context()), second(invoke(t, p, `{}`))} {
				var e *function.InitError
				if !errors.As(err, &e) || e.Type != tc.kind || !strings.Contains(e.Error(), tc.message) || tarn.CodeOf(err) != tarn.CodeUnavailable {
					t.Errorf("got %v (%+v)", err, e)
				}
			}
			if s := p.Stats(); s.InitErrors < 1 || s.Invocations != 0 || s.LastError == "" {
				t.Errorf("%+v", s)
			}
		})
	}
}

func second[A, B any](_ A, b B) B { return b }

func TestCrashLoopBacksOff(t *testing.T) {
	p := prepare(t, function.Options{Spec: python("leaves.handler")})
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	until(t, "it backs off", func() bool {
		s := p.Stats()
		return s.State == function.StateBackoff && s.InitErrors >= 2 && time.Until(s.RetryAt) > 50*time.Millisecond
	})
	begun := time.Now()
	if _, err := invoke(t, p, `{}`); err == nil || time.Since(begun) > 2*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	before := p.Stats().ColdStarts
	time.Sleep(time.Second)
	if n := p.Stats().ColdStarts - before; n > 4 {
		t.Errorf("%d starts in one second", n)
	}
}

func TestCrashesOfInvocationsDoNotFailOthers(t *testing.T) {
	spec := python("app.act")
	spec.Concurrency = 2
	p := start(t, function.Options{Spec: spec})
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			event := `{"sleep":0.001}`
			if i%5 == 0 {
				event = `{"exit":1}`
			}
			_, err := invoke(t, p, event)
			var exit *function.ExitError
			if i%5 == 0 && !errors.As(err, &exit) || i%5 != 0 && err != nil {
				t.Errorf("%s: %v", event, err)
			}
		})
	}
	wg.Wait()
}

func TestOneCallerNeedsOneWorker(t *testing.T) {
	spec := python("app.echo")
	spec.Concurrency = 4
	p := start(t, function.Options{Spec: spec})
	for range 300 {
		must(t, p, `{}`)
	}
	if s := p.Stats(); s.ColdStarts > 2 { // a second one where a worker takes 100 ms to come back
		t.Errorf("%+v", s)
	}
}

func TestRuntimeThatDoesNotComeBack(t *testing.T) {
	spec := goSpec(t, "sticks")
	spec.Concurrency, spec.Timeout = 1, time.Second
	p := start(t, function.Options{Spec: spec})
	for range 2 {
		must(t, p, `{}`) // the second waits until the first worker is given up
	}
}

func TestShrinks(t *testing.T) {
	spec := python("app.act")
	spec.Concurrency = 3
	p := start(t, function.Options{Spec: spec, IdleTimeout: 150 * time.Millisecond})
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() { must(t, p, `{"sleep":1}`) })
	}
	until(t, "three workers", func() bool { return p.Stats().Workers == 3 })
	wg.Wait()
	until(t, "one worker", func() bool { return p.Stats().Workers == 1 })
	must(t, p, `{}`)
	if s := p.Stats(); s.Crashes != 0 || s.Errors != 0 {
		t.Errorf("%+v", s)
	}
}

func TestDrain(t *testing.T) {
	spec := python("app.act")
	spec.Concurrency = 1
	p := start(t, function.Options{Spec: spec})
	results := make(chan error, 2)
	for range 2 { // one runs, one waits
		go func() { _, err := invoke(t, p, `{"sleep":0.2}`); results <- err }()
	}
	until(t, "one runs and one waits", func() bool { s := p.Stats(); return s.Busy == 1 && s.Waiting == 1 })
	drained := make(chan error, 1)
	go func() { drained <- p.Drain(t.Context()) }()
	until(t, "it drains", func() bool { return p.Stats().State == function.StateDraining })
	if _, err := invoke(t, p, `{}`); !errors.Is(err, function.ErrClosed) {
		t.Errorf("a new invocation: %v", err)
	}
	for range 2 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if err := <-drained; err != nil {
		t.Error(err)
	}
	if s := p.Stats(); s.State != function.StateClosed || s.Workers != 0 {
		t.Errorf("%+v", s)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	spec := python("app.act")
	spec.Concurrency = 1
	p := start(t, function.Options{Spec: spec})
	results := make(chan error, 2)
	for range 2 {
		go func() { _, err := invoke(t, p, `{"sleep":60}`); results <- err }()
	}
	until(t, "one runs and one waits", func() bool { s := p.Stats(); return s.Busy == 1 && s.Waiting == 1 })
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := <-results; !errors.Is(err, function.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
}

func TestCloseHalfBuilt(t *testing.T) {
	p := function.New(function.Options{})
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if err := p.Start(t.Context()); err == nil {
		t.Error("a closed pool started")
	}
	if _, err := p.Invoke(t.Context(), function.Invocation{}); !errors.Is(err, function.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestEnvironmentAndContext(t *testing.T) {
	t.Setenv("TARN_PRIVATE", "not for functions")
	spec := python("app.about")
	spec.Name = "about-1"
	spec.Environment = map[string]string{"COLOUR": "green", "TZ": "Europe/Berlin"}
	spec.Secrets = map[string]function.Secret{"PASSWORD": "hunter2"}
	p := start(t, function.Options{Spec: spec})
	out, err := p.Invoke(t.Context(), function.Invocation{Payload: []byte(`{}`), RequestID: "request-7"})
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Env                        map[string]string
		Cwd, Request, Memory, Name string
		Arn                        string
		Remaining, Calls           int
		Log, Fds                   []string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"COLOUR": "green", "TZ": "Europe/Berlin", "PASSWORD": "hunter2", "TARN_PRIVATE": "",
		"AWS_LAMBDA_FUNCTION_NAME": "about-1", "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
		"_HANDLER": "app.about", "LAMBDA_TASK_ROOT": got.Cwd, "AWS_REGION": "us-east-1",
	} {
		if got.Env[name] != want {
			t.Errorf("%s is %q, want %q", name, got.Env[name], want)
		}
	}
	if !strings.HasPrefix(got.Env["_X_AMZN_TRACE_ID"], "Root=1-") || !strings.HasPrefix(got.Env["AWS_LAMBDA_RUNTIME_API"], "127.0.0.1:") {
		t.Errorf("%v", got.Env)
	}
	if got.Request != "request-7" || got.Memory != "512" || got.Name != "about-1" || got.Remaining < 50_000 || got.Remaining > 60_000 || got.Calls != 1 || !strings.HasSuffix(got.Arn, ":function:about-1") {
		t.Errorf("%+v", got)
	}
	if len(got.Fds) > 4 { // the standard three and the connection
		t.Errorf("open descriptors: %q", got.Fds)
	}
}

// until waits for a condition.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not after 15 s: %s", what)
		}
	}
}

// copyFile copies an executable, for users who may not read the original.
func copyFile(t testing.TB, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
}
