package function_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/function"
)

func TestLogs(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	p := start(t, function.Options{Spec: python("app.act"), Logs: logs})
	for i, event := range []string{`{"print":"one\ntwo"}`, `{"error":"three ü","log":"four"}`} {
		if _, err := p.Invoke(t.Context(), function.Invocation{Payload: []byte(event), RequestID: fmt.Sprint("r", i), Pipeline: "telemetry"}); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, l := range logs.Tail(-1) {
		if l.Time.IsZero() || l.Function != "tested" || l.Pipeline != "telemetry" {
			t.Errorf("%+v", l)
		}
		_, text, logged := strings.Cut(l.Line, "Z\t") // behind level and time of the logging module
		if !logged {
			text = l.Line
		}
		got = append(got, l.RequestID+" "+l.Stream+" "+text)
	}
	want := []string{"r0 stdout one", "r0 stdout two", "r1 stderr three ü", "r1 stdout four"}
	if len(got) == 4 && got[2] == want[3] { // two streams have no common order
		got[2], got[3] = got[3], got[2]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLogsOfNode(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	p := start(t, function.Options{Spec: node("app.print"), Logs: logs})
	for i := range 5 {
		before := len(logs.Tail(-1))
		if _, err := p.Invoke(t.Context(), function.Invocation{Payload: fmt.Appendf(nil, `{"n":%d}`, i), RequestID: fmt.Sprint("r", i)}); err != nil {
			t.Fatal(err)
		}
		lines := logs.Tail(-1)[before:]
		if len(lines) != 2 || lines[0].RequestID != fmt.Sprint("r", i) || lines[1].RequestID != fmt.Sprint("r", i) {
			t.Errorf("%+v", lines)
		}
	}
}

// TestLineWithoutEnd: the end of an invocation ends its last line.
func TestLineWithoutEnd(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	p := start(t, function.Options{Spec: node("app.bit"), Logs: logs})
	for i := range 3 {
		must(t, p, fmt.Sprint(i))
		if lines := logs.Tail(-1); len(lines) != i+1 || lines[i].Line != fmt.Sprint("bit ", i) {
			t.Fatalf("%+v", lines)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	spec := python("app.act")
	spec.Concurrency = 1 // the rate is that of a worker
	p := start(t, function.Options{Spec: spec, Logs: logs})
	must(t, p, fmt.Sprintf(`{"print":%q}`, strings.Repeat("x", 100_000)))
	if l := logs.Tail(1); len(l[0].Line) > 9000 || !strings.HasSuffix(l[0].Line, "…") {
		t.Errorf("a line of %d bytes", len(l[0].Line))
	}
	must(t, p, `{"spam":20000}`)
	time.Sleep(1100 * time.Millisecond)
	must(t, p, `{"print":"last"}`)
	lines := logs.Tail(-1)
	if len(lines) > 5000 || lines[len(lines)-1].Line != "last" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1].Line)
	}
	dropped := lines[len(lines)-2]
	if dropped.Stream != function.System || !strings.Contains(dropped.Line, "lines left out") {
		t.Errorf("%+v", dropped)
	}
}

func TestWhyAWorkerEndedIsLogged(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	p := start(t, function.Options{Spec: python("app.act"), Logs: logs})
	_, err := invoke(t, p, `{"exit":4}`)
	var exit *function.ExitError
	if !errors.As(err, &exit) {
		t.Fatal(err)
	}
	last := logs.Tail(1)[0]
	if last.Stream != function.System || !strings.Contains(last.Line, "exit status 4") || last.RequestID == "" {
		t.Errorf("%+v", last)
	}
}

func TestFollow(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	logs.Append(function.Line{Line: "0"})
	logs.Append(function.Line{Line: "1"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n := 1
	for line := range logs.Follow(ctx, 1) {
		if line.Line != fmt.Sprint(n) {
			t.Fatalf("got %q, want %d", line.Line, n)
		}
		if n++; n == 100 {
			break
		}
		go logs.Append(function.Line{Line: fmt.Sprint(n)})
	}
	if n != 100 {
		t.Errorf("ended at %d: %v", n, ctx.Err())
	}
	cancel()
	for range logs.Follow(ctx, 0) {
		t.Error("a line after the end")
	}
}

// TestLogsModel compares Logs with a plain list.
func TestLogsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		maxLines := rapid.IntRange(1, 20).Draw(t, "lines")
		logs := function.NewLogs(function.LogsOptions{MaxLines: maxLines, MaxBytes: 2000})
		var all []function.Line
		for i := range rapid.IntRange(0, 60).Draw(t, "appends") {
			line := function.Line{Line: strings.Repeat("x", rapid.IntRange(0, 300).Draw(t, "length")), RequestID: fmt.Sprint(i)}
			logs.Append(line)
			all = append(all, line)
			got := logs.Tail(-1)
			size := 0
			for _, l := range got {
				size += len(l.Line)
			}
			if len(got) == 0 || len(got) > maxLines || size > 2000 {
				t.Fatalf("%d lines, %d bytes", len(got), size)
			}
			if diff := cmp.Diff(all[len(all)-len(got):], got); diff != "" {
				t.Fatal(diff)
			}
			n := rapid.IntRange(0, 25).Draw(t, "tail")
			if tail := logs.Tail(n); len(tail) != min(n, len(got)) {
				t.Fatalf("Tail(%d) of %d gives %d", n, len(got), len(tail))
			}
		}
	})
}

func TestLineAsJSON(t *testing.T) {
	b, err := json.Marshal(function.Line{Time: time.Unix(0, 0).UTC(), Function: "f", RequestID: "r", Pipeline: "p", Stream: function.Stdout, Line: "x"})
	want := `{"time":"1970-01-01T00:00:00Z","function":"f","request_id":"r","pipeline":"p","stream":"stdout","line":"x"}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}
