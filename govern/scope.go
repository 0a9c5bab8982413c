package govern

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
)

// The scopes. Those that end in a colon are followed by a name, or by * for every name.
const (
	ScopeAdmin       = "admin"        // everything
	ScopeSQLRead     = "sql:read"     // read all data and descriptions
	ScopeMetricsRead = "metrics:read" // read /metrics
	ScopeIngest      = "ingest:"      // put records into a stream
	ScopeTwinRead    = "twin:read:"   // read a twin
	ScopeTwinWrite   = "twin:write:"  // write a twin
)

// openIDScopes are those of OpenID Connect that people's programs ask for. They grant nothing here.
var openIDScopes = []string{"openid", "profile", "offline_access"}

var scopeName = regexp.MustCompile(`^(?:[a-z][a-z0-9_]{0,62}|\*)$`)

const scopeHint = "write admin, sql:read, metrics:read, ingest:STREAM, twin:read:TWIN or twin:write:TWIN; * stands for every name"

// CheckScope returns an error with CodeInvalid when s is not a scope that Tarn grants.
func CheckScope(s string) error {
	if slices.Contains([]string{ScopeAdmin, ScopeSQLRead, ScopeMetricsRead}, s) {
		return nil
	}
	for _, prefix := range []string{ScopeIngest, ScopeTwinRead, ScopeTwinWrite} {
		if name, ok := strings.CutPrefix(s, prefix); ok && scopeName.MatchString(name) {
			return nil
		}
	}
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: strconv.Quote(s) + " is not a scope", Hint: scopeHint}
}

// Scopes is a set of granted scopes. It is immutable.
type Scopes []string

// ParseScopes splits a space-delimited list, as in a token (RFC 6749, 3.3).
func ParseScopes(s string) Scopes { return strings.Fields(s) }

// String returns the list as it stands in a token.
func (s Scopes) String() string { return strings.Join(s, " ") }

// Allows reports whether the set grants need: itself, its wildcard, or admin. A name within need is
// compared as a whole, so that no encoding of it reaches another name.
func (s Scopes) Allows(need string) bool {
	wildcard := ""
	if i := strings.LastIndexByte(need, ':'); i >= 0 && wild(need[:i+1]) {
		wildcard = need[:i+1] + "*"
	}
	for _, have := range s {
		if have == need || have == ScopeAdmin || wildcard != "" && have == wildcard {
			return true
		}
	}
	return false
}

func wild(prefix string) bool {
	return prefix == ScopeIngest || prefix == ScopeTwinRead || prefix == ScopeTwinWrite
}

// Within returns the scopes of s that allowed grants, and those of OpenID Connect.
func (s Scopes) Within(allowed Scopes) Scopes {
	var out Scopes
	for _, want := range s {
		if slices.Contains(openIDScopes, want) || CheckScope(want) == nil && allowed.Allows(want) {
			out = append(out, want)
		}
	}
	return out
}
