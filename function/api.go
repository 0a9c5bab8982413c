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
	"strconv"
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
)

// routes returns the Runtime API of one worker.
func (w *worker) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+apiPrefix+"/invocation/next", w.serveNext)
	mux.HandleFunc("POST "+apiPrefix+"/invocation/{id}/response", w.serveResponse)
	mux.HandleFunc("POST "+apiPrefix+"/invocation/{id}/error", w.serveError)
	mux.HandleFunc("POST "+apiPrefix+"/init/error", w.serveInitError)
	return mux
}

// serveNext answers with the next invocation, as soon as there is one.
func (w *worker) serveNext(rw http.ResponseWriter, r *http.Request) {
	if !w.ask() {
		refuse(rw, http.StatusForbidden, errorTransition, "the runtime already has an invocation or waits for one")
		return
	}
	w.out.settle() // what the last invocation printed belongs to it
	c := w.take(r.Context())
	w.asked()
	if c == nil {
		refuse(rw, http.StatusServiceUnavailable, errorTransition, "the worker is being stopped")
		return
	}
	w.out.begin(c)
	h := rw.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(c.Payload)))
	h.Set(headerRequestID, c.RequestID)
	h.Set(headerDeadline, strconv.FormatInt(c.deadline.UnixMilli(), 10))
	h.Set(headerARN, arn(w.pool.spec.Name))
	h.Set(headerTrace, traceID(c.started))
	_, _ = rw.Write(c.Payload) // a worker that went away is noticed by its exit or the timeout
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
func (w *worker) serveResponse(rw http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !w.expects(rw, id) {
		return
	}
	body, err := readBody(r)
	var tooMuch *http.MaxBytesError
	switch {
	case errors.As(err, &tooMuch):
		w.pool.finish(w, id, outcome{err: tooLarge(w.pool.spec.Name, "answer", max(r.ContentLength, MaxPayloadBytes+1))})
		refuse(rw, http.StatusRequestEntityTooLarge, errorTooLarge, fmt.Sprintf("Exceeded maximum allowed payload size (%d bytes).", MaxPayloadBytes))
		return
	case err != nil: // the runtime went away, or wrote less than it announced
		w.pool.finish(w, id, outcome{err: &FunctionError{Type: "Runtime." + errorReading, Message: "the answer ended early"}})
		refuse(rw, http.StatusBadRequest, errorReading, "the answer ended early")
		return
	}
	out := outcome{answer: body}
	if kind := r.Trailer.Get(headerErrorType); kind != "" { // failed after the answer had begun
		report, _ := base64.StdEncoding.DecodeString(r.Trailer.Get(headerErrorBody))
		failure := w.parseFailure(kind, report)
		out = outcome{err: &failure}
	}
	w.accept(rw, id, out)
}

// serveError takes the failure of the invocation that runs.
func (w *worker) serveError(rw http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if !w.expects(rw, id) {
		return
	}
	body, _ := readBody(r) // an unreadable report is still a report
	failure := w.parseFailure(r.Header.Get(headerErrorType), body)
	w.accept(rw, id, outcome{err: &failure})
}

// serveInitError takes the reason why the runtime could not load the function. The process ends after it.
func (w *worker) serveInitError(rw http.ResponseWriter, r *http.Request) {
	w.pool.mu.Lock()
	late := w.initialized || w.asking
	w.pool.mu.Unlock()
	if late {
		refuse(rw, http.StatusForbidden, errorTransition, "the runtime is initialized already")
		return
	}
	body, _ := readBody(r)
	w.reportInit(w.parseFailure(r.Header.Get(headerErrorType), body))
	answer(rw, http.StatusAccepted, `{"status":"OK"}`)
}

// expects answers like the real service when id does not name the invocation that runs.
func (w *worker) expects(rw http.ResponseWriter, id string) bool {
	c := w.pool.current(w)
	switch {
	case c == nil:
		refuse(rw, http.StatusForbidden, errorTransition, "no invocation is running")
	case c.RequestID != id:
		refuse(rw, http.StatusBadRequest, errorRequestID, "Invalid request ID")
	default:
		return true
	}
	return false
}

func (w *worker) accept(rw http.ResponseWriter, id string, out outcome) {
	w.out.settle()
	if !w.pool.finish(w, id, out) { // it was killed for its time meanwhile
		refuse(rw, http.StatusBadRequest, errorRequestID, "Invalid request ID")
		return
	}
	answer(rw, http.StatusAccepted, `{"status":"OK"}`)
}

// discardAtMost is how much of a body that is too large is read to its end, so that the connection can
// go on. Beyond it the connection is closed, which ends most runtimes.
const discardAtMost = 64 << 20

// readBody reads a body of at most MaxPayloadBytes; a larger one is a *http.MaxBytesError.
func readBody(r *http.Request) ([]byte, error) {
	if n := r.ContentLength; n >= 0 && n <= MaxPayloadBytes {
		body := make([]byte, n)
		_, err := io.ReadFull(r.Body, body)
		return body, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, MaxPayloadBytes))
	if err != nil {
		_, _ = io.CopyN(io.Discard, r.Body, discardAtMost)
	}
	return body, err
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

func refuse(rw http.ResponseWriter, status int, kind, message string) {
	doc, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message})
	answer(rw, status, string(doc))
}

func answer(rw http.ResponseWriter, status int, doc string) {
	rw.Header().Set("Content-Type", "application/json")
	rw.Header().Set("Content-Length", strconv.Itoa(len(doc)))
	rw.WriteHeader(status)
	_, _ = io.WriteString(rw, doc)
}

// traceID makes an X-Ray trace header; nothing collects it, but clients expect its form.
func traceID(at time.Time) string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("Root=1-%08x-%s;Parent=%s;Sampled=0", uint32(at.Unix()), hex.EncodeToString(b[:12]), hex.EncodeToString(b[12:]))
}
