package govern

import (
	"crypto/sha256"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn"
)

// Options configure a Guard.
type Options struct {
	Issuer   string // the iss of tokens; required
	Audience string // the aud of tokens; required
	Keys     Keys   // required
	// Revoked reports whether a verified token has been taken back. It is asked on every request and must
	// be cheap. nil takes none back.
	Revoked func(*Principal) bool
	// PerSecond requests of one client are answered, and Burst at once; 0 is no limit.
	PerSecond float64
	Burst     int
	Tokens    int          // verified tokens remembered; default 10,000, about 1 KiB each
	Logger    *slog.Logger // default discards
	Now       func() time.Time
}

// Failures of one address that are looked at. Beyond, tokens that are not known yet wait, so that
// verifying forged ones cannot keep the processors busy.
const (
	failuresPerSecond = 20
	failuresBurst     = 100
)

// Guard checks the bearer tokens of requests. It is safe for concurrent use.
type Guard struct {
	verifier atomic.Pointer[verifier]
	revoked  func(*Principal) bool
	cache    *cache
	rate     atomic.Pointer[Limiter]
	failures *Limiter
	log      *slog.Logger
	now      func() time.Time
	quiet    atomic.Int64 // when the next successful use of a busy route is logged, in seconds since 1970
}

// NewGuard returns a guard.
func NewGuard(o Options) *Guard {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Tokens <= 0 {
		o.Tokens = 10_000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	g := &Guard{revoked: o.Revoked, cache: newCache(o.Tokens), failures: NewLimiter(failuresPerSecond, failuresBurst, o.Now), log: o.Logger, now: o.Now}
	g.Trust(o.Issuer, o.Audience, o.Keys)
	g.Limit(o.PerSecond, o.Burst)
	return g
}

// Trust makes the guard take the tokens of an issuer for an audience, and no others any more.
func (g *Guard) Trust(issuer, audience string, keys Keys) {
	g.verifier.Store(&verifier{issuer: issuer, audience: audience, keys: keys, now: g.now})
	g.Forget()
}

// Limit answers perSecond requests of one client from now on, and burst at once; 0 is no limit.
func (g *Guard) Limit(perSecond float64, burst int) {
	g.rate.Store(NewLimiter(perSecond, burst, g.now))
}

// Check returns who sends r when the scope need is granted to it, or a *Denied, or an error with
// CodeUnavailable when the issuer's keys cannot be had (I6).
func (g *Guard) Check(r *http.Request, need string) (*Principal, error) {
	p, err := g.authenticate(r)
	if err != nil {
		return nil, g.refuse(r, nil, need, err)
	}
	if wait := g.rate.Load().Take(p.Client); wait > 0 {
		return nil, g.refuse(r, p, need, &Denied{Code: tarn.CodeRateLimited, Reason: "this client sends more requests than its rate allows", Sent: true, Wait: wait})
	}
	if !p.Scopes.Allows(need) {
		return nil, g.refuse(r, p, need, &Denied{Code: tarn.CodeInsufficientScope, Reason: "the token does not grant the scope " + need, Scope: need, Sent: true})
	}
	g.admitted(r, p, need)
	return p, nil
}

// authenticate returns whose token r carries.
func (g *Guard) authenticate(r *http.Request) (*Principal, error) {
	raw, err := bearer(r)
	if err != nil {
		return nil, err
	}
	now, hash := g.now(), sha256.Sum256([]byte(raw))
	p := g.cache.get(hash, now)
	if p == nil {
		trusted := g.verifier.Load()
		if p, err = g.verify(r, trusted, raw); err != nil {
			return nil, err
		}
		g.cache.put(hash, p, now)
		if g.verifier.Load() != trusted { // another is trusted meanwhile: this one is not remembered
			g.Forget()
		}
	}
	if g.revoked != nil && g.revoked(p) {
		return nil, &Denied{Code: tarn.CodeUnauthenticated, Reason: "the token has been revoked", Sent: true}
	}
	return p, nil
}

// verify looks at a token that is not remembered.
func (g *Guard) verify(r *http.Request, trusted *verifier, raw string) (*Principal, error) {
	from := remote(r)
	if g.failures.Exhausted(from) {
		return nil, &Denied{Code: tarn.CodeRateLimited, Reason: "too many wrong tokens came from this address", Sent: true, Wait: time.Second}
	}
	p, err := trusted.verify(r.Context(), raw)
	if err != nil {
		var d *Denied
		if errors.As(err, &d) {
			d.Sent = true
			g.failures.Take(from)
		}
		return nil, err
	}
	return p, nil
}

// bearer returns the token of a request. Tokens in a query would end up in logs and are not read.
func bearer(r *http.Request) (string, error) {
	values := r.Header["Authorization"]
	if len(values) == 0 {
		return "", &Denied{Code: tarn.CodeUnauthenticated, Reason: "this needs a token"}
	}
	scheme, token, ok := strings.Cut(values[0], " ")
	if len(values) > 1 || !ok || !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", &Denied{Code: tarn.CodeUnauthenticated, Reason: "the header Authorization does not hold one bearer token"}
	}
	return token, nil
}

func remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// refuse logs a refusal and returns its error. Who, what and why; never the token (I7).
func (g *Guard) refuse(r *http.Request, p *Principal, need string, err error) error {
	attrs := g.event(r, p, need)
	level := slog.LevelWarn
	var d *Denied
	if errors.As(err, &d) && !d.Sent {
		level = slog.LevelInfo // nobody tried anything
	}
	g.log.LogAttrs(r.Context(), level, "access refused", append(attrs, slog.String("reason", err.Error()))...)
	return err
}

// admitted logs a success: all at debug, and those that change something at info. Putting records is too
// frequent for that: one a second is logged.
func (g *Guard) admitted(r *http.Request, p *Principal, need string) {
	level := slog.LevelDebug
	switch {
	case strings.HasPrefix(need, ScopeIngest):
		if now := g.now().Unix(); g.quiet.Load() <= now && g.quiet.Swap(now+1) <= now {
			level = slog.LevelInfo
		}
	case need == ScopeAdmin, r.Method != http.MethodGet && r.Method != http.MethodHead:
		level = slog.LevelInfo
	}
	if !g.log.Enabled(r.Context(), level) {
		return
	}
	g.log.LogAttrs(r.Context(), level, "access granted", g.event(r, p, need)...)
}

func (g *Guard) event(r *http.Request, p *Principal, need string) []slog.Attr {
	attrs := []slog.Attr{slog.String("method", r.Method), slog.String("path", clip(r.URL.Path)), slog.String("scope", need), slog.String("remote", remote(r))}
	if p != nil {
		attrs = append(attrs, slog.String("subject", p.Subject), slog.String("client", p.Client), slog.String("token_id", p.TokenID))
	}
	return attrs
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

// Forget makes the guard verify every token anew.
func (g *Guard) Forget() { g.cache.clear() }

// Issuer is where tokens come from.
func (g *Guard) Issuer() string { return g.verifier.Load().issuer }
