package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
)

type (
	none       struct{}
	projectOut struct{ Body json.RawMessage }
	byName     struct {
		Name string `path:"name" maxLength:"255" doc:"The name"`
	}
	statusOut  struct{ Body StatusDoc }
	streamsOut struct{ Body streamList }
	streamList struct {
		Streams []StreamDoc `json:"streams"`
	}
	streamOut    struct{ Body StreamDoc }
	pipelinesOut struct{ Body pipelineList }
	pipelineList struct {
		Pipelines []PipelineDoc `json:"pipelines"`
	}
	pipelineOut struct{ Body PipelineDoc }
	tablesOut   struct{ Body tableList }
	tableList   struct {
		Tables []TableDoc `json:"tables"`
	}
	tableOut   struct{ Body TableDoc }
	reloadOut  struct{ Body ReloadDoc }
	maintainIn struct {
		Name string `path:"name" maxLength:"255" doc:"The table"`
		Body struct {
			Tasks []string `json:"tasks" minItems:"1" maxItems:"4" enum:"compact,expire,manifests,orphans" doc:"Run in this order"`
		}
	}
	maintainOut  struct{ Body maintainList }
	maintainList struct {
		Results []MaintenanceDoc `json:"results"`
	}
)

// registerControl mounts and documents the endpoints that answer from Control.
func (s *Server) registerControl(api huma.API) {
	c := s.opts.Control
	register(s, api, "GET", "/v1/status", "status", "operations", "Counts of records and the state of the process",
		func(ctx context.Context, _ *none) (*statusOut, error) {
			v, err := call(ctx, c.Status)
			return &statusOut{v}, err
		})
	register(s, api, "GET", "/v1/streams", "list-streams", "streams", "All streams",
		func(ctx context.Context, _ *none) (*streamsOut, error) {
			v, err := call(ctx, c.Streams)
			return &streamsOut{streamList{list(v)}}, err
		})
	register(s, api, "GET", "/v1/streams/{name}", "get-stream", "streams", "One stream and its shards",
		func(ctx context.Context, in *byName) (*streamOut, error) {
			all, err := call(ctx, c.Streams)
			v, err := pick(all, err, "stream", in.Name, func(d StreamDoc) string { return d.Name })
			return &streamOut{v}, err
		})
	register(s, api, "GET", "/v1/pipelines", "list-pipelines", "pipelines", "All pipelines and how far their deliveries are",
		func(ctx context.Context, _ *none) (*pipelinesOut, error) {
			v, err := call(ctx, c.Pipelines)
			return &pipelinesOut{pipelineList{list(v)}}, err
		})
	register(s, api, "GET", "/v1/pipelines/{name}", "get-pipeline", "pipelines", "One pipeline",
		func(ctx context.Context, in *byName) (*pipelineOut, error) {
			all, err := call(ctx, c.Pipelines)
			v, err := pick(all, err, "pipeline", in.Name, func(d PipelineDoc) string { return d.Name })
			return &pipelineOut{v}, err
		})
	s.registerPipelineActions(api)
	register(s, api, "GET", "/v1/tables", "list-tables", "tables", "All tables, without their schemas",
		func(ctx context.Context, _ *none) (*tablesOut, error) {
			v, err := call(ctx, c.Tables)
			return &tablesOut{tableList{list(v)}}, err
		})
	register(s, api, "GET", "/v1/tables/{name}", "get-table", "tables", "One table: schema, partitions, snapshots, and what was inferred and why",
		func(ctx context.Context, in *byName) (*tableOut, error) {
			if c.Table == nil {
				return nil, errNotOffered
			}
			v, err := c.Table(ctx, in.Name)
			return &tableOut{v}, err
		})
	register(s, api, "POST", "/v1/tables/{name}/maintenance", "maintain-table", "tables", "Run maintenance tasks on one table now",
		func(ctx context.Context, in *maintainIn) (*maintainOut, error) {
			if c.Maintain == nil {
				return nil, errNotOffered
			}
			v, err := c.Maintain(ctx, in.Name, in.Body.Tasks)
			return &maintainOut{maintainList{list(v)}}, err
		})
	s.registerCrawls(api)
	s.registerExtracts(api)
	s.registerFailed(api)
	s.registerLosses(api)
	s.registerReplays(api)
	s.mountVerify(api)
	register(s, api, "GET", "/v1/project", "project", "operations", "The project that runs, with every default filled in",
		func(ctx context.Context, _ *none) (*projectOut, error) {
			v, err := call(ctx, c.Project)
			return &projectOut{v}, err
		})
	register(s, api, "POST", "/v1/reload", "reload", "operations", "Read the project again; a faulty one is refused and nothing changes; a part that does not start is named, and the rest applied",
		func(ctx context.Context, _ *none) (*reloadOut, error) {
			v, err := call(ctx, c.Reload)
			v.Changes = list(v.Changes)
			return &reloadOut{v}, err
		})
}

var errNotOffered = &tarn.Error{Code: tarn.CodeUnsupported, Detail: "this server does not offer this endpoint"}

func call[T any](ctx context.Context, f func(context.Context) (T, error)) (T, error) {
	if f == nil {
		var zero T
		return zero, errNotOffered
	}
	return f(ctx)
}

// list makes the JSON of no entries [] instead of null.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}

func pick[T any](all []T, err error, what, name string, nameOf func(T) string) (T, error) {
	var zero T
	if err != nil {
		return zero, err
	}
	names := make([]string, 0, len(all))
	for _, v := range all {
		if nameOf(v) == name {
			return v, nil
		}
		names = append(names, nameOf(v))
	}
	return zero, NotFound(what, name, names)
}

// NotFound is the error for a name that does not exist, with the names that do as its hint; nil have
// says that they are not at hand.
func NotFound(what, name string, have []string) error {
	e := &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no " + what + " " + strconv.Quote(name)}
	slices.Sort(have)
	switch {
	case have == nil:
		e.Hint = "tarn " + what + "s ls lists them"
	case len(have) == 0:
		e.Hint = "this project has none yet"
	case len(have) > 20:
		e.Hint = "there are " + strconv.Itoa(len(have)) + "; list them with tarn " + what + "s ls"
	default:
		e.Hint = "there is " + strings.Join(have, ", ")
	}
	return e
}

// register mounts one endpoint that huma decodes, validates and documents. Its errors become
// problem documents here. Each of more changes the operation before it is mounted.
func register[I, O any](s *Server, api huma.API, method, path, id, tag, summary string, fn func(context.Context, *I) (*O, error), more ...func(*huma.Operation)) {
	op := huma.Operation{
		Method: method, Path: path, OperationID: id, Summary: summary, Tags: []string{tag},
		MaxBodyBytes: 64 << 10, BodyReadTimeout: s.opts.Patience,
		Middlewares: huma.Middlewares{badRequest, knownParameters(api)},
		Responses:   map[string]*huma.Response{"200": {Description: "OK"}, "default": problemResponse(api, "Error")},
	}
	for _, change := range more {
		change(&op)
	}
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := fn(ctx, in)
		if err == nil {
			return out, nil
		}
		doc := s.problems.of(method+" "+path, err)
		if after := retryAfter(doc.Code, err); after > 0 {
			seconds := strconv.Itoa(int((after + time.Second - 1) / time.Second))
			return nil, huma.ErrorWithHeaders(doc, http.Header{"Retry-After": {seconds}})
		}
		return nil, doc
	})
}

func problemResponse(api huma.API, description string) *huma.Response {
	schema := huma.SchemaFromType(api.OpenAPI().Components.Schemas, problemGoType)
	return &huma.Response{Description: description, Content: map[string]*huma.MediaType{problemType: {Schema: schema}}}
}

// badRequest makes huma's 422 for parameters that do not validate the 400 of CodeInvalid.
func badRequest(ctx huma.Context, next func(huma.Context)) { next(&statusContext{humaContext: ctx}) }

// knownParameters refuses parameters that the operation does not have: a filter with a slip of the pen would
// select everything.
func knownParameters(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		var known []string
		for _, p := range ctx.Operation().Parameters {
			if p.In == "query" {
				known = append(known, p.Name)
			}
		}
		u := ctx.URL()
		for name := range u.Query() {
			if !slices.Contains(known, name) {
				text := "the parameter " + strconv.Quote(clip(name)) + " is not known here"
				if len(known) > 0 {
					text += "; there are " + strings.Join(known, ", ")
				}
				_ = huma.WriteErr(api, ctx, http.StatusBadRequest, text) // the client may be gone
				return
			}
		}
		next(ctx)
	}
}

type humaContext huma.Context // under another name, because the interface has a method Context

type statusContext struct {
	humaContext
	invalid bool
}

// Unwrap lets humago find its own context.
func (c *statusContext) Unwrap() huma.Context { return c.humaContext }

// SetStatus replaces huma's status of a failed validation.
func (c *statusContext) SetStatus(status int) {
	if c.invalid && status == http.StatusUnprocessableEntity {
		status = http.StatusBadRequest
	}
	c.humaContext.SetStatus(status)
}

// asProblem makes problem documents of the errors that huma itself finds in a request.
func asProblem(ctx huma.Context, _ string, v any) (any, error) {
	var m *huma.ErrorModel
	err, ok := v.(error)
	if !ok || !errors.As(err, &m) {
		return v, nil
	}
	code := tarn.CodeInvalid
	switch m.Status {
	case http.StatusRequestEntityTooLarge:
		code = tarn.CodeTooLarge
	case http.StatusUnsupportedMediaType:
		code = tarn.CodeUnsupported
	case http.StatusRequestTimeout:
		code = tarn.CodeTimeout
	case http.StatusInternalServerError:
		return problem(tarn.CodeInternal, "the server failed to answer", ""), nil
	}
	detail := m.Detail
	for i, e := range m.Errors {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		detail += sep + e.Message
		if e.Location != "" {
			detail += " (" + e.Location + ")"
		}
	}
	hint := "GET /openapi.json describes every parameter"
	if code == tarn.CodeUnsupported {
		hint = "send JSON with the header Content-Type: application/json"
	}
	doc := problem(code, detail, hint)
	if c, ok := ctx.(*statusContext); ok && m.Status == http.StatusUnprocessableEntity {
		c.invalid = true
	} else {
		doc.Status = m.Status
	}
	return doc, nil
}
