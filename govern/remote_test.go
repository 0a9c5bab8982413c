package govern_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/governtest"
)

// elsewhere is an issuer on another server, whose answers can be changed.
type elsewhere struct {
	*httptest.Server
	mu     sync.Mutex
	keys   []jose.JSONWebKey
	issuer string // "" for its URL
	broken bool
	reads  int
}

func newElsewhere(t *testing.T, keys ...jose.JSONWebKey) *elsewhere {
	t.Helper()
	e := &elsewhere{keys: keys}
	e.Server = httptest.NewServer(http.HandlerFunc(e.answer))
	t.Cleanup(e.Close)
	return e
}

func (e *elsewhere) answer(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.broken:
		http.Error(w, "broken", http.StatusBadGateway)
	case r.URL.Path == "/.well-known/openid-configuration":
		issuer := e.issuer
		if issuer == "" {
			issuer = e.URL
		}
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer, "jwks_uri": e.URL + "/keys"})
	case r.URL.Path == "/keys":
		e.reads++
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: e.keys})
	default:
		_, _ = io.WriteString(w, "?")
	}
}

func (e *elsewhere) change(f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	f()
}

func public(i *governtest.Issuer, id string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: &i.Private.PublicKey, KeyID: id, Algorithm: string(jose.ES256), Use: "sig"}
}

func TestRemote(t *testing.T) {
	a, b := governtest.NewIssuer(t), governtest.NewIssuer(t)
	e := newElsewhere(t, public(a, "a"))
	now := newClock()
	var lost atomic.Int32
	r, err := govern.NewRemoteAt(e.URL, now.time, func() { lost.Add(1) })
	if err != nil {
		t.Fatal(err)
	}
	g := govern.NewGuard(govern.Options{Issuer: e.URL, Audience: governtest.Audience, Keys: r, Tokens: 1, Logger: slog.New(slog.DiscardHandler)})
	check := func(i *governtest.Issuer, id string) error {
		g.Forget()
		token := governtest.Sign(t, jose.ES256, &jose.JSONWebKey{Key: i.Private, KeyID: id}, governtest.Claims{Issuer: e.URL, Scope: "sql:read"}, nil)
		_, err := g.Check(request(token), "sql:read")
		return err
	}
	code := func(err error) tarn.Code {
		if err == nil {
			return ""
		}
		return tarn.CodeOf(err)
	}

	e.change(func() { e.broken = true })
	if err := check(a, "a"); code(err) != tarn.CodeUnavailable {
		t.Errorf("before the issuer was reached: %v", err)
	}
	e.change(func() { e.broken = false })
	now.pass(11)
	if err := check(a, "a"); err != nil {
		t.Fatal(err)
	}

	e.change(func() { e.keys = append(e.keys, public(b, "b")) }) // rotation
	if err := check(b, "b"); code(err) != tarn.CodeUnauthenticated {
		t.Errorf("a key that nobody has read yet: %v", err)
	}
	now.pass(11)
	if err := errors.Join(check(b, "b"), check(a, "a")); err != nil {
		t.Errorf("both keys verify: %v", err)
	}

	e.change(func() { e.reads = 0 })
	for range 50 { // forged ids do not make this server ask the issuer each time
		if err := check(a, "forged"); code(err) != tarn.CodeUnauthenticated {
			t.Fatal(err)
		}
	}
	if e.reads > 1 {
		t.Errorf("%d readings for forged ids", e.reads)
	}

	e.change(func() { e.broken = true })
	now.pass(3600)
	if err := check(b, "b"); err != nil {
		t.Errorf("a known key while the issuer is away: %v", err)
	}
	if err := check(a, "c"); code(err) != tarn.CodeUnavailable {
		t.Errorf("an unknown key while the issuer is away: %v", err)
	}
	e.change(func() { e.broken, e.issuer = false, "https://evil.example" })
	now.pass(11)
	if err := check(a, "c"); code(err) != tarn.CodeUnavailable {
		t.Errorf("discovery names another issuer: %v", err)
	}
	e.change(func() { e.issuer, e.keys = "", []jose.JSONWebKey{public(b, "b")} })
	now.pass(3600)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); r.Run(ctx) }()
	for lost.Load() == 0 {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		if _, err := r.Key(ctx, "a"); errors.Is(err, govern.ErrNoKey) {
			break
		}
	}
	stop()
	<-done
	if err := check(a, "a"); code(err) != tarn.CodeUnauthenticated || lost.Load() != 1 {
		t.Errorf("a key that the issuer took away: %v, lost %d", err, lost.Load())
	}
}

func TestRemoteKeys(t *testing.T) {
	a := governtest.NewIssuer(t)
	symmetric := jose.JSONWebKey{Key: []byte("0123456789abcdef0123456789abcdef"), KeyID: "hmac", Algorithm: "HS256"}
	e := newElsewhere(t, symmetric, jose.JSONWebKey{Key: a.Private, KeyID: "private", Algorithm: "ES256"},
		jose.JSONWebKey{Key: &a.Private.PublicKey, KeyID: "enc", Use: "enc"}, public(a, "good"))
	r, err := govern.NewRemote(e.URL, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Key(t.Context(), "good"); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"hmac", "private", "enc"} {
		if _, err := r.Key(t.Context(), id); !errors.Is(err, govern.ErrNoKey) {
			t.Errorf("%s: %v", id, err)
		}
	}
	for _, bad := range []string{"http://issuer.example", "issuer.example", "https://", "https://u:p@issuer.example", "https://issuer.example?x", "file:///etc/passwd"} {
		if _, err := govern.NewRemote(bad, nil, nil, nil); tarn.CodeOf(err) != tarn.CodeInvalid {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
