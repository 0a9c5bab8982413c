package function_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tarn-data/tarn/function"
)

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
	if os.Getenv("_HANDLER") == "sticks" {
		resp, _ := call("GET", "/invocation/next", nil)
		call("POST", "/invocation/"+resp.Header.Get("Lambda-Runtime-Aws-Request-Id")+"/response", strings.NewReader("{}"))
		time.Sleep(time.Hour)
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
