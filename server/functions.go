package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
)

// requestIDHeader names the invocation in an answer; the lines of its output have the same id.
const requestIDHeader = "Tarn-Request-Id"

type (
	functionsOut struct{ Body functionList }
	functionList struct {
		Functions []FunctionDoc `json:"functions"`
	}
	functionOut struct{ Body FunctionDoc }
)

// mountFunctions mounts and documents what can be done with functions. Invocations and logs stay outside
// huma: an event may have 6 MiB, and logs may stream for hours.
func (s *Server) mountFunctions(api huma.API) {
	c := s.opts.Control
	register(s, api, "GET", "/v1/functions", "list-functions", "functions", "The functions of the project and what they do",
		func(ctx context.Context, _ *none) (*functionsOut, error) {
			v, err := call(ctx, c.Functions)
			return &functionsOut{functionList{list(v)}}, err
		})
	register(s, api, "GET", "/v1/functions/{name}", "get-function", "functions", "One function. Secrets are named, never shown",
		func(ctx context.Context, in *byName) (*functionOut, error) {
			all, err := call(ctx, c.Functions)
			v, err := pick(all, err, "function", in.Name, func(d FunctionDoc) string { return d.Name })
			return &functionOut{v}, err
		})
	s.mux.HandleFunc("POST /v1/functions/{name}/invocations", s.invoke)
	s.mux.HandleFunc("GET /v1/functions/{name}/logs", s.functionLogs)
	s.documentFunctions(api)
}

func (s *Server) documentFunctions(api huma.API) {
	text, number, flag := &huma.Schema{Type: "string"}, &huma.Schema{Type: "integer"}, &huma.Schema{Type: "boolean"}
	name := &huma.Param{Name: "name", In: "path", Required: true, Schema: text, Description: "The function"}
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodPost, Path: "/v1/functions/{name}/invocations", OperationID: "invoke-function", Tags: []string{"functions"},
		Summary:     "Invoke a function with an event and return its answer",
		Description: "The body is the event, any JSON of at most 6 MiB; an empty one stands for {}. The answer is what the function answered, as it is. Nothing of it goes into a stream.",
		Parameters:  []*huma.Param{name, {Name: "pipeline", In: "query", Schema: text, Description: "The pipeline that its log lines shall name"}},
		RequestBody: &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Description: "The event"}}}},
		Responses: map[string]*huma.Response{
			"200": {Description: "What the function answered", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{}}},
				Headers: map[string]*huma.Param{requestIDHeader: {Schema: text, Description: "The id that the lines of its output have"}}},
			"502":     problemResponse(api, "The function answered with an error or its process died; the member error has type, message and stack"),
			"503":     problemResponse(api, "The function does not start; the member error says why"),
			"504":     problemResponse(api, "The function did not answer in time"),
			"default": problemResponse(api, "Error"),
		},
	})
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: "/v1/functions/{name}/logs", OperationID: "get-function-logs", Tags: []string{"functions"},
		Summary: "Read what a function printed",
		Parameters: []*huma.Param{name,
			{Name: "n", In: "query", Schema: number, Description: "The last so many lines, 100 unless told otherwise"},
			{Name: "request_id", In: "query", Schema: text, Description: "Only lines of this invocation"},
			{Name: "follow", In: "query", Schema: flag, Description: "Wait for new lines until the client goes or the server drains"},
		},
		Responses: map[string]*huma.Response{
			"200": {Description: "One line of output per line, as JSON", Content: map[string]*huma.MediaType{
				"application/x-ndjson": {Schema: huma.SchemaFromType(api.OpenAPI().Components.Schemas, reflect.TypeFor[function.Line]())}}},
			"default": problemResponse(api, "Error"),
		},
	})
}

// invoke runs a function on the body and answers what it answered.
func (s *Server) invoke(w http.ResponseWriter, r *http.Request) {
	in := function.Invocation{Pipeline: clip(r.URL.Query().Get("pipeline")), RequestID: uuid.NewString()}
	w.Header().Set(requestIDHeader, in.RequestID)
	var err error
	var answer []byte
	if s.opts.Control.Invoke == nil {
		err = errNotOffered
	}
	if err == nil {
		in.Payload, err = readEvent(w, r)
	}
	if err == nil {
		answer, err = s.opts.Control.Invoke(r.Context(), r.PathValue("name"), in)
	}
	if err != nil {
		s.problems.Write(w, r, failedInvocation(err, in.RequestID))
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(answer) // a client that is gone needs no answer
}

// readEvent reads a body that is an event.
func readEvent(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	event, err := io.ReadAll(http.MaxBytesReader(w, r.Body, function.MaxPayloadBytes))
	switch {
	case err != nil:
		return nil, err
	case len(event) == 0:
		return []byte("{}"), nil
	case !json.Valid(event):
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the event is not JSON", Hint: "send one JSON value"}
	}
	return event, nil
}

// invocationError is a failed invocation with what the function said.
type invocationError struct {
	error
	members map[string]any
}

// Unwrap returns the error as it was.
func (e *invocationError) Unwrap() error { return e.error }

// ProblemMembers implements memberer.
func (e *invocationError) ProblemMembers() map[string]any { return e.members }

// FunctionErrorDoc is the member error of the problem of a failed invocation.
type FunctionErrorDoc struct {
	Type    string   `json:"type,omitempty"`
	Message string   `json:"message,omitempty"`
	Stack   []string `json:"stack,omitempty"`
	Status  string   `json:"status,omitempty" doc:"How the process ended, when it did"`
	Stderr  []string `json:"stderr,omitempty" doc:"The last lines it wrote to standard error"`
}

func failedInvocation(err error, requestID string) error {
	var doc FunctionErrorDoc
	var start *function.InitError
	var said *function.FunctionError
	var ended *function.ExitError
	if errors.As(err, &start) {
		said = &start.FunctionError
	} else {
		errors.As(err, &said)
	}
	if said != nil {
		doc.Type, doc.Message, doc.Stack = said.Type, said.Message, said.Stack
	}
	if errors.As(err, &ended) {
		doc.Status, doc.Stderr = ended.Status, ended.Stderr
	}
	members := map[string]any{"request_id": requestID}
	if said != nil || ended != nil {
		members["error"] = doc
	}
	return &invocationError{err, members}
}

// logsRequest is what the query string asks for.
type logsRequest struct {
	n         int
	requestID string
	follow    bool
}

func parseLogs(q url.Values) (logsRequest, error) {
	req := logsRequest{n: 100, requestID: q.Get("request_id")}
	for name := range q {
		if !slices.Contains([]string{"n", "request_id", "follow"}, name) {
			return req, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter " + strconv.Quote(clip(name)) + " is not known here", Hint: "there are n, request_id and follow"}
		}
	}
	var err error
	if v := q.Get("n"); v != "" {
		if req.n, err = strconv.Atoi(v); err != nil || req.n < 0 {
			return req, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter n=" + strconv.Quote(clip(v)) + " is not usable", Hint: "write how many lines, from 0"}
		}
	}
	if v := q.Get("follow"); v != "" {
		if req.follow, err = strconv.ParseBool(v); err != nil {
			return req, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter follow=" + strconv.Quote(clip(v)) + " is not usable", Hint: "write true or false"}
		}
	}
	return req, nil
}

// functionLogs streams the output of a function as NDJSON.
func (s *Server) functionLogs(w http.ResponseWriter, r *http.Request) {
	req, err := parseLogs(r.URL.Query())
	if err == nil && s.opts.Control.FunctionLogs == nil {
		err = errNotOffered
	}
	var logs *function.Logs
	if err == nil {
		logs, err = s.opts.Control.FunctionLogs(clip(r.PathValue("name")))
	}
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	if req.follow {
		followLogs(w, r, logs, req)
		return
	}
	lines := logs.Tail(-1)
	if req.requestID != "" {
		lines = slices.DeleteFunc(lines, func(l function.Line) bool { return l.RequestID != req.requestID })
	}
	out := json.NewEncoder(w)
	for _, l := range lines[max(0, len(lines)-req.n):] {
		if out.Encode(l) != nil {
			return // the client is gone
		}
	}
}

// followLogs writes the last lines and what comes, until the client goes or the server drains.
func followLogs(w http.ResponseWriter, r *http.Request, logs *function.Logs, req logsRequest) {
	ctx, stop := context.WithCancel(r.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		select {
		case <-draining(ctx):
			stop()
		case <-ctx.Done():
		}
	})
	flush := http.NewResponseController(w).Flush
	if flush() != nil { // the header, so that the client knows it is connected
		return
	}
	out := json.NewEncoder(w)
	for l := range logs.Follow(ctx, req.n) {
		if req.requestID != "" && l.RequestID != req.requestID {
			continue
		}
		if out.Encode(l) != nil || flush() != nil {
			return
		}
	}
}
