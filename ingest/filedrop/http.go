package filedrop

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
)

// HandlerOptions make a Handler. All fields are required.
type HandlerOptions struct {
	// Door finds the door of a pipeline; its error is the answer.
	Door func(pipeline string) (*Door, error)
	// Problem answers a request with an error.
	Problem func(http.ResponseWriter, *http.Request, error)
}

// Handler answers POST /v1/pipelines/{pipeline}/runs; the mux provides the path value. The body is one
// file, or multipart/form-data with any number of them. The answer comes when all records are durable.
// It is safe for concurrent use.
type Handler struct{ o HandlerOptions }

// NewHandler returns the handler. It starts nothing.
func NewHandler(o HandlerOptions) *Handler { return &Handler{o} }

// bodyIdle is how long a client may pause within a body, and may be waited for in all, with a second more for every
// bodyBytesPerSec that it has sent.
const (
	bodyIdle        = time.Minute
	bodyBytesPerSec = 4 << 10
)

// maxParts bounds the files of one request.
const maxParts = 1000

// RunDoc answers a run. Package server documents it.
type RunDoc struct {
	Pipeline string    `json:"pipeline"`
	Files    []Outcome `json:"files"`
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("pipeline")
	d, err := h.o.Door(name)
	if err != nil {
		h.o.Problem(w, r, err)
		return
	}
	doc := RunDoc{Pipeline: name, Files: []Outcome{}}
	if doc.Files, err = h.run(w, r, d); err != nil {
		h.o.Problem(w, r, runError(err, doc.Files))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(doc) // a client that is gone finds the records stored
}

func (h *Handler) run(w http.ResponseWriter, r *http.Request, d *Door) ([]Outcome, error) {
	o, err := optionsOf(r)
	if err != nil {
		return nil, err
	}
	body := &patient{body: r.Body, rc: http.NewResponseController(w), idle: bodyIdle}
	kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind == "multipart/form-data" {
		return pushParts(r, d, multipart.NewReader(body, params["boundary"]), o)
	}
	out, err := d.Push(r.Context(), nameOf(r, kind), body, o)
	return []Outcome{out}, bodyFault(err)
}

// pushParts pushes the files of a form one after the other. The first that fails ends it.
func pushParts(r *http.Request, d *Door, form *multipart.Reader, o PushOptions) ([]Outcome, error) {
	outs := []Outcome{}
	for len(outs) < maxParts {
		part, err := form.NextPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			return outs, bodyFault(err)
		}
		if part.FileName() == "" {
			continue // a field of the form
		}
		out, err := d.Push(r.Context(), cleanName(part.FileName()), part, o)
		outs = append(outs, out)
		if err != nil {
			return outs, bodyFault(err)
		}
	}
	if len(outs) == 0 {
		return outs, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the form holds no file", Hint: "send one with curl -F file=@users.csv"}
	}
	return outs, nil
}

func optionsOf(r *http.Request) (PushOptions, error) {
	var o PushOptions
	q := r.URL.Query()
	if s := q.Get("again"); s != "" {
		again, err := strconv.ParseBool(s)
		if err != nil {
			return o, &tarn.Error{Code: tarn.CodeInvalid, Detail: "again=" + strconv.Quote(s) + " is neither true nor false"}
		}
		o.Again = again
	}
	switch o.Format = decode.Format(q.Get("format")); o.Format {
	case "", decode.Auto, decode.CSV, decode.JSON, decode.NDJSON, decode.Parquet, decode.Avro, decode.Text:
		return o, nil
	}
	return o, &tarn.Error{Code: tarn.CodeInvalid, Detail: "there is no format " + strconv.Quote(string(o.Format)), Hint: "there is auto, csv, json, ndjson, parquet, avro, text"}
}

// nameOf is the name of the one file in the body: the parameter name, the header Tarn-File-Name, the
// filename of Content-Disposition, or one made of the content type.
func nameOf(r *http.Request, kind string) string {
	_, params, _ := mime.ParseMediaType(r.Header.Get("Content-Disposition"))
	for _, s := range []string{r.URL.Query().Get("name"), r.Header.Get("Tarn-File-Name"), params["filename"]} {
		if s != "" {
			return cleanName(s)
		}
	}
	switch kind {
	case "application/x-ndjson", "application/jsonl", "application/ndjson":
		return "run.ndjson"
	case "application/json":
		return "run.json"
	case "text/csv":
		return "run.csv"
	}
	return "run"
}

// cleanName keeps the last part of a name that a client gave.
func cleanName(name string) string {
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	if name == "." || name == "/" {
		return "run"
	}
	return strings.ToValidUTF8(name, "_")
}

// bodyFault says what went wrong with a body that could not be read to its end.
func bodyFault(err error) error {
	var known *tarn.Error
	switch {
	case err == nil, errors.As(err, &known):
		return err
	case errors.Is(err, io.ErrUnexpectedEOF):
		return &tarn.Error{Code: tarn.CodeCanceled, Detail: "the body ended before its announced length", Err: err}
	}
	return err
}

// failedRun is the error of a request of which some files may have been taken.
type failedRun struct {
	error
	files []Outcome
}

func runError(err error, files []Outcome) error {
	if len(files) == 0 || files[0].File == "" {
		return err
	}
	return failedRun{err, files}
}

// Unwrap gives the cause.
func (e failedRun) Unwrap() error { return e.error }

// ProblemMembers adds what became of the files to the problem document.
func (e failedRun) ProblemMembers() map[string]any { return map[string]any{"files": e.files} }

// patient reads a body of any length whose sender neither pauses for too long nor sends a byte now and then.
type patient struct {
	body   io.Reader
	rc     interface{ SetReadDeadline(time.Time) error }
	idle   time.Duration
	read   int64
	waited time.Duration // for the client; what Tarn takes between reads does not count
}

// Read implements io.Reader.
func (p *patient) Read(b []byte) (int, error) {
	began := time.Now()
	left := p.idle + time.Duration(p.read/bodyBytesPerSec)*time.Second - p.waited
	_ = p.rc.SetReadDeadline(began.Add(min(left, p.idle))) // an error means that there is no connection
	n, err := p.body.Read(b)
	p.read, p.waited = p.read+int64(n), p.waited+time.Since(began)
	if err != nil {
		_ = p.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}
