package delivery

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/restart"
	"github.com/tarn-data/tarn/record"
)

// Worker delivers one stream into one table. Run it once; the other methods may be called from any
// goroutine at any time.
type Worker struct {
	cfg    Config
	target target
	conv   converter
	tr     transform
	tail   tail
	input  *input
	spares spares
	again  originals // of records that failed otherwise than they came

	plan    *plan // of the last chunk, for planned
	planned *inputSchema

	draining bool // set before the session begins, see Drain

	mu      sync.Mutex
	warning string    // what a person should know about the records
	fault   error     // why the last session ended
	since   time.Time // of fault
	paused  bool
	held    bool       // for a moment, see Hold
	targets [][]uint64 // next offsets that Flush calls wait for, by shard
	done    []uint64   // next offsets that are committed, by shard
	changed chan struct{}
	ended   bool

	chunkBytes atomic.Int64 // Config.ChunkBytes, or less after a conversion ran out of memory
	exchanges  sync.Pool    // of *exchange
	eager      atomic.Int64 // until then, in nanoseconds since 1970, nothing is read later
	newFiles   atomic.Int64 // made by the last commit, or by the last conversion into final files
}

// New returns a worker that has done nothing yet.
func New(cfg Config) (*Worker, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := &Worker{cfg: cfg, tr: newTransform(cfg.steps()),
		conv:    converter{db: cfg.Duck, bucket: cfg.Bucket, dir: cfg.Dir, compression: cfg.Compression, heavy: cfg.Heavy},
		changed: make(chan struct{})}
	if w.target = w.newTarget(); cfg.Ordered != nil {
		w.conv.db = cfg.Ordered
	}
	w.chunkBytes.Store(cfg.ChunkBytes)
	return w, nil
}

// Run delivers until ctx is done, then commits what it has read and returns nil. An error ends the
// session, not the worker: it starts again from the committed progress after a growing pause.
func (w *Worker) Run(ctx context.Context) error {
	defer w.end()
	err := restart.Loop(ctx, func(ctx context.Context) error {
		defer w.tail.clear()
		return w.session(ctx)
	}, w.broken)
	if err != nil {
		w.cfg.Logger.Warn("not all records were committed at the end; they are at the next start", "error", err)
	}
	return nil
}

// broken notes why a session has ended, before the next one.
func (w *Worker) broken(err error) {
	w.setFault(err)
	if n := w.chunkBytes.Load(); tarn.CodeOf(err) == tarn.CodeTooLarge && n > 1<<20 {
		w.chunkBytes.Store(n / 2) // the same chunk would fail for ever
	}
	if errors.As(err, new(unread)) {
		w.eager.Store(time.Now().Add(eagerFor).UnixNano())
	}
	level := slog.LevelError
	if tarn.CodeOf(err) == tarn.CodeNotFound { // it waits for something that is to come, such as a joined table
		level = slog.LevelWarn
	}
	w.cfg.Logger.Log(context.Background(), level, "delivery starts again from the last commit", "error", err)
}

// routed reports whether the records of a segment are for this delivery.
func (w *Worker) routed(seg *record.Segment) bool {
	return seg.Routes == nil || w.cfg.Route == AnyRoute || slices.Contains(seg.Routes, w.cfg.Route)
}

// session delivers from the committed progress until ctx is done or something fails.
func (w *Worker) session(ctx context.Context) (err error) {
	if err := os.MkdirAll(w.cfg.Dir, 0o755); err != nil {
		return err
	}
	work, end := restart.Work(ctx) // what was read is committed
	defer end()

	for _, f := range w.cfg.Partition {
		if f.Transform == tarn.Bucket {
			if err := defineBuckets(work, w.conv.db); err != nil {
				return err
			}
			break
		}
	}
	defer w.target.end()
	defer w.spares.drop()
	g, err := w.open(work)
	if err != nil {
		return err
	}
	defer g.close()
	chunks := make(chan *chunk)
	gone := make(chan error, 1)
	gathering, halt := context.WithCancel(ctx)
	go func() {
		defer close(chunks)
		gone <- g.run(gathering, chunks)
	}()
	defer func() {
		halt()
		for c := range chunks { // an error left the gatherer with a chunk in its hand
			c.discard()
		}
		err = errors.Join(err, <-gone)
	}()
	return w.deliver(work, chunks)
}

// The bounds on failed records kept in memory until their commit (I8).
const (
	maxFailedWaiting = 10_000
	maxFailedBytes   = 16 << 20
)

// filePause is the pause after a commit for every file it made. Records wait in the hot tail, where
// queries see them, so that a table with very many partitions grows by tens of files a second and not
// by thousands: each costs memory in every query and commit until compaction has merged it (I8).
const filePause = 50 * time.Millisecond

// interval is how long a record may wait for its commit.
func (w *Worker) interval() time.Duration {
	return max(w.cfg.BufferInterval, min(time.Duration(w.newFiles.Load())*filePause, time.Minute))
}

// scattered reports whether records go to so many partitions that only a whole buffer of them makes
// files of some size.
func (w *Worker) scattered() bool { return w.newFiles.Load() > partitionsAtOnce }

// due reports whether what waits should be committed now.
func (w *Worker) due() bool {
	t := w.tail.totals()
	if t.oldest.IsZero() {
		return false
	}
	return t.bytes >= w.cfg.BufferBytes || t.failed >= maxFailedWaiting || t.failedBytes >= maxFailedBytes ||
		time.Since(t.oldest) >= w.interval() || w.wanted()
}

// wanted reports whether the tail holds all that some Flush call waits for.
func (w *Worker) wanted() bool {
	w.tail.mu.RLock()
	var last []tally
	if n := len(w.tail.items); n > 0 {
		last = w.tail.items[n-1].spans
	}
	w.tail.mu.RUnlock()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, target := range w.targets {
		met := len(last) > 0
		for i, t := range last {
			met = met && t.next >= target[i]
		}
		if met {
			return true
		}
	}
	return false
}

// Flush commits everything that was accepted before the call, and waits for that.
func (w *Worker) Flush(ctx context.Context) error {
	shards := w.cfg.Source.Shards()
	target := make([]uint64, shards)
	for i := range shards {
		st, err := w.cfg.Source.State(ctx, i)
		if err != nil {
			return err
		}
		if st.First < st.Next { // what has expired can not be committed
			target[i] = st.Next
		}
	}
	w.mu.Lock()
	w.targets = append(w.targets, target)
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for i := range w.targets {
			if &w.targets[i][0] == &target[0] {
				w.targets = append(w.targets[:i], w.targets[i+1:]...)
				return
			}
		}
	}()
	for {
		w.mu.Lock()
		met := len(w.done) == shards
		for i := range w.done {
			met = met && w.done[i] >= target[i]
		}
		paused, ended, changed := w.paused, w.ended, w.changed
		w.mu.Unlock()
		switch {
		case met:
			return nil
		case ended:
			return &tarn.Error{Code: tarn.CodeUnavailable, Detail: fmt.Sprintf("delivery to %s has ended", w.cfg.Table), Hint: "try again when the pipeline runs"}
		case paused:
			return &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("delivery to %s is paused", w.cfg.Table), Hint: "resume the pipeline first"}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// awaited reports whether some Flush call waits.
func (w *Worker) awaited() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.targets) > 0
}

// committed notes how far the table is, for Flush.
func (w *Worker) committed(items []*item) {
	w.mu.Lock()
	for _, it := range items {
		for i, t := range it.spans {
			w.done[i] = max(w.done[i], t.next)
		}
	}
	w.fault = nil
	w.notify()
	w.mu.Unlock()
}

// end tells the waiters that there is nothing to wait for any more.
func (w *Worker) end() {
	if w.plan != nil {
		w.plan.lookups.Release()
		w.plan = nil
	}
	_ = os.Remove(w.cfg.Dir) // unless queries still read segments there
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.notify()
}

// notify wakes the waiters; the caller holds mu.
func (w *Worker) notify() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Pause stops or resumes reading from the stream. What was read is still committed.
func (w *Worker) Pause(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = on
	w.notify()
}

// Hold is Pause for a moment and for the sake of somebody else's commit: a Flush waits for its end.
func (w *Worker) Hold(on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = on
	w.notify()
}

// rests reports whether nothing is read now.
func (w *Worker) rests() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.paused || w.held
}

func (w *Worker) setFault(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fault, w.since = err, time.Now().UTC()
}
