// Package governtest is an issuer of tokens for tests, which also makes the tokens that nobody should issue.
// Callers: tests only.
package governtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tarn-data/tarn/govern"
)

// The names in its tokens.
const (
	Name     = "https://issuer.example"
	Audience = "tarn"
	KeyID    = "key-1"
)

// Issuer signs tokens with one key. It implements govern.Keys.
type Issuer struct{ Private *ecdsa.PrivateKey }

// NewIssuer returns an issuer with a key of its own.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &Issuer{key}
}

// Key implements govern.Keys.
func (i *Issuer) Key(_ context.Context, id string) (jose.JSONWebKey, error) {
	if id != KeyID {
		return jose.JSONWebKey{}, govern.ErrNoKey
	}
	return jose.JSONWebKey{Key: &i.Private.PublicKey, KeyID: KeyID, Algorithm: string(jose.ES256), Use: "sig"}, nil
}

// Guard returns a guard that trusts this issuer. Issuer, audience and keys are filled in.
func (i *Issuer) Guard(o govern.Options) *govern.Guard {
	o.Issuer, o.Audience, o.Keys = Name, Audience, i
	return govern.NewGuard(o)
}

// Claims are what a token says. The zero value is a good token of the client "client" that lives an hour.
type Claims struct {
	Issuer, Audience, Client, Subject, Scope, ID string
	Lifetime                                     time.Duration // negative: ended so long ago
	NotBefore                                    time.Time
	Extra                                        map[string]any
}

// Body returns the claims as they stand in a token.
func (c Claims) Body() map[string]any {
	or := func(s, other string) string {
		if s == "" {
			return other
		}
		return s
	}
	if c.Lifetime == 0 {
		c.Lifetime = time.Hour
	}
	client := or(c.Client, "client")
	m := map[string]any{"iss": or(c.Issuer, Name), "aud": []string{or(c.Audience, Audience)}, "client_id": client, "sub": or(c.Subject, client),
		"scope": c.Scope, "jti": or(c.ID, ".id"), "iat": time.Now().Add(-time.Minute).Unix(), "exp": time.Now().Add(c.Lifetime).Unix()}
	if !c.NotBefore.IsZero() {
		m["nbf"] = c.NotBefore.Unix()
	}
	for k, v := range c.Extra {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	return m
}

// Token signs claims.
func (i *Issuer) Token(t testing.TB, c Claims) string {
	t.Helper()
	return Sign(t, jose.ES256, &jose.JSONWebKey{Key: i.Private, KeyID: KeyID}, c, nil)
}

// Sign signs claims with any key, algorithm and further headers.
func Sign(t testing.TB, alg jose.SignatureAlgorithm, key any, c Claims, headers map[jose.HeaderKey]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, &jose.SignerOptions{ExtraHeaders: headers})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := jwt.Signed(signer).Claims(c.Body()).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
