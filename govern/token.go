package govern

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tarn-data/tarn"
)

// maxTokenBytes bounds a token. Those of issuers with many claims have a few KiB.
const maxTokenBytes = 16 << 10

// leeway is how far the clocks of issuer and server may differ.
const leeway = 30 * time.Second

// Algorithms are the signatures accepted. All are asymmetric: a public key must never serve as the secret
// of an HMAC, and "none" is not among them.
var Algorithms = []jose.SignatureAlgorithm{jose.ES256, jose.ES384, jose.ES512, jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.EdDSA}

// Keys finds the public key of a token by its id.
type Keys interface {
	// Key returns the key with that id, or ErrNoKey. Other errors say why it cannot be known now.
	Key(ctx context.Context, id string) (jose.JSONWebKey, error)
}

// ErrNoKey says that an issuer has no key of that id.
var ErrNoKey = errors.New("the issuer has no such key")

// verifier checks tokens of one issuer for one audience.
type verifier struct {
	issuer   string
	audience string
	keys     Keys
	now      func() time.Time
}

// claims are the parts of an access token that are looked at.
type claims struct {
	jwt.Claims
	Scope    scopeClaim `json:"scope"`
	Scp      scopeClaim `json:"scp"` // some issuers
	ClientID string     `json:"client_id"`
	Party    string     `json:"azp"`
	Nonce    string     `json:"nonce"`
	AtHash   string     `json:"at_hash"`
}

// scopeClaim is a list of scopes, as one text or as an array.
type scopeClaim []string

// UnmarshalJSON implements json.Unmarshaler.
func (s *scopeClaim) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*s = strings.Fields(text)
		return nil
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// errToken is why a token is refused, in words that its sender may read.
func errToken(why string) error { return &Denied{Reason: why, Code: tarn.CodeUnauthenticated} }

// verify returns the principal of a token, or a *Denied.
func (v *verifier) verify(ctx context.Context, raw string) (*Principal, error) {
	if len(raw) > maxTokenBytes {
		return nil, errToken("the token is over the limit of 16 KiB")
	}
	// The compact form has two dots; the library would also read the JSON form, which nobody sends here.
	if strings.Count(raw, ".") != 2 {
		return nil, errToken("the token is malformed")
	}
	token, err := jwt.ParseSigned(raw, Algorithms)
	if err != nil || len(token.Headers) != 1 {
		return nil, errToken("the token is malformed, or its algorithm is not accepted")
	}
	h := token.Headers[0]
	if typ, _ := h.ExtraHeaders[jose.HeaderType].(string); typ != "" && !strings.EqualFold(typ, "JWT") && !strings.EqualFold(typ, "at+jwt") && !strings.EqualFold(typ, "application/at+jwt") {
		return nil, errToken("the token is of another type")
	}
	key, err := v.keys.Key(ctx, h.KeyID) // only the id is looked at: never jwk, jku or x5u of the header
	if errors.Is(err, ErrNoKey) {
		return nil, errToken("the token is signed with a key that the issuer does not have")
	}
	if err != nil {
		return nil, err
	}
	if key.Algorithm != "" && key.Algorithm != h.Algorithm || key.Use != "" && key.Use != "sig" || !key.IsPublic() {
		return nil, errToken("the token is signed with another algorithm than its key is for")
	}
	var c claims
	if err := token.Claims(key.Key, &c); err != nil {
		return nil, errToken("the signature of the token is wrong")
	}
	return v.principal(&c)
}

// principal checks the claims.
func (v *verifier) principal(c *claims) (*Principal, error) {
	now := v.now()
	switch {
	case c.Issuer != v.issuer:
		return nil, errToken("the token is from another issuer")
	case !c.Audience.Contains(v.audience):
		return nil, errToken("the token is for another audience")
	case c.Expiry == nil:
		return nil, errToken("the token has no end")
	case now.After(c.Expiry.Time().Add(leeway)):
		return nil, errToken("the token has expired")
	case c.NotBefore != nil && now.Add(leeway).Before(c.NotBefore.Time()), c.IssuedAt != nil && now.Add(leeway).Before(c.IssuedAt.Time()):
		return nil, errToken("the token is not valid yet")
	case c.Nonce != "" || c.AtHash != "":
		return nil, errToken("this is an ID token; send the access token")
	case c.Subject == "" && c.ClientID == "":
		return nil, errToken("the token names nobody")
	}
	p := &Principal{Subject: c.Subject, Client: c.ClientID, Scopes: append(Scopes(c.Scope), c.Scp...), TokenID: c.ID, Expires: c.Expiry.Time()}
	if p.Client == "" {
		p.Client = c.Party
	}
	if p.Client == "" {
		p.Client = p.Subject
	}
	if p.Subject == "" {
		p.Subject = p.Client
	}
	if c.IssuedAt != nil {
		p.Issued = c.IssuedAt.Time()
	}
	return p, nil
}
