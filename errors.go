package tarn

import "errors"

// Code is a stable, documented name of a kind of error. Codes are part of the interface: scripts
// match on them. The HTTP status of each is decided once, in package server.
type Code string

// The codes in use.
const (
	CodeInvalid           Code = "invalid"            // the request or file is malformed
	CodeNotFound          Code = "not_found"          // the named thing does not exist
	CodeConflict          Code = "conflict"           // it exists already, or another writer was first
	CodeTooLarge          Code = "too_large"          // over a configured limit, which Detail names
	CodeBusy              Code = "busy"               // over the memory bound; try again later
	CodeUnavailable       Code = "unavailable"        // starting, draining, or a dependency is away
	CodeTimeout           Code = "timeout"            // over the configured time
	CodeCanceled          Code = "canceled"           // the caller went away
	CodeForbidden         Code = "forbidden"          // outside what the sandbox or a grant allows
	CodeUnauthenticated   Code = "unauthenticated"    // no token, or one that is not accepted
	CodeInsufficientScope Code = "insufficient_scope" // the token does not grant this
	CodeRateLimited       Code = "rate_limited"       // the caller sends too much; try again later
	CodeUnsupported       Code = "unsupported"        // a content type or feature Tarn does not have
	CodeInvalidJSON       Code = "invalid_json"       // a record is not valid JSON
	CodeRecordTooLarge    Code = "record_too_large"   // one record is over the record limit
	CodeSchema            Code = "schema"             // a record does not fit its table
	CodeInternal          Code = "internal"           // a defect; details are in the log only
)

// Error is an error made for its reader: what is wrong, how to mend it, and a stable code.
// Detail and Hint are shown to users and never contain secrets or internals; Err is for the log.
type Error struct {
	Code   Code
	Detail string
	Hint   string
	Err    error
}

// Error implements error.
func (e *Error) Error() string {
	s := e.Detail
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// CodeOf returns the code of the first *Error in err's chain, or CodeInternal.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return CodeInternal
}
