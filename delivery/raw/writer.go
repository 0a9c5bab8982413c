package raw

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/restart"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/stream"
)

// Config describes the backup of one stream. Fields without a default are required.
type Config struct {
	Stream *stream.Stream
	DB     *metadb.DB
	Bucket lake.Bucket
	Dir    string // for files on their way; of this writer alone, emptied by Run

	FlushBytes    int64         // an object ends with this much record data; default 64 MiB
	FlushInterval time.Duration // objects are registered when a record has waited this long; default 60 s

	Metrics Metrics
	Logger  *slog.Logger     // default discards
	Clock   func() time.Time // default time.Now
}

// Metrics are called as work is done; nil functions are skipped.
type Metrics struct {
	Written func(objects int, records, rawBytes, bytes int64, took time.Duration)
	Lost    func(form Form, records uint64) // Expired or Damaged
}

// Writer backs up one stream. Run it once; the other methods may be called from any goroutine at any
// time.
type Writer struct {
	cfg     Config
	archive *Archive

	mu      sync.Mutex
	status  Status
	next    []uint64   // committed, by shard
	targets [][]uint64 // next offsets that Flush calls wait for, by shard
	wake    chan struct{}
	changed chan struct{}
	ended   bool
}

// Status is what a writer is doing.
type Status struct {
	Stream     string    `json:"stream"`
	Next       []uint64  `json:"next"`          // the first offset not backed up, by shard
	Objects    int64     `json:"objects"`       // registered by this process
	Bytes      int64     `json:"bytes"`         // of those
	Waiting    int64     `json:"waiting_bytes"` // read and not registered
	LastFlush  time.Time `json:"last_flush,omitzero"`
	Error      string    `json:"error,omitempty"` // why it can not go on; it keeps trying
	ErrorSince time.Time `json:"error_since,omitzero"`
}

// New returns a writer that has done nothing yet.
func New(cfg Config) (*Writer, error) {
	if cfg.Stream == nil || cfg.DB == nil || cfg.Bucket == nil || cfg.Dir == "" {
		return nil, errors.New("raw backup: stream, db, bucket and dir are required")
	}
	if cfg.FlushBytes <= 0 {
		cfg.FlushBytes = 64 << 20
	}
	if cfg.FlushInterval <= 0 {
		cfg.FlushInterval = time.Minute
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	name := cfg.Stream.Name()
	cfg.Logger = cfg.Logger.With("stream", name)
	return &Writer{cfg: cfg, archive: Open(cfg.DB, cfg.Bucket, name), status: Status{Stream: name},
		wake: make(chan struct{}, 1), changed: make(chan struct{})}, nil
}

// Archive is what the writer writes to.
func (w *Writer) Archive() *Archive { return w.archive }

// Run backs up until ctx is done, then registers what it has read and returns nil. An error ends the
// session, not the writer: it starts again from the committed progress after a growing pause.
func (w *Writer) Run(ctx context.Context) error {
	defer w.end()
	err := restart.Loop(ctx, w.session, func(err error) {
		w.setFault(err)
		w.cfg.Logger.Error("the raw backup starts again from the last object", "error", err)
	})
	if err != nil {
		w.cfg.Logger.Warn("not all records were backed up at the end; they are at the next start", "error", err)
	}
	return nil
}

// session backs up from the committed progress until ctx is done or something fails.
func (w *Writer) session(ctx context.Context) (err error) {
	work, end := restart.Work(ctx) // what was read is registered
	defer end()
	if err := os.RemoveAll(w.cfg.Dir); err != nil {
		return err
	}
	if err := os.MkdirAll(w.cfg.Dir, 0o755); err != nil {
		return err
	}
	enc, err := newEncoder()
	if err != nil {
		return err
	}
	s, progress, err := w.archive.begin(work, w.cfg.Stream.Shards(), func() int64 { return metadb.Micros(w.cfg.Clock()) })
	if err != nil {
		return err
	}
	r := &run{w: w, session: s, enc: enc}
	defer r.close()
	for i := range w.cfg.Stream.Shards() {
		if err := r.openShard(work, i, progress); err != nil {
			return err
		}
	}
	w.began(r.shards)
	return r.run(ctx, work)
}

// Flush registers everything that was accepted before the call, and waits for that.
func (w *Writer) Flush(ctx context.Context) error {
	target := make([]uint64, w.cfg.Stream.Shards())
	for i := range target {
		st, err := w.cfg.Stream.State(ctx, i)
		if err != nil {
			return err
		}
		target[i] = st.Next
	}
	w.mu.Lock()
	w.targets = append(w.targets, target)
	w.mu.Unlock()
	defer w.forget(target)
	select {
	case w.wake <- struct{}{}:
	default:
	}
	for {
		w.mu.Lock()
		met, ended, changed := reached(w.next, target), w.ended, w.changed
		w.mu.Unlock()
		switch {
		case met:
			return nil
		case ended:
			return &tarn.Error{Code: tarn.CodeUnavailable, Detail: fmt.Sprintf("the raw backup of %s has ended", w.status.Stream), Hint: "try again when the pipeline runs"}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func reached(next, target []uint64) bool {
	for i, t := range target {
		if i >= len(next) || next[i] < t {
			return false
		}
	}
	return true
}

func (w *Writer) forget(target []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.targets {
		if &w.targets[i][0] == &target[0] {
			w.targets = append(w.targets[:i], w.targets[i+1:]...)
			return
		}
	}
}

// wanted reports whether a Flush call waits for records of the shard that have been read up to next
// and are committed up to done.
func (w *Writer) wanted(shard int, done, next uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.targets {
		if t[shard] > done && t[shard] <= next {
			return true
		}
	}
	return false
}

// Status returns what the writer is doing.
func (w *Writer) Status() Status {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.status
	s.Next = append([]uint64(nil), w.next...)
	return s
}

// began notes the start of a session.
func (w *Writer) began(shards []*shard) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = make([]uint64, len(shards))
	for i, s := range shards {
		w.next[i] = s.done
	}
	w.status.Waiting = 0
	w.notify()
}

// flushed notes a commit.
func (w *Writer) flushed(shards []*shard, objects int, bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, s := range shards {
		w.next[i] = s.done
	}
	w.status.Objects += int64(objects)
	w.status.Bytes += bytes
	w.status.LastFlush = w.cfg.Clock().UTC()
	w.status.Error, w.status.ErrorSince = "", time.Time{}
	w.notify()
}

func (w *Writer) waiting(bytes int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.status.Waiting = bytes
}

func (w *Writer) setFault(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.status.Error == "" {
		w.status.ErrorSince = w.cfg.Clock().UTC()
	}
	w.status.Error = "an internal fault; see the log"
	if e := (*tarn.Error)(nil); errors.As(err, &e) {
		w.status.Error = e.Detail
		if e.Hint != "" {
			w.status.Error += "; " + e.Hint
		}
	}
	w.notify()
}

func (w *Writer) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.notify()
}

// notify wakes the Flush calls; the caller holds mu.
func (w *Writer) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}
