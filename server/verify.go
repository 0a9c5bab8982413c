package server

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tarn-data/tarn"
)

// progressEvery is how often a client is told how far a verification is.
const progressEvery = 200 * time.Millisecond

// VerifyLine is one line of GET /v1/verify?deep=true as NDJSON: how far it is, and in the last line the
// result or the problem that ended it.
type VerifyLine struct {
	Progress *VerifyProgress `json:"progress,omitempty"`
	Result   *VerifyDoc      `json:"result,omitempty"`
	Problem  any             `json:"problem,omitempty" doc:"A problem document"`
}

func (s *Server) mountVerify(api huma.API) {
	s.mux.HandleFunc("GET /v1/verify", s.verify)
	schemas := api.OpenAPI().Components.Schemas
	api.OpenAPI().AddOperation(&huma.Operation{
		Method: http.MethodGet, Path: "/v1/verify", OperationID: "verify", Tags: []string{"operations"},
		Summary:    "Prove from the stores that nothing accepted disappeared",
		Parameters: []*huma.Param{{Name: "deep", In: "query", Schema: &huma.Schema{Type: "boolean"}, Description: "Read the content of every file and object too. With Accept: application/x-ndjson, lines say how far it is; the last has the result"}},
		Responses: map[string]*huma.Response{
			"200": {Description: "OK", Content: map[string]*huma.MediaType{
				"application/json":     {Schema: huma.SchemaFromType(schemas, reflect.TypeFor[VerifyDoc]())},
				"application/x-ndjson": {Schema: huma.SchemaFromType(schemas, reflect.TypeFor[VerifyLine]())},
			}},
			"default": problemResponse(api, "Error"),
		},
	})
}

func (s *Server) verify(w http.ResponseWriter, r *http.Request) {
	deep, err := strconv.ParseBool(r.URL.Query().Get("deep"))
	if r.URL.Query().Has("deep") && err != nil {
		s.problems.Write(w, r, &tarn.Error{Code: tarn.CodeInvalid, Detail: "deep is true or false"})
		return
	}
	if deep && strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
		s.verifyLines(w, r)
		return
	}
	check := s.opts.Control.Verify
	if deep {
		check = func(ctx context.Context) (VerifyDoc, error) { return s.verifyDeep(ctx, nil) }
	}
	doc, err := call(r.Context(), check)
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	doc.Accounts = list(doc.Accounts)
	writeJSON(w, doc)
}

func (s *Server) verifyDeep(ctx context.Context, on func(VerifyProgress)) (VerifyDoc, error) {
	if s.opts.Control.VerifyDeep == nil {
		return VerifyDoc{}, errNotOffered
	}
	return s.opts.Control.VerifyDeep(ctx, on)
}

// verifyLines answers with lines; what comes after the first cannot be an error of HTTP any more.
func (s *Server) verifyLines(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	out, rc := json.NewEncoder(w), http.NewResponseController(w)
	var last time.Time
	doc, err := s.verifyDeep(r.Context(), func(p VerifyProgress) {
		if time.Since(last) < progressEvery {
			return
		}
		last = time.Now()
		_ = out.Encode(VerifyLine{Progress: &p}) // a client that is gone ends the context
		_ = rc.Flush()
	})
	line := VerifyLine{Result: &doc}
	if doc.Accounts = list(doc.Accounts); err != nil {
		line = VerifyLine{Problem: s.problems.of(r.Method+" "+r.URL.Path, err)}
	}
	_ = out.Encode(line)
}
