package authority

import (
	"crypto/hmac"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"context"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tarn-data/tarn/govern/accounts"
)

//go:embed login.html
var loginHTML string

var loginTemplate = template.Must(template.New("login").Parse(loginHTML))

// cookieName holds what binds a sign-in to the browser that began it. The prefix __Host- makes browsers
// refuse it from other hosts and without https.
func (a *Authority) cookieName() string {
	if a.secure {
		return "__Host-tarn-signin"
	}
	return "tarn-signin"
}

// browser returns the secret that the browser keeps, "" for none.
func (a *Authority) browser(r *http.Request) string {
	c, err := r.Cookie(a.cookieName())
	if err != nil || len(c.Value) != 43 {
		return ""
	}
	return c.Value
}

// keepBrowser returns the secret of the browser, a new one when it has none.
func (a *Authority) keepBrowser(w http.ResponseWriter, r *http.Request) string {
	if b := a.browser(r); b != "" {
		return b
	}
	b := accounts.RandomText()
	// Lax: the browser comes from the page of the program that asks, by a link or a redirect.
	http.SetCookie(w, &http.Cookie{Name: a.cookieName(), Value: b, Path: "/", MaxAge: int(accounts.SignInTime / time.Second), HttpOnly: true, Secure: a.secure, SameSite: http.SameSiteLaxMode})
	return b
}

// authorize begins a sign-in. Nothing is redirected to an address that is not registered with the client.
func (a *Authority) authorize(w http.ResponseWriter, r *http.Request) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(r.URL.RawQuery) > maxForm {
		a.errorPage(w, http.StatusBadRequest, "The request of the program is malformed.")
		return
	}
	for _, values := range q {
		if len(values) > 1 { // RFC 6749, 3.1
			a.errorPage(w, http.StatusBadRequest, "The request of the program gives a parameter twice.")
			return
		}
	}
	c, err := a.opts.Store.Client(r.Context(), q.Get("client_id"))
	if err != nil || c.Kind != accounts.Public {
		a.errorPage(w, http.StatusBadRequest, "The program that sent you here is not known.")
		return
	}
	if !registered(c.RedirectURIs, q.Get("redirect_uri")) {
		a.errorPage(w, http.StatusBadRequest, "The program that sent you here gave an address that is not registered.")
		return
	}
	if problem := checkAuthorize(q); problem != "" {
		back, _ := url.Parse(q.Get("redirect_uri")) // is registered
		answer := back.Query()
		answer.Set("error", "invalid_request")
		answer.Set("error_description", problem)
		if state := q.Get("state"); state != "" {
			answer.Set("state", state)
		}
		back.RawQuery = answer.Encode()
		http.Redirect(w, r, back.String(), http.StatusFound)
		return
	}
	r = r.WithContext(context.WithValue(r.Context(), browserKey{}, a.keepBrowser(w, r)))
	op.Authorize(w, r, a.provider)
}

// checkAuthorize returns what is wrong with a request, "" for nothing. PKCE with S256 is never optional, so that
// it cannot be taken away (RFC 9700, 2.1.1).
func checkAuthorize(q url.Values) string {
	switch {
	case q.Get("response_type") != string(oidc.ResponseTypeCode):
		return "response_type must be code"
	case q.Get("code_challenge_method") != string(oidc.CodeChallengeMethodS256):
		return "code_challenge_method must be S256"
	case len(q.Get("code_challenge")) != 43:
		return "code_challenge must be the SHA-256 of the verifier in base64url"
	case q.Has("request"), q.Has("request_uri"):
		return "request objects are not supported"
	case q.Has("response_mode") && q.Get("response_mode") != string(oidc.ResponseModeQuery):
		return "response_mode must be query"
	case len(q.Get("state")) > 2048, len(q.Get("nonce")) > 512, len(q.Get("scope")) > 4096:
		return "a parameter is too long"
	}
	return ""
}

// registered reports whether a program may be answered at uri: exactly as registered, except for the port of
// an http address of this machine (RFC 8252, 7.3).
func registered(uris []string, uri string) bool {
	if uri == "" || slices.Contains(uris, uri) {
		return uri != ""
	}
	got, err := url.Parse(uri)
	if err != nil || got.Scheme != "http" || got.User != nil || !net.ParseIP(got.Hostname()).IsLoopback() {
		return false
	}
	for _, u := range uris {
		want, err := url.Parse(u)
		if err != nil || want.Hostname() != got.Hostname() {
			continue
		}
		want.Host = got.Host
		if want.String() == uri {
			return true
		}
	}
	return false
}

// callback gives the code, to the browser that began the sign-in.
func (a *Authority) callback(w http.ResponseWriter, r *http.Request) {
	browser := a.browser(r)
	q, err := a.opts.Store.SignInByID(r.Context(), r.URL.Query().Get("id"))
	if err != nil || !q.OfBrowser(browser) || q.Subject == "" {
		a.errorPage(w, http.StatusBadRequest, expired)
		return
	}
	op.AuthorizeCallback(w, r.WithContext(context.WithValue(r.Context(), browserKey{}, browser)), a.provider)
}

const expired = "This sign-in has ended, or was begun in another browser. Go back to the program and begin again."

// loginPage shows the form.
func (a *Authority) loginPage(w http.ResponseWriter, r *http.Request) {
	id, browser := r.URL.Query().Get("id"), a.browser(r)
	q, err := a.opts.Store.SignInByID(r.Context(), id)
	if err != nil || !q.OfBrowser(browser) || q.Subject != "" {
		a.errorPage(w, http.StatusBadRequest, expired)
		return
	}
	a.page(w, http.StatusOK, page{ID: id, Mark: a.mark(browser, id), Program: q.Client, Scopes: q.Scopes})
}

// login checks name and password.
func (a *Authority) login(w http.ResponseWriter, r *http.Request) {
	id, browser := r.PostForm.Get("id"), a.browser(r)
	q, err := a.opts.Store.SignInByID(r.Context(), id)
	if err != nil || !q.OfBrowser(browser) || q.Subject != "" || !hmac.Equal([]byte(r.PostForm.Get("mark")), []byte(a.mark(browser, id))) {
		a.errorPage(w, http.StatusBadRequest, expired)
		return
	}
	name := r.PostForm.Get("name")
	if wait := a.tries.Take("user " + name); wait > 0 { // from however many addresses
		a.page(w, http.StatusTooManyRequests, page{ID: id, Mark: a.mark(browser, id), Program: q.Client, Scopes: q.Scopes, Name: name, Wrong: "Too many tries. Wait a moment."})
		return
	}
	u, err := a.opts.Store.SignIn(r.Context(), name, accounts.NewSecret(r.PostForm.Get("password")))
	if err != nil {
		a.opts.Logger.Warn("sign-in refused", "user", clip(name), "client", q.Client, "remote", address(r), "error", err)
		a.page(w, http.StatusUnauthorized, page{ID: id, Mark: a.mark(browser, id), Program: q.Client, Scopes: q.Scopes, Name: name, Wrong: "The name or the password is wrong."})
		return
	}
	c, err := a.opts.Store.Client(r.Context(), q.Client)
	if err == nil {
		err = a.opts.Store.FinishSignIn(r.Context(), q, c, u)
	}
	if err != nil {
		a.errorPage(w, http.StatusBadRequest, expired)
		return
	}
	a.opts.Logger.Info("signed in", "user", u.Name, "subject", u.ID, "client", q.Client, "remote", address(r))
	// To our own path only: where it goes from there was checked when the sign-in began.
	http.Redirect(w, r, pathCallback+"?id="+url.QueryEscape(id), http.StatusSeeOther)
}

// mark binds a form to the browser and the sign-in that it was made for.
func (a *Authority) mark(browser, id string) string {
	key := a.opts.Vault.Derive("sign-in forms")
	m := hmac.New(sha256.New, key[:])
	m.Write([]byte(browser + " " + id))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// page is what the login page shows.
type page struct {
	Lake    string
	ID      string
	Mark    string
	Program string
	Scopes  []string
	Name    string
	Wrong   string // why the last try failed
	Failed  string // why there is no form
}

func (a *Authority) page(w http.ResponseWriter, status int, p page) {
	p.Lake = a.opts.Name
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	// No form-action: browsers apply it to the redirect behind the form too, which leads to the program.
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Frame-Options", "DENY")
	w.WriteHeader(status)
	_ = loginTemplate.Execute(w, p) // fails only when the browser is gone
}

func (a *Authority) errorPage(w http.ResponseWriter, status int, why string) {
	a.page(w, status, page{Failed: why})
}

// oauthError answers as RFC 6749, 5.2 says.
func oauthError(w http.ResponseWriter, status int, code, detail string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": detail}) // the client may be gone
}

func tooMany(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	oauthError(w, http.StatusTooManyRequests, "temporarily_unavailable", "too many requests from this address")
}
