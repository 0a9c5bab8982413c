package function_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn/function"
)

// leavingClient is a runtime that ends without an error where nobody expects it.
func leavingClient(how string) {
	c, err := net.Dial("tcp", os.Getenv("AWS_LAMBDA_RUNTIME_API"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	r := bufio.NewReader(c)
	ask := func() {
		_, _ = io.WriteString(c, "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	read := func() http.Header {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			os.Exit(1)
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.Header
	}
	ask()
	if how == "always" {
		time.Sleep(100 * time.Millisecond) // an event comes meanwhile
		os.Exit(0)
	}
	id := read().Get("Lambda-Runtime-Aws-Request-Id")
	if how == "instead of an answer" {
		os.Exit(0)
	}
	_, _ = fmt.Fprintf(c, "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", id)
	read()
	ask()
	if how == "a moment after" {
		time.Sleep(100 * time.Millisecond)
	}
	os.Exit(0)
}

// TestEventThatWasNotRead: an event whose worker ended before it had read it goes to another one, and is no error.
func TestEventThatWasNotRead(t *testing.T) {
	for _, how := range []string{"at once", "a moment after"} {
		for size, event := range map[string]string{"small": `{}`, "more than a socket holds": `"` + strings.Repeat("x", 5<<20) + `"`} {
			t.Run(how+" "+size, func(t *testing.T) {
				spec := goSpec(t, "leaves "+how)
				spec.Concurrency = 1
				p := start(t, function.Options{Spec: spec})
				for range 2 {
					var two sync.WaitGroup // one waits when the other one is answered
					for range 2 {
						two.Go(func() {
							if out, err := invoke(t, p, event); out != "{}" || err != nil {
								t.Errorf("%s, %v", out, err)
							}
						})
					}
					two.Wait()
				}
				if s := p.Stats(); s.Invocations != 4 || s.Errors != 0 {
					t.Errorf("%+v", s)
				}
			})
		}
	}
}

// TestExitWithoutAnAnswer: an event is lost with the worker that read it, and with the second one that did not.
func TestExitWithoutAnAnswer(t *testing.T) {
	for _, how := range []string{"instead of an answer", "always"} {
		t.Run(how, func(t *testing.T) {
			p := start(t, function.Options{Spec: goSpec(t, "leaves "+how)})
			_, err := invoke(t, p, `{}`)
			var exit *function.ExitError
			if !errors.As(err, &exit) || exit.Status != "exit status 0" {
				t.Errorf("got %v", err)
			}
			if s := p.Stats(); s.Invocations != 1 || s.Errors != 1 {
				t.Errorf("%+v", s)
			}
		})
	}
}
