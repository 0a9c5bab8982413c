package govern

import (
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// Denied is why a request is refused. Reason never holds a token or a part of one (I7).
type Denied struct {
	Reason string
	Code   tarn.Code // CodeUnauthenticated, CodeInsufficientScope or CodeRateLimited
	Scope  string    // what the route needs, of CodeInsufficientScope
	Sent   bool      // a token was sent
	Wait   time.Duration
	cause  error
}

// Error implements error.
func (d *Denied) Error() string { return d.Reason }

// Unwrap gives the *tarn.Error that users read.
func (d *Denied) Unwrap() error {
	e := &tarn.Error{Code: d.Code, Detail: d.Reason, Err: d.cause}
	switch d.Code {
	case tarn.CodeUnauthenticated:
		e.Hint = "get a token with tarn auth token, and send it as Authorization: Bearer TOKEN"
	case tarn.CodeInsufficientScope:
		e.Hint = "ask for a client that has the scope " + d.Scope
	case tarn.CodeRateLimited:
		e.Hint = "wait as long as Retry-After says"
	}
	return e
}

// RetryAfter is how long to wait, 0 when that does not help.
func (d *Denied) RetryAfter() time.Duration { return d.Wait }

// Challenge is the value of the header WWW-Authenticate (RFC 6750, 3; RFC 9728, 5.1), "" for none.
// metadata is the URL of the description of the resource.
func (d *Denied) Challenge(metadata string) string {
	params := []string{}
	add := func(name, value string) { params = append(params, name+"="+strconv.Quote(value)) }
	switch {
	case d.Code == tarn.CodeInsufficientScope:
		add("error", "insufficient_scope")
		add("scope", d.Scope)
	case d.Code != tarn.CodeUnauthenticated:
		return ""
	case d.Sent:
		add("error", "invalid_token")
		add("error_description", d.Reason)
	}
	if metadata != "" {
		add("resource_metadata", metadata)
	}
	return strings.TrimSpace("Bearer " + strings.Join(params, ", "))
}
