package authority_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
	"github.com/tarn-data/tarn/govern/authority"
	"github.com/tarn-data/tarn/metadb"
)

// site is an authority on a real listener, over a real database, with the guard that trusts it.
type site struct {
	url    string
	store  *accounts.Store
	keys   *accounts.KeyRing
	watch  *accounts.Watch
	guard  *govern.Guard
	secret string // of the service loader
	log    *lockedBuffer
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const (
	redirect = "https://app.example/back"
	password = "correct horse battery"
)

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	db, err := metadb.Open(t.Context(), filepath.Join(dir, "tarn.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	vault, err := accounts.OpenVault(filepath.Join(dir, "auth.key"))
	if err != nil {
		t.Fatal(err)
	}
	s := &site{store: accounts.New(db, vault, accounts.Options{}), log: &lockedBuffer{}}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if s.keys, err = s.store.KeyRing(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	if s.watch, err = s.store.Watch(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	var h http.Handler
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	if h, err = authority.New(authority.Options{Store: s.store, Keys: s.keys, Vault: vault, Issuer: s.url, Audience: "tarn", Access: 10 * time.Minute, Refresh: time.Hour,
		Name: "fleet", Revoked: s.watch.Refresh, Logger: log}); err != nil {
		t.Fatal(err)
	}
	s.guard = govern.NewGuard(govern.Options{Issuer: s.url, Audience: "tarn", Keys: s.keys, Revoked: s.watch.Revoked, Logger: log})
	s.keys.OnLost(s.guard.Forget)
	secret, err := s.store.AddClient(t.Context(), accounts.Client{ID: "loader", Kind: accounts.Service, Scopes: govern.Scopes{"ingest:*", "sql:read"}})
	if err != nil {
		t.Fatal(err)
	}
	s.secret = secret.Reveal()
	for _, id := range []string{"app", "other"} {
		if _, err := s.store.AddClient(t.Context(), accounts.Client{ID: id, Kind: accounts.Public, Scopes: govern.Scopes{"admin"}, RedirectURIs: []string{redirect, "http://127.0.0.1:1/back"}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.store.AddUser(t.Context(), "ada", accounts.NewSecret(password), govern.Scopes{"sql:read", "twin:read:fleet"}); err != nil {
		t.Fatal(err)
	}
	return s
}

// post sends a form and decodes the answer.
func (s *site) post(t *testing.T, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	resp, err := http.PostForm(s.url+path, form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var doc map[string]any
	b, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(b, &doc); err != nil && len(bytes.TrimSpace(b)) > 0 && string(bytes.TrimSpace(b)) != "null" {
		t.Fatalf("%s: %s", err, b)
	}
	return resp.StatusCode, doc
}

// may reports whether a token grants a scope.
func (s *site) may(token any, scope string) bool {
	r := httptest.NewRequest("GET", "/", nil)
	text, _ := token.(string)
	r.Header.Set("Authorization", "Bearer "+text)
	_, err := s.guard.Check(r, scope)
	return err == nil
}

// browser is a person's browser, which does not follow redirects by itself.
type browser struct {
	*http.Client
	site *site
}

func (s *site) browser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{&http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, s}
}

func (b *browser) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	resp, err := b.Get(b.site.url + path)
	return read(t, resp, err)
}

func read(t *testing.T, resp *http.Response, err error) (*http.Response, string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

const verifier = "a-verifier-of-at-least-forty-three-characters-in-all"

func challenge(v string) string {
	sum := sha256.Sum256([]byte(v))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func authorizeQuery() url.Values {
	return url.Values{"response_type": {"code"}, "client_id": {"app"}, "redirect_uri": {redirect}, "scope": {"openid profile offline_access sql:read twin:read:fleet admin"},
		"state": {"s t&ate"}, "nonce": {"n"}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"}}
}

var hidden = regexp.MustCompile(`name="(id|mark)" value="([^"]*)"`)

// form goes from the program to the login page and returns its form, empty but for name and password.
func (b *browser) form(t *testing.T, q url.Values) url.Values {
	t.Helper()
	resp, body := b.get(t, "/oauth/authorize?"+q.Encode())
	if resp.StatusCode != 302 || !strings.HasPrefix(resp.Header.Get("Location"), "/oauth/login?id=") {
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	resp, body = b.get(t, resp.Header.Get("Location"))
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(body, -1) {
		form.Set(m[1], html.UnescapeString(m[2]))
	}
	if resp.StatusCode != 200 || len(form) != 2 || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || !strings.Contains(body, "Sign in to fleet") {
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	return form
}

func (b *browser) submit(t *testing.T, form url.Values) (*http.Response, string) {
	t.Helper()
	resp, err := b.PostForm(b.site.url+"/oauth/login", form)
	return read(t, resp, err)
}

// code signs ada in and returns the code that the program gets.
func (b *browser) code(t *testing.T, q url.Values) string {
	t.Helper()
	form := b.form(t, q)
	form.Set("name", "ada")
	form.Set("password", password)
	resp, body := b.submit(t, form)
	if resp.StatusCode != 303 {
		t.Fatalf("%d %s", resp.StatusCode, body)
	}
	resp, body = b.get(t, resp.Header.Get("Location"))
	back, err := url.Parse(resp.Header.Get("Location"))
	if err != nil || resp.StatusCode != 302 || !strings.HasPrefix(back.String(), q.Get("redirect_uri")+"?") || back.Query().Get("state") != q.Get("state") || back.Query().Get("code") == "" {
		t.Fatalf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	return back.Query().Get("code")
}

func exchange(code string) url.Values {
	return url.Values{"grant_type": {"authorization_code"}, "client_id": {"app"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier}}
}

func refresh(token any) url.Values {
	text, _ := token.(string)
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {"app"}, "refresh_token": {text}}
}
