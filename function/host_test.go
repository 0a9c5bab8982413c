package function_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
)

// version writes a code folder whose handler answers with its version.
func version(t *testing.T, n int, code string) function.Spec {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	if code == "" {
		code = fmt.Sprintf("import time\ndef handler(event, context):\n    time.sleep(0.005)\n    return %d\n", n)
	}
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	return function.Spec{Name: "versioned", Dir: dir, Runtime: function.RuntimePython, Handler: "app.handler", Concurrency: 2}
}

func TestReplace(t *testing.T) {
	needs(t, function.RuntimePython)
	work := filepath.Join(t.TempDir(), "w")
	h := function.NewHost(function.Options{Spec: version(t, 1, ""), WorkDir: work})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var (
		callers sync.WaitGroup
		done    atomic.Bool
		newest  atomic.Int64
	)
	newest.Store(1)
	for range 3 {
		callers.Go(func() {
			for !done.Load() {
				least := newest.Load()
				out, err := h.Invoke(t.Context(), function.Invocation{Payload: []byte(`{}`)})
				var got int64
				if _, scan := fmt.Sscan(string(out), &got); err != nil || scan != nil || got < least {
					t.Errorf("version %s after %d, %v", out, least, err)
					return
				}
			}
		})
	}
	for n := 2; n <= 4; n++ {
		if err := h.Replace(t.Context(), version(t, n, "")); err != nil {
			t.Fatal(err)
		}
		newest.Store(int64(n))
	}
	var e *function.InitError
	if err := h.Replace(t.Context(), version(t, 5, "import nothing_there\n")); !errors.As(err, &e) {
		t.Errorf("a version that does not load: %v", err)
	}
	bad := version(t, 6, "")
	bad.Handler = "app"
	if err := h.Replace(t.Context(), bad); tarn.CodeOf(err) != tarn.CodeInvalid {
		t.Errorf("a version that is not valid: %v", err)
	}
	out, err := h.Invoke(t.Context(), function.Invocation{Payload: []byte(`{}`)})
	if err != nil || string(out) != "4" {
		t.Errorf("%s, %v", out, err)
	}
	done.Store(true)
	callers.Wait()
	until(t, "old versions are gone", func() bool { entries, _ := os.ReadDir(work); return len(entries) == 1 })
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	if _, err := h.Invoke(t.Context(), function.Invocation{}); !errors.Is(err, function.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := h.Replace(t.Context(), version(t, 7, "")); !errors.Is(err, function.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestHostHalfBuilt(t *testing.T) {
	h := function.NewHost(function.Options{WorkDir: filepath.Join(t.TempDir(), "w")})
	if err := h.Start(t.Context()); err == nil {
		t.Error("it started without a spec")
	}
	if s := h.Stats(); s.State != function.StateNew {
		t.Errorf("%+v", s)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestPoolModel sends random mixtures of invocations to one pool; each must end as it asked, whatever
// happens to the others, and the counts must add up.
func TestPoolModel(t *testing.T) {
	spec := python("app.act")
	spec.Concurrency = 3
	p := start(t, function.Options{Spec: spec})
	var sent, failed, crashed atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "ok", "ok", "raise", "ok", "raise", "ok", "ok", "ok", "exit"}), 1, 6).Draw(rt, "kinds")
		faults := make(chan string, len(kinds))
		var wg sync.WaitGroup
		for i, kind := range kinds {
			wg.Go(func() {
				sent.Add(1)
				event := map[string]string{"ok": `{}`, "raise": fmt.Sprintf(`{"raise":"r%d"}`, i), "exit": `{"exit":1}`}[kind]
				_, err := p.Invoke(t.Context(), function.Invocation{Payload: []byte(event)})
				var (
					f    *function.FunctionError
					exit *function.ExitError
				)
				switch {
				case kind == "ok" && err == nil:
					return
				case kind == "raise" && errors.As(err, &f) && f.Message == fmt.Sprint("r", i):
					failed.Add(1)
					return
				case kind == "exit" && errors.As(err, &exit):
					failed.Add(1)
					crashed.Add(1)
					return
				}
				faults <- fmt.Sprintf("%s ended with %v", kind, err)
			})
		}
		wg.Wait()
		close(faults)
		for f := range faults {
			rt.Error(f)
		}
		s := p.Stats()
		if s.Invocations != sent.Load() || s.Errors != failed.Load() || s.Busy != 0 || s.Waiting != 0 || s.Workers > 3 {
			rt.Errorf("%+v after %d sent, %d failed", s, sent.Load(), failed.Load())
		}
	})
	until(t, "all crashes are counted", func() bool { return p.Stats().Crashes == crashed.Load() })
	if s := p.Stats(); !strings.HasPrefix(s.State, "ready") && s.State != function.StateStarting && s.State != function.StateBackoff {
		t.Errorf("%+v", s)
	}
}
