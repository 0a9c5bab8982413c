package authority_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net"
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

func TestClientCredentials(t *testing.T) {
	s := newSite(t)
	grant := url.Values{"grant_type": {"client_credentials"}, "client_id": {"loader"}, "client_secret": {s.secret}}
	with := func(name, value string) url.Values {
		v := url.Values{}
		for k := range grant {
			v[k] = grant[k]
		}
		v.Set(name, value)
		return v
	}
	status, doc := s.post(t, "/oauth/token", grant)
	if status != 200 || !s.may(doc["access_token"], "ingest:x") || !s.may(doc["access_token"], "sql:read") || s.may(doc["access_token"], "admin") || doc["refresh_token"] != nil {
		t.Fatalf("%d %v", status, doc)
	}
	if status, doc := s.post(t, "/oauth/token", with("scope", "ingest:telemetry")); status != 200 || !s.may(doc["access_token"], "ingest:telemetry") || s.may(doc["access_token"], "ingest:x") {
		t.Errorf("one scope: %d %v", status, doc)
	}
	for name, c := range map[string]struct {
		form   url.Values
		status int
		code   string
	}{
		"wrong secret":       {with("client_secret", "wrong"), 401, "invalid_client"},
		"empty secret":       {with("client_secret", ""), 401, "invalid_client"},
		"unknown client":     {with("client_id", "nobody"), 401, "invalid_client"},
		"a public client":    {with("client_id", "app"), 401, "invalid_client"},
		"SQL as a name":      {with("client_id", "x' OR '1'='1"), 401, "invalid_client"},
		"more scope":         {with("scope", "admin"), 400, "invalid_scope"},
		"an unknown scope":   {with("scope", "sql:read everything"), 400, "invalid_scope"},
		"password grant":     {with("grant_type", "password"), 400, "unsupported_grant_type"},
		"no grant":           {with("grant_type", ""), 400, "invalid_request"},
		"JWT grant":          {with("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), 400, "unsupported_grant_type"},
		"twice":              {url.Values{"grant_type": {"client_credentials"}, "client_id": {"loader", "app"}}, 400, "invalid_request"},
		"an oversized form":  {with("pad", strings.Repeat("x", 40<<10)), 400, "invalid_request"},
		"a code of somebody": {url.Values{"grant_type": {"authorization_code"}, "code": {"abc"}, "client_id": {"app"}, "code_verifier": {"x"}, "redirect_uri": {redirect}}, 400, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			if status, doc := s.post(t, "/oauth/token", c.form); status != c.status || doc["error"] != c.code || c.code == "invalid_client" && doc["error_description"] == nil || doc["access_token"] != nil {
				t.Errorf("%d %v", status, doc)
			}
		})
	}
	text := s.log.String()
	for _, secret := range []string{s.secret, "eyJ", doc["access_token"].(string)} {
		if strings.Contains(text, secret) {
			t.Error("a secret or a token is in the log") // I7
		}
	}
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

func TestSignIn(t *testing.T) {
	s := newSite(t)
	code := s.browser(t).code(t, authorizeQuery())
	status, doc := s.post(t, "/oauth/token", exchange(code))
	access := doc["access_token"]
	if status != 200 || !s.may(access, "sql:read") || !s.may(access, "twin:read:fleet") || s.may(access, "admin") || s.may(access, "twin:read:other") {
		t.Fatalf("%d %v", status, doc)
	}
	if s.may(doc["id_token"], "sql:read") {
		t.Error("an ID token is taken for an access token")
	}
	if text := s.log.String(); strings.Contains(text, password) || strings.Contains(text, code) || strings.Contains(text, access.(string)) || !strings.Contains(text, "signed in") {
		t.Error("the log: " + text) // I7
	}

	t.Run("refresh, and reuse of a refresh token", func(t *testing.T) {
		status, second := s.post(t, "/oauth/token", refresh(doc["refresh_token"]))
		if status != 200 || !s.may(second["access_token"], "sql:read") || second["refresh_token"] == doc["refresh_token"] {
			t.Fatalf("%d %v", status, second)
		}
		if status, doc := s.post(t, "/oauth/token", refresh(doc["refresh_token"])); status != 400 || doc["error"] != "invalid_grant" {
			t.Errorf("used again: %d %v", status, doc)
		}
		if s.may(access, "sql:read") || s.may(second["access_token"], "sql:read") {
			t.Error("access tokens of the family live on")
		}
		if status, _ := s.post(t, "/oauth/token", refresh(second["refresh_token"])); status != 400 {
			t.Errorf("the family lives on: %d", status)
		}
	})
	t.Run("two refresh at once", func(t *testing.T) {
		_, doc := s.post(t, "/oauth/token", exchange(s.browser(t).code(t, authorizeQuery())))
		if n := race(8, func() bool {
			status, _ := s.post(t, "/oauth/token", refresh(doc["refresh_token"]))
			return status == 200
		}); n > 1 {
			t.Errorf("%d succeeded", n)
		}
	})
	t.Run("revocation", func(t *testing.T) {
		_, doc := s.post(t, "/oauth/token", exchange(s.browser(t).code(t, authorizeQuery())))
		if status, _ := s.post(t, "/oauth/revoke", url.Values{"token": {doc["refresh_token"].(string)}, "client_id": {"other"}}); status == 200 || !s.may(doc["access_token"], "sql:read") {
			t.Errorf("another client revokes: %d", status)
		}
		if status, _ := s.post(t, "/oauth/revoke", url.Values{"token": {doc["access_token"].(string)}, "client_id": {"other"}}); status == 200 || !s.may(doc["access_token"], "sql:read") {
			t.Errorf("another client revokes an access token: %d", status)
		}
		if status, _ := s.post(t, "/oauth/revoke", url.Values{"token": {doc["refresh_token"].(string)}, "client_id": {"app"}}); status != 200 || s.may(doc["access_token"], "sql:read") {
			t.Errorf("%d, or the access token lives on", status)
		}
		if status, _ := s.post(t, "/oauth/revoke", url.Values{"token": {"unknown"}, "client_id": {"app"}}); status != 200 {
			t.Errorf("an unknown token: %d", status) // RFC 7009, 2.2
		}
	})
	t.Run("a changed password", func(t *testing.T) {
		_, doc := s.post(t, "/oauth/token", exchange(s.browser(t).code(t, authorizeQuery())))
		if err := s.store.SetPassword(t.Context(), "ada", accounts.NewSecret(password)); err != nil {
			t.Fatal(err)
		}
		if err := s.watch.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s.may(doc["access_token"], "sql:read") {
			t.Error("the access token lives on")
		}
		if status, _ := s.post(t, "/oauth/token", refresh(doc["refresh_token"])); status == 200 {
			t.Error("the refresh token lives on")
		}
		if _, doc := s.post(t, "/oauth/token", exchange(s.browser(t).code(t, authorizeQuery()))); !s.may(doc["access_token"], "sql:read") {
			t.Error("a token of the same second is void")
		}
	})
}

// race runs f n times at once and returns how often it was true.
func race(n int, f func() bool) int {
	won := make(chan bool, n)
	for range n {
		go func() { won <- f() }()
	}
	count := 0
	for range n {
		if <-won {
			count++
		}
	}
	return count
}

func TestCodeIsUsedOnce(t *testing.T) {
	s := newSite(t)
	code := s.browser(t).code(t, authorizeQuery())
	_, doc := s.post(t, "/oauth/token", exchange(code))
	if !s.may(doc["access_token"], "sql:read") {
		t.Fatal(doc)
	}
	if status, doc := s.post(t, "/oauth/token", exchange(code)); status != 400 || doc["error"] != "invalid_grant" {
		t.Errorf("a replay: %d %v", status, doc)
	}
	if s.may(doc["access_token"], "sql:read") {
		t.Error("the tokens of a replayed code live on") // RFC 6749, 4.1.2
	}
	code = s.browser(t).code(t, authorizeQuery())
	if n := race(8, func() bool { status, _ := s.post(t, "/oauth/token", exchange(code)); return status == 200 }); n > 1 {
		t.Errorf("%d exchanges of one code", n)
	}
	for name, spoil := range map[string]func(url.Values){
		"another verifier":      func(v url.Values) { v.Set("code_verifier", strings.Repeat("x", 50)) },
		"no verifier":           func(v url.Values) { v.Del("code_verifier") },
		"the challenge itself":  func(v url.Values) { v.Set("code_verifier", challenge(verifier)) },
		"another address":       func(v url.Values) { v.Set("redirect_uri", "https://evil.example/back") },
		"another program":       func(v url.Values) { v.Set("client_id", "other") },
		"a service's own grant": func(v url.Values) { v.Set("client_id", "loader"); v.Set("client_secret", s.secret) },
	} {
		form := exchange(s.browser(t).code(t, authorizeQuery()))
		spoil(form)
		if status, doc := s.post(t, "/oauth/token", form); status/100 != 4 || doc["access_token"] != nil {
			t.Errorf("%s: %d %v", name, status, doc)
		}
	}
}

// TestAuthorizeAttacks wants no redirect to a place that is not registered, and no sign-in without PKCE.
func TestAuthorizeAttacks(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct {
		spoil func(url.Values)
		back  bool // the error goes back to the program
	}{
		"an unknown program":         {func(q url.Values) { q.Set("client_id", "nobody") }, false},
		"a service":                  {func(q url.Values) { q.Set("client_id", "loader") }, false},
		"no address":                 {func(q url.Values) { q.Del("redirect_uri") }, false},
		"another address":            {func(q url.Values) { q.Set("redirect_uri", "https://evil.example/back") }, false},
		"another path":               {func(q url.Values) { q.Set("redirect_uri", redirect+"/../other") }, false},
		"a longer path":              {func(q url.Values) { q.Set("redirect_uri", redirect+"2") }, false},
		"another query":              {func(q url.Values) { q.Set("redirect_uri", redirect+"?x=1") }, false},
		"a user in the address":      {func(q url.Values) { q.Set("redirect_uri", "https://app.example@evil.example/back") }, false},
		"an escaped address":         {func(q url.Values) { q.Set("redirect_uri", url.QueryEscape(redirect)) }, false},
		"a script as address":        {func(q url.Values) { q.Set("redirect_uri", "javascript:alert(1)") }, false},
		"a loopback name":            {func(q url.Values) { q.Set("redirect_uri", "http://127.0.0.1.evil.example/back") }, false},
		"another path on loopback":   {func(q url.Values) { q.Set("redirect_uri", "http://127.0.0.1:9/evil") }, false},
		"two addresses":              {func(q url.Values) { q["redirect_uri"] = []string{redirect, "https://evil.example"} }, false},
		"no PKCE":                    {func(q url.Values) { q.Del("code_challenge"); q.Del("code_challenge_method") }, true},
		"PKCE downgraded to plain":   {func(q url.Values) { q.Set("code_challenge_method", "plain") }, true},
		"PKCE without a method":      {func(q url.Values) { q.Del("code_challenge_method") }, true},
		"a short challenge":          {func(q url.Values) { q.Set("code_challenge", "x") }, true},
		"implicit grant":             {func(q url.Values) { q.Set("response_type", "id_token token") }, true},
		"a request object":           {func(q url.Values) { q.Set("request", "e30.e30.") }, true},
		"an answer by form":          {func(q url.Values) { q.Set("response_mode", "form_post") }, true},
		"an ID token hint of nobody": {func(q url.Values) { q.Set("id_token_hint", "e30.e30.x") }, true},
	} {
		t.Run(name, func(t *testing.T) {
			q := authorizeQuery()
			c.spoil(q)
			resp, body := s.browser(t).get(t, "/oauth/authorize?"+q.Encode())
			to := resp.Header.Get("Location")
			if c.back && (resp.StatusCode != 302 || !strings.HasPrefix(to, redirect+"?") || !strings.Contains(to, "error=") || strings.Contains(to, "code=")) {
				t.Errorf("%d to %q: %s", resp.StatusCode, to, body)
			}
			if !c.back && (resp.StatusCode != 400 || to != "") {
				t.Errorf("%d to %q: %s", resp.StatusCode, to, body)
			}
		})
	}
	q := authorizeQuery()
	q.Set("redirect_uri", "http://127.0.0.1:54321/back") // a program on this machine chooses its port
	if code := s.browser(t).code(t, q); code == "" {
		t.Error("no code")
	}
}

// TestSignInBelongsToItsBrowser: who begins a sign-in and has another person finish it gets nothing.
func TestSignInBelongsToItsBrowser(t *testing.T) {
	s := newSite(t)
	attacker, victim := s.browser(t), s.browser(t)
	form := attacker.form(t, authorizeQuery())
	id := form.Get("id")
	if resp, _ := victim.get(t, "/oauth/login?id="+id); resp.StatusCode != 400 {
		t.Errorf("the victim sees the attacker's page: %d", resp.StatusCode)
	}
	own := victim.form(t, authorizeQuery())
	for name, f := range map[string]url.Values{
		"a form of another browser": form,
		"no mark":                   {"id": {own.Get("id")}},
		"the mark of another":       {"id": {own.Get("id")}, "mark": {form.Get("mark")}},
		"another's id":              {"id": {id}, "mark": {own.Get("mark")}},
	} {
		f.Set("name", "ada")
		f.Set("password", password)
		if resp, _ := victim.submit(t, f); resp.StatusCode != 400 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
	own.Set("name", "ada")
	own.Set("password", password)
	resp, _ := victim.submit(t, own)
	if resp.StatusCode != 303 {
		t.Fatal(resp.StatusCode)
	}
	if resp, _ := attacker.get(t, resp.Header.Get("Location")); resp.StatusCode != 400 || resp.Header.Get("Location") != "" {
		t.Errorf("the attacker gets the code: %d %v", resp.StatusCode, resp.Header)
	}
	if resp, _ := victim.get(t, "/oauth/authorize/callback?id="+url.QueryEscape(attacker.form(t, authorizeQuery()).Get("id"))); resp.StatusCode != 400 {
		t.Errorf("a code without a sign-in: %d", resp.StatusCode)
	}
}

// TestLoginPage wants one answer for a wrong name and a wrong password, nothing of the input as HTML, and no
// way to another place.
func TestLoginPage(t *testing.T) {
	s := newSite(t)
	b := s.browser(t)
	form := b.form(t, authorizeQuery())
	try := func(name, word string) (int, string) {
		form.Set("name", name)
		form.Set("password", word)
		resp, body := b.submit(t, form)
		return resp.StatusCode, strings.ReplaceAll(body, html.EscapeString(name), "NAME")
	}
	s1, known := try("ada", "wrong")
	s2, unknown := try("bob", "wrong")
	if s1 != 401 || s2 != 401 || known != unknown {
		t.Errorf("the answers tell who exists: %d %d", s1, s2)
	}
	if _, body := try(`"><script>alert(1)</script>`, "wrong"); strings.Contains(body, "<script>") {
		t.Error("input becomes HTML")
	}
	if status, _ := try("ada", strings.Repeat("x", 5000)); status != 401 {
		t.Errorf("a long password: %d", status)
	}
	form.Set("redirect_uri", "https://evil.example")
	form.Set("next", "https://evil.example")
	form.Set("name", "ada")
	form.Set("password", password)
	resp, _ := b.submit(t, form)
	if to := resp.Header.Get("Location"); resp.StatusCode != 303 || !strings.HasPrefix(to, "/oauth/authorize/callback?id=") {
		t.Errorf("%d to %q", resp.StatusCode, to)
	}
}

// TestTimingTellsNothing compares how long unknown and known names take.
func TestTimingTellsNothing(t *testing.T) {
	s := newSite(t)
	timed := func(f func()) time.Duration {
		begin := time.Now()
		f()
		return time.Since(begin)
	}
	signIn := func(name string) func() {
		return func() { _, _ = s.store.SignIn(context.Background(), name, accounts.NewSecret("wrong password")) }
	}
	client := func(id string) func() {
		return func() { _, _ = s.store.Authenticate(context.Background(), id, accounts.NewSecret("wrong")) }
	}
	for name, pair := range map[string][2]func(){"users": {signIn("ada"), signIn("nobody")}, "clients": {client("loader"), client("nobody")}, "public clients": {client("loader"), client("app")}} {
		known, unknown := time.Hour, time.Hour
		for range 12 { // in turn, and the quickest of several: other work on the machine only adds
			known, unknown = min(known, timed(pair[0])), min(unknown, timed(pair[1]))
		}
		if ratio := float64(unknown) / float64(known); ratio < 0.5 || ratio > 2 { // without the dummy it is 0.01
			t.Errorf("%s: known %s, unknown %s", name, known, unknown)
		}
	}
}

// TestTriesAreBounded wants 429 with a time to wait, for guessing passwords and secrets.
func TestTriesAreBounded(t *testing.T) {
	s := newSite(t)
	last := 0
	for range 60 {
		if last, _ = s.post(t, "/oauth/token", url.Values{"grant_type": {"x"}}); last == 429 {
			return
		}
	}
	t.Errorf("60 tries and %d", last)
}

// TestSlowForm: a form that does not come is given up.
func TestSlowForm(t *testing.T) {
	s := newSite(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /oauth/token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 100\r\n\r\ngrant"); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 400 {
		t.Error(resp.StatusCode)
	}
}

func TestNotMounted(t *testing.T) {
	s := newSite(t)
	for _, path := range []string{"/oauth/introspect", "/userinfo", "/end_session", "/device_authorization", "/healthz", "/ready", "/authorize", "/keys"} {
		if resp, _ := s.browser(t).get(t, path); resp.StatusCode != 404 {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	resp, body := s.browser(t).get(t, "/.well-known/openid-configuration")
	if resp.StatusCode != 200 || !strings.Contains(body, `"issuer":"`+s.url+`"`) || strings.Contains(body, "introspect") || strings.Contains(body, "implicit") || resp.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
}

// TestRotation: tokens of an old key verify until it ends; a discarded key verifies nothing any more.
func TestRotation(t *testing.T) {
	s := newSite(t)
	token := func() any {
		_, doc := s.post(t, "/oauth/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"loader"}, "client_secret": {s.secret}})
		return doc["access_token"]
	}
	first := token()
	before := s.keys.Signer().ID()
	if _, err := s.store.Rotate(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, err := s.keys.Key(t.Context(), "not known yet"); err == nil { // reads the keys again
		t.Fatal("a key that does not exist")
	}
	if s.keys.Signer().ID() == before || len(s.keys.Public()) != 2 {
		t.Fatal("the new key does not sign, or the old one is not published")
	}
	s.guard.Forget()
	if !s.may(first, "sql:read") || !s.may(token(), "sql:read") {
		t.Error("a token of the old or of the new key is refused")
	}
	if _, err := s.store.Rotate(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // unknown keys are looked for once a second
	_, _ = s.keys.Key(t.Context(), "not known yet")
	if s.may(first, "sql:read") {
		t.Error("a token of a discarded key is taken")
	}
	if !s.may(token(), "sql:read") {
		t.Error("a token of the newest key is refused")
	}
}

// TestSecretsAtRest: the database holds no secret that somebody could use.
func TestSecretsAtRest(t *testing.T) {
	s := newSite(t)
	_, doc := s.post(t, "/oauth/token", exchange(s.browser(t).code(t, authorizeQuery())))
	users, err := s.store.Users(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	clients, err := s.store.Clients(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal([]any{users, clients})
	if err != nil || strings.Contains(string(text), "argon2") {
		t.Errorf("%v: hashes are listed", err)
	}
	if got := accounts.NewSecret(password); strings.Contains(got.String()+slog.AnyValue(got).String(), password) {
		t.Error("a secret prints itself") // I7
	}
	if f, err := s.store.Owner(t.Context(), doc["refresh_token"].(string)); err != nil || f.Client != "app" {
		t.Error(f, err)
	}
}
