package filedrop

import (
	"errors"

	"github.com/tarn-data/tarn"
)

// Outcome is what came of one file.
type Outcome struct {
	File      string  `json:"file"`
	Hash      string  `json:"hash"` // the first 32 hexadecimal digits of its BLAKE3; of its SHA-256 when an older version took it first
	Bytes     int64   `json:"bytes"`
	Format    string  `json:"format,omitempty"`
	Duplicate bool    `json:"duplicate,omitempty"` // the same bytes were taken before; these are the figures of then
	TakenAs   string  `json:"taken_as,omitempty"`  // the name then
	Take      int     `json:"take,omitempty"`
	Accepted  int64   `json:"accepted"`
	Rejected  int64   `json:"rejected"`
	Shards    []Shard `json:"shards"` // by number, those that got records
	// Rejects are the first rejected records.
	Rejects []RejectedRecord `json:"rejects,omitempty"`
	Fault   *Fault           `json:"fault,omitempty"` // why it failed
}

// Shard says where the records of a file are in one shard. Records of others may lie between.
type Shard struct {
	Shard    int           `json:"shard"`
	Accepted int64         `json:"accepted"`
	First    tarn.Position `json:"first_position"`
	Last     tarn.Position `json:"last_position"`
}

// RejectedRecord is one record that was refused.
type RejectedRecord struct {
	Line   int64     `json:"line"`
	Code   tarn.Code `json:"code"`
	Detail string    `json:"detail"`
	Text   string    `json:"text,omitempty"` // its start; bytes that are no UTF-8 are replaced
}

// maxOutcomeRejects is how many rejected records an Outcome lists.
const maxOutcomeRejects = 100

// Fault is why a file failed.
type Fault struct {
	Code   tarn.Code `json:"code"`
	Detail string    `json:"detail"`
	Hint   string    `json:"hint,omitempty"`
	Line   int64     `json:"line,omitempty"` // 0 when it is not about a place
}

// fileError is a fault of the file itself: another attempt with the same bytes and settings would end
// the same way. Any other error is a matter of the moment, and the file is tried again.
type fileError struct {
	fault Fault
	err   error
}

// Error implements error.
func (e *fileError) Error() string { return e.fault.Detail }

// Unwrap returns the cause.
func (e *fileError) Unwrap() error { return e.err }

// faulty makes a fileError of what reading a file said, which stays as it is when it is about the
// moment: the end of the process, a disk or database that does not answer.
func faulty(err error, line int64) error {
	var known *tarn.Error
	var said *fileError
	if errors.As(err, &said) || !errors.As(err, &known) {
		return err
	}
	switch known.Code {
	case tarn.CodeCanceled, tarn.CodeUnavailable, tarn.CodeBusy, tarn.CodeTimeout, tarn.CodeInternal:
		return err
	}
	return &fileError{Fault{Code: known.Code, Detail: known.Detail, Hint: known.Hint, Line: line}, err}
}
