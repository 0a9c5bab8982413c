package server

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn/govern"
)

// open is what a route declares that needs no token.
const open = "open"

// access is the scope that each route needs, by its pattern. {NAME} in it stands for the path value of that
// name, {pipeline's stream} for the stream of the pipeline in the path. A route that is not here needs
// admin, so that none is open by oversight (I6).
var access = map[string]string{
	"GET /{$}":          open,
	"GET /healthz":      open,
	"GET /readyz":       open,
	"GET /openapi.json": open,
	"GET /metrics":      govern.ScopeMetricsRead,

	"POST /v1/streams/{stream}/records":  govern.ScopeIngest + "{stream}",
	"POST /v1/pipelines/{pipeline}/runs": govern.ScopeIngest + "{pipeline's stream}",

	"POST /v1/sql":                   govern.ScopeSQLRead,
	"GET /v1/status":                 govern.ScopeSQLRead,
	"GET /v1/streams":                govern.ScopeSQLRead,
	"GET /v1/streams/{name}":         govern.ScopeSQLRead,
	"GET /v1/streams/{name}/records": govern.ScopeSQLRead,
	"GET /v1/pipelines":              govern.ScopeSQLRead,
	"GET /v1/pipelines/{name}":       govern.ScopeSQLRead,
	"GET /v1/tables":                 govern.ScopeSQLRead,
	"GET /v1/tables/{name}":          govern.ScopeSQLRead,
	"GET /v1/crawlers":               govern.ScopeSQLRead,
	"GET /v1/extracts":               govern.ScopeSQLRead,
	"GET /v1/failed/{id}":            govern.ScopeSQLRead,
	"GET /v1/replays":                govern.ScopeSQLRead,
	"GET /v1/replays/{id}":           govern.ScopeSQLRead,
	"GET /v1/failed":                 govern.ScopeSQLRead,
	"GET /v1/functions":              govern.ScopeSQLRead,
	"GET /v1/functions/{name}":       govern.ScopeSQLRead,
	"GET /v1/verify":                 govern.ScopeSQLRead,
	"GET /v1/twins":                  govern.ScopeSQLRead,

	"GET /v1/twins/{twin}/components":                               govern.ScopeTwinRead + "{twin}",
	"GET /v1/twins/{twin}/components/{id}":                          govern.ScopeTwinRead + "{twin}",
	"GET /v1/twins/{twin}/components/{id}/metrics/{metric}":         govern.ScopeTwinRead + "{twin}",
	"GET /v1/twins/{twin}/components/{id}/metrics/{metric}/history": govern.ScopeTwinRead + "{twin}",
	"GET /v1/twins/{twin}/changes":                                  govern.ScopeTwinRead + "{twin}",
	"POST /v1/twins/{twin}/read":                                    govern.ScopeTwinRead + "{twin}",
	"PUT /v1/twins/{twin}/components/{id}/metrics/{metric}":         govern.ScopeTwinWrite + "{twin}",
	"DELETE /v1/twins/{twin}/components/{id}/metrics/{metric}":      govern.ScopeTwinWrite + "{twin}",

	"GET /v1/project":                       govern.ScopeAdmin,
	"POST /v1/reload":                       govern.ScopeAdmin,
	"POST /v1/crawls":                       govern.ScopeAdmin,
	"POST /v1/failed/retry":                 govern.ScopeAdmin,
	"POST /v1/failed/discard":               govern.ScopeAdmin,
	"POST /v1/losses/accept":                govern.ScopeAdmin,
	"POST /v1/pipelines/{name}/replays":     govern.ScopeAdmin,
	"POST /v1/replays/{id}/cancel":          govern.ScopeAdmin,
	"POST /v1/tables/{name}/maintenance":    govern.ScopeAdmin,
	"POST /v1/pipelines/{name}/flush":       govern.ScopeAdmin,
	"POST /v1/extracts/{name}/flush":        govern.ScopeAdmin,
	"POST /v1/pipelines/{name}/pause":       govern.ScopeAdmin,
	"POST /v1/pipelines/{name}/resume":      govern.ScopeAdmin,
	"POST /v1/functions/{name}/invocations": govern.ScopeAdmin,
	"GET /v1/functions/{name}/logs":         govern.ScopeAdmin,
}

// endless are routes whose answers may go on for ever; they end with the token.
var endless = []string{"GET /v1/streams/{name}/records", "GET /v1/twins/{twin}/changes", "GET /v1/functions/{name}/logs"}

// resourcePath describes the server to clients that look for its issuer (RFC 9728).
const resourcePath = "/.well-known/oauth-protected-resource"

// routes is the mux with a check before every handler.
type routes struct {
	*http.ServeMux
	server     *Server
	undeclared []string // patterns that access does not have
}

// Handle implements what packages expect of a mux.
func (m *routes) Handle(pattern string, h http.Handler) {
	need, ok := access[pattern]
	if !ok {
		m.undeclared = append(m.undeclared, pattern)
		need = govern.ScopeAdmin
	}
	m.ServeMux.Handle(pattern, m.server.guarded(pattern, need, h))
}

// HandleFunc is Handle for a function.
func (m *routes) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	m.Handle(pattern, http.HandlerFunc(h))
}

// guarded lets requests pass to h that carry a token with the scope need. Without a Guard all pass: then only
// loopback can connect, unless the operator says otherwise.
func (s *Server) guarded(pattern, need string, h http.Handler) http.Handler {
	if s.opts.Guard == nil || need == open {
		return h
	}
	ends := slices.Contains(endless, pattern)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p, err := s.opts.Guard.Check(r, s.scope(need, r))
		if err != nil {
			s.deny(w, r, err)
			return
		}
		ctx := govern.WithPrincipal(r.Context(), p)
		if ends {
			var stop context.CancelFunc
			ctx, stop = context.WithDeadline(ctx, p.Expires)
			defer stop()
		}
		h.ServeHTTP(w, r.WithContext(ctx))
	})
}

// scope fills in the names of a request.
func (s *Server) scope(need string, r *http.Request) string {
	prefix, name, ok := strings.Cut(need, "{")
	if !ok {
		return need
	}
	name = strings.TrimSuffix(name, "}")
	if name != "pipeline's stream" {
		return prefix + r.PathValue(name)
	}
	pipeline := r.PathValue("pipeline")
	if s.opts.PipelineStream == nil {
		return prefix + pipeline
	}
	if stream, ok := s.opts.PipelineStream(pipeline); ok {
		return prefix + stream
	}
	return prefix + "*" // whoever may write everything learns that there is none
}

func (s *Server) deny(w http.ResponseWriter, r *http.Request, err error) {
	var d *govern.Denied
	if errors.As(err, &d) {
		if c := d.Challenge(s.baseURL(r) + resourcePath); c != "" {
			w.Header().Set("WWW-Authenticate", c)
		}
	}
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close") // a body that nobody reads
	}
	s.problems.Write(w, r, err)
}

// baseURL is how clients reach this server.
func (s *Server) baseURL(r *http.Request) string {
	if s.opts.PublicURL != "" {
		return strings.TrimSuffix(s.opts.PublicURL, "/")
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// mountAccess serves the authorization server and the description of this one.
func (s *Server) mountAccess() {
	if s.opts.Guard == nil {
		return
	}
	if s.opts.Authority != nil {
		for _, pattern := range s.opts.AuthorityPaths {
			s.mux.ServeMux.Handle(pattern, s.opts.Authority) // open: it checks for itself
		}
	}
	s.mux.ServeMux.HandleFunc("GET "+resourcePath, func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, map[string]any{
			"resource": s.baseURL(r), "authorization_servers": []string{s.opts.Guard.Issuer()}, "bearer_methods_supported": []string{"header"},
			"scopes_supported": []string{govern.ScopeAdmin, govern.ScopeSQLRead, govern.ScopeMetricsRead, govern.ScopeIngest + "*", govern.ScopeTwinRead + "*", govern.ScopeTwinWrite + "*"},
		})
	})
}

// describeAccess writes the scope of every operation into its description.
func describeAccess(doc *huma.OpenAPI) {
	doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT",
		Description: "An access token; needed when the project says who may call (auth). " + resourcePath + " names its issuer"}}
	for path, item := range doc.Paths {
		for method, op := range map[string]*huma.Operation{"GET": item.Get, "POST": item.Post, "PUT": item.Put, "DELETE": item.Delete} {
			need := access[method+" "+path]
			if op == nil || need == open || need == "" {
				continue
			}
			op.Security = []map[string][]string{{"bearer": {}}, {}}
			op.Extensions = map[string]any{"x-scope": need}
		}
	}
}

// Undeclared returns the routes that declare no scope. They need the scope admin; a test holds that there are
// none.
func (s *Server) Undeclared() []string { return s.mux.undeclared }
