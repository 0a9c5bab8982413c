package server_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/server"
)

func TestEveryCodeHasAStatus(t *testing.T) {
	for _, c := range []tarn.Code{tarn.CodeInvalid, tarn.CodeNotFound, tarn.CodeConflict, tarn.CodeTooLarge, tarn.CodeBusy, tarn.CodeUnavailable, tarn.CodeTimeout,
		tarn.CodeCanceled, tarn.CodeForbidden, tarn.CodeUnsupported, tarn.CodeInvalidJSON, tarn.CodeRecordTooLarge, tarn.CodeSchema} {
		if s := server.Status(c); s < 400 || s == 500 || s > 599 {
			t.Errorf("%s: %d", c, s)
		}
	}
	if server.Status(tarn.CodeInternal) != 500 || server.Status("made up") != 500 {
		t.Error("internal and unknown codes are 500")
	}
}

// members is an error with an extension member.
type members struct{ error }

func (m members) Unwrap() error { return m.error }

func (members) ProblemMembers() map[string]any { return map[string]any{"rejected": []int{1}} }

func TestProblem(t *testing.T) {
	var log lockedBuffer
	p := server.Problems{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	secret := errors.New("password=hunter2")
	for name, c := range map[string]struct {
		err        error
		status     int
		contains   string
		retryAfter string
	}{
		"plain":     {&tarn.Error{Code: tarn.CodeNotFound, Detail: "no stream", Hint: "look", Err: secret}, 404, `"detail":"no stream","code":"not_found","hint":"look"`, ""},
		"wrapped":   {fmt.Errorf("while reading: %w", &tarn.Error{Code: tarn.CodeConflict, Detail: "taken"}), 409, `"detail":"taken"`, ""},
		"busy":      {&tarn.Error{Code: tarn.CodeBusy, Detail: "busy"}, 429, `"code":"busy"`, "1"},
		"internal":  {secret, 500, `"code":"internal"`, ""},
		"canceled":  {context.Canceled, 499, `"code":"canceled"`, ""},
		"deadline":  {fmt.Errorf("x: %w", context.DeadlineExceeded), 504, `"code":"timeout"`, ""},
		"too long":  {&http.MaxBytesError{Limit: 10}, 413, "10 bytes", ""},
		"members":   {members{&tarn.Error{Code: tarn.CodeInvalidJSON, Detail: "bad"}}, 422, `"rejected":[1]`, ""},
		"faults":    {project.Faults{{File: "a.yaml", Line: 3, Col: 1, Code: tarn.CodeInvalid, Detail: "wrong"}}, 400, `"faults":[{"file":"a.yaml","line":3`, ""},
		"one fault": {project.Faults{{File: "a.yaml", Line: 3, Col: 1, Detail: "wrong"}}, 400, `"detail":"the project has 1 fault: a.yaml:3:1: wrong"`, ""},
		"2 faults":  {project.Faults{{File: "a.yaml"}, {File: "b.yaml"}}, 400, `"detail":"the project has 2 faults; the first: a.yaml`, ""},
		"odd code":  {&tarn.Error{Code: "sql", Detail: "odd", Err: secret}, 500, `"code":"internal"`, ""},
		"5xx cause": {&tarn.Error{Code: tarn.CodeUnavailable, Detail: "away", Err: secret}, 503, `"detail":"away"`, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := httptest.NewRecorder()
			p.Write(w, httptest.NewRequest("GET", "/x", nil), c.err)
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.contains) || w.Header().Get("Retry-After") != c.retryAfter {
				t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
			}
			if strings.Contains(w.Body.String(), "hunter2") {
				t.Error("the cause is shown")
			}
		})
	}
	if n := strings.Count(log.String(), "hunter2"); n != 3 { // internal, odd code, 5xx cause
		t.Errorf("%d causes of server faults in the log:\n%s", n, log.String())
	}
}

func TestRouting(t *testing.T) {
	f := (&fixture{control: server.Control{
		Streams: func(context.Context) ([]server.StreamDoc, error) {
			return []server.StreamDoc{{Name: "events"}}, nil
		},
		Tables: func(context.Context) ([]server.TableDoc, error) { return nil, nil },
		Verify: func(context.Context) (server.VerifyDoc, error) { panic("secret state") },
		Reload: func(context.Context) (server.ReloadDoc, error) {
			return server.ReloadDoc{}, &tarn.Error{Code: tarn.CodeBusy, Detail: "reloading"}
		},
		Maintain: func(_ context.Context, name string, tasks []string) ([]server.MaintenanceDoc, error) {
			return []server.MaintenanceDoc{{Table: name, Task: strings.Join(tasks, "+")}}, nil
		},
	}}).open(t, nil)
	for _, c := range []struct {
		method, path, body string
		status             int
		code               string
		contains           string
		header             []string
	}{
		{"GET", "/healthz", "", 200, "", "ok\n", nil},
		{"GET", "/readyz", "", 200, "", "ready\n", nil},
		{"GET", "/", "", 200, "", `"endpoints"`, nil},
		{"GET", "/", "", 200, "", "<h1>Tarn test</h1>", []string{"Accept", "text/html"}},
		{"GET", "/metrics", "", 200, "", "tarn_http_requests_total", nil},
		{"POST", "/v1/streams/a%2Fb/records", "{}", 200, "", "a/b", nil},
		{"GET", "/v1/streams", "", 200, "", `{"streams":[{"name":"events"`, nil},
		{"GET", "/v1/streams/events", "", 200, "", `"name":"events"`, nil},
		{"GET", "/v1/streams/nosuch", "", 404, "not_found", "there is events", nil},
		{"GET", "/v1/tables", "", 200, "", `{"tables":[]}`, nil},
		{"GET", "/v1/status", "", 415, "unsupported", "does not offer", nil},
		{"GET", "/nosuch", "", 404, "not_found", "nothing at /nosuch", nil},
		{"GET", "/v1/../healthz", "", 307, "", "", nil},
		{"DELETE", "/v1/tables", "", 405, "invalid", "GET", nil},
		{"BREW", "/v1/tables", "", 405, "invalid", "BREW", nil},
		{"GET", "/v1/verify", "", 500, "internal", "under the id", nil},
		{"POST", "/v1/reload", "", 429, "busy", "reloading", nil},
		{"GET", "/v1/failed?limit=zero", "", 400, "invalid", "limit", nil},
		{"GET", "/v1/failed?stage=nosuch", "", 400, "invalid", "stage", nil},
		{"GET", "/v1/failed?stage=database", "", 415, "unsupported", "does not offer", nil},
		{"GET", "/v1/failed?limit=100000", "", 400, "invalid", "limit", nil},
		{"POST", "/v1/tables/t/maintenance", `{"tasks":["compact","expire"]}`, 200, "", `"task":"compact+expire"`, nil},
		{"POST", "/v1/tables/t/maintenance", `{"tasks":["explode"]}`, 400, "invalid", "tasks", nil},
		{"POST", "/v1/tables/t/maintenance", `{"tasks":`, 400, "invalid", "", nil},
		{"POST", "/v1/tables/t/maintenance", `{"tasks":["` + strings.Repeat("x", 70_000) + `"]}`, 413, "too_large", "", nil},
		{"GET", "/v1/streams", "", 403, "forbidden", "Host", []string{"Host", "evil.example:8080"}},
		{"GET", "/v1/streams", "", 200, "", "", []string{"Host", "LOCALHOST:8080"}},
		{"GET", "/v1/streams", "", 200, "", "", []string{"Host", "[::1]:8080"}},
		{"POST", "/v1/reload", "", 403, "forbidden", "another site", []string{"Sec-Fetch-Site", "cross-site"}},
		{"POST", "/v1/reload", "", 403, "forbidden", "another site", []string{"Origin", "https://evil.example"}},
		{"POST", "/v1/streams/events/records", "{}", 403, "forbidden", "another site", []string{"Origin", "null"}},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			if c.code == "" {
				resp, body := f.call(t, c.method, c.path, c.body, c.header...)
				if resp.StatusCode != c.status || !strings.Contains(body, c.contains) {
					t.Errorf("%d %s", resp.StatusCode, body)
				}
				return
			}
			status, p := f.problem(t, c.method, c.path, c.body, c.header...)
			if text := fmt.Sprint(p); status != c.status || p["code"] != c.code || !strings.Contains(text, c.contains) || strings.Contains(text, "secret") {
				t.Errorf("%d %s", status, text)
			}
		})
	}
	if !strings.Contains(f.log.String(), "secret state") {
		t.Error("the panic is not in the log")
	}
	if _, body := f.call(t, "GET", "/metrics", ""); !strings.Contains(body, `tarn_http_requests_total{method="other",route="unmatched",status="405"}`) || strings.Contains(body, "nosuch") {
		t.Errorf("labels are made of what clients send:\n%s", body)
	}
}

// TestPanicAfterTheFirstByte wants the connection cut, so that nobody takes a part for the whole.
func TestPanicAfterTheFirstByte(t *testing.T) {
	f := (&fixture{}).open(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic("boom")
	})
	resp, err := http.Post(f.url+"/v1/streams/x/records", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("a whole answer: %q", b)
	}
	if !strings.Contains(f.log.String(), "boom") {
		t.Error("not in the log")
	}
}

func TestNotReady(t *testing.T) {
	f := (&fixture{control: server.Control{Ready: func() []string { return []string{"opening streams"} }}}).open(t, nil)
	for _, path := range []string{"/readyz", "/v1/streams", "/v1/streams/x/records"} {
		status, p := f.problem(t, "GET", path, "")
		if status != 503 || !strings.Contains(p["detail"].(string), "opening streams") {
			t.Errorf("%s: %d %v", path, status, p)
		}
	}
	for _, path := range []string{"/healthz", "/metrics", "/openapi.json", "/"} {
		if resp, _ := f.call(t, "GET", path, ""); resp.StatusCode != 200 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

// TestRefusingRecords: who only refuses records is ready, and says so.
func TestRefusingRecords(t *testing.T) {
	why := "the disk has 3 MiB left"
	f := (&fixture{control: server.Control{Refusing: func() string { return why }}}).open(t, nil)
	for _, want := range []string{"ready\nrecords are refused: the disk has 3 MiB left\n", "ready\n"} {
		if resp, body := f.call(t, "GET", "/readyz", ""); resp.StatusCode != 200 || string(body) != want {
			t.Errorf("%d %q, want %q", resp.StatusCode, body, want)
		}
		why = ""
	}
}

func TestListen(t *testing.T) {
	for addr, code := range map[string]tarn.Code{
		"127.0.0.1:0": "", "localhost:0": "", "[::1]:0": "",
		":0": tarn.CodeForbidden, "0.0.0.0:0": tarn.CodeForbidden, "[::]:0": tarn.CodeForbidden, "192.0.2.1:0": tarn.CodeForbidden,
		"127.0.0.1": tarn.CodeInvalid, "no.such.host.invalid:0": tarn.CodeInvalid, "127.0.0.1:99999": tarn.CodeInvalid,
	} {
		ln, err := server.Listen(t.Context(), addr, false)
		if err == nil {
			_ = ln.Close()
		}
		if addr == "[::1]:0" && err != nil { // machines without IPv6
			continue
		}
		if code == "" && err != nil || code != "" && tarn.CodeOf(err) != code {
			t.Errorf("%s: %v, want %q", addr, err, code)
		}
		if code == tarn.CodeForbidden && !strings.Contains(err.Error(), "credentials") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	ln, err := server.Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if _, err := server.Listen(t.Context(), ln.Addr().String(), false); tarn.CodeOf(err) != tarn.CodeConflict {
		t.Errorf("a taken port: %v", err)
	}
}

// TestServeDrains wants a request in flight answered after the end was asked for, and one that does
// not end cut.
func TestServeDrains(t *testing.T) {
	for name, hangs := range map[string]bool{"a request that ends": false, "a request that hangs": true} {
		t.Run(name, func(t *testing.T) {
			ln, err := server.Listen(t.Context(), "127.0.0.1:0", false)
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			entered, release := make(chan struct{}), make(chan struct{})
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(entered)
				select {
				case <-release:
					_, _ = io.WriteString(w, "done")
				case <-r.Context().Done():
				}
			})
			served := make(chan error)
			go func() {
				served <- server.Serve(ctx, ln, h, map[bool]time.Duration{false: 10 * time.Second, true: 50 * time.Millisecond}[hangs], slog.New(slog.DiscardHandler))
			}()
			answer := make(chan string)
			go func() {
				resp, err := http.Get("http://" + ln.Addr().String())
				if err != nil {
					answer <- "cut"
					return
				}
				defer resp.Body.Close()
				b, _ := io.ReadAll(resp.Body)
				answer <- string(b)
			}()
			<-entered
			stop()
			want := "cut"
			if !hangs {
				want = "done"
				time.Sleep(20 * time.Millisecond)
				close(release)
			}
			if got := <-answer; got != want && !(hangs && got == "") {
				t.Errorf("%q, want %q", got, want)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
			if _, err := http.Get("http://" + ln.Addr().String()); err == nil {
				t.Error("still listening")
			}
		})
	}
}

// TestOversizedHeaders wants oversized headers refused.
func TestOversizedHeaders(t *testing.T) {
	ln, err := server.Listen(t.Context(), "127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error)
	go func() {
		served <- server.Serve(ctx, ln, http.NotFoundHandler(), time.Second, slog.New(slog.DiscardHandler))
	}()
	req, _ := http.NewRequest("GET", "http://"+ln.Addr().String(), nil)
	req.Header.Set("X", strings.Repeat("x", 80<<10))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Error(resp.StatusCode)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}
