package authority_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/govern/accounts"
)

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
