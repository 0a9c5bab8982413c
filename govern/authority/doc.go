// Package authority is the embedded authorization server: OAuth 2.0 and OpenID Connect over
// github.com/zitadel/oidc, with the accounts of govern/accounts behind it.
//
// Services exchange their secret for an access token (client credentials). People sign in on a page of this
// package: authorization code with PKCE (S256 only), and refresh tokens that are used once. Access tokens are
// JWTs for one audience; their ids say which sign-in they came of, so that revoking reaches them.
//
// Requests under its Paths enter, redirects, pages and tokens leave. Package server mounts it, engine builds it.
package authority
