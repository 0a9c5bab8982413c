package function_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
)

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

func TestRuntimeThatDoesNotComeBack(t *testing.T) {
	spec := goSpec(t, "sticks")
	spec.Concurrency, spec.Timeout = 1, time.Second
	p := start(t, function.Options{Spec: spec})
	for range 2 {
		must(t, p, `{}`) // the second waits until the first worker is given up
	}
}
