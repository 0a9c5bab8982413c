package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/governtest"
	"github.com/tarn-data/tarn/server"
)

// TestEveryRouteDeclaresAScope walks all routes, whatever mounts them (I6).
func TestEveryRouteDeclaresAScope(t *testing.T) {
	f := (&fixture{guard: governtest.NewIssuer(t).Guard(govern.Options{})}).open(t, nil)
	if bad := f.server.Undeclared(); len(bad) > 0 {
		t.Errorf("add these routes to the table access in access.go: %s", strings.Join(bad, ", "))
	}
	var doc struct {
		Paths map[string]map[string]struct {
			Scope    string `json:"x-scope"`
			Security []any
		}
	}
	_, body := f.call(t, "GET", "/openapi.json", "")
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		t.Fatal(err)
	}
	free := []string{"/healthz", "/readyz"}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			if slices.Contains(free, path) {
				continue
			}
			if op.Scope == "" || len(op.Security) == 0 {
				t.Errorf("%s %s: its description names no scope", method, path)
			}
			// Without a token nothing but a challenge is to be had, whatever stands in the path.
			target := strings.NewReplacer("{stream}", "events", "{twin}", "fleet", "{", "", "}", "").Replace(path)
			resp, _ := f.call(t, strings.ToUpper(method), target, "")
			if resp.StatusCode != 401 || !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") {
				t.Errorf("%s %s without a token: %d", method, target, resp.StatusCode)
			}
		}
	}
	for _, path := range append(free, "/", "/openapi.json") {
		if resp, _ := f.call(t, "GET", path, ""); resp.StatusCode != 200 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
}

func TestScopes(t *testing.T) {
	issuer := governtest.NewIssuer(t)
	f := (&fixture{guard: issuer.Guard(govern.Options{}), control: server.Control{
		Tables: func(context.Context) ([]server.TableDoc, error) { return nil, nil },
		Reload: func(context.Context) (server.ReloadDoc, error) { return server.ReloadDoc{}, nil },
	}}).open(t, nil)
	for name, c := range map[string]struct {
		scopes, method, path string
		status               int
		code                 string
	}{
		"its stream":            {"ingest:events", "POST", "/v1/streams/events/records", 200, ""},
		"every stream":          {"ingest:*", "POST", "/v1/streams/events/records", 200, ""},
		"admin":                 {"admin", "POST", "/v1/streams/events/records", 200, ""},
		"another stream":        {"ingest:events", "POST", "/v1/streams/other/records", 403, "insufficient_scope"},
		"a longer name":         {"ingest:events", "POST", "/v1/streams/events2/records", 403, "insufficient_scope"},
		"a path in the name":    {"ingest:events", "POST", "/v1/streams/events%2F..%2Fother/records", 403, "insufficient_scope"},
		"dots in the path":      {"ingest:events", "POST", "/v1/streams/events/%2e%2e/other/records", 404, "not_found"},
		"a star in the path":    {"ingest:events", "POST", "/v1/streams/*/records", 403, "insufficient_scope"},
		"a scope of two":        {"sql:read ingest:events", "POST", "/v1/streams/events/records", 200, ""},
		"reading":               {"sql:read", "GET", "/v1/tables", 200, ""},
		"reading with HEAD":     {"sql:read", "HEAD", "/v1/tables", 200, ""},
		"writing is no reading": {"ingest:*", "GET", "/v1/tables", 403, "insufficient_scope"},
		"reading is no admin":   {"sql:read ingest:* twin:read:* twin:write:*", "POST", "/v1/reload", 403, "insufficient_scope"},
		"reload":                {"admin", "POST", "/v1/reload", 200, ""},
		"another twin":          {"twin:read:fleet", "GET", "/v1/twins/depot/components/w/metrics/m", 403, "insufficient_scope"},
		"a twin in the id":      {"twin:read:fleet", "GET", "/v1/twins/depot%2F..%2Ffleet/components/w", 403, "insufficient_scope"},
		"writing a read twin":   {"twin:read:fleet", "PUT", "/v1/twins/fleet/components/w/metrics/m", 403, "insufficient_scope"},
		"metrics":               {"metrics:read", "GET", "/metrics", 200, ""},
		"metrics without":       {"sql:read", "GET", "/metrics", 403, "insufficient_scope"},
		"no scope":              {"", "GET", "/v1/tables", 403, "insufficient_scope"},
	} {
		t.Run(name, func(t *testing.T) {
			token := issuer.Token(t, governtest.Claims{Scope: c.scopes})
			resp, body := f.call(t, c.method, c.path, "", "Authorization", "Bearer "+token)
			var p struct{ Code string }
			if c.code != "" {
				_ = json.Unmarshal([]byte(body), &p)
			}
			if resp.StatusCode != c.status || p.Code != c.code {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
			if challenge := resp.Header.Get("WWW-Authenticate"); (c.status == 403) != strings.Contains(challenge, `error="insufficient_scope"`) {
				t.Errorf("challenge %q", challenge)
			}
		})
	}
	if strings.Contains(f.log.String(), "eyJ") {
		t.Error("a token is in the log") // I7
	}
}

// TestRate wants 429 with a time to wait, for the client that sends too much and for nobody else.
func TestRate(t *testing.T) {
	issuer := governtest.NewIssuer(t)
	f := (&fixture{guard: issuer.Guard(govern.Options{PerSecond: 0.5, Burst: 2})}).open(t, nil)
	get := func(client string) *http.Response {
		resp, _ := f.call(t, "GET", "/v1/streams/events/records?limit=1", "", "Authorization", "Bearer "+issuer.Token(t, governtest.Claims{Client: client, Scope: "sql:read"}))
		return resp
	}
	for i, want := range []int{200, 200, 429} {
		resp := get("greedy")
		if resp.StatusCode != want {
			t.Errorf("request %d: %d", i, resp.StatusCode)
		}
		if after := resp.Header.Get("Retry-After"); want == 429 && after != "2" {
			t.Errorf("Retry-After %q", after)
		}
	}
	if resp := get("modest"); resp.StatusCode != 200 {
		t.Errorf("another client: %d", resp.StatusCode)
	}
}

// TestStreamEndsWithItsToken: an answer that would go on for ever does not outlive the token.
func TestStreamEndsWithItsToken(t *testing.T) {
	issuer := governtest.NewIssuer(t)
	f := (&fixture{guard: issuer.Guard(govern.Options{})}).open(t, nil)
	token := issuer.Token(t, governtest.Claims{Scope: "sql:read", Lifetime: 2 * time.Second})
	begin := time.Now()
	resp, _ := f.call(t, "GET", "/v1/streams/events/records?follow=true&limit=0", "", "Authorization", "Bearer "+token)
	if took := time.Since(begin); resp.StatusCode != 200 || took > 10*time.Second {
		t.Errorf("%d after %s", resp.StatusCode, took)
	}
}
