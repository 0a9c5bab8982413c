package authority_test

import (
	"encoding/json"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/govern/accounts"
)

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
