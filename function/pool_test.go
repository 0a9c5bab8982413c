package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
)

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
