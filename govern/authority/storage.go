package authority

import (
	"context"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/accounts"
)

// storage is the authority as the library wants to see it: op.Storage and op.ClientCredentialsStorage.
type storage struct{ *Authority }

var (
	_ op.Storage                        = (*storage)(nil)
	_ op.ClientCredentialsStorage       = (*storage)(nil)
	_ op.CanGetPrivateClaimsFromRequest = (*storage)(nil)
)

type browserKey struct{}

// CreateAuthRequest stores a request that authorize has checked.
func (s *storage) CreateAuthRequest(ctx context.Context, q *oidc.AuthRequest, _ string) (op.AuthRequest, error) {
	browser, _ := ctx.Value(browserKey{}).(string)
	if browser == "" || q.CodeChallenge == "" || q.CodeChallengeMethod != oidc.CodeChallengeMethodS256 {
		return nil, oidc.ErrInvalidRequest().WithDescription("PKCE with S256 is required")
	}
	in := accounts.SignInRequest{Client: q.ClientID, RedirectURI: q.RedirectURI, Scopes: govern.Scopes(q.Scopes), State: q.State, Nonce: q.Nonce,
		Challenge: q.CodeChallenge, BrowserHash: accounts.Digest(browser)}
	if err := s.opts.Store.BeginSignIn(ctx, &in); err != nil {
		return nil, err
	}
	return &signIn{in, s.opts.Audience}, nil
}

// AuthRequestByID returns a sign-in of the browser that asks.
func (s *storage) AuthRequestByID(ctx context.Context, id string) (op.AuthRequest, error) {
	q, err := s.opts.Store.SignInByID(ctx, id)
	if err != nil {
		return nil, err
	}
	if browser, _ := ctx.Value(browserKey{}).(string); !q.OfBrowser(browser) {
		return nil, accounts.ErrUsed
	}
	return &signIn{*q, s.opts.Audience}, nil
}

func (s *storage) AuthRequestByCode(ctx context.Context, code string) (op.AuthRequest, error) {
	q, err := s.opts.Store.SignInByCode(ctx, code)
	if errors.Is(err, accounts.ErrUsed) {
		s.revoked(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &signIn{*q, s.opts.Audience}, nil
}

func (s *storage) SaveAuthCode(ctx context.Context, id, code string) error {
	return s.opts.Store.SaveCode(ctx, id, code)
}

// DeleteAuthRequest keeps the row: it tells a replay of its code, and ends by itself.
func (s *storage) DeleteAuthRequest(context.Context, string) error { return nil }

// CreateAccessToken names a new access token and says when it ends.
func (s *storage) CreateAccessToken(ctx context.Context, q op.TokenRequest) (string, time.Time, error) {
	family := ""
	switch q := q.(type) {
	case *signIn:
		family = q.in.Family
		if err := s.useCode(ctx, q); err != nil {
			return "", time.Time{}, err
		}
	case *serviceRequest:
		if err := s.opts.Store.Settle(ctx, q.changed); err != nil {
			return "", time.Time{}, err
		}
	default:
		return "", time.Time{}, oidc.ErrUnsupportedGrantType()
	}
	return accounts.TokenID(family), s.ends(), nil
}

func (s *storage) ends() time.Time { return s.opts.Now().Add(s.opts.Access) }

// useCode exchanges a code once.
func (s *storage) useCode(ctx context.Context, q *signIn) error {
	err := s.opts.Store.UseCode(ctx, q.in.ID)
	if errors.Is(err, accounts.ErrUsed) {
		return oidc.ErrInvalidGrant().WithDescription("the code was used before")
	}
	if err != nil {
		return err
	}
	u, err := s.opts.Store.User(ctx, q.in.Subject)
	if err != nil {
		return oidc.ErrInvalidGrant()
	}
	return s.opts.Store.Settle(ctx, u.Changed)
}

// CreateAccessAndRefreshTokens is CreateAccessToken with a refresh token, which replaces current.
func (s *storage) CreateAccessAndRefreshTokens(ctx context.Context, q op.TokenRequest, current string) (string, string, time.Time, error) {
	var next, family string
	var err error
	switch q := q.(type) {
	case *signIn:
		family = q.in.Family
		if err = s.useCode(ctx, q); err == nil {
			next, err = s.opts.Store.AddRefresh(ctx, accounts.Refresh{Family: family, Client: q.in.Client, Subject: q.in.Subject, Scopes: q.in.Scopes,
				At: q.in.At, Expires: s.opts.Now().Add(s.opts.Refresh)})
		}
	case *refreshRequest:
		family = q.in.Family
		next, err = s.opts.Store.RotateRefresh(ctx, current)
		if errors.Is(err, accounts.ErrUsed) {
			s.revoked(ctx)
			err = oidc.ErrInvalidGrant().WithDescription("the refresh token was used before")
		}
	default:
		err = oidc.ErrUnsupportedGrantType()
	}
	if err != nil {
		return "", "", time.Time{}, err
	}
	return accounts.TokenID(family), next, s.ends(), nil
}

// TokenRequestByRefreshToken returns what a refresh token stands for, within what client and user have now.
func (s *storage) TokenRequestByRefreshToken(ctx context.Context, token string) (op.RefreshTokenRequest, error) {
	f, err := s.opts.Store.RefreshByToken(ctx, token)
	if errors.Is(err, accounts.ErrUsed) {
		s.revoked(ctx)
	}
	if err != nil {
		return nil, err
	}
	c, err := s.opts.Store.Client(ctx, f.Client)
	if err != nil {
		return nil, err
	}
	u, err := s.opts.Store.User(ctx, f.Subject)
	if err != nil {
		return nil, err
	}
	f.Scopes = f.Scopes.Within(c.Scopes).Within(u.Scopes)
	return &refreshRequest{in: *f, scopes: f.Scopes, audience: s.opts.Audience}, nil
}

func (*storage) TerminateSession(context.Context, string, string) error { return nil } // there are none

// RevokeToken voids an access token, or a refresh token and all that came of the same sign-in (RFC 7009, 2.1).
// token is a refresh token, or the id of an access token of subject. One that is not known changes nothing and
// is no error.
func (s *storage) RevokeToken(ctx context.Context, token, subject, client string) *oidc.Error {
	f, err := s.opts.Store.Owner(ctx, token)
	switch {
	case err == nil && f.Client == client:
		err = s.opts.Store.RevokeFamily(ctx, f.Family)
	case err == nil:
		return oidc.ErrInvalidClient().WithDescription("the token belongs to another client")
	case !errors.Is(err, accounts.ErrUsed):
	case subject == "":
		return nil
	default:
		owner := subject // of a service, which calls for itself
		if owner != client {
			if owner, err = s.opts.Store.ClientOfToken(ctx, token); err != nil {
				return oidc.ErrServerError()
			}
		}
		if owner != client {
			return oidc.ErrInvalidClient().WithDescription("the token belongs to another client")
		}
		err = s.opts.Store.RevokeToken(ctx, token)
	}
	if err != nil {
		return oidc.ErrServerError()
	}
	s.revoked(ctx)
	return nil
}

// revoked makes a revocation known in this process at once.
func (s *storage) revoked(ctx context.Context) {
	if s.opts.Revoked == nil {
		return
	}
	if err := s.opts.Revoked(ctx); err != nil {
		s.opts.Logger.Error("a revocation has no effect in this process yet", "error", err)
	}
}

// GetRefreshTokenInfo tells refresh tokens from others. The token itself stands for its id.
func (s *storage) GetRefreshTokenInfo(ctx context.Context, _, token string) (string, string, error) {
	f, err := s.opts.Store.Owner(ctx, token)
	if errors.Is(err, accounts.ErrUsed) {
		return "", "", op.ErrInvalidRefreshToken
	}
	if err != nil {
		return "", "", err
	}
	return f.Subject, token, nil
}

func (s *storage) SigningKey(context.Context) (op.SigningKey, error) {
	return s.opts.Keys.Signer(), nil
}

func (s *storage) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{s.opts.Keys.Signer().SignatureAlgorithm()}, nil
}

func (s *storage) KeySet(context.Context) ([]op.Key, error) {
	var keys []op.Key
	for _, k := range s.opts.Keys.Public() {
		keys = append(keys, publicKey{k})
	}
	return keys, nil
}

func (s *storage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	c, err := s.opts.Store.Client(ctx, id)
	if err != nil {
		return nil, oidc.ErrInvalidClient()
	}
	return &client{c, s.opts.Access}, nil
}

func (s *storage) AuthorizeClientIDSecret(ctx context.Context, id, secret string) error {
	_, err := s.opts.Store.Authenticate(ctx, id, accounts.NewSecret(secret))
	return wrongClient(err)
}

// ClientCredentials returns the service with that id and secret.
func (s *storage) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := s.opts.Store.Authenticate(ctx, id, accounts.NewSecret(secret))
	if err != nil {
		return nil, wrongClient(err)
	}
	return &client{c, s.opts.Access}, nil
}

// wrongClient makes one answer of a wrong name and a wrong secret.
func wrongClient(err error) error {
	if tarn.CodeOf(err) == tarn.CodeUnauthenticated && err != nil {
		return oidc.ErrInvalidClient().WithDescription("the client or its secret is wrong")
	}
	return err
}

// ClientCredentialsTokenRequest grants a service what it asks for, everything it has when it asks for nothing.
func (s *storage) ClientCredentialsTokenRequest(ctx context.Context, id string, scopes []string) (op.TokenRequest, error) {
	c, err := s.opts.Store.Client(ctx, id)
	if err != nil {
		return nil, oidc.ErrInvalidClient()
	}
	granted := c.Scopes
	if len(scopes) > 0 {
		for _, want := range scopes {
			if govern.CheckScope(want) != nil || !c.Scopes.Allows(want) {
				return nil, oidc.ErrInvalidScope().WithDescription("this client may not have the scope %q", clip(want))
			}
		}
		granted = scopes
	}
	return &serviceRequest{client: id, scopes: granted, audience: s.opts.Audience, changed: c.Changed}, nil
}

func (*storage) SetUserinfoFromScopes(context.Context, *oidc.UserInfo, string, string, []string) error {
	return nil
}

// SetUserinfoFromRequest puts the subject, and the name for the scope profile, into an ID token.
func (s *storage) SetUserinfoFromRequest(ctx context.Context, info *oidc.UserInfo, q op.IDTokenRequest, scopes []string) error {
	u, err := s.opts.Store.User(ctx, q.GetSubject())
	if err != nil {
		return err
	}
	info.Subject = u.ID
	for _, scope := range scopes {
		if scope == oidc.ScopeProfile {
			info.PreferredUsername = u.Name
		}
	}
	return nil
}

// GetPrivateClaimsFromRequest puts the granted scopes into an access token (RFC 9068, 2.2.3).
func (*storage) GetPrivateClaimsFromRequest(_ context.Context, q op.TokenRequest, _ []string) (map[string]any, error) {
	return map[string]any{"scope": govern.Scopes(q.GetScopes()).String()}, nil
}

func (*storage) GetPrivateClaimsFromScopes(context.Context, string, string, []string) (map[string]any, error) {
	return nil, nil
}

func (s *storage) Health(context.Context) error { return nil }

var errNotOffered = errors.New("not offered")

func (*storage) SetUserinfoFromToken(context.Context, *oidc.UserInfo, string, string, string) error {
	return errNotOffered
}

func (*storage) SetIntrospectionFromToken(context.Context, *oidc.IntrospectionResponse, string, string, string) error {
	return errNotOffered
}

func (*storage) GetKeyByIDAndClientID(context.Context, string, string) (*jose.JSONWebKey, error) {
	return nil, errNotOffered
}

func (*storage) ValidateJWTProfileScopes(context.Context, string, []string) ([]string, error) {
	return nil, errNotOffered
}
