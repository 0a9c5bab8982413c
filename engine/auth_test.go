package engine_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
	"github.com/tarn-data/tarn/govern/governtest"
)

// guarded starts a lake with one stream, events, and an auth block.
func guarded(t *testing.T, auth, listen string) (*engine.Engine, engine.Options) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"tarn.yaml":             "version: 1\nname: lake\n" + auth,
		"pipelines/intake.yaml": "pipeline: intake\nstream: {name: events}\ndeliver: []\n",
	} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	o := engine.Options{Project: dir, Listen: listen, Maintenance: -1, Logger: slog.New(slog.DiscardHandler)}
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	return e, o
}

func status(t *testing.T, c *http.Client, method, url, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// clientToken exchanges the secret of a client for a token.
func clientToken(t *testing.T, address, id, secret string) string {
	t.Helper()
	resp, err := http.PostForm(address+"/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}})
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&doc); err != nil || doc.Token == "" {
		t.Fatal(resp.Status, err)
	}
	return doc.Token
}

// TestEmbeddedAuthority: a client made beside the running lake gets a token and in, under every door's own scope.
func TestEmbeddedAuthority(t *testing.T) {
	e, o := guarded(t, "auth: {mode: embedded}\n", "127.0.0.1:0")
	open, err := engine.OpenAccounts(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	secret, err := open.AddClient(t.Context(), accounts.Client{ID: "loader", Kind: accounts.Service, Scopes: govern.Scopes{"ingest:events"}})
	if err != nil {
		t.Fatal(err)
	}
	token := clientToken(t, e.Address(), "loader", secret.Reveal())
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"POST", "/v1/streams/events/records", "", 401},
		{"POST", "/v1/streams/events/records", token, 200},
		{"POST", "/v1/pipelines/intake/runs?name=a.json", token, 200}, // its stream is events
		{"POST", "/v1/pipelines/other/runs", token, 403},
		{"GET", "/v1/tables", token, 403},
		{"GET", "/metrics", token, 403},
		{"POST", "/v1/reload", token, 403},
		{"GET", "/readyz", "", 200},
	} {
		if got := status(t, http.DefaultClient, c.method, e.Address()+c.path, c.token); got != c.want {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, got, c.want)
		}
	}
}

// elsewhere is an issuer with its keys on a server of its own.
type elsewhere struct {
	issuer *governtest.Issuer
	url    string
}

func issuerElsewhere(t *testing.T) elsewhere {
	t.Helper()
	e := elsewhere{issuer: governtest.NewIssuer(t)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/keys" {
			k, _ := e.issuer.Key(r.Context(), governtest.KeyID)
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k}})
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": e.url, "jwks_uri": e.url + "/keys"})
	}))
	t.Cleanup(srv.Close)
	e.url = srv.URL
	return e
}

func TestExternalIssuer(t *testing.T) {
	other := issuerElsewhere(t)
	issuer := other.issuer
	e, o := guarded(t, "auth: {mode: external, issuer: '"+other.url+"'}\n", "127.0.0.1:0")
	good := issuer.Token(t, governtest.Claims{Issuer: other.url, Scope: "sql:read"})
	if got := status(t, http.DefaultClient, "GET", e.Address()+"/v1/tables", good); got != 200 {
		t.Error(got)
	}
	if got := status(t, http.DefaultClient, "GET", e.Address()+"/v1/tables", issuer.Token(t, governtest.Claims{Scope: "sql:read"})); got != 401 {
		t.Errorf("another issuer: %d", got)
	}
	if got := status(t, http.DefaultClient, "POST", e.Address()+"/oauth/token", ""); got != 404 {
		t.Errorf("an authorization server of its own: %d", got)
	}
	if _, err := engine.OpenAccounts(t.Context(), o); tarn.CodeOf(err) != tarn.CodeUnsupported {
		t.Error(err)
	}
}

// TestOpenAddressNeedsAuth: other machines connect only where callers are asked, or the connection is HTTPS.
func TestOpenAddressNeedsAuth(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "tarn.yaml"), []byte("version: 1\nname: lake\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	start := func(listen string) error {
		e, err := engine.New(engine.Options{Project: dir, Listen: listen, Maintenance: -1})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		return e.Start(t.Context())
	}
	if err := start("0.0.0.0:0"); tarn.CodeOf(err) != tarn.CodeForbidden {
		t.Errorf("without auth: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tarn.yaml"), []byte("version: 1\nname: lake\nauth: {mode: embedded}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := start("0.0.0.0:0"); tarn.CodeOf(err) != tarn.CodeInvalid || !strings.Contains(err.Error(), "issuer") {
		t.Errorf("without a URL: %v", err)
	}
	e, _ := guarded(t, "auth: {mode: embedded, issuer: 'https://lake.example.com'}\n", "0.0.0.0:0")
	if !strings.HasPrefix(e.Address(), "http://127.0.0.1:") {
		t.Error(e.Address())
	}
	req, _ := http.NewRequest("GET", e.Address()+"/v1/tables", nil)
	req.Host = "lake.example.com"
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 401 || !strings.Contains(resp.Header.Get("WWW-Authenticate"), "https://lake.example.com/.well-known/") {
		t.Error(resp.StatusCode, resp.Header)
	}
}
