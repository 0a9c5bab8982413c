package function

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// apiPrefix is the version of the Runtime API that this server speaks
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html).
const apiPrefix = "/2018-06-01/runtime"

// Headers of the Runtime API.
const (
	headerRequestID = "Lambda-Runtime-Aws-Request-Id"
	headerDeadline  = "Lambda-Runtime-Deadline-Ms"
	headerARN       = "Lambda-Runtime-Invoked-Function-Arn"
	headerTrace     = "Lambda-Runtime-Trace-Id"
	headerErrorType = "Lambda-Runtime-Function-Error-Type"
	headerErrorBody = "Lambda-Runtime-Function-Error-Body" // base64, a trailer of streamed answers
)

// Error types that the real service answers with.
const (
	errorTransition = "InvalidStateTransition"
	errorRequestID  = "InvalidRequestID"
	errorTooLarge   = "RequestEntityTooLarge"
	errorReading    = "TruncatedEntity"
	errorPath       = "InvalidRequest"
)

// serve answers one request.
func (c *connection) serve(r *http.Request) error {
	path, ok := strings.CutPrefix(r.URL.Path, apiPrefix)
	if !ok {
		return c.refuse(http.StatusNotFound, errorPath, "there is no "+r.URL.Path)
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(path, "/invocation/"), "/")
	method, answer := http.MethodPost, c.serveInitError
	switch {
	case path == "/invocation/next":
		method, answer = http.MethodGet, c.serveNext
	case path == "/invocation/"+id+"/response":
		answer = func(r *http.Request) error { return c.serveResponse(r, id) }
	case path == "/invocation/"+id+"/error":
		answer = func(r *http.Request) error { return c.serveError(r, id) }
	case path != "/init/error":
		return c.refuse(http.StatusNotFound, errorPath, "there is no "+r.URL.Path)
	}
	if r.Method != method {
		return c.refuse(http.StatusMethodNotAllowed, errorPath, "use "+method)
	}
	return answer(r)
}

// serveNext answers with the next invocation, as soon as there is one.
func (c *connection) serveNext(*http.Request) error {
	w := c.w
	if !w.ask() {
		return c.refuse(http.StatusForbidden, errorTransition, "the runtime already has an invocation or waits for one")
	}
	w.out.settle() // what the last invocation printed belongs to it
	call := c.take()
	w.asked()
	if call == nil {
		return c.refuse(http.StatusServiceUnavailable, errorTransition, "the worker is being stopped")
	}
	w.out.begin(call)
	// A worker that went away is noticed by its exit or the timeout.
	err := c.write(http.StatusOK, call.Payload,
		headerRequestID, call.RequestID,
		headerDeadline, strconv.FormatInt(call.deadline.UnixMilli(), 10),
		headerARN, arn(w.pool.spec.Name),
		headerTrace, traceID(call.started))
	if c.sent = call; err != nil {
		w.missed(call)
	}
	close(call.handed)
	w.pool.release(w)
	return err
}

// ask notes that the worker waits for an invocation. It reports false when it may not.
func (w *worker) ask() bool {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	if w.asking || w.call != nil {
		return false
	}
	w.asking = true
	return true
}

func (w *worker) asked() {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	w.asking = false
}

// serveResponse takes the answer of the invocation that runs.
func (c *connection) serveResponse(r *http.Request, id string) error {
	w := c.w
	call, err := c.expected(id)
	if call == nil {
		return err
	}
	body, err := readBody(r, call.Answer, c.usual)
	var tooMuch *http.MaxBytesError
	switch {
	case errors.As(err, &tooMuch):
		w.pool.finish(w, id, outcome{err: tooLarge(w.pool.spec.Name, "answer", max(r.ContentLength, MaxPayloadBytes+1))})
		return c.refuse(http.StatusRequestEntityTooLarge, errorTooLarge, fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", MaxPayloadBytes))
	case err != nil: // the runtime went away, or wrote less than it announced
		w.pool.finish(w, id, outcome{err: &FunctionError{Type: "Runtime." + errorReading, Message: "the answer ended early"}})
		return c.refuse(http.StatusBadRequest, errorReading, "the answer ended early")
	}
	c.usual = len(body)
	out := outcome{answer: body}
	if kind := r.Trailer.Get(headerErrorType); kind != "" { // failed after the answer had begun
		report, _ := base64.StdEncoding.DecodeString(r.Trailer.Get(headerErrorBody))
		failure := w.parseFailure(kind, report)
		out = outcome{err: &failure}
	}
	return c.accept(id, out)
}

// serveError takes the failure of the invocation that runs.
func (c *connection) serveError(r *http.Request, id string) error {
	if call, err := c.expected(id); call == nil {
		return err
	}
	body, _ := readBody(r, nil, 0) // an unreadable report is still a report
	failure := c.w.parseFailure(r.Header.Get(headerErrorType), body)
	return c.accept(id, outcome{err: &failure})
}

// serveInitError takes the reason why the runtime could not load the function. The process ends after it.
func (c *connection) serveInitError(r *http.Request) error {
	w := c.w
	w.pool.mu.Lock()
	late := w.initialized || w.asking
	w.pool.mu.Unlock()
	if late {
		return c.refuse(http.StatusForbidden, errorTransition, "the runtime is initialized already")
	}
	body, _ := readBody(r, nil, 0)
	w.reportInit(w.parseFailure(r.Header.Get(headerErrorType), body))
	return c.write(http.StatusAccepted, accepted)
}

// expected returns the invocation that runs, if id names it and all of it has been sent; otherwise it
// answers like the real service.
func (c *connection) expected(id string) (*call, error) {
	call := c.w.pool.current(c.w)
	switch {
	case call == nil:
		return nil, c.refuse(http.StatusForbidden, errorTransition, "no invocation is running")
	case call.RequestID != id:
		return nil, c.refuse(http.StatusBadRequest, errorRequestID, "Invalid request ID")
	}
	<-call.handed // another connection may still send it; its memory belongs to the caller after the answer
	return call, nil
}

// accepted is what the real service says to an answer.
var accepted = []byte(`{"status":"OK"}`)

func (c *connection) accept(id string, out outcome) error {
	c.w.out.settle()
	if !c.w.pool.finish(c.w, id, out) { // it was killed for its time meanwhile
		return c.refuse(http.StatusBadRequest, errorRequestID, "Invalid request ID")
	}
	return c.write(http.StatusAccepted, accepted)
}

// discardAtMost is how much of a body that is too large is read to its end, so that the connection can
// go on. Beyond it the connection is closed, which ends most runtimes.
const discardAtMost = 64 << 20

// readBody reads a body of at most MaxPayloadBytes, into memory if that suffices; a larger body is a
// *http.MaxBytesError. Where the length is not announced, usual is a guess.
func readBody(r *http.Request, memory []byte, usual int) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= MaxPayloadBytes {
		body := slices.Grow(memory[:0], int(n))[:n]
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	body := bytes.NewBuffer(slices.Grow(memory[:0], usual+usual/8+bytes.MinRead))
	_, err := body.ReadFrom(http.MaxBytesReader(nil, r.Body, MaxPayloadBytes))
	if err != nil {
		_, _ = io.CopyN(io.Discard, r.Body, discardAtMost)
	}
	return body.Bytes(), err
}

// maxReportBytes bounds what is kept of a function's report of its own failure (I8).
const maxReportBytes = 256 << 10

// parseFailure reads the report of a runtime; one that is not the documented JSON is its message.
func (w *worker) parseFailure(kind string, report []byte) FunctionError {
	redact := w.pool.redact.Replace
	report = report[:min(len(report), maxReportBytes)]
	var doc struct {
		Type    string            `json:"errorType"`
		Message string            `json:"errorMessage"`
		Stack   []json.RawMessage `json:"stackTrace"`
	}
	if err := json.Unmarshal(report, &doc); err != nil && doc.Type == "" && doc.Message == "" {
		doc.Message = string(bytes.ToValidUTF8(report, []byte("\uFFFD")))
	}
	e := FunctionError{Type: redact(doc.Type), Message: redact(doc.Message)}
	if e.Type == "" {
		e.Type = kind
	}
	for _, frame := range doc.Stack { // strings, or objects in the Go runtime
		var line string
		if json.Unmarshal(frame, &line) != nil {
			line = string(frame)
		}
		e.Stack = append(e.Stack, redact(line))
	}
	return e
}

// traceID makes an X-Ray trace header; nothing collects it, but clients expect its form.
func traceID(at time.Time) string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", uint32(at.Unix()), hex.EncodeToString(b[:12]), hex.EncodeToString(b[12:]))
}
