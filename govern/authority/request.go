package authority

import (
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
)

// signIn is a sign-in as op.AuthRequest.
type signIn struct {
	in       accounts.SignInRequest
	audience string
}

func (q *signIn) GetID() string                    { return q.in.ID }
func (q *signIn) GetACR() string                   { return "" }
func (q *signIn) GetAMR() []string                 { return []string{"pwd"} }
func (q *signIn) GetAudience() []string            { return []string{q.audience} }
func (q *signIn) GetAuthTime() time.Time           { return q.in.At }
func (q *signIn) GetClientID() string              { return q.in.Client }
func (q *signIn) GetNonce() string                 { return q.in.Nonce }
func (q *signIn) GetRedirectURI() string           { return q.in.RedirectURI }
func (q *signIn) GetScopes() []string              { return q.in.Scopes }
func (q *signIn) GetState() string                 { return q.in.State }
func (q *signIn) GetSubject() string               { return q.in.Subject }
func (q *signIn) Done() bool                       { return q.in.Subject != "" }
func (*signIn) GetResponseType() oidc.ResponseType { return oidc.ResponseTypeCode }
func (*signIn) GetResponseMode() oidc.ResponseMode { return oidc.ResponseModeQuery }

func (q *signIn) GetCodeChallenge() *oidc.CodeChallenge {
	return &oidc.CodeChallenge{Challenge: q.in.Challenge, Method: oidc.CodeChallengeMethodS256}
}

// refreshRequest is a refresh token as op.RefreshTokenRequest.
type refreshRequest struct {
	in       accounts.Refresh
	scopes   govern.Scopes
	audience string
}

func (*refreshRequest) GetAMR() []string                 { return []string{"pwd"} }
func (q *refreshRequest) GetAudience() []string          { return []string{q.audience} }
func (q *refreshRequest) GetAuthTime() time.Time         { return q.in.At }
func (q *refreshRequest) GetClientID() string            { return q.in.Client }
func (q *refreshRequest) GetScopes() []string            { return q.scopes }
func (q *refreshRequest) GetSubject() string             { return q.in.Subject }
func (q *refreshRequest) SetCurrentScopes(some []string) { q.scopes = some }

// serviceRequest is what a service gets for its secret.
type serviceRequest struct {
	client   string
	scopes   govern.Scopes
	audience string
	changed  time.Time
}

func (q *serviceRequest) GetSubject() string    { return q.client }
func (q *serviceRequest) GetAudience() []string { return []string{q.audience} }
func (q *serviceRequest) GetScopes() []string   { return q.scopes }

// client is an account as op.Client.
type client struct {
	*accounts.Client
	access time.Duration
}

func (c *client) GetID() string                      { return c.ID }
func (c *client) RedirectURIs() []string             { return c.Client.RedirectURIs }
func (*client) PostLogoutRedirectURIs() []string     { return nil }
func (*client) ApplicationType() op.ApplicationType  { return op.ApplicationTypeNative }
func (*client) LoginURL(id string) string            { return pathLogin + "?id=" + id }
func (*client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeJWT }
func (c *client) IDTokenLifetime() time.Duration     { return c.access }
func (*client) DevMode() bool                        { return false }
func (*client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (*client) ClockSkew() time.Duration             { return 0 }

func (c *client) AuthMethod() oidc.AuthMethod {
	if c.Kind == accounts.Public {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

func (c *client) ResponseTypes() []oidc.ResponseType {
	if c.Kind == accounts.Public {
		return []oidc.ResponseType{oidc.ResponseTypeCode}
	}
	return nil
}

func (c *client) GrantTypes() []oidc.GrantType {
	if c.Kind == accounts.Public {
		return []oidc.GrantType{oidc.GrantTypeCode, oidc.GrantTypeRefreshToken}
	}
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}

func (c *client) IsScopeAllowed(scope string) bool {
	return govern.CheckScope(scope) == nil && c.Scopes.Allows(scope)
}

func (*client) RestrictAdditionalIdTokenScopes() func([]string) []string {
	return slices.Clone[[]string]
}
func (*client) RestrictAdditionalAccessTokenScopes() func([]string) []string {
	return slices.Clone[[]string]
}

// publicKey is a key as op.Key.
type publicKey struct{ jwk jose.JSONWebKey }

func (k publicKey) ID() string { return k.jwk.KeyID }
func (k publicKey) Algorithm() jose.SignatureAlgorithm {
	return jose.SignatureAlgorithm(k.jwk.Algorithm)
}
func (k publicKey) Use() string { return k.jwk.Use }
func (k publicKey) Key() any    { return k.jwk.Key }
