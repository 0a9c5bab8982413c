package pull

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/record"
)

// TestState: what a run returns as state is what the next one gets, over a restart too.
func TestState(t *testing.T) {
	b := newBench(t, cron(t, "* * * * *"))
	b.after(30 * time.Second).after(time.Minute).restart().after(time.Minute)
	if want := []string{`{"n":0,"key":"k0"}`, `{"n":1,"key":"k1"}`, `{"n":2,"key":"k0"}`, `{"n":3,"key":"k1"}`, `{"n":4,"key":"k0"}`, `{"n":5,"key":"k1"}`}; !slices.Equal(contents(t, b.stream), want) {
		t.Errorf("%q", contents(t, b.stream))
	}
	if len(b.events) != 3 || !b.events[2].Time.Equal(at("03:03:00")) || b.events[2].ID == b.events[1].ID {
		t.Errorf("%+v", b.events)
	}
	b.answer = func(event) ([]byte, error) { return []byte(`[]`), nil } // has no state: the last one stays
	b.after(time.Minute)
	b.answer = func(e event) ([]byte, error) { return count(e, 1), nil }
	b.after(time.Minute)
	if last := contents(t, b.stream); last[len(last)-1] != `{"n":6,"key":"k0"}` {
		t.Errorf("%q", last)
	}
	if st := b.p.Status(); st.Runs != 5 || st.Failed != 0 || st.Records != 7 || st.State != StateWaiting || !st.Next.Equal(at("03:06:00")) || st.Last.Records != 1 {
		t.Errorf("%+v", st)
	}
}

// TestFailure: a run whose attempts fail is recorded, keeps the state, and the next slot goes on.
func TestFailure(t *testing.T) {
	b := newBench(t, Timetable{Every: time.Minute})
	b.o.Retries = 2
	b.restart().after(30 * time.Second)
	refuse := &tarn.Error{Code: function.CodeFailed, Detail: "function f answered with an error", Err: &function.FunctionError{Type: "ValueError", Message: "no page"}}
	b.answer = func(event) ([]byte, error) { return nil, refuse }
	b.after(time.Minute)
	b.answer = func(e event) ([]byte, error) { return count(e, 1), nil }
	b.after(time.Minute)
	runs := b.runs()
	if len(b.events) != 5 || b.events[1].ID != b.events[3].ID || b.events[4].Detail.State != 2 {
		t.Errorf("%+v", b.events)
	}
	if r := runs[1]; r.State != RunFailed || r.Attempts != 3 || r.Code != function.CodeFailed || r.Error != "function f answered with an error: ValueError: no page" || !r.Slot.Equal(at("03:02:00")) {
		t.Errorf("%+v", r)
	}
	if runs[0].State != RunDone || runs[2].State != RunDone || b.p.Status().Failed != 1 || len(contents(t, b.stream)) != 3 {
		t.Errorf("%+v", runs)
	}
	for _, answer := range []string{`7`, `{"records":{}}`, `{"records":[],"state":"` + strings.Repeat("x", maxCheckpoint) + `"}`} {
		b.answer = func(event) ([]byte, error) { return []byte(answer), nil }
		b.after(time.Minute)
		if r := b.runs()[0]; r.State != RunFailed || r.Error == "" {
			t.Errorf("%.40s: %+v", answer, r)
		}
	}
}

// TestClosedIsNoFailure: a function that is being replaced does not use up an attempt.
func TestClosedIsNoFailure(t *testing.T) {
	b := newBench(t, Timetable{Every: time.Minute})
	n := 0
	b.answer = func(e event) ([]byte, error) {
		if n++; n < 5 {
			return nil, &tarn.Error{Code: tarn.CodeUnavailable, Err: function.ErrClosed}
		}
		return count(e, 1), nil
	}
	b.after(time.Minute)
	if r := b.runs()[0]; r.State != RunDone || r.Attempts != 1 {
		t.Errorf("%+v", r)
	}
}

// TestRejects: what is no record is counted and shown; the others go on.
func TestRejects(t *testing.T) {
	b := newBench(t, Timetable{Every: time.Minute})
	b.answer = func(event) ([]byte, error) {
		return []byte(`[{"a":1}, "", 7, "{\"a\":2}", "{\n\"a\":3}", "{\"a\":\"x\ny\"}", "{\"a\":4}\n{\"a\":5}", [1], {
			"a": 6}, null, "nonsense"]`), nil
	}
	b.after(time.Minute)
	got := contents(t, b.stream)
	for i, s := range got {
		got[i] = strings.Join(strings.Fields(s), "")
	}
	if want := []string{`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":6}`}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	r := b.runs()[0]
	var indexes []int
	for _, bad := range r.Rejects {
		indexes = append(indexes, bad.Index)
		if bad.Detail == "" || bad.Code != tarn.CodeInvalidJSON {
			t.Errorf("%+v", bad)
		}
	}
	slices.Sort(indexes)
	if r.Records != 4 || r.Rejected != 7 || !slices.Equal(indexes, []int{1, 2, 5, 6, 7, 9, 10}) {
		t.Errorf("%+v", r)
	}
}

// TestOpaque: records of a stream of bytes are taken as they are.
func TestOpaque(t *testing.T) {
	b := newBench(t, Timetable{Every: time.Minute})
	b.o.Opaque, b.o.Limits = true, record.Limits{RecordBytes: 8}
	b.restart()
	b.p.chunk = 10
	b.answer = func(event) ([]byte, error) { return []byte(`["a\nb", 7, "123456789", "", {"x":1}, "last"]`), nil }
	b.after(time.Minute)
	if got, want := contents(t, b.stream), []string{"a\nb", "7", "", `{"x":1}`, "last"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if r := b.runs()[0]; r.Records != 5 || r.Rejected != 1 || r.Rejects[0].Index != 2 || r.Rejects[0].Code != tarn.CodeRecordTooLarge {
		t.Errorf("%+v", r)
	}
}

// TestPause: no slot begins while paused; then catch_up decides about the missed ones.
func TestPause(t *testing.T) {
	for catchUp, want := range map[CatchUp]int{project.CatchUpOne: 1, project.CatchUpAll: 3, project.CatchUpNone: 0} {
		t.Run(string(catchUp), func(t *testing.T) {
			b := newBench(t, Timetable{Every: time.Minute})
			b.o.CatchUp = catchUp
			b.restart()
			b.p.Pause(true)
			b.after(time.Minute).after(2 * time.Minute)
			if len(b.events) != 0 || b.p.Status().State != StatePaused {
				t.Errorf("%d runs while paused; %+v", len(b.events), b.p.Status())
			}
			b.p.Pause(false)
			if b.step(); len(b.events) != want || b.p.Status().Skipped != int64(3-want) {
				t.Errorf("%d runs, want %d; %+v", len(b.events), want, b.p.Status())
			}
		})
	}
}

// TestContinuous: again at once after records, after a pause without any, later and later on failure.
func TestContinuous(t *testing.T) {
	b := newBench(t, Timetable{Continuous: true})
	b.o.IdlePause = 5 * time.Second
	b.events = nil
	n := 0
	b.answer = func(e event) ([]byte, error) {
		if n++; n%4 == 0 {
			return []byte(`[]`), nil
		}
		return count(e, 1), nil
	}
	b.restart() // three runs with records, then an empty one
	if len(b.events) < 4 || b.now.Before(b.events[0].Time.Truncate(time.Second)) {
		t.Fatalf("%d runs", len(b.events))
	}
	before := len(b.events)
	if wait := b.step(); wait != 5*time.Second || len(b.events) != before {
		t.Errorf("waits %s", wait)
	}
	b.after(5 * time.Second)
	if len(b.events) != before+4 {
		t.Errorf("%d runs after %d", len(b.events), before)
	}
	b.now = b.now.Add(-time.Hour) // the clock jumps back: it goes on all the same
	b.step()
	b.after(10 * time.Second)
	if len(b.events) < before+8 {
		t.Errorf("%d runs after the clock went back", len(b.events))
	}
	b.o.RetryPause = time.Second
	b.restart()
	b.answer = func(event) ([]byte, error) { return nil, &tarn.Error{Code: function.CodeFailed, Detail: "no"} }
	b.after(10 * time.Second)
	for _, want := range []time.Duration{2 * time.Second, 4 * time.Second, 8 * time.Second} {
		b.now = b.now.Add(time.Minute)
		if wait := b.step(); wait != want {
			t.Errorf("waits %s, want %s", wait, want)
		}
	}
}

// TestTwoProcesses: of two that run the same source, one begins a slot.
func TestTwoProcesses(t *testing.T) {
	b := newBench(t, Timetable{Every: time.Minute})
	other, err := New(b.o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.after(time.Minute)
	if _, err := other.step(t.Context()); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("%v", err)
	}
	if len(b.events) != 1 {
		t.Errorf("%d runs", len(b.events))
	}
}

// TestForgotten: where the stream lost sight of what a half appended run added to it, the run fails.
func TestForgotten(t *testing.T) {
	b := newBench(t, Timetable{Every: time.Minute})
	b.answer = func(e event) ([]byte, error) { return count(e, 50), nil }
	b.p.chunk = 100
	ctx, cancel := context.WithCancel(t.Context())
	appends := 0
	b.p.o.Admit = func() error {
		if appends++; appends == 4 {
			cancel()
			return errCrash
		}
		return nil
	}
	b.now = b.now.Add(time.Minute)
	if _, err := b.p.step(ctx); err == nil {
		t.Fatal("went on")
	}
	if n := len(contents(t, b.stream)); n == 0 || n == 50 {
		t.Fatalf("%d records", n)
	}
	if _, err := b.o.DB.Exec(t.Context(), `UPDATE pull_runs SET plan = replace(CAST(plan AS TEXT), '"Offset":0', '"Offset":1000000')`); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if r := b.runs()[0]; r.State != RunFailed || r.Code != tarn.CodeConflict || !strings.Contains(r.Error, "shard 0") {
		t.Errorf("%+v", r)
	}
}

// TestPython runs a real function on a real clock.
func TestPython(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	code := "def handler(event, context):\n    since = event['detail']['state'] or 0\n    print('from', since)\n" +
		"    if since == 4 and not context.aws_request_id.endswith('.2'):\n        raise ValueError('not at first')\n" +
		"    return {'records': [{'n': since + i} for i in range(4)], 'state': since + 4}\n"
	if err := os.WriteFile(filepath.Join(dir, "app.py"), []byte(code), 0o644); err != nil {
		t.Fatal(err)
	}
	host := function.NewHost(function.Options{Spec: function.Spec{Name: "f", Dir: dir, Runtime: function.RuntimePython, Handler: "app.handler"}, WorkDir: filepath.Join(t.TempDir(), "w")})
	if err := host.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	b := newBench(t, Timetable{Every: time.Second})
	var ended atomic.Int64
	b.o.Clock, b.o.Retries, b.o.Ended = nil, 1, func(Run) { ended.Add(1) }
	b.o.Pipeline = "python" // a source of its own
	b.o.Invoke = func(ctx context.Context, payload []byte, id string) ([]byte, error) {
		return host.Invoke(ctx, function.Invocation{Payload: payload, RequestID: id})
	}
	p, err := New(b.o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	for ended.Load() < 3 && ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	cancel()
	<-done
	var want []string
	for n := range 12 {
		want = append(want, fmt.Sprintf(`{"n":%d}`, n))
	}
	if got := contents(t, b.stream); !slices.Equal(got[:min(len(got), 12)], want) {
		t.Errorf("%q", got)
	}
	runs := b.runs()
	slices.Reverse(runs)
	if len(runs) < 3 || runs[1].Attempts != 2 || runs[0].Attempts != 1 || runs[1].State != RunDone || runs[1].Slot.Sub(runs[0].Slot) != time.Second {
		t.Errorf("%+v", runs)
	}
}
