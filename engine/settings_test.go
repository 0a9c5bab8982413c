package engine_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tarn-data/tarn/engine"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
	"github.com/tarn-data/tarn/govern/governtest"
	"github.com/tarn-data/tarn/server"
)

// TestReloadSettings: rates change while the lake runs; what waits for the next start is said at every reload until then.
func TestReloadSettings(t *testing.T) {
	e, o := guarded(t, "auth: {mode: embedded}\n", "127.0.0.1:0")
	open, err := engine.OpenAccounts(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	secret, err := open.AddClient(t.Context(), accounts.Client{ID: "reader", Kind: accounts.Service, Scopes: govern.Scopes{"sql:read"}})
	if err != nil {
		t.Fatal(err)
	}
	token := clientToken(t, e.Address(), "reader", secret.Reveal())
	limited := func() bool {
		for range 20 {
			if status(t, http.DefaultClient, "GET", e.Address()+"/v1/streams", token) == http.StatusTooManyRequests {
				return true
			}
		}
		return false
	}
	reload := func(settings string) server.ReloadDoc {
		t.Helper()
		if err := os.WriteFile(filepath.Join(o.Project, "tarn.yaml"), []byte("version: 1\nname: lake\n"+settings), 0o644); err != nil {
			t.Fatal(err)
		}
		doc, err := e.Reload(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	waits := func(doc server.ReloadDoc, paths string) {
		t.Helper()
		i := slices.IndexFunc(doc.NotApplied, func(s server.ShortfallDoc) bool { return s.Kind == "settings" })
		switch {
		case i < 0 && paths != "", i >= 0 && !strings.HasPrefix(doc.NotApplied[i].Detail, paths+": not while the lake runs"):
			t.Errorf("%+v, want %s", doc.NotApplied, paths)
		case i >= 0 && doc.NotApplied[i].State != "as before":
			t.Errorf("%+v", doc.NotApplied[i])
		}
	}
	applied := func(doc server.ReloadDoc) string {
		for _, c := range doc.Changes {
			if c.Kind == "settings" && c.Action == "change" {
				return c.Detail
			}
		}
		return ""
	}
	if limited() {
		t.Error("limited without a rate")
	}
	doc := reload("auth: {mode: embedded, audience: other, rate_limit: {requests: 1, burst: 3}}\nlimits: {memory: 2GiB}\n")
	waits(doc, "limits.memory, auth.audience")
	if got := applied(doc); !strings.Contains(got, "auth.rate_limit.requests") || strings.Contains(got, "audience") || strings.Contains(got, "limits") {
		t.Errorf("applied: %s", got)
	}
	if !limited() {
		t.Error("the new rate does not count")
	}
	waits(reload("auth: {mode: embedded, audience: other}\nlimits: {memory: 2GiB}\n"), "limits.memory, auth.audience")
	if limited() {
		t.Error("the rate that was taken away counts")
	}
	waits(reload("auth: {mode: none}\n"), "auth.mode, auth.audience, auth.tokens.access, auth.tokens.refresh")
	if got := status(t, http.DefaultClient, "GET", e.Address()+"/v1/streams", ""); got != http.StatusUnauthorized {
		t.Errorf("without a token, before the restart: %d", got)
	}
	waits(reload("auth: {mode: embedded}\n"), "")
}

// TestReloadIssuer: tokens of the issuer that a reload names are taken, and those of the one before not any more.
func TestReloadIssuer(t *testing.T) {
	one, two := issuerElsewhere(t), issuerElsewhere(t)
	e, o := guarded(t, "auth: {mode: external, issuer: '"+one.url+"'}\n", "127.0.0.1:0")
	ask := func(i elsewhere, audience string) int {
		t.Helper()
		return status(t, http.DefaultClient, "GET", e.Address()+"/v1/tables", i.issuer.Token(t, governtest.Claims{Issuer: i.url, Audience: audience, Scope: "sql:read"}))
	}
	if a, b := ask(one, ""), ask(two, ""); a != 200 || b != 401 {
		t.Fatal(a, b)
	}
	remembered := one.issuer.Token(t, governtest.Claims{Issuer: one.url, Scope: "sql:read"})
	if got := status(t, http.DefaultClient, "GET", e.Address()+"/v1/tables", remembered); got != 200 {
		t.Fatal(got)
	}
	if err := os.WriteFile(filepath.Join(o.Project, "tarn.yaml"), []byte("version: 1\nname: lake\nauth: {mode: external, issuer: '"+two.url+"', audience: other}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if doc, err := e.Reload(t.Context()); err != nil || len(doc.NotApplied) > 0 {
		t.Fatal(doc, err)
	}
	if got := status(t, http.DefaultClient, "GET", e.Address()+"/v1/tables", remembered); got != 401 {
		t.Errorf("a token of the issuer before: %d", got)
	}
	if a, b, c := ask(one, "other"), ask(two, ""), ask(two, "other"); a != 401 || b != 401 || c != 200 {
		t.Errorf("the issuer before %d, the audience before %d, both new %d", a, b, c)
	}
}
