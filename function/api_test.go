package function_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn/function"
)

// wireClient is a runtime that hangs up while it waits, sends what is not HTTP, and answers in chunks
// after it was told to go on. Its answer is what it was told.
func wireClient() {
	dial := func(send string) (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", os.Getenv("AWS_LAMBDA_RUNTIME_API"))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		_, _ = io.WriteString(c, send)
		return c, bufio.NewReader(c)
	}
	line := func(r *bufio.Reader) string {
		l, err := r.ReadString('\n')
		if err != nil {
			return "hung up"
		}
		return strings.TrimSpace(l)
	}
	const next = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n"
	gone, _ := dial(next)
	time.Sleep(50 * time.Millisecond)
	_ = gone.Close()
	time.Sleep(50 * time.Millisecond)

	var told []string
	_, r := dial("this is no request\r\n\r\n")
	told = append(told, line(r))
	_, r = dial("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 2<<20))
	told = append(told, line(r))
	_, r = dial("GET /absent HTTP/1.0\r\n\r\n")
	rest, _ := io.ReadAll(r) // ends, because 1.0 keeps no connection
	told = append(told, string(rest[:bytes.IndexByte(rest, '\r')]))

	c, r := dial(next)
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		os.Exit(1)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
	_, _ = fmt.Fprintf(c, "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n", id)
	told = append(told, line(r))
	out, _ := json.Marshal(told)
	_, _ = fmt.Fprintf(c, "%x\r\n%s\r\n0\r\n\r\n%s", len(out), out, next)
	_, _ = io.Copy(io.Discard, r)
	os.Exit(0)
}

func TestWire(t *testing.T) {
	p := start(t, function.Options{Spec: goSpec(t, "wire")})
	time.Sleep(200 * time.Millisecond) // it has hung up and asks again
	memory := make([]byte, 0, 1<<10)
	got, err := p.Invoke(t.Context(), function.Invocation{Payload: []byte(`{}`), Answer: memory})
	if err != nil {
		t.Fatal(err)
	}
	want := `["HTTP/1.1 400 Bad Request","HTTP/1.1 400 Bad Request","HTTP/1.1 404 Not Found","HTTP/1.1 100 Continue"]`
	if string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if &got[0] != &memory[:1][0] {
		t.Error("the answer is not in the caller's memory")
	}
}

// rawClient is a runtime that calls the API in every wrong order and answers its second invocation
// with what it was told; or, as handler "sticks", one that never comes back from its first answer.
func rawClient() {
	base := "http://" + os.Getenv("AWS_LAMBDA_RUNTIME_API") + "/2018-06-01/runtime"
	var told []string
	call := func(method, path string, body io.Reader, headers ...string) (*http.Response, string) {
		req, _ := http.NewRequest(method, base+path, body)
		for i := 0; i+1 < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		text, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		return resp, string(text)
	}
	tell := func(method, path string, body io.Reader) {
		resp, text := call(method, path, body)
		var doc struct{ ErrorType, Status string }
		_ = json.Unmarshal([]byte(text), &doc)
		told = append(told, fmt.Sprintf("%s %s: %d %s%s", method, path, resp.StatusCode, doc.ErrorType, doc.Status))
	}
	if os.Getenv("_HANDLER") == "wire" {
		wireClient()
	}
	if os.Getenv("_HANDLER") == "sticks" {
		resp, _ := call("GET", "/invocation/next", nil)
		call("POST", "/invocation/"+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", strings.NewReader("{}"))
		time.Sleep(time.Hour)
	}
	if how, leaves := strings.CutPrefix(os.Getenv("_HANDLER"), "leaves "); leaves {
		leavingClient(how)
	}
	tell("POST", "/invocation/none/response", strings.NewReader("{}"))
	tell("GET", "/absent", nil)
	tell("PUT", "/invocation/next", nil)
	resp, _ := call("GET", "/invocation/next", nil)
	id := resp.Header.Get("Lambda-Runtime-Aws-Request-Id")
	tell("GET", "/invocation/next", nil)
	tell("POST", "/init/error", strings.NewReader("{}"))
	tell("POST", "/invocation/other/response", strings.NewReader("{}"))
	tell("POST", "/invocation/other/error", strings.NewReader("{}"))
	// Chunked, because its length is not known.
	tell("POST", "/invocation/"+id+"/response", io.MultiReader(strings.NewReader(`"one `), strings.NewReader(`two"`)))
	tell("POST", "/invocation/"+id+"/response", strings.NewReader("{}"))
	resp, _ = call("GET", "/invocation/next", nil)
	out, _ := json.Marshal(told)
	call("POST", "/invocation/"+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", bytes.NewReader(out))
	resp, _ = call("GET", "/invocation/next", nil)
	call("POST", "/invocation/"+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/error", strings.NewReader("not JSON"), "Lambda-Runtime-Function-Error-Type", "Own.Kind")
	os.Exit(0)
}

func TestWrongOrder(t *testing.T) {
	p := start(t, function.Options{Spec: goSpec(t, "raw")})
	out, err := p.Invoke(t.Context(), function.Invocation{Payload: []byte(`{}`), RequestID: "r-1"})
	if err != nil || string(out) != `"one two"` {
		t.Fatalf("%s, %v", out, err)
	}
	var got []string
	if err := json.Unmarshal([]byte(must(t, p, `{}`)), &got); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"POST /invocation/none/response: 403 InvalidStateTransition",
		"GET /absent: 404 InvalidRequest",
		"PUT /invocation/next: 405 InvalidRequest",
		"GET /invocation/next: 403 InvalidStateTransition",
		"POST /init/error: 403 InvalidStateTransition",
		"POST /invocation/other/response: 400 InvalidRequestID",
		"POST /invocation/other/error: 400 InvalidRequestID",
		"POST /invocation/r-1/response: 202 OK",
		"POST /invocation/r-1/response: 403 InvalidStateTransition",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, err := invoke(t, p, `{}`); err == nil || !strings.Contains(err.Error(), "Own.Kind: not JSON") {
		t.Errorf("got %v", err)
	}
}
