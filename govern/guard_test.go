package govern_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/governtest"
)

func request(token string) *http.Request {
	r := httptest.NewRequest("GET", "/v1/tables", nil)
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return r
}

// part encodes one part of a token.
func part(v any) string {
	b, _ := json.Marshal(v)
	return base64.RawURLEncoding.EncodeToString(b)
}

// TestAttacks sends what nobody should accept (I6).
func TestAttacks(t *testing.T) {
	issuer, stranger := governtest.NewIssuer(t), governtest.NewIssuer(t)
	good := governtest.Claims{Scope: "sql:read"}
	key := &jose.JSONWebKey{Key: issuer.Private, KeyID: governtest.KeyID}
	der, err := x509.MarshalPKIXPublicKey(&issuer.Private.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	valid := issuer.Token(t, good)
	parts := strings.Split(valid, ".")
	hmac := func(secret []byte) string {
		return governtest.Sign(t, jose.HS256, jose.JSONWebKey{Key: secret, KeyID: governtest.KeyID}, good, nil)
	}
	own := jose.JSONWebKey{Key: &stranger.Private.PublicKey, KeyID: governtest.KeyID}
	for name, c := range map[string]struct{ token, reason string }{
		"no signature":                       {parts[0] + "." + parts[1] + ".", ""},
		"alg none":                           {part(map[string]string{"alg": "none", "kid": governtest.KeyID}) + "." + parts[1] + ".", "algorithm"},
		"alg None":                           {part(map[string]string{"alg": "None", "kid": governtest.KeyID}) + "." + parts[1] + ".", "algorithm"},
		"alg none with a signature":          {part(map[string]string{"alg": "none", "kid": governtest.KeyID}) + "." + parts[1] + "." + parts[2], "algorithm"},
		"HMAC with the public key as PEM":    {hmac(public), "algorithm"},
		"HMAC with the public key as DER":    {hmac(der), "algorithm"},
		"another key, the same id":           {stranger.Token(t, good), "signature"},
		"an RSA key, the same id":            {governtest.Sign(t, jose.RS256, jose.JSONWebKey{Key: rsaKey, KeyID: governtest.KeyID}, good, nil), "algorithm"},
		"its own key in the header":          {governtest.Sign(t, jose.ES256, &jose.JSONWebKey{Key: stranger.Private, KeyID: governtest.KeyID}, good, map[jose.HeaderKey]any{"jwk": own}), ""},
		"a key set of its own in the header": {governtest.Sign(t, jose.ES256, &jose.JSONWebKey{Key: stranger.Private, KeyID: governtest.KeyID}, good, map[jose.HeaderKey]any{"jku": "https://evil.example/keys"}), "signature"},
		"an unknown key id":                  {governtest.Sign(t, jose.ES256, &jose.JSONWebKey{Key: issuer.Private, KeyID: "other"}, good, nil), "key that the issuer does not have"},
		"a path as key id":                   {governtest.Sign(t, jose.ES256, &jose.JSONWebKey{Key: issuer.Private, KeyID: "../../etc/passwd"}, good, nil), "key that the issuer does not have"},
		"SQL as key id":                      {governtest.Sign(t, jose.ES256, &jose.JSONWebKey{Key: issuer.Private, KeyID: "x' OR '1'='1"}, good, nil), "key that the issuer does not have"},
		"no key id":                          {governtest.Sign(t, jose.ES256, issuer.Private, good, nil), "key that the issuer does not have"},
		"an unknown critical header":         {governtest.Sign(t, jose.ES256, key, good, map[jose.HeaderKey]any{"crit": []string{"exp"}, "exp": 1}), ""},
		"another type":                       {governtest.Sign(t, jose.ES256, key, good, map[jose.HeaderKey]any{"typ": "logout+jwt"}), "another type"},
		"changed claims":                     {parts[0] + "." + part(governtest.Claims{Scope: "admin"}.Body()) + "." + parts[2], "signature"},
		"expired":                            {issuer.Token(t, governtest.Claims{Lifetime: -time.Minute}), "expired"},
		"no end":                             {issuer.Token(t, governtest.Claims{Extra: map[string]any{"exp": nil}}), "no end"},
		"an end that is a text":              {issuer.Token(t, governtest.Claims{Extra: map[string]any{"exp": "9999999999"}}), ""},
		"not yet valid":                      {issuer.Token(t, governtest.Claims{NotBefore: time.Now().Add(time.Hour)}), "not valid yet"},
		"issued in the future":               {issuer.Token(t, governtest.Claims{Extra: map[string]any{"iat": time.Now().Add(time.Hour).Unix()}}), "not valid yet"},
		"another audience":                   {issuer.Token(t, governtest.Claims{Audience: "other"}), "audience"},
		"no audience":                        {issuer.Token(t, governtest.Claims{Extra: map[string]any{"aud": nil}}), "audience"},
		"another issuer":                     {issuer.Token(t, governtest.Claims{Issuer: "https://evil.example"}), "issuer"},
		"the issuer and a slash":             {issuer.Token(t, governtest.Claims{Issuer: governtest.Name + "/"}), "issuer"},
		"an ID token":                        {issuer.Token(t, governtest.Claims{Extra: map[string]any{"nonce": "n"}}), "ID token"},
		"nobody":                             {issuer.Token(t, governtest.Claims{Extra: map[string]any{"sub": nil, "client_id": nil}}), "nobody"},
		"oversized":                          {issuer.Token(t, governtest.Claims{Extra: map[string]any{"pad": strings.Repeat("x", 20<<10)}}), "limit"},
		"the JSON form":                      {`{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`, "malformed"},
		"five parts":                         {valid + ".a.b", "malformed"},
		"text":                               {"hello", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			g := issuer.Guard(govern.Options{Logger: slog.New(slog.NewJSONHandler(&log, nil))})
			_, err := g.Check(request(c.token), "sql:read")
			var d *govern.Denied
			if !errors.As(err, &d) || d.Code != tarn.CodeUnauthenticated || !strings.Contains(d.Reason, c.reason) {
				t.Fatalf("%v, want a refusal because of %q", err, c.reason)
			}
			if !strings.HasPrefix(d.Challenge(""), `Bearer error="invalid_token"`) {
				t.Error(d.Challenge(""))
			}
			if !strings.Contains(log.String(), "access refused") || strings.Contains(log.String(), parts[1]) || strings.Contains(d.Error(), parts[2]) {
				t.Errorf("the log: %s", log.String()) // I7
			}
			if p, err := g.Check(request(valid), "sql:read"); err != nil || p.Client != "client" {
				t.Errorf("a good token afterwards: %v %v", p, err)
			}
		})
	}
}

func TestHeader(t *testing.T) {
	issuer := governtest.NewIssuer(t)
	g := issuer.Guard(govern.Options{})
	token := issuer.Token(t, governtest.Claims{Scope: "sql:read"})
	for name, c := range map[string]struct {
		values []string
		ok     bool
	}{
		"bearer": {[]string{"Bearer " + token}, true}, "lower case": {[]string{"bearer " + token}, true},
		"none": {nil, false}, "empty": {[]string{""}, false}, "basic": {[]string{"Basic " + token}, false}, "no scheme": {[]string{token}, false},
		"two": {[]string{"Bearer " + token, "Bearer " + token}, false}, "two in one": {[]string{"Bearer " + token + ", Bearer " + token}, false},
	} {
		r := request("")
		r.Header["Authorization"] = c.values
		if c.values == nil {
			delete(r.Header, "Authorization")
		}
		if _, err := g.Check(r, "sql:read"); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := g.Check(httptest.NewRequest("GET", "/v1/tables?access_token="+token, nil), "sql:read"); err == nil {
		t.Error("a token in the query is taken")
	}
}

// TestCacheForgets: a token that was remembered ends, is revoked, and is forgotten like any other.
func TestCacheForgets(t *testing.T) {
	issuer := governtest.NewIssuer(t)
	now, revoked := time.Now(), false
	g := issuer.Guard(govern.Options{Now: func() time.Time { return now }, Revoked: func(*govern.Principal) bool { return revoked }, Tokens: 8})
	token := issuer.Token(t, governtest.Claims{Scope: "sql:read"})
	check := func() error { _, err := g.Check(request(token), "sql:read"); return err }
	if err := check(); err != nil {
		t.Fatal(err)
	}
	revoked = true
	if err := check(); err == nil {
		t.Error("a revoked token is taken")
	}
	revoked = false
	for range 50 { // the cache is full of others
		if _, err := g.Check(request(issuer.Token(t, governtest.Claims{Scope: "sql:read"})), "sql:read"); err != nil {
			t.Fatal(err)
		}
	}
	if err := check(); err != nil {
		t.Error(err)
	}
	now = now.Add(2 * time.Hour)
	if err := check(); err == nil {
		t.Error("a token that has ended is taken")
	}
}

// TestFlood: wrong tokens of one address wait, good ones that are known do not, others' neither.
func TestFlood(t *testing.T) {
	issuer, stranger := governtest.NewIssuer(t), governtest.NewIssuer(t)
	g := issuer.Guard(govern.Options{})
	good := issuer.Token(t, governtest.Claims{Scope: "sql:read"})
	if _, err := g.Check(request(good), "sql:read"); err != nil {
		t.Fatal(err)
	}
	bad := stranger.Token(t, governtest.Claims{})
	var last error
	for range 200 {
		_, last = g.Check(request(bad), "sql:read")
	}
	if tarn.CodeOf(last) != tarn.CodeRateLimited {
		t.Errorf("the last of 200: %v", last)
	}
	if _, err := g.Check(request(good), "sql:read"); err != nil {
		t.Errorf("a known token: %v", err)
	}
	other := request(issuer.Token(t, governtest.Claims{Scope: "sql:read", Client: "other"}))
	other.RemoteAddr = "198.51.100.7:1234"
	if _, err := g.Check(other, "sql:read"); err != nil {
		t.Errorf("another address: %v", err)
	}
}

// FuzzToken holds that no text is taken but those that the issuer signed.
func FuzzToken(f *testing.F) {
	issuer := governtest.NewIssuer(f)
	good := issuer.Token(f, governtest.Claims{Scope: "sql:read"})
	g := issuer.Guard(govern.Options{Tokens: 1})
	parts := strings.Split(good, ".")
	for _, seed := range []string{good, "", "a.b.c", parts[0] + "." + parts[1] + ".", part(map[string]string{"alg": "none"}) + "." + parts[1] + ".", "{}", parts[0] + ".." + parts[2]} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		r := request("")
		r.Header["Authorization"] = []string{"Bearer " + token}
		r.RemoteAddr = token // its own address, so that none waits
		p, err := g.Check(r, "sql:read")
		if err == nil && (p == nil || !sameToken(token, good)) {
			t.Errorf("taken: %q", token)
		}
	})
}

// sameToken compares tokens as what they encode: base64 without padding has spare bits at its end.
func sameToken(a, b string) bool {
	pa, pb := strings.Split(a, "."), strings.Split(b, ".")
	return len(pa) == 3 && pa[0] == pb[0] && pa[1] == pb[1]
}

func TestScopesAllow(t *testing.T) {
	for _, c := range []struct {
		have, need string
		want       bool
	}{
		{"ingest:*", "ingest:a", true}, {"ingest:a", "ingest:*", false}, {"ingest:*", "twin:read:a", false}, {"twin:read:*", "twin:read:a", true},
		{"twin:read:*", "twin:write:a", false}, {"twin:*", "twin:read:a", false}, {"*", "sql:read", false}, {"sql:*", "sql:read", false}, {"admin", "anything", true},
		{"administrator", "sql:read", false}, {"", "sql:read", false}, {"ingest:a:b", "ingest:a", false}, {"ingest:*", "ingest:a:b", false}, {"INGEST:a", "ingest:a", false},
	} {
		if got := govern.ParseScopes(c.have).Allows(c.need); got != c.want {
			t.Errorf("%q allows %q: %v", c.have, c.need, got)
		}
	}
	for s, ok := range map[string]bool{"admin": true, "sql:read": true, "ingest:telemetry": true, "ingest:*": true, "twin:read:fleet": true, "twin:write:*": true,
		"ingest:": false, "ingest:A": false, "ingest:a b": false, "ingest:../x": false, "ingest:a*": false, "sql:write": false, "twin:fleet": false, "": false} {
		if err := govern.CheckScope(s); (err == nil) != ok {
			t.Errorf("%q: %v", s, err)
		}
	}
	if got := govern.ParseScopes("openid admin sql:read evil ingest:a").Within(govern.ParseScopes("sql:read ingest:*")).String(); got != "openid sql:read ingest:a" {
		t.Error(got)
	}
}

// BenchmarkGuard measures the check of a token that is remembered, as the ingest path does it, and of one
// that is not.
func BenchmarkGuard(b *testing.B) {
	issuer := governtest.NewIssuer(b)
	token := issuer.Token(b, governtest.Claims{Scope: "sql:read ingest:telemetry"})
	b.Run("remembered", func(b *testing.B) {
		g := issuer.Guard(govern.Options{PerSecond: 1e9, Burst: 1e9, Revoked: func(*govern.Principal) bool { return false }})
		r := request(token)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := g.Check(r, "ingest:telemetry"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		g := issuer.Guard(govern.Options{})
		r := request(token)
		for b.Loop() {
			g.Forget()
			if _, err := g.Check(r, "ingest:telemetry"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
