package authority

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
)

// The paths it answers.
const (
	pathDiscovery = oidc.DiscoveryEndpoint
	pathAuthorize = "/oauth/authorize"
	pathCallback  = "/oauth/authorize/callback"
	pathLogin     = "/oauth/login"
	pathToken     = "/oauth/token"
	pathRevoke    = "/oauth/revoke"
	pathKeys      = "/oauth/keys"
)

// Paths are the routes of the handler, as net/http writes patterns. All are open to everybody.
var Paths = []string{
	"GET " + pathDiscovery, "GET " + pathKeys, "GET " + pathAuthorize, "GET " + pathCallback,
	"GET " + pathLogin, "POST " + pathLogin, "POST " + pathToken, "POST " + pathRevoke,
}

// Options configure an Authority. All fields are required unless they say otherwise.
type Options struct {
	Store    *accounts.Store
	Keys     *accounts.KeyRing
	Vault    *accounts.Vault
	Issuer   string        // the URL under which people and programs reach this server, without a path
	Audience string        // the aud of access tokens
	Access   time.Duration // lifetime of an access token
	Refresh  time.Duration // how long a sign-in can be refreshed
	Name     string        // of the lake, on the login page; optional
	// Revoked is called after a token was revoked here, so that it has effect at once. Optional.
	Revoked func(context.Context) error
	Logger  *slog.Logger
	Now     func() time.Time // default time.Now
}

// Authority is the authorization server as a handler. It is safe for concurrent use.
type Authority struct {
	opts     Options
	provider *provider
	secure   bool // cookies need https
	tries    *govern.Limiter
	mux      *http.ServeMux
}

// Tries of one address: sign-ins and requests for tokens. Each costs a slow hash.
const (
	triesPerSecond = 5
	triesBurst     = 30
)

// maxForm bounds a form. Codes, tokens and verifiers have a few hundred bytes.
const (
	maxForm  = 32 << 10
	formTime = 5 * time.Second
)

// New returns an authority. It starts nothing.
func New(o Options) (*Authority, error) {
	u, err := url.Parse(o.Issuer)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: "auth.issuer is not the URL of this server", Hint: "write it like https://lake.example.com, without a path"}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &Authority{opts: o, secure: u.Scheme == "https", tries: govern.NewLimiter(triesPerSecond, triesBurst, o.Now), mux: http.NewServeMux()}
	config := &op.Config{CryptoKey: o.Vault.Derive("authorization codes"), CodeMethodS256: true, AuthMethodPost: true, GrantTypeRefreshToken: true}
	library, err := op.NewProvider(config, &storage{a}, op.StaticIssuer(o.Issuer), op.WithAllowInsecure(), op.WithCORSOptions(nil))
	if err != nil {
		return nil, err
	}
	a.provider = &provider{library}
	a.routes()
	return a, nil
}

// provider is the library with our paths. Its own options for them change a variable that all providers of a
// process share.
type provider struct{ *op.Provider }

func (*provider) AuthorizationEndpoint() *op.Endpoint { return op.NewEndpoint(pathAuthorize) }
func (*provider) TokenEndpoint() *op.Endpoint         { return op.NewEndpoint(pathToken) }
func (*provider) RevocationEndpoint() *op.Endpoint    { return op.NewEndpoint(pathRevoke) }
func (*provider) KeysEndpoint() *op.Endpoint          { return op.NewEndpoint(pathKeys) }

// routes mounts the parts of the library that are wanted, each behind a check of its own. What is not mounted
// cannot be reached: introspection, user info, device codes, JWT grants.
func (a *Authority) routes() {
	a.mux.HandleFunc("GET "+pathDiscovery, a.discovery)
	a.mux.HandleFunc("GET "+pathKeys, func(w http.ResponseWriter, r *http.Request) { op.Keys(w, r, a.provider.Storage()) })
	a.mux.HandleFunc("GET "+pathAuthorize, a.authorize)
	a.mux.HandleFunc("GET "+pathCallback, a.callback)
	a.mux.HandleFunc("GET "+pathLogin, a.loginPage)
	a.mux.HandleFunc("POST "+pathLogin, a.form(a.login))
	a.mux.HandleFunc("POST "+pathToken, a.form(a.token))
	a.mux.HandleFunc("POST "+pathRevoke, a.form(func(w http.ResponseWriter, r *http.Request) { op.Revoke(w, r, a.provider) }))
}

// ServeHTTP implements http.Handler.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer") // codes stand in URLs
	a.mux.ServeHTTP(w, r.WithContext(op.ContextWithIssuer(r.Context(), a.opts.Issuer)))
}

// form reads the body of a POST within its bound and time, and hands it on. Parameters of the query are not
// read: secrets in URLs end up in logs.
func (a *Authority) form(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if wait := a.tries.Take(address(r)); wait > 0 {
			tooMany(w, wait)
			return
		}
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(formTime)) // not every writer has one
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			oauthError(w, http.StatusBadRequest, "invalid_request", "the form cannot be read, or is larger than 32 KiB")
			return
		}
		r.Form = r.PostForm
		for name, values := range r.PostForm {
			if len(values) > 1 { // RFC 6749, 3.2
				oauthError(w, http.StatusBadRequest, "invalid_request", "a parameter is given twice: "+clip(name))
				return
			}
		}
		if id, secret, ok := r.BasicAuth(); ok && (!escaped(id) || !escaped(secret)) {
			oauthError(w, http.StatusBadRequest, "invalid_request", "the header Authorization is malformed")
			return
		}
		next(w, r)
	}
}

// escaped reports whether s can be what a client writes into Basic (RFC 6749, 2.3.1).
func escaped(s string) bool {
	_, err := url.QueryUnescape(s)
	return err == nil
}

// token answers the exchange of secrets, codes and refresh tokens.
func (a *Authority) token(w http.ResponseWriter, r *http.Request) {
	switch grant := r.PostForm.Get("grant_type"); grant {
	case string(oidc.GrantTypeCode), string(oidc.GrantTypeRefreshToken), string(oidc.GrantTypeClientCredentials):
		rec := &statusWriter{ResponseWriter: w}
		op.Exchange(rec, r, a.provider)
		a.logToken(r, grant, rec.status)
	case "":
		oauthError(w, http.StatusBadRequest, "invalid_request", "grant_type is missing")
	default:
		oauthError(w, http.StatusBadRequest, "unsupported_grant_type", "this server grants authorization_code, refresh_token and client_credentials")
	}
}

// logToken logs an exchange: who and what, never the secret or the token (I7).
func (a *Authority) logToken(r *http.Request, grant string, status int) {
	client, _, ok := r.BasicAuth()
	if !ok {
		client = r.PostForm.Get("client_id")
	}
	level, text := slog.LevelInfo, "token issued"
	if status/100 != 2 {
		level, text = slog.LevelWarn, "token refused"
	}
	a.opts.Logger.Log(r.Context(), level, text, "client", clip(client), "grant", grant, "status", status, "remote", address(r))
}

// discovery says what is offered: the library's document, without what is not mounted.
func (a *Authority) discovery(w http.ResponseWriter, r *http.Request) {
	d := op.CreateDiscoveryConfig(r.Context(), a.provider, a.provider.Storage())
	d.ScopesSupported = []string{oidc.ScopeOpenID, oidc.ScopeProfile, oidc.ScopeOfflineAccess, govern.ScopeAdmin, govern.ScopeSQLRead, govern.ScopeMetricsRead,
		govern.ScopeIngest + "*", govern.ScopeTwinRead + "*", govern.ScopeTwinWrite + "*"}
	d.IntrospectionEndpoint, d.UserinfoEndpoint, d.EndSessionEndpoint, d.DeviceAuthorizationEndpoint = "", "", "", ""
	d.IntrospectionEndpointAuthMethodsSupported, d.IntrospectionEndpointAuthSigningAlgValuesSupported = nil, nil
	d.RevocationEndpointAuthSigningAlgValuesSupported = nil
	d.ResponseTypesSupported = []string{string(oidc.ResponseTypeCode)}
	d.GrantTypesSupported = []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken, oidc.GrantTypeClientCredentials}
	d.ClaimsSupported = []string{"sub", "aud", "exp", "iat", "iss", "auth_time", "nonce", "at_hash", "client_id", "scope", "preferred_username"}
	op.Discover(w, d)
}

func address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}

// statusWriter notes the status of an answer, and says in words what the library leaves at a code.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	if strings.TrimSpace(string(b)) == `{"error":"invalid_client"}` {
		_, err := w.ResponseWriter.Write([]byte(wrongClientAnswer))
		return len(b), err
	}
	return w.ResponseWriter.Write(b)
}

const wrongClientAnswer = `{"error":"invalid_client","error_description":"the client or its secret is wrong; tarn auth clients ls lists the clients"}` + "\n"
