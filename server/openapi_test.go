package server_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestOpenAPI holds that the description covers every endpoint, and that every reference in it leads
// somewhere.
func TestOpenAPI(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	resp, body := f.call(t, "GET", "/openapi.json", "")
	if resp.Header.Get("Content-Type") != "application/openapi+json" {
		t.Error(resp.Header)
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Responses   map[string]any
			Parameters  []struct{ Name, In string }
		}
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Error(doc.OpenAPI)
	}
	_, index := f.call(t, "GET", "/", "")
	var listed struct {
		Endpoints []struct{ Method, Path string }
	}
	if err := json.Unmarshal([]byte(index), &listed); err != nil || len(listed.Endpoints) < 10 {
		t.Fatal(err, index)
	}
	for _, e := range listed.Endpoints {
		if e.Path == "/openapi.json" {
			continue
		}
		if _, ok := doc.Paths[e.Path][strings.ToLower(e.Method)]; !ok {
			t.Errorf("%s %s is not described", e.Method, e.Path)
		}
	}
	ids := map[string]bool{}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if op.OperationID == "" || ids[op.OperationID] || op.Summary == "" || len(op.Responses) == 0 {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			ids[op.OperationID] = true
			for part := range strings.SplitSeq(path, "/") {
				if name, ok := strings.CutPrefix(part, "{"); ok {
					found := false
					for _, p := range op.Parameters {
						found = found || p.In == "path" && p.Name == strings.TrimSuffix(name, "}")
					}
					if !found {
						t.Errorf("%s %s: %s is not described", method, path, part)
					}
				}
			}
		}
	}
	for part := range strings.SplitSeq(body, `"$ref": "#/components/schemas/`) {
		name, _, _ := strings.Cut(part, `"`)
		if !strings.HasPrefix(part, "{") && doc.Components.Schemas[name] == nil {
			t.Errorf("the schema %s is referred to and not there", name)
		}
	}
}

// TestTwinExamples holds that every operation on twins is described with a request, an answer and parameters to look at.
func TestTwinExamples(t *testing.T) {
	f := (&fixture{}).open(t, nil)
	_, body := f.call(t, "GET", "/openapi.json", "")
	type content map[string]struct{ Example any }
	var doc struct {
		Paths map[string]map[string]struct {
			Responses   map[string]struct{ Content content }
			RequestBody *struct{ Content content }
			Parameters  []struct {
				Name    string
				Example any
				Schema  struct{ Examples []any }
			}
		}
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	operations := 0
	for path, ops := range doc.Paths {
		if !strings.HasPrefix(path, "/v1/twins") {
			continue
		}
		for method, op := range ops {
			operations++
			for kind, c := range op.Responses["200"].Content {
				if c.Example == nil {
					t.Errorf("%s %s: no answer in %s", method, path, kind)
				}
			}
			if op.RequestBody != nil && op.RequestBody.Content["application/json"].Example == nil {
				t.Errorf("%s %s: no request", method, path)
			}
			for _, p := range op.Parameters {
				if p.Example == nil && len(p.Schema.Examples) == 0 {
					t.Errorf("%s %s: no %s", method, path, p.Name)
				}
			}
		}
	}
	if operations != 9 {
		t.Errorf("%d operations", operations)
	}
}
