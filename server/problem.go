package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/project"
)

// StatusClientGone is the status logged and counted for a request whose client went away. Nobody
// receives it.
const StatusClientGone = 499

// kind is what a code means in HTTP.
type kind struct {
	status int
	title  string
}

// statuses is the one mapping of codes to HTTP.
var statuses = map[tarn.Code]kind{
	tarn.CodeInvalid:           {http.StatusBadRequest, "The request is malformed"},
	tarn.CodeNotFound:          {http.StatusNotFound, "Not found"},
	tarn.CodeConflict:          {http.StatusConflict, "Conflict"},
	tarn.CodeTooLarge:          {http.StatusRequestEntityTooLarge, "Over a limit"},
	tarn.CodeBusy:              {http.StatusTooManyRequests, "Too busy"},
	tarn.CodeUnavailable:       {http.StatusServiceUnavailable, "Not available"},
	tarn.CodeTimeout:           {http.StatusGatewayTimeout, "Out of time"},
	tarn.CodeCanceled:          {StatusClientGone, "Canceled"},
	tarn.CodeForbidden:         {http.StatusForbidden, "Not allowed"},
	tarn.CodeUnauthenticated:   {http.StatusUnauthorized, "Not signed in"},
	tarn.CodeInsufficientScope: {http.StatusForbidden, "Not granted"},
	tarn.CodeRateLimited:       {http.StatusTooManyRequests, "Too many requests"},
	tarn.CodeUnsupported:       {http.StatusUnsupportedMediaType, "Not supported"},
	tarn.CodeInvalidJSON:       {http.StatusUnprocessableEntity, "Not valid JSON"},
	tarn.CodeRecordTooLarge:    {http.StatusRequestEntityTooLarge, "A record is over its limit"},
	tarn.CodeSchema:            {http.StatusUnprocessableEntity, "Does not fit the schema"},
	function.CodeFailed:        {http.StatusBadGateway, "The function failed"},
	tarn.CodeInternal:          {http.StatusInternalServerError, "Internal error"},
}

// Status returns the HTTP status of a code, 500 for one it does not know.
func Status(c tarn.Code) int {
	if k, ok := statuses[c]; ok {
		return k.status
	}
	return http.StatusInternalServerError
}

// Problem is the body of every error answer: application/problem+json of RFC 9457 with a stable
// code and a hint.
type Problem struct {
	Type   string    `json:"type" doc:"A name of the kind of problem: urn:tarn:problem: and the code" example:"urn:tarn:problem:not_found"`
	Title  string    `json:"title" doc:"The kind of problem in words"`
	Status int       `json:"status" doc:"The HTTP status"`
	Detail string    `json:"detail" doc:"What is wrong with this request"`
	Code   tarn.Code `json:"code" doc:"Stable name to match on" example:"not_found"`
	Hint   string    `json:"hint,omitempty" doc:"How to mend it"`

	members map[string]any
}

// Error implements error.
func (p *Problem) Error() string { return p.Detail }

// GetStatus implements huma.StatusError, so that huma answers with the problem as it is.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return problemType }

// MarshalJSON writes the extension members beside the standard ones.
func (p *Problem) MarshalJSON() ([]byte, error) {
	type plain Problem
	b, err := json.Marshal((*plain)(p))
	if err != nil || len(p.members) == 0 {
		return b, err
	}
	m, err := json.Marshal(p.members)
	if err != nil {
		return nil, err
	}
	return append(append(b[:len(b)-1], ','), m[1:]...), nil
}

const problemType = "application/problem+json"

// Problems turns errors into problem documents and writes what users must not see to the log. It
// is safe for concurrent use.
type Problems struct {
	Logger *slog.Logger
}

// memberer is implemented by errors that carry extension members for their problem document, such
// as the rejected records of a batch.
type memberer interface{ ProblemMembers() map[string]any }

// retrier is implemented by errors that know when to try again.
type retrier interface{ RetryAfter() time.Duration }

// Write answers r with the problem that err is. Causes and internals go to the log only (I7).
// Nothing may have been written to w before.
func (p Problems) Write(w http.ResponseWriter, r *http.Request, err error) {
	doc := p.of(r.Method+" "+r.URL.Path, err)
	h := w.Header()
	h.Set("Content-Type", problemType)
	if after := retryAfter(doc.Code, err); after > 0 {
		h.Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	body, merr := json.Marshal(doc)
	if merr != nil {
		p.Logger.Error("a problem document does not marshal", "err", merr)
		body = []byte(`{"type":"urn:tarn:problem:internal","title":"Internal error","status":500,"detail":"the server failed","code":"internal"}`)
	}
	body = append(body, '\n')
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(doc.Status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that is gone needs no answer
	}
}

func retryAfter(c tarn.Code, err error) time.Duration {
	var after retrier
	if errors.As(err, &after) {
		return after.RetryAfter()
	}
	if c == tarn.CodeBusy || c == tarn.CodeUnavailable {
		return time.Second
	}
	return 0
}

// of returns the document for err and logs the cause of what is the server's own fault. request
// names the method and path for the log.
func (p Problems) of(request string, err error) *Problem {
	var made *Problem
	if errors.As(err, &made) {
		return made
	}
	e := normalize(err)
	doc := problem(e.Code, e.Detail, e.Hint)
	var extra memberer
	var faults project.Faults
	if errors.As(err, &extra) {
		doc.members = extra.ProblemMembers()
	} else if errors.As(err, &faults) {
		doc.members = map[string]any{"faults": faults}
	}
	if doc.Status >= http.StatusInternalServerError {
		doc = p.serverFault(request, doc, e, err)
	}
	return doc
}

// serverFault logs the whole error under an id, and hides everything but the id when the code is internal.
func (p Problems) serverFault(request string, doc *Problem, e *tarn.Error, err error) *Problem {
	id := requestID()
	if e.Code == tarn.CodeInternal {
		doc = problem(tarn.CodeInternal, "the server failed to answer; its log has the cause under the id "+id, "")
	}
	if p.Logger != nil && (e.Code == tarn.CodeInternal || e.Err != nil) {
		p.Logger.Error("request failed", "id", id, "request", request, "code", string(e.Code), "err", err)
	}
	return doc
}

// normalize finds the *tarn.Error in err, or makes one of what the standard library says.
func normalize(err error) *tarn.Error {
	var e *tarn.Error
	var tooLong *http.MaxBytesError
	var faults project.Faults
	switch {
	case errors.As(err, &faults) && len(faults) > 0:
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: faultsText(faults), Hint: "tarn validate shows all"}
	case errors.As(err, &e):
		if _, known := statuses[e.Code]; known {
			return e
		}
		return &tarn.Error{Code: tarn.CodeInternal, Err: err}
	case errors.As(err, &tooLong):
		return &tarn.Error{Code: tarn.CodeTooLarge, Detail: "the body is over the limit of " + strconv.FormatInt(tooLong.Limit, 10) + " bytes"}
	case errors.Is(err, context.Canceled):
		return &tarn.Error{Code: tarn.CodeCanceled, Detail: "the client went away"}
	case errors.Is(err, context.DeadlineExceeded):
		return &tarn.Error{Code: tarn.CodeTimeout, Detail: "the request took too long"}
	}
	return &tarn.Error{Code: tarn.CodeInternal, Err: err}
}

func faultsText(f project.Faults) string {
	if len(f) == 1 {
		return "the project has 1 fault: " + f[0].String()
	}
	return "the project has " + strconv.Itoa(len(f)) + " faults; the first: " + f[0].String()
}

func problem(c tarn.Code, detail, hint string) *Problem {
	k, ok := statuses[c]
	if !ok {
		c, k = tarn.CodeInternal, statuses[tarn.CodeInternal]
	}
	return &Problem{Type: "urn:tarn:problem:" + string(c), Title: k.title, Status: k.status, Detail: detail, Code: c, Hint: hint}
}

func requestID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
