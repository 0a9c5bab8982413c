package authority_test

import (
	"html"
	"net/url"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/govern/accounts"
)

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
