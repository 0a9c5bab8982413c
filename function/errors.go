package function

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// CodeFailed is the code of an invocation that the function itself answered with an error, or
// during which its process died.
const CodeFailed tarn.Code = "function_failed"

// ErrClosed is in the chain of the error of an invocation on a pool that drains or is closed.
var ErrClosed = errors.New("the function is stopping")

// errNotTaken is the ErrClosed of an invocation that a pool refused at the door: it never ran.
var errNotTaken = fmt.Errorf("%w and took nothing more", ErrClosed)

// errUnread is the end of a call whose worker died before it had read all of the event: it never began.
var errUnread = errors.New("the worker ended without reading the event")

// FunctionError is an error that the function answered with. Pool.Invoke returns it inside a
// *tarn.Error; use errors.As.
type FunctionError struct {
	Type    string   // for example ValueError
	Message string   // what the function said
	Stack   []string // one line a frame, as the runtime reports it; may be empty
}

// Error implements error.
func (e *FunctionError) Error() string { return join(e.Type, e.Message) }

// TimeoutError says that the function did not answer in time; its worker was killed.
type TimeoutError struct {
	After time.Duration // how long it had run
}

// Error implements error.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("no answer after %v", e.After.Round(time.Millisecond))
}

// ExitError says that the worker's process ended while it was needed.
type ExitError struct {
	Status string   // for example "exit status 3", "signal: killed", or why the host killed it
	Stderr []string // the last lines it wrote to standard error
}

// Error implements error.
func (e *ExitError) Error() string {
	if len(e.Stderr) == 0 {
		return e.Status
	}
	return e.Status + ": " + strings.Join(e.Stderr, "\n")
}

// InitError says that the function did not reach its first invocation: its code could not be
// loaded (Type, Message and Stack are the runtime's), or its process ended or hung before (Err).
type InitError struct {
	FunctionError
	Err error // an *ExitError, a *TimeoutError, a *SandboxError or nil
}

// Error implements error.
func (e *InitError) Error() string {
	if e.Err != nil {
		return e.Err.Error()
	}
	return e.FunctionError.Error()
}

// Unwrap returns the cause that is not the function's own report.
func (e *InitError) Unwrap() error { return e.Err }

// SandboxError says that this machine cannot isolate as the function demands.
type SandboxError struct {
	Missing []string // what cannot be isolated, and why
}

// Error implements error.
func (e *SandboxError) Error() string { return "not isolated: " + strings.Join(e.Missing, "; ") }

func join(kind, message string) string {
	switch {
	case kind == "":
		return message
	case message == "":
		return kind
	}
	return kind + ": " + message
}

// explain wraps a failure of function name into the error a user reads.
func explain(name string, err error) error {
	var known *tarn.Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	out := &tarn.Error{Code: CodeFailed, Err: err}
	var (
		function *FunctionError
		timeout  *TimeoutError
		exit     *ExitError
		start    *InitError
		sandbox  *SandboxError
	)
	switch {
	case errors.As(err, &sandbox):
		out.Code, out.Detail = tarn.CodeForbidden, "function "+name+" demands a sandbox that this machine does not offer"
		out.Hint = "allow unprivileged user namespaces, run on Linux 5.13 or later, or set sandbox: auto"
	case errors.As(err, &start):
		out.Code, out.Detail = tarn.CodeUnavailable, "function "+name+" does not start"
		out.Hint = "read its output with tarn functions logs " + name
	case errors.As(err, &function):
		out.Detail = "function " + name + " answered with an error"
		out.Hint = "read its output with tarn functions logs " + name
	case errors.As(err, &timeout):
		out.Code, out.Detail = tarn.CodeTimeout, "function "+name+" did not answer in time and was killed"
		out.Hint = "give it more time with timeout, or smaller batches"
	case errors.As(err, &exit):
		out.Detail = "the process of function " + name + " ended during an invocation"
		out.Hint = "read its output with tarn functions logs " + name
	case errors.Is(err, ErrClosed):
		out.Code, out.Detail = tarn.CodeUnavailable, "function "+name+" takes no more invocations"
		out.Hint = "try again in a moment"
	default:
		out.Code, out.Detail = tarn.CodeInternal, "function "+name+" failed"
	}
	return out
}

// tooLarge is the error of an event or answer over MaxPayloadBytes.
func tooLarge(name, what string, size int64) error {
	return &tarn.Error{
		Code:   tarn.CodeTooLarge,
		Detail: fmt.Sprintf("function %s: the %s has %d bytes, more than the %d that an invocation may carry", name, what, size, MaxPayloadBytes),
		Hint:   "use smaller batches",
	}
}
