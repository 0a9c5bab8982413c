package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/function"
)

// sendAct sends event n to the handler act of Node and returns which event its answer is for.
func sendAct(ctx context.Context, p *function.Pool, n int, does string) (int, error) {
	event := fmt.Appendf(nil, `{"n":%d%s,"text":"%065536d"}`, n, does, n)
	answer, err := p.Invoke(ctx, function.Invocation{Payload: event, RequestID: fmt.Sprint("event-", n)})
	if err != nil {
		return 0, err
	}
	var a struct{ N int }
	return a.N, json.Unmarshal(answer, &a)
}

// ran returns which events the handler was called for, sorted. It fails the test when a line carries the
// wrong invocation.
func ran(t *testing.T, logs *function.Logs) (ns []int) {
	t.Helper()
	for _, line := range logs.Tail(-1) {
		var n int
		if _, err := fmt.Sscanf(line.Line, "ran %d", &n); err == nil {
			ns = append(ns, n)
		} else if _, err := fmt.Sscanf(line.Line, "end %d", &n); err != nil {
			continue
		}
		if line.RequestID != fmt.Sprint("event-", n) {
			t.Errorf("%q belongs to %s", line.Line, line.RequestID)
		}
	}
	slices.Sort(ns)
	return ns
}

// TestNodeModel sends random mixtures of events from several callers to two workers of Node. Each must end as it
// asked, and its handler must be called once, whatever happens to the events before and behind it.
func TestNodeModel(t *testing.T) {
	checks := flag.Lookup("rapid.checks").Value.String()
	_ = flag.Set("rapid.checks", "40") // workers start in most of them
	defer func() { _ = flag.Set("rapid.checks", checks) }()
	logs := function.NewLogs(function.LogsOptions{})
	spec := node("app.act")
	spec.Concurrency = 2
	p := start(t, function.Options{Spec: spec, Logs: logs})
	var sent []int
	does := map[string]string{"ok": "", "slow": `,"sleep":20`, "raise": `,"raise":"r"`, "exit": `,"exit":1`}
	rapid.Check(t, func(rt *rapid.T) {
		kinds := rapid.SliceOfN(rapid.SampledFrom([]string{"ok", "slow", "ok", "raise", "ok", "slow", "ok", "exit"}), 1, 8).Draw(rt, "kinds")
		faults := make(chan string, len(kinds))
		var wg sync.WaitGroup
		for _, kind := range kinds {
			n := len(sent)
			sent = append(sent, n)
			wg.Go(func() {
				got, err := sendAct(t.Context(), p, n, does[kind])
				var (
					f    *function.FunctionError
					exit *function.ExitError
				)
				if !(kind == "raise" && errors.As(err, &f) || kind == "exit" && errors.As(err, &exit)) && (err != nil || got != n) {
					faults <- fmt.Sprintf("%s %d ended with %v", kind, n, err)
				}
			})
		}
		wg.Wait()
		close(faults)
		for f := range faults {
			rt.Error(f)
		}
		if s := p.Stats(); s.Invocations != int64(len(sent)) || s.Busy != 0 || s.Waiting != 0 {
			rt.Errorf("%+v after %d", s, len(sent))
		}
	})
	if diff := cmp.Diff(sent, ran(t, logs)); diff != "" {
		t.Errorf("the handler ran for: %s", diff)
	}
}

// TestExitRightAfterAnAnswer: the answer counts, though its worker is dead when it is read.
func TestExitRightAfterAnAnswer(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	p := start(t, function.Options{Spec: node("app.act"), Logs: logs})
	var sent []int
	for n := range 4 {
		sent = append(sent, n)
		if got, err := sendAct(t.Context(), p, n, `,"leave":true`); err != nil || got != n {
			t.Errorf("%d: %v", got, err)
		}
		until(t, "its end was noticed", func() bool { return p.Stats().Crashes == int64(n+1) })
	}
	if diff := cmp.Diff(sent, ran(t, logs)); diff != "" {
		t.Errorf("the handler ran for: %s", diff)
	}
}
