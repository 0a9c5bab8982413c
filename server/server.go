package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/twin"
)

// Options are the parts a Server answers from. All fields are required unless they say otherwise.
type Options struct {
	Version  string
	Logger   *slog.Logger
	Metrics  *telemetry.Metrics
	Gatherer prometheus.Gatherer // what /metrics shows

	// Ingest answers POST /v1/streams/{stream}/records; the stream is the path value "stream".
	Ingest http.Handler
	// Runs answers POST /v1/pipelines/{pipeline}/runs; the pipeline is the path value "pipeline". nil
	// answers CodeUnsupported.
	Runs http.Handler
	// Query answers POST /v1/sql.
	Query *query.Service
	// Stream finds a stream by name for reading its records.
	Stream func(name string) (*stream.Stream, bool)
	// Twins are the twins of the project. nil answers CodeUnsupported.
	Twins *twin.Store
	// Control is the rest.
	Control Control

	// Guard checks who calls. nil lets everybody call.
	Guard *govern.Guard
	// Authority answers AuthorityPaths, patterns of net/http, to everybody: an authorization server. Optional.
	Authority      http.Handler
	AuthorityPaths []string
	// PublicURL is how clients reach the server; default what they write into Host.
	PublicURL string
	// AnyHost accepts every Host header: callers need a token or the connection is HTTPS, so that a web page
	// of another name reaches nothing through the browser of a user.
	AnyHost bool
	// PipelineStream returns the stream of a pipeline. nil means the one of the same name.
	PipelineStream func(pipeline string) (stream string, ok bool)
	// Patience is how long a client may take to send a body, and a second more for each 64 KiB; default 20 s. To
	// take a part of an answer it has three times that.
	Patience time.Duration
	// AllowedHosts are Host headers accepted besides loopback names, for a proxy in front. Optional.
	AllowedHosts []string
}

// Control are the functions of the running engine that the interface offers. They are called
// concurrently; ctx ends when the client goes. A nil function answers CodeUnsupported, a nil Ready
// means ready.
type Control struct {
	// Ready returns why requests cannot be served now (starting, draining), or nothing. It is
	// asked on every request and must be cheap.
	Ready func() (reasons []string)
	// Refusing returns why records are refused though requests are served, "" when they are taken. It
	// is called for /readyz.
	Refusing func() string

	Status    func(context.Context) (StatusDoc, error)
	Streams   func(context.Context) ([]StreamDoc, error)
	Pipelines func(context.Context) ([]PipelineDoc, error)
	Tables    func(context.Context) ([]TableDoc, error)
	Table     func(ctx context.Context, name string) (TableDoc, error) // CodeNotFound
	Failed    func(context.Context, FailedFilter) (FailedPage, error)
	// RetryFailed and DiscardFailed work on the next failed records of a filter, and say where to go on.
	RetryFailed   func(context.Context, FailedFilter) (RetryDoc, error)
	DiscardFailed func(context.Context, FailedFilter) (DiscardDoc, error)
	Replay        ReplayControl
	Verify        func(context.Context) (VerifyDoc, error)
	// VerifyDeep reads all content besides, and calls on, unless that is nil, behind every object.
	VerifyDeep func(ctx context.Context, on func(VerifyProgress)) (VerifyDoc, error)
	// AcceptLosses notes who knows of losses that a verification names. CodeNotFound when one is no loss.
	AcceptLosses func(context.Context, AcceptLosses) error
	// Maintain runs tasks on one table in the order given, and returns what each did.
	Maintain func(ctx context.Context, table string, tasks []string) ([]MaintenanceDoc, error)
	// Reload reads the project again. A faulty project is an error and changes nothing; a part that does
	// not start is named in the answer.
	Reload func(context.Context) (ReloadDoc, error)
	// Project returns the project that runs, as its MarshalJSON writes it. Passwords are not in it.
	Project func(context.Context) (json.RawMessage, error)
	// Extracts lists the continuous SQL of the project.
	Extracts func(context.Context) ([]ExtractDoc, error)
	// FlushExtract commits what an extract and those in front of it can take in now, and returns when that
	// is done.
	FlushExtract func(ctx context.Context, extract string) error
	// Crawl brings external tables up to date; Crawlers lists the crawlers of the project.
	Crawl    func(context.Context, CrawlRequest) (*catalog.Report, error)
	Crawlers func(context.Context) ([]CrawlerDoc, error)
	// Functions describes the functions of the project; Invoke runs one on an event; FunctionLogs finds
	// its output. Both answer CodeNotFound for a name that does not exist.
	Functions    func(context.Context) ([]FunctionDoc, error)
	Invoke       func(ctx context.Context, name string, in function.Invocation) ([]byte, error)
	FunctionLogs func(name string) (*function.Logs, error)
	// Flush commits what a pipeline has accepted and returns when that is done.
	Flush func(ctx context.Context, pipeline string) error
	// Pause stops or resumes the deliveries of a pipeline.
	Pause func(pipeline string, on bool) error
}

// Server is the HTTP interface as a handler. It is safe for concurrent use.
type Server struct {
	opts     Options
	problems Problems
	mux      *routes
	origin   *http.CrossOriginProtection
	openapi  []byte
}

// New builds the handler. It starts nothing.
func New(o Options) (*Server, error) {
	if o.Patience <= 0 {
		o.Patience = defaultPatience
	}
	s := &Server{opts: o, problems: Problems{o.Logger}, origin: http.NewCrossOriginProtection()}
	s.mux = &routes{ServeMux: http.NewServeMux(), server: s}
	api := s.newAPI()
	s.registerControl(api)
	s.mountStreams(api)
	s.mountRuns(api)
	s.mountFunctions(api)
	s.mountSQL(api)
	s.registerTwins(api)
	s.mountOperations(api)
	delete(api.OpenAPI().Components.Schemas.Map(), "ErrorModel") // huma's own error, which no answer uses
	delete(api.OpenAPI().Components.Schemas.Map(), "ErrorDetail")
	s.mountAccess()
	describeAccess(api.OpenAPI())
	var err error
	s.openapi, err = json.MarshalIndent(api.OpenAPI(), "", "  ")
	return s, err
}

func (s *Server) newAPI() huma.API {
	return humago.New(s.mux, huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Tarn",
				Version:     s.opts.Version,
				Description: "A data lake in one process: post records to streams, read tables with SQL. Errors are application/problem+json with a stable `code`.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)},
		},
		Formats:       map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat: "application/json",
		Transformers:  []huma.Transformer{asProblem},
	})
}

// mountOperations serves what a machine's operator asks for, outside /v1/ and so also while the
// engine is not ready.
func (s *Server) mountOperations(api huma.API) {
	text := func(description string) map[string]*huma.Response {
		return map[string]*huma.Response{"200": {Description: description, Content: map[string]*huma.MediaType{"text/plain": {}}}}
	}
	add := func(path, id, summary string, responses map[string]*huma.Response, h http.HandlerFunc) {
		s.mux.HandleFunc("GET "+path, h)
		api.OpenAPI().AddOperation(&huma.Operation{Method: http.MethodGet, Path: path, OperationID: id, Summary: summary, Tags: []string{"operations"}, Responses: responses})
	}
	add("/healthz", "health", "Is the process alive?", text("ok"), func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n"))
	})
	ready := text("ready")
	ready["503"] = problemResponse(api, "Starting or draining; the detail says why")
	add("/readyz", "ready", "Are requests served?", ready, func(w http.ResponseWriter, r *http.Request) {
		if reasons := s.ready(); len(reasons) > 0 {
			s.problems.Write(w, r, notReady(reasons))
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ready\n"))
		if s.opts.Control.Refusing == nil {
			return
		}
		// Queries are answered and deliveries go on, so that nobody should be sent elsewhere.
		if why := s.opts.Control.Refusing(); why != "" {
			_, _ = w.Write([]byte("records are refused: " + why + "\n"))
		}
	})
	metrics := promhttp.HandlerFor(s.opts.Gatherer, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError, ErrorLog: slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelError)})
	add("/metrics", "metrics", "Metrics in the Prometheus text format", text("metrics"), metrics.ServeHTTP)
	s.mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(s.openapi)
	})
	s.mux.HandleFunc("GET /{$}", s.index)
}

func notReady(reasons []string) error {
	return &tarn.Error{Code: tarn.CodeUnavailable, Detail: "Tarn is not ready: " + strings.Join(reasons, "; "), Hint: "try again in a moment; /readyz says when"}
}
