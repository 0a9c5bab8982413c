package govern

import (
	"context"
	"time"
)

// Principal is who calls, as a verified token says.
type Principal struct {
	Subject string // the user; the client, when it calls for itself
	Client  string // the client that the token was issued to
	Scopes  Scopes
	TokenID string    // jti; empty when the issuer gives none
	Issued  time.Time // when the token was issued
	Expires time.Time // when it ends
}

type principalKey struct{}

// WithPrincipal returns a context that carries p.
func WithPrincipal(ctx context.Context, p *Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// PrincipalOf returns who makes the request of ctx, nil when nobody was asked.
func PrincipalOf(ctx context.Context) *Principal {
	p, _ := ctx.Value(principalKey{}).(*Principal)
	return p
}
