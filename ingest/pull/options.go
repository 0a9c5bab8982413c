package pull

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// Options make a Puller. Pipeline, Function, Invoke, Timetable, Stream and DB are required.
type Options struct {
	Pipeline  string
	Function  string // its name
	Timetable Timetable
	CatchUp   CatchUp // empty means one
	Retries   int     // of a failed invocation

	// Invoke runs the function on an event and returns its answer; see function.Host.
	Invoke func(ctx context.Context, event []byte, requestID string) ([]byte, error)

	Stream  *stream.Stream
	Shards  int           // that records are spread over; 0 means all of the stream
	KeyPath string        // dotted path of the partition key within a record, may be empty
	Opaque  bool          // records are bytes; else they must be JSON objects
	Limits  record.Limits // zero fields take the defaults of package record
	DB      *metadb.DB
	// Admit is asked before records are appended; its error makes the puller wait. nil admits always.
	Admit func() error

	Ended  func(Run) // called with every run that ends; may be nil
	Logger *slog.Logger
	Clock  func() time.Time

	RetryPause time.Duration // before the first repeat of an invocation, doubling up to 30 s; default 1 s
	IdlePause  time.Duration // continuous: after a run without records; default 1 s
}

// Bounds of pauses.
const (
	maxRetryPause = 30 * time.Second
	maxFailPause  = time.Minute      // continuous: after failed runs
	lookAgain     = 10 * time.Second // at the clock, which may jump
)

// Validate returns what is wrong with o, or nil.
func (o Options) Validate() error {
	if o.Pipeline == "" || o.Function == "" || o.Invoke == nil || o.Stream == nil || o.DB == nil {
		return errors.New("pull: Pipeline, Function, Invoke, Stream and DB are required")
	}
	if kinds := o.Timetable; !kinds.Continuous && kinds.Every <= 0 && kinds.Schedule.IsZero() {
		return errors.New("pull: the timetable is empty")
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.CatchUp == "" {
		o.CatchUp = project.CatchUpOne
	}
	if o.Shards <= 0 || o.Shards > o.Stream.Shards() {
		o.Shards = o.Stream.Shards()
	}
	if o.Limits.RecordBytes <= 0 {
		o.Limits.RecordBytes = record.DefaultRecordBytes
	}
	if o.Admit == nil {
		o.Admit = func() error { return nil }
	}
	if o.Ended == nil {
		o.Ended = func(Run) {}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.RetryPause <= 0 {
		o.RetryPause = time.Second
	}
	if o.IdlePause <= 0 {
		o.IdlePause = time.Second
	}
	o.Logger = o.Logger.With("pipeline", o.Pipeline, "function", o.Function)
	return o
}
