package duck

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"

	"github.com/tarn-data/tarn"
)

// Fault is DuckDB's own message, kept as the cause of the *tarn.Error that callers get. It may name
// files and must not be shown to users unchecked.
type Fault struct {
	Class   string // DuckDB's prefix, for example "Binder Error"
	Message string // the whole text
}

// Error implements error.
func (f *Fault) Error() string { return f.Message }

// classCode maps DuckDB's classes of errors to codes. Classes not listed are tarn.CodeInvalid: they
// blame the statement or the data, not the machine.
var classCode = map[string]tarn.Code{
	"Out of Memory Error":         tarn.CodeTooLarge,
	"Permission Error":            tarn.CodeForbidden,
	"Not implemented Error":       tarn.CodeUnsupported,
	"Missing Extension Error":     tarn.CodeForbidden,
	"Extension Autoloading Error": tarn.CodeForbidden,
	interruptClass:                tarn.CodeCanceled,
	"IO Error":                    tarn.CodeUnavailable,
	"HTTP Error":                  tarn.CodeForbidden,
	"FATAL Error":                 tarn.CodeInternal,
	"INTERNAL Error":              tarn.CodeInternal,
	transactionClass:              tarn.CodeConflict,
}

const (
	interruptClass   = "INTERRUPT Error"
	transactionClass = "TransactionContext Error" // also of every statement behind one that failed in a transaction
)

// fatal reports whether the instance can not be used any more.
func (f *Fault) fatal() bool {
	return f.Class == "FATAL Error" || f.Class == "INTERNAL Error" || strings.Contains(f.Message, "database has been invalidated")
}

// textsMemory is what a relation reports whose texts do not fit into memory, and how DuckDB repeats it.
const textsMemory = "Out of Memory Error: the texts of a relation need more than the memory limit"

// repeated is what DuckDB puts before the error of a result when it is asked for more of its rows.
const repeated = "Attempting to execute an unsuccessful or closed pending query result\nError: "

func newFault(msg string) *Fault {
	if _, cause, ok := strings.Cut(msg, repeated); ok {
		msg = cause
	}
	if strings.HasSuffix(msg, textsMemory) {
		msg = textsMemory
	}
	msg, _, _ = strings.Cut(msg, "\n\nStack Trace:")
	f := &Fault{Message: msg, Class: "Error"}
	if class, _, ok := strings.Cut(msg, ": "); ok && strings.HasSuffix(class, "Error") && len(class) < 40 {
		f.Class = class
	}
	return f
}

// userError turns DuckDB's message into an error for users. A done ctx explains it before anything
// else: DuckDB reports only that it was interrupted.
func userError(ctx context.Context, msg string) error {
	f := newFault(msg)
	if err := ctxError(ctx, f); err != nil {
		return err
	}
	e := &tarn.Error{Code: tarn.CodeInvalid, Err: f}
	if c, ok := classCode[f.Class]; ok {
		e.Code = c
	}
	switch {
	case f.fatal():
		e.Code, e.Detail = tarn.CodeInternal, "the SQL engine failed"
	case e.Code == tarn.CodeTooLarge:
		e.Detail = "the statement needs more memory than it may use"
		e.Hint = "read fewer rows or columns, filter earlier, or raise the memory limit"
	case e.Code == tarn.CodeUnavailable:
		e.Detail = "a file could not be read or written"
		if strings.Contains(msg, "No space left") || strings.Contains(msg, "max_temp_directory_size") {
			e.Detail = "there is no disk space left for the statement"
		}
	case e.Code == tarn.CodeCanceled:
		e.Detail = "the statement was cancelled"
	default:
		e.Detail = Brief(msg)
		e.Err = nil
		return &statementError{user: e, fault: f}
	}
	return e
}

// statementError is a *tarn.Error whose text says all the cause does, so that the cause is kept for
// programs and not printed twice.
type statementError struct {
	user  *tarn.Error
	fault *Fault
}

func (e *statementError) Error() string   { return e.user.Error() }
func (e *statementError) Unwrap() []error { return []error{e.user, e.fault} }

func ctxError(ctx context.Context, cause error) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded):
		return &tarn.Error{Code: tarn.CodeTimeout, Detail: "the statement took longer than it may", Hint: "read less data, or raise the time limit", Err: cause}
	default:
		return &tarn.Error{Code: tarn.CodeCanceled, Detail: "the statement was cancelled", Err: cause}
	}
}

// Brief returns the part of a DuckDB message a user needs: without its class, the excerpt of the
// statement, and advice about options that only the caller of DuckDB could set.
func Brief(msg string) string {
	f := newFault(msg)
	s := strings.TrimPrefix(f.Message, f.Class+": ")
	for _, end := range []string{"\n\nLINE ", "\nLINE ", "\nTry setting ", "\n\nPossible solutions", ` Use "SET `} {
		if i := strings.Index(s, end); i >= 0 {
			s = s[:i]
		}
	}
	return strings.TrimSpace(s)
}

// FaultOf returns the DuckDB fault in err's chain, or nil.
func FaultOf(err error) *Fault {
	var f *Fault
	errors.As(err, &f)
	return f
}

var jsonFault = regexp.MustCompile(`(?s)in file "((?:[^"]|"")*)", in (?:line|record/value) (\d+): (.*)`)

// JSONFault is where and why ReadNDJSON refused a record.
type JSONFault struct {
	File   string
	Line   int // 1-based line of the file; near it only when a date or time did not fit
	Reason string
}

// AsJSONFault returns the record that a statement over ReadNDJSON failed on. It reports false when
// err is about something else.
func AsJSONFault(err error) (JSONFault, bool) {
	f := FaultOf(err)
	if f == nil {
		return JSONFault{}, false
	}
	m := jsonFault.FindStringSubmatch(f.Message)
	if m == nil {
		return JSONFault{}, false
	}
	n, err := strconv.Atoi(m[2])
	return JSONFault{File: m[1], Line: n, Reason: Brief(m[3])}, err == nil
}
