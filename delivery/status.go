package delivery

import (
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/tarn-data/tarn"
)

// Status is what a worker is doing.
type Status struct {
	Table      string    `json:"table"`
	Paused     bool      `json:"paused"`
	Error      string    `json:"error,omitempty"` // why it can not go on; it keeps trying
	ErrorSince time.Time `json:"error_since,omitzero"`
	Warning    string    `json:"warning,omitempty"` // it goes on, but perhaps not as was meant
	TailRows   int64     `json:"tail_rows"`         // visible to queries, not committed
	TailFiles  int       `json:"tail_files"`
	TailBytes  int64     `json:"tail_bytes"` // of the records as they were read
	TailFailed int       `json:"tail_failed"`
	Oldest     time.Time `json:"oldest,omitzero"` // arrival of the oldest record in the tail
}

// Status returns what the worker is doing.
func (w *Worker) Status() Status {
	t := w.tail.totals()
	s := Status{Table: w.cfg.Table, TailBytes: t.bytes, TailRows: t.rows, TailFailed: t.failed, TailFiles: t.files, Oldest: t.oldest}
	w.mu.Lock()
	defer w.mu.Unlock()
	s.Paused, s.Warning = w.paused, w.warning
	if w.fault != nil {
		s.Error, s.ErrorSince = faultText(w.fault), w.since
	}
	return s
}

// faultText is what a person is told about the end of a session.
func faultText(err error) string {
	if errors.Is(err, syscall.ENOSPC) {
		return "the disk of the data folder is full; make room, and it goes on by itself"
	}
	var e *tarn.Error
	if !errors.As(err, &e) {
		return "an internal fault; see the log"
	}
	text, hint := e.Detail, e.Hint
	if e.Code == tarn.CodeTooLarge {
		text, hint = "the conversion needs more memory than it may use", "raise limits.memory, or partition by fewer values"
	}
	if hint != "" {
		text += "; " + hint
	}
	return text
}

// warnMissing tells of members that the transform names and no record has had.
func (w *Worker) warnMissing(names []string) {
	text := ""
	if len(names) > 0 {
		text = "the transform names " + strings.Join(names, ", ") + ", which no record has had yet; NULL until one has"
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if text != "" && text != w.warning {
		w.cfg.Logger.Warn("members without a record", "names", names)
	}
	w.warning = text
}

// Notes says what was inferred about the records, and why.
func (w *Worker) Notes() []Note {
	w.mu.Lock()
	in := w.input
	w.mu.Unlock()
	if in == nil {
		return nil
	}
	return in.notes()
}
