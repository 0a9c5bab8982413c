// Package govern decides who may call: scopes, principals, and the guard of the HTTP interface.
//
// A request with a bearer token enters a Guard, which verifies the token (RFC 9068), remembers it until it
// ends, counts the request against the rate of its client, and checks the scope that the route declares. A
// Principal or a *Denied leaves. Tokens come from the authorization server in govern/authority, or from an
// OpenID Connect issuer elsewhere, which a Remote watches. govern/accounts keeps clients, users and keys.
//
// Package server calls the Guard on every route; engine builds it; cmd/tarn keeps the accounts.
package govern
