package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/server"
)

// withFunctions is a server whose function f answers its event and fails as the event says.
func withFunctions(t *testing.T, logs *function.Logs) *fixture {
	known := func(name string) error {
		if name != "f" {
			return server.NotFound("function", name, []string{"f"})
		}
		return nil
	}
	return (&fixture{control: server.Control{
		Functions: func(context.Context) ([]server.FunctionDoc, error) { return []server.FunctionDoc{{Name: "f"}}, nil },
		Invoke: func(_ context.Context, name string, in function.Invocation) ([]byte, error) {
			if err := known(name); err != nil {
				return nil, err
			}
			failed := &tarn.Error{Code: function.CodeFailed, Detail: "function f answered with an error"}
			switch string(in.Payload) {
			case `"refuse"`:
				failed.Err = &function.FunctionError{Type: "ValueError", Message: "no", Stack: []string{"line 1"}}
				return nil, failed
			case `"end"`:
				failed.Err = &function.ExitError{Status: "exit status 3", Stderr: []string{"oh"}}
				return nil, failed
			case `"load"`:
				return nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "function f does not start", Err: &function.InitError{FunctionError: function.FunctionError{Type: "ImportError"}}}
			}
			return fmt.Appendf(nil, `{"event":%s,"pipeline":%q}`, in.Payload, in.Pipeline), nil
		},
		FunctionLogs: func(name string) (*function.Logs, error) { return logs, known(name) },
	}}).open(t, nil)
}

func TestInvoke(t *testing.T) {
	f := withFunctions(t, nil)
	for body, want := range map[string]string{`{"a":1}`: `{"event":{"a":1},"pipeline":"p"}`, "": `{"event":{},"pipeline":"p"}`, "7": `{"event":7,"pipeline":"p"}`} {
		resp, got := f.call(t, "POST", "/v1/functions/f/invocations?pipeline=p", body)
		if resp.StatusCode != 200 || got != want || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("Tarn-Request-Id") == "" {
			t.Errorf("%s: %d %s", body, resp.StatusCode, got)
		}
	}
	for _, c := range []struct {
		path, body string
		status     int
		code, says string
	}{
		{"f", `"refuse"`, 502, "function_failed", `map[message:no stack:[line 1] type:ValueError]`},
		{"f", `"end"`, 502, "function_failed", `map[status:exit status 3 stderr:[oh]]`},
		{"f", `"load"`, 503, "unavailable", `map[type:ImportError]`},
		{"f", `{`, 400, "invalid", "<nil>"},
		{"g", `{}`, 404, "not_found", "<nil>"},
		{"f", `"` + strings.Repeat("x", function.MaxPayloadBytes) + `"`, 413, "too_large", "<nil>"},
	} {
		status, p := f.problem(t, "POST", "/v1/functions/"+c.path+"/invocations", c.body)
		if status != c.status || p["code"] != c.code || fmt.Sprint(p["error"]) != c.says || p["request_id"] == "" {
			t.Errorf("%.20s: %d %v", c.body, status, p)
		}
	}
	if resp, body := f.call(t, "GET", "/v1/functions/f", ""); resp.StatusCode != 200 || !strings.Contains(body, `"name":"f"`) {
		t.Errorf("%d %s", resp.StatusCode, body)
	}
	if status, p := f.problem(t, "GET", "/v1/functions/g", ""); status != 404 || p["hint"] != "there is f" {
		t.Errorf("%d %v", status, p)
	}
}

func TestFunctionLogs(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	for i := range 5 {
		logs.Append(function.Line{Function: "f", RequestID: fmt.Sprint("r", i%2), Stream: function.Stdout, Line: fmt.Sprint(i)})
	}
	f := withFunctions(t, logs)
	for query, want := range map[string]string{"": "01234", "?n=2": "34", "?n=0": "", "?request_id=r1": "13", "?request_id=r0&n=1": "4", "?request_id=x": ""} {
		resp, body := f.call(t, "GET", "/v1/functions/f/logs"+query, "")
		got := ""
		for line := range strings.Lines(body) {
			var l function.Line
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Fatal(err)
			}
			got += l.Line
		}
		if got != want || resp.Header.Get("Content-Type") != "application/x-ndjson" {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
	for query, code := range map[string]string{"?n=-1": "invalid", "?n=x": "invalid", "?follow=perhaps": "invalid", "?lines=3": "invalid"} {
		if _, p := f.problem(t, "GET", "/v1/functions/f/logs"+query, ""); p["code"] != code {
			t.Errorf("%s: %v", query, p)
		}
	}
	if status, _ := f.problem(t, "GET", "/v1/functions/g/logs", ""); status != 404 {
		t.Error(status)
	}
}

// TestFollowLogs: lines come as they are written, and the end of the server is a clean end.
func TestFollowLogs(t *testing.T) {
	logs := function.NewLogs(function.LogsOptions{})
	logs.Append(function.Line{Function: "f", Line: "before"})
	f := withFunctions(t, logs)
	ln, err := server.Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	served := make(chan error)
	go func() { served <- server.Serve(ctx, ln, f.handler, time.Minute, slog.New(slog.DiscardHandler)) }()
	resp, err := http.Get("http://" + ln.Addr().String() + "/v1/functions/f/logs?follow=true&n=1")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body := bufio.NewReader(resp.Body)
	for i, want := range []string{"before", "line 1", "line 2"} {
		if i > 0 {
			logs.Append(function.Line{Function: "f", Line: want})
		}
		if line, err := body.ReadString('\n'); err != nil || !strings.Contains(line, want) {
			t.Fatalf("%q, %v; want %s", line, err, want)
		}
	}
	began := time.Now()
	stop()
	if _, err := body.ReadByte(); err != io.EOF {
		t.Errorf("the follower sees %v", err)
	}
	if err := <-served; err != nil || time.Since(began) > 20*time.Second {
		t.Errorf("served until %s: %v", time.Since(began), err)
	}
}
