package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"log/slog"

	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/metadb/metadbtest"
)

func open(t testing.TB, url string) (*metadb.DB, *accounts.Vault) {
	t.Helper()
	if url == "" {
		url = filepath.Join(t.TempDir(), "tarn.db")
	}
	db, err := metadb.Open(t.Context(), url, metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	vault, err := accounts.OpenVault(filepath.Join(t.TempDir(), "auth.key"))
	if err != nil {
		t.Fatal(err)
	}
	return db, vault
}

// databases runs a test on both.
func databases(t *testing.T, test func(t *testing.T, db *metadb.DB, vault *accounts.Vault)) {
	t.Run("SQLite", func(t *testing.T) {
		db, vault := open(t, "")
		test(t, db, vault)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		if testing.Short() {
			t.Skip("starts a server")
		}
		db, vault := open(t, metadbtest.Postgres(t).Database(t))
		test(t, db, vault)
	})
}

func TestAccounts(t *testing.T) {
	databases(t, func(t *testing.T, db *metadb.DB, vault *accounts.Vault) {
		ctx := t.Context()
		s := accounts.New(db, vault, accounts.Options{})
		want := func(what string, err error, code tarn.Code) {
			t.Helper()
			if code == "" && err != nil || code != "" && tarn.CodeOf(err) != code {
				t.Errorf("%s: %v, want %q", what, err, code)
			}
		}
		loader := accounts.Client{ID: "loader", Kind: accounts.Service, Scopes: govern.Scopes{"ingest:a"}, Description: "loads"}
		secret, err := s.AddClient(ctx, loader)
		want("add", err, "")
		_, err = s.AddClient(ctx, loader)
		want("add twice", err, tarn.CodeConflict)
		for name, c := range map[string]accounts.Client{
			"a name with a path": {ID: "../x", Kind: accounts.Service, Scopes: loader.Scopes}, "an empty name": {Kind: accounts.Service, Scopes: loader.Scopes},
			"a name with a quote": {ID: "a'b", Kind: accounts.Service, Scopes: loader.Scopes}, "no scope": {ID: "x", Kind: accounts.Service},
			"a scope that is none": {ID: "x", Kind: accounts.Service, Scopes: govern.Scopes{"root"}}, "public, no address": {ID: "x", Kind: accounts.Public, Scopes: loader.Scopes},
			"a service with address": {ID: "x", Kind: accounts.Service, Scopes: loader.Scopes, RedirectURIs: []string{"https://a.example/b"}},
			"http elsewhere":         {ID: "x", Kind: accounts.Public, Scopes: loader.Scopes, RedirectURIs: []string{"http://a.example/b"}},
			"a script":               {ID: "x", Kind: accounts.Public, Scopes: loader.Scopes, RedirectURIs: []string{"javascript:alert(1)"}},
			"a wildcard":             {ID: "x", Kind: accounts.Public, Scopes: loader.Scopes, RedirectURIs: []string{"https://*.example/b"}},
			"a fragment":             {ID: "x", Kind: accounts.Public, Scopes: loader.Scopes, RedirectURIs: []string{"https://a.example/b#c"}},
		} {
			_, err := s.AddClient(ctx, c)
			want(name, err, tarn.CodeInvalid)
		}
		c, err := s.Authenticate(ctx, "loader", secret)
		want("authenticate", err, "")
		if c == nil || c.Description != "loads" || !slices.Equal(c.Scopes, loader.Scopes) {
			t.Errorf("%+v", c)
		}
		_, err = s.Authenticate(ctx, "loader", accounts.NewSecret("wrong"))
		want("a wrong secret", err, tarn.CodeUnauthenticated)
		_, err = s.Authenticate(ctx, "nobody", secret)
		want("nobody", err, tarn.CodeUnauthenticated)
		next, err := s.RotateClient(ctx, "loader")
		want("rotate", err, "")
		_, err = s.Authenticate(ctx, "loader", secret)
		want("the old secret", err, tarn.CodeUnauthenticated)
		_, err = s.Authenticate(ctx, "loader", next)
		want("the new secret", err, "")
		want("remove", s.RemoveClient(ctx, "loader"), "")
		want("remove again", s.RemoveClient(ctx, "loader"), tarn.CodeNotFound)

		_, err = s.AddUser(ctx, "ada", accounts.NewSecret("short"), govern.Scopes{"admin"})
		want("a short password", err, tarn.CodeInvalid)
		u, err := s.AddUser(ctx, "ada", accounts.NewSecret("long enough"), govern.Scopes{"admin"})
		want("add a user", err, "")
		_, err = s.AddUser(ctx, "ada", accounts.NewSecret("long enough"), govern.Scopes{"admin"})
		want("add a user twice", err, tarn.CodeConflict)
		got, err := s.SignIn(ctx, "ada", accounts.NewSecret("long enough"))
		want("sign in", err, "")
		if got == nil || got.ID != u.ID {
			t.Errorf("%+v", got)
		}
		want("a new password", s.SetPassword(ctx, "ada", accounts.NewSecret("another one")), "")
		_, err = s.SignIn(ctx, "ada", accounts.NewSecret("long enough"))
		want("the old password", err, tarn.CodeUnauthenticated)
		want("remove a user", s.RemoveUser(ctx, "ada"), "")
		_, err = s.SignIn(ctx, "ada", accounts.NewSecret("another one"))
		want("a user who is gone", err, tarn.CodeUnauthenticated)

		k, err := s.KeyRing(ctx, slog.New(slog.DiscardHandler))
		want("keys", err, "")
		if _, err := k.Key(ctx, k.Signer().ID()); err != nil {
			t.Error(err)
		}
	})
}

// TestKeyFile: another key file opens nothing, and a file that is none is refused.
func TestKeyFile(t *testing.T) {
	db, vault := open(t, "")
	log := slog.New(slog.DiscardHandler)
	if _, err := accounts.New(db, vault, accounts.Options{}).KeyRing(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	other, err := accounts.OpenVault(filepath.Join(dir, "other.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.New(db, other, accounts.Options{}).KeyRing(t.Context(), log); tarn.CodeOf(err) != tarn.CodeInvalid || !strings.Contains(err.Error(), "another key file") {
		t.Error(err)
	}
	if info, err := os.Stat(filepath.Join(dir, "other.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	if again, err := accounts.OpenVault(filepath.Join(dir, "other.key")); err != nil || again.Derive("x") != other.Derive("x") || again.Derive("x") == again.Derive("y") {
		t.Error(err)
	}
	bad := filepath.Join(dir, "bad.key")
	if err := os.WriteFile(bad, []byte("secret?\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := accounts.OpenVault(bad); tarn.CodeOf(err) != tarn.CodeInvalid || strings.Contains(err.Error(), "secret?") {
		t.Error(err)
	}
}

// family is what the model knows of one sign-in.
type family struct {
	request *accounts.SignInRequest
	code    string
	used    bool
	dead    bool
	current string   // the refresh token that works
	spent   []string // those that do not any more
	access  *govern.Principal
}

// TestSignInModel runs sign-ins, exchanges, refreshes, replays and revocations in any order against a model: a
// token works as long as nothing has ended its family, and never twice.
func TestSignInModel(t *testing.T) {
	db, vault := open(t, "")
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		if n++; n > 25 {
			return // each step waits for the disk
		}
		client := &accounts.Client{ID: fmt.Sprintf("app%d", n), Kind: accounts.Public, Scopes: govern.Scopes{"sql:read"}}
		user := &accounts.User{ID: fmt.Sprintf("user-%d", n), Scopes: govern.Scopes{"admin"}}
		now := time.Now()
		s := accounts.New(db, vault, accounts.Options{Now: func() time.Time { return now }})
		var all []*family
		pick := func(t *rapid.T) *family {
			if len(all) == 0 {
				t.Skip("none yet")
			}
			return all[rapid.IntRange(0, len(all)-1).Draw(t, "family")]
		}
		must := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		works := func(err error, want bool, what string) {
			if want != (err == nil) || err != nil && !errors.Is(err, accounts.ErrUsed) {
				t.Fatalf("%s: %v, want success %v", what, err, want)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"sign in": func(*rapid.T) {
				q := &accounts.SignInRequest{Client: client.ID, Scopes: govern.Scopes{"sql:read", "admin", "offline_access"}, BrowserHash: accounts.Digest("b")}
				must(s.BeginSignIn(ctx, q))
				must(s.FinishSignIn(ctx, q, client, user))
				f := &family{request: q, code: accounts.RandomText()}
				must(s.SaveCode(ctx, q.ID, f.code))
				works(s.SaveCode(ctx, q.ID, "another"), false, "a second code")
				works(s.FinishSignIn(ctx, q, client, user), false, "a second sign-in")
				all = append(all, f)
			},
			"exchange": func(t *rapid.T) {
				f := pick(t)
				q, err := s.SignInByCode(ctx, f.code)
				works(err, !f.used && !f.dead, "the code")
				if err != nil {
					f.dead = true // a replay ends the family
					return
				}
				if got := q.Scopes.String(); got != "sql:read offline_access" {
					t.Fatal(got)
				}
				must(s.UseCode(ctx, q.ID))
				works(s.UseCode(ctx, q.ID), false, "the code twice")
				f.used = true
				f.current, err = s.AddRefresh(ctx, accounts.Refresh{Family: q.Family, Client: client.ID, Subject: user.ID, Scopes: q.Scopes, Expires: now.Add(time.Hour)})
				must(err)
				f.access = &govern.Principal{Subject: user.ID, Client: client.ID, TokenID: accounts.TokenID(q.Family), Issued: now}
			},
			"refresh": func(t *rapid.T) {
				f := pick(t)
				if f.current == "" {
					t.Skip("no token yet")
				}
				next, err := s.RotateRefresh(ctx, f.current)
				works(err, !f.dead, "refresh")
				if err == nil {
					f.spent, f.current = append(f.spent, f.current), next
				}
			},
			"reuse": func(t *rapid.T) {
				f := pick(t)
				if len(f.spent) == 0 {
					t.Skip("nothing spent")
				}
				_, err := s.RotateRefresh(ctx, rapid.SampledFrom(f.spent).Draw(t, "token"))
				works(err, false, "a spent token")
				f.dead = true
			},
			"revoke": func(t *rapid.T) {
				f := pick(t)
				if !f.used {
					t.Skip("nothing issued yet")
				}
				must(s.RevokeFamily(ctx, f.request.Family))
				f.dead = true
			},
			"": func(*rapid.T) {
				w, err := s.Watch(ctx, slog.New(slog.DiscardHandler))
				must(err)
				for _, f := range all {
					if f.access != nil && w.Revoked(f.access) != f.dead {
						t.Fatalf("revoked %v, want %v", !f.dead, f.dead)
					}
				}
			},
		})
	})
}

// TestChangeVoids: what was issued before an account changed is void, to the second, and what comes later is not.
func TestChangeVoids(t *testing.T) {
	db, vault := open(t, "")
	ctx := t.Context()
	now := time.Date(2026, 11, 20, 3, 0, 0, 700e6, time.UTC)
	s := accounts.New(db, vault, accounts.Options{Now: func() time.Time { return now }})
	if _, err := s.AddClient(ctx, accounts.Client{ID: "loader", Kind: accounts.Service, Scopes: govern.Scopes{"admin"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.RotateClient(ctx, "loader"); err != nil {
		t.Fatal(err)
	}
	w, err := s.Watch(ctx, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	at := func(offset time.Duration, client string) bool {
		return w.Revoked(&govern.Principal{Client: client, Subject: client, Issued: now.Truncate(time.Second).Add(offset), TokenID: accounts.TokenID("")})
	}
	if !at(-time.Minute, "loader") || !at(0, "loader") || at(time.Second, "loader") || at(-time.Minute, "other") {
		t.Error("the wrong tokens are void")
	}
	begin := time.Now()
	if err := s.Settle(ctx, now); err != nil || time.Since(begin) < 250*time.Millisecond {
		t.Errorf("waited %s, %v", time.Since(begin), err)
	}
	now = now.Add(48 * time.Hour) // no token of then is left
	if err := w.Refresh(ctx); err != nil {
		t.Fatal(err)
	}
	if at(-time.Hour, "loader") {
		t.Error("revocations are kept for ever")
	}
}
