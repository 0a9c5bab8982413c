package function_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

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

func second[A, B any](_ A, b B) B { return b }

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
