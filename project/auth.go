package project

import (
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	v1 "github.com/tarn-data/tarn/project/v1"
)

// AuthMode says who issues tokens.
type AuthMode string

// The modes.
const (
	AuthNone     AuthMode = "none"     // nobody; requests need no token
	AuthEmbedded AuthMode = "embedded" // Tarn itself
	AuthExternal AuthMode = "external" // the issuer at Auth.Issuer
)

// Auth says who may call. Paths are relative to the project: see Project.Path.
type Auth struct {
	Mode            AuthMode
	Issuer          string // URL; of AuthEmbedded that of this server, "" for its address
	Audience        string
	KeyFile         string // "" for meta/auth.key in the data folder
	CertFile        string // "" for plain HTTP
	CertKeyFile     string
	AccessLifetime  time.Duration
	RefreshLifetime time.Duration
	RequestsPerSec  int // of one client; 0 is no bound
	RequestsBurst   int
}

// Guarded reports whether addresses other than loopback may be bound: callers need a token, or the
// connection is HTTPS.
func (a Auth) Guarded() bool {
	return a.Mode == AuthEmbedded || a.Mode == AuthExternal || a.CertFile != ""
}

// KeyPath returns the file of the key that seals signing keys. data is the data folder.
func (a Auth) KeyPath(p *Project, data string) string {
	if a.KeyFile != "" {
		return p.Path(a.KeyFile)
	}
	return filepath.Join(data, "meta", "auth.key")
}

func authFromModel(m v1.Auth) Auth {
	a := Auth{
		Mode: AuthMode(m.Mode), Issuer: string(m.Issuer), Audience: string(m.Audience), KeyFile: string(m.KeyFile),
		CertFile: string(m.TLS.Cert), CertKeyFile: string(m.TLS.Key),
		AccessLifetime: time.Duration(m.Tokens.Access), RefreshLifetime: time.Duration(m.Tokens.Refresh),
		RequestsPerSec: m.RateLimit.Requests, RequestsBurst: m.RateLimit.Burst,
	}
	if a.RequestsBurst == 0 {
		a.RequestsBurst = 2 * a.RequestsPerSec
	}
	return a
}

// toModel is the inverse of authFromModel.
func (a Auth) toModel() v1.Auth {
	return v1.Auth{
		Mode: string(a.Mode), Issuer: v1.Issuer(a.Issuer), Audience: v1.Label(a.Audience), KeyFile: v1.FilePath(a.KeyFile),
		TLS:       v1.TLS{Cert: v1.FilePath(a.CertFile), Key: v1.FilePath(a.CertKeyFile)},
		Tokens:    v1.Tokens{Access: v1.Duration(a.AccessLifetime), Refresh: v1.Duration(a.RefreshLifetime)},
		RateLimit: v1.RateLimit{Requests: a.RequestsPerSec, Burst: a.RequestsBurst},
	}
}

// checkAuth reports what cannot be said of one key alone.
func (l *loader) checkAuth(f yamlFile, m v1.Auth) {
	u, _ := url.Parse(string(m.Issuer)) // was checked when it was decoded
	switch {
	case m.Mode == string(AuthNone) && m.Issuer != "":
		l.fault(f, "auth.issuer", tarn.CodeInvalid, "nobody issues tokens, since the mode is none", "write mode: embedded or mode: external beside it")
	case m.Mode == string(AuthExternal) && m.Issuer == "":
		l.fault(f, "auth.mode", CodeMissing, "the issuer is not named", "write issuer: https://… beside it")
	case m.Mode == string(AuthEmbedded) && m.Issuer != "" && u != nil && u.Path != "" && u.Path != "/":
		l.fault(f, "auth.issuer", tarn.CodeInvalid, "the URL of this server has a path", "write "+u.Scheme+"://"+u.Host)
	case m.Mode == string(AuthExternal) && u != nil && u.Scheme == "http" && open(u.Host+defaultPort(u)):
		l.fault(f, "auth.issuer", tarn.CodeInvalid, "keys would be read without encryption", "write https://")
	}
	if m.Mode != string(AuthEmbedded) {
		for _, key := range []string{"key_file", "tokens"} {
			if f.doc.Has("auth." + key) {
				l.fault(f, "auth."+key, tarn.CodeInvalid, "this is for mode: embedded", "take it away")
			}
		}
	}
	if m.Mode == string(AuthNone) && f.doc.Has("auth.rate_limit") {
		l.fault(f, "auth.rate_limit", tarn.CodeInvalid, "without tokens, clients are not told apart", "write mode: embedded or mode: external beside it")
	}
	if (m.TLS.Cert == "") != (m.TLS.Key == "") {
		l.fault(f, "auth.tls", tarn.CodeInvalid, "a certificate and its key belong together", "write cert: FILE and key: FILE")
	}
	if m.RateLimit.Burst > 0 && m.RateLimit.Requests == 0 {
		l.fault(f, "auth.rate_limit", CodeMissing, "the requests a second are not said", "write requests: N beside burst")
	}
	if m.Tokens.Refresh > 0 && m.Tokens.Refresh < m.Tokens.Access {
		l.fault(f, "auth.tokens", tarn.CodeInvalid, "a sign-in ends before its access token", "raise refresh or lower access")
	}
}

func defaultPort(u *url.URL) string {
	if u.Port() == "" {
		return ":80"
	}
	return ""
}

// authAtOnce reports whether a lake that runs takes a setting over: rates, and the issuer elsewhere.
func authAtOnce(old, new Auth, path string) bool {
	asks := new.Mode == AuthEmbedded || new.Mode == AuthExternal
	return old.Mode == new.Mode && asks &&
		(strings.HasPrefix(path, "auth.rate_limit.") || new.Mode == AuthExternal && (path == "auth.issuer" || path == "auth.audience"))
}

func authProperties(a Auth) []property {
	var props []property
	if a.Mode == AuthEmbedded || a.Mode == AuthExternal {
		props = append(props, property{"auth.mode", string(a.Mode)}, property{"auth.audience", a.Audience})
	}
	if a.Mode == AuthEmbedded {
		m := a.toModel()
		props = append(props, property{"auth.tokens.access", m.Tokens.Access.String()}, property{"auth.tokens.refresh", m.Tokens.Refresh.String()})
	}
	for _, p := range [][2]string{{"auth.issuer", a.Issuer}, {"auth.key_file", a.KeyFile}, {"auth.tls.cert", a.CertFile}, {"auth.tls.key", a.CertKeyFile}} {
		props = append(props, optional(p[0], p[1])...)
	}
	if a.RequestsPerSec > 0 {
		props = append(props, property{"auth.rate_limit.requests", strconv.Itoa(a.RequestsPerSec)}, property{"auth.rate_limit.burst", strconv.Itoa(a.RequestsBurst)})
	}
	return props
}
