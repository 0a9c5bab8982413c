package server

import (
	"html/template"
	"net/http"
	"strings"
)

// endpoint is one line of the index.
type endpoint struct {
	Method  string `json:"method"`
	Path    string `json:"path"`
	Summary string `json:"summary"`
}

func (s *Server) endpoints() []endpoint {
	return []endpoint{
		{"POST", "/v1/streams/{stream}/records", "Post records: NDJSON, JSON or bytes"},
		{"POST", "/v1/sql", "Ask with SQL"},
		{"GET", "/v1/tables", "Tables"},
		{"GET", "/v1/streams", "Streams"},
		{"GET", "/v1/pipelines", "Pipelines and how far their deliveries are"},
		{"GET", "/v1/twins", "Twins: the newest value of every metric"},
		{"GET", "/v1/functions", "Functions and what they do"},
		{"GET", "/v1/failed", "Records that could not be delivered"},
		{"GET", "/v1/verify", "Proof that nothing accepted disappeared"},
		{"GET", "/v1/status", "Counts of records"},
		{"POST", "/v1/reload", "Read the project again"},
		{"GET", "/healthz", "Is the process alive?"},
		{"GET", "/readyz", "Are requests served?"},
		{"GET", "/metrics", "Metrics for Prometheus"},
		{"GET", "/openapi.json", "The whole interface as OpenAPI 3.1"},
	}
}

// index names the endpoints: HTML for a browser, JSON for everything else.
func (s *Server) index(w http.ResponseWriter, r *http.Request) {
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		writeJSON(w, map[string]any{"name": "tarn", "version": s.opts.Version, "endpoints": s.endpoints()})
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	_ = indexPage.Execute(w, map[string]any{"Version": s.opts.Version, "Endpoints": s.endpoints()}) // fails only when the client is gone
}

var indexPage = template.Must(template.New("index").Parse(`<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Tarn</title>
<style>
body{font:16px/1.5 system-ui,sans-serif;max-width:46rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}
td{padding:.2rem 1rem .2rem 0;vertical-align:top}code{font-family:ui-monospace,monospace}
</style>
<h1>Tarn {{.Version}}</h1>
<p>This lake is running. Ask it on the command line:</p>
<pre><code>tarn sql "SELECT * FROM system.tables"</code></pre>
<table>{{range .Endpoints}}
<tr><td><code>{{.Method}}</code></td><td>{{if eq .Method "GET"}}<a href="{{.Path}}"><code>{{.Path}}</code></a>{{else}}<code>{{.Path}}</code>{{end}}</td><td>{{.Summary}}</td></tr>{{end}}
</table>
</html>
`))
