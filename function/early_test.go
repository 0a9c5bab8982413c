package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/function"
)

// earlyClient is a runtime that asks for the next invocation before it answers one. Its third answer is
// what it was told.
func earlyClient() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime/invocation/"
	var told []string
	call := func(method, path, body string) http.Header {
		req, _ := http.NewRequest(method, base+path, strings.NewReader(body))
		req.Header.Set("Tarn-Early", "yes")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			os.Exit(1)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		_ = resp.Body.Close()
		id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
		told = append(told, fmt.Sprintf("%s %s: %d %s %t", method, path, resp.StatusCode, id, resp.Header.Get("Lambda-Runtime-Deadline-Ms") != ""))
		return resp.Header
	}
	if call("GET", "next", "").Get("Lambda-Runtime-Aws-Request-Id") != "1" {
		os.Exit(3) // before it asks for another one
	}
	call("GET", "next", "") // comes early
	call("GET", "next", "") // is one too many
	call("POST", "1/response", "{}")
	call("GET", "next", "")            // comes early
	time.Sleep(300 * time.Millisecond) // its caller goes away
	call("POST", "2/response", "{}")
	call("GET", "next", "")
	out, _ := json.Marshal(told)
	call("POST", "4/response", string(out))
	call("GET", "next", "")
	os.Exit(3) // before it asks for another one
}

func TestAskingEarly(t *testing.T) {
	spec := goSpec(t, "early")
	spec.Concurrency = 1
	p := start(t, function.Options{Spec: spec})
	type result struct {
		answer []byte
		err    error
	}
	send := func(ctx context.Context, id string) <-chan result {
		out := make(chan result, 1)
		go func() {
			answer, err := p.Invoke(ctx, function.Invocation{Payload: []byte("{}"), RequestID: id})
			out <- result{answer, err}
		}()
		return out
	}
	first := send(t.Context(), "1")
	until(t, "it runs", func() bool { return p.Stats().Busy == 1 })
	second := send(t.Context(), "2")
	if r := <-first; r.err != nil {
		t.Fatal(r.err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	third := send(ctx, "3")
	time.AfterFunc(100*time.Millisecond, cancel)
	if r := <-third; !errors.Is(r.err, context.Canceled) || p.Stats().Busy != 1 {
		t.Errorf("%v, %+v", r.err, p.Stats())
	}
	fourth := send(t.Context(), "4")
	if r := <-second; r.err != nil {
		t.Error(r.err)
	}
	want := []string{
		"GET next: 200 1 true",
		"GET next: 200 2 false",
		"GET next: 403  false",
		"POST 1/response: 202 2 true",
		"GET next: 200 3 false",
		"POST 2/response: 202  false",
		"GET next: 200 4 true",
	}
	r := <-fourth
	var got []string
	if err := json.Unmarshal(r.answer, &got); err != nil {
		t.Fatal(err, r.err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	r = <-send(t.Context(), "5") // every worker ends before it begins
	var exit *function.ExitError
	if s := p.Stats(); !errors.As(r.err, &exit) || exit.Status != "exit status 3" || s.Invocations != 4 || s.Crashes != 4 {
		t.Errorf("%v, %+v", r.err, s)
	}
}

// acts sends events to the handler act of Node, and counts what it ran.
type acts struct {
	t    *testing.T
	pool *function.Pool
	logs *function.Logs
}

// startActs starts a pool, and runs event 0: a worker asks early from its first large event on.
func startActs(t *testing.T, o function.Options) *acts {
	o.Spec.Runtime, o.Spec.Handler, o.Logs = function.RuntimeNode, "app.act", function.NewLogs(function.LogsOptions{})
	a := &acts{t: t, pool: start(t, o), logs: o.Logs}
	if got := a.send(0, ""); got.err != nil {
		t.Fatal(got.err)
	}
	return a
}

// act is the answer of the handler.
type act struct {
	N         int
	Version   string
	Remaining int
	err       error
}

func send(ctx context.Context, invoke func(context.Context, function.Invocation) ([]byte, error), n int, does string) (a act) {
	event := fmt.Appendf(nil, `{"n":%d%s,"text":"%065536d"}`, n, does, n)
	answer, err := invoke(ctx, function.Invocation{Payload: event, RequestID: fmt.Sprint("event-", n)})
	if a.err = err; err == nil {
		a.err = json.Unmarshal(answer, &a)
	}
	return a
}

func (a *acts) send(n int, does string) act { return send(a.t.Context(), a.pool.Invoke, n, does) }

// begin sends an event and waits until it runs or waits.
func (a *acts) begin(n int, does string) <-chan act {
	a.t.Helper()
	out := make(chan act, 1)
	before := a.pool.Stats()
	go func() { out <- a.send(n, does) }()
	until(a.t, "it runs or waits", func() bool {
		s := a.pool.Stats()
		return s.Busy+s.Waiting > before.Busy+before.Waiting
	})
	return out
}

// beginAhead sends an event and waits until a busy worker has been sent it early.
func (a *acts) beginAhead(n int, does string) <-chan act {
	a.t.Helper()
	out := a.begin(n, does)
	until(a.t, "it was sent early", func() bool { return a.pool.Ahead() == 1 })
	time.Sleep(20 * time.Millisecond) // until it is in the worker
	return out
}

// ran returns which events the handler was called for, sorted, once the workers have printed it. It fails
// the test when a line carries the wrong invocation.
func (a *acts) ran() (ns []int) {
	a.t.Helper()
	for _, line := range a.logs.Tail(-1) {
		var n int
		if _, err := fmt.Sscanf(line.Line, "ran %d", &n); err == nil {
			ns = append(ns, n)
		} else if _, err := fmt.Sscanf(line.Line, "end %d", &n); err != nil {
			continue
		}
		if line.RequestID != fmt.Sprint("event-", n) {
			a.t.Errorf("%q belongs to %s", line.Line, line.RequestID)
		}
	}
	slices.Sort(ns)
	return ns
}

func (a *acts) check(wanted ...int) {
	a.t.Helper()
	if diff := cmp.Diff(wanted, a.ran()); diff != "" {
		a.t.Errorf("the handler ran for: %s", diff)
	}
}

func TestEarlyEventHasItsOwnTime(t *testing.T) {
	a := startActs(t, function.Options{Spec: function.Spec{Concurrency: 1, Timeout: 4 * time.Second}})
	first := a.begin(1, `,"sleep":1500`)
	second := a.beginAhead(2, "")
	if got := <-first; got.err != nil || got.Remaining > 2500 {
		t.Errorf("%+v", got)
	}
	if got := <-second; got.err != nil || got.Remaining < 3000 || got.Remaining > 4000 {
		t.Errorf("%+v", got)
	}
	a.check(0, 1, 2)
	if s := a.pool.Stats(); s.P50 > time.Second || s.Invocations != 3 { // it did not run while it waited
		t.Errorf("%+v", s)
	}
}

// TestFaultsWithAnEventAhead lets one event fail while the next one is in the same worker already.
func TestFaultsWithAnEventAhead(t *testing.T) {
	var (
		exit    *function.ExitError
		failed  *function.FunctionError
		timeout *function.TimeoutError
	)
	for name, tc := range map[string]struct {
		does string
		is   func(error) bool
	}{
		"exit":           {`,"sleep":200,"exit":3`, func(err error) bool { return errors.As(err, &exit) && exit.Status == "exit status 3" }},
		"error":          {`,"sleep":200,"raise":"no such wagon"`, func(err error) bool { return errors.As(err, &failed) }},
		"timeout":        {`,"sleep":60000`, func(err error) bool { return errors.As(err, &timeout) }},
		"exit after it":  {`,"sleep":200,"leave":true`, func(err error) bool { return err == nil }},
		"no fault at it": {`,"sleep":200`, func(err error) bool { return err == nil }},
	} {
		t.Run(name, func(t *testing.T) {
			a := startActs(t, function.Options{Spec: function.Spec{Concurrency: 1, Timeout: time.Second}})
			first := a.begin(1, tc.does)
			second, third := a.beginAhead(2, ""), a.begin(3, "")
			if got := <-first; !tc.is(got.err) {
				t.Errorf("the one that ran: %v", got.err)
			}
			for n, result := range map[int]<-chan act{2: second, 3: third} {
				if got := <-result; got.err != nil || got.N != n {
					t.Errorf("event %d: %+v", n, got)
				}
			}
			a.check(0, 1, 2, 3)
			if s := a.pool.Stats(); s.Invocations != 4 || s.Waiting != 0 || s.Busy != 0 {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestAnotherWorkerTakesTheEventAhead: what was sent to a busy worker does not wait for it.
func TestAnotherWorkerTakesTheEventAhead(t *testing.T) {
	a := startActs(t, function.Options{Spec: function.Spec{Concurrency: 2}})
	long := a.begin(1, `,"sleep":2000`)
	short := a.begin(2, `,"sleep":700`) // starts the second worker, and may be sent to the first
	until(t, "both run", func() bool { return a.pool.Stats().Busy == 2 })
	ahead := a.beginAhead(3, "") // sent to the first, which has run longest
	if got := <-ahead; got.err != nil {
		t.Error(got.err)
	}
	if len(long) > 0 {
		t.Error("the event waited for the worker that it was sent to")
	}
	after := a.begin(4, `,"sleep":1500`)
	if got := <-short; got.err != nil {
		t.Error(got.err)
	}
	if got := <-long; got.err != nil {
		t.Error(got.err)
	}
	if got := a.send(5, ""); got.err != nil { // the first drops the third
		t.Error(got.err)
	}
	if got := <-after; got.err != nil {
		t.Error(got.err)
	}
	a.check(0, 1, 2, 3, 4, 5)
}

func TestCallerOfTheEventAheadGoesAway(t *testing.T) {
	a := startActs(t, function.Options{Spec: function.Spec{Concurrency: 1}})
	first := a.begin(1, `,"sleep":300`)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if got := send(ctx, a.pool.Invoke, 2, ""); !errors.Is(got.err, context.DeadlineExceeded) || a.pool.Ahead() != 1 {
		t.Errorf("%+v", got)
	}
	third := a.begin(3, "")
	for _, result := range []<-chan act{first, third} {
		if got := <-result; got.err != nil {
			t.Error(got.err)
		}
	}
	a.check(0, 1, 3)
	if s := a.pool.Stats(); s.Crashes != 0 || s.ColdStarts != 1 {
		t.Errorf("%+v", s)
	}
}

func TestReplaceWithAnEventAhead(t *testing.T) {
	needs(t, function.RuntimeNode)
	code, _ := filepath.Abs("testdata/node")
	spec := func(version string) function.Spec {
		return function.Spec{Name: "versioned", Dir: code, Runtime: function.RuntimeNode, Handler: "app.act", Concurrency: 1, Environment: map[string]string{"VERSION": version}}
	}
	h := function.NewHost(function.Options{Spec: spec("old"), WorkDir: filepath.Join(t.TempDir(), "w")})
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	results := make(chan act, 2)
	send(t.Context(), h.Invoke, 0, "")
	for n := range 2 {
		go func() { results <- send(t.Context(), h.Invoke, n, `,"sleep":700`) }()
	}
	until(t, "one runs and one was sent early", func() bool { return h.Stats().Busy == 1 && h.Pool().Ahead() == 1 })
	if err := h.Replace(t.Context(), spec("new")); err != nil {
		t.Fatal(err)
	}
	if got := send(t.Context(), h.Invoke, 3, ""); got.Version != "new" {
		t.Errorf("%+v", got)
	}
	for range 2 {
		if got := <-results; got.err != nil || got.Version != "old" {
			t.Errorf("%+v", got)
		}
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
}

// TestEarlyModel sends random mixtures of events from several callers to two workers of Node. Each must end
// as it asked, and its handler must be called once, whatever happens to the events before and behind it.
func TestEarlyModel(t *testing.T) {
	checks := flag.Lookup("rapid.checks").Value.String()
	_ = flag.Set("rapid.checks", "40") // workers start in most of them
	defer func() { _ = flag.Set("rapid.checks", checks) }()
	a := startActs(t, function.Options{Spec: function.Spec{Concurrency: 2}})
	sent := []int{0}
	does := map[string]string{"ok": "", "slow": `,"sleep":20`, "raise": `,"raise":"r"`, "exit": `,"exit":1`, "leave": `,"leave":true`}
	rapid.Check(t, func(rt *rapid.T) {
		kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "slow", "ok", "raise", "ok", "slow", "ok", "exit", "leave"}), 1, 8).Draw(rt, "kinds")
		faults := make(chan string, len(kinds))
		var wg sync.WaitGroup
		for _, kind := range kinds {
			n := len(sent)
			sent = append(sent, n)
			wg.Go(func() {
				got := a.send(n, does[kind])
				var (
					f    *function.FunctionError
					exit *function.ExitError
				)
				if !(kind == "raise" && errors.As(got.err, &f) || kind == "exit" && errors.As(got.err, &exit)) && (got.err != nil || got.N != n) {
					faults <- fmt.Sprintf("%s %d ended with %v", kind, n, got.err)
				}
			})
		}
		wg.Wait()
		close(faults)
		for f := range faults {
			rt.Error(f)
		}
		if s := a.pool.Stats(); s.Invocations != int64(len(sent)) || s.Busy != 0 || s.Waiting != 0 {
			rt.Errorf("%+v after %d", s, len(sent))
		}
	})
	a.check(sent...)
}
