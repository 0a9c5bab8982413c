package stream

import (
	"context"
	"fmt"
	"log/slog"
	"regexp"
	"sync"
	"time"

	tarn "github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
)

// Defaults of Config.
const (
	DefaultGroupBytes    = 4 << 20
	DefaultMaxPending    = 32 << 20
	DefaultTailBytes     = 16 << 20
	DefaultMaxRequests   = 1 << 20
	DefaultCommitTimeout = 30 * time.Second

	// RequestWindow is how long an idempotent request is remembered.
	RequestWindow = 10 * time.Minute

	// MinMaxBytes is the smallest MaxBytes. A message takes at most a quarter of it.
	MinMaxBytes = 16 << 20
)

// Config describes a stream. Zero fields take the defaults.
type Config struct {
	Name      string        // letters, digits, - and _, at most 64
	Shards    int           // at least 1; never shrinks, see Stream.Shards
	Retention time.Duration // messages older than this go; 0 keeps them for ever
	MaxBytes  int64         // per shard, the oldest messages go beyond it; 0 means no bound

	GroupBytes    int           // size at which a message takes no more segments
	MaxPending    int64         // bytes accepted and not yet durable, over all shards (I8)
	TailBytes     int           // recent messages kept in memory for readers, per shard (I8)
	MaxRequests   int           // idempotent requests remembered, per shard (I8)
	CommitTimeout time.Duration // how long a failing append is tried again

	// Floors are, by shard, the offsets at which logs go on if they end before: what was given out
	// once is not given again. OnLoss is told of a log that ended before its floor, before anything
	// is written to it; an error keeps the stream from opening. Shards call it concurrently.
	Floors []uint64
	OnLoss func(Loss) error

	Clock    func() time.Time
	AgeClock func() time.Time // by which retention measures ages; default Clock
	Logger   *slog.Logger

	// Fetch gets records that lie elsewhere, see record.Segment.Ref; required for a stream that has any.
	Fetch Fetch

	// OnCommit is called for every message that became durable, before its callers are answered.
	// Shards call it concurrently; it must return quickly.
	OnCommit func(Commit)
}

// Commit describes one message that became durable.
type Commit struct {
	Shard    int
	Records  int
	Requests int           // appends that shared the message
	Bytes    int           // size of the message
	Took     time.Duration // from sending the message to its acknowledgement
}

var validName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Validate reports the first thing that is wrong with c as a *tarn.Error with CodeInvalid.
func (c Config) Validate() error {
	bad := func(format string, args ...any) error {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf(format, args...)}
	}
	switch {
	case !validName.MatchString(c.Name):
		return bad("stream name %q: write up to 64 letters, digits, - or _", c.Name)
	case c.Shards < 0 || c.Shards > 1024:
		return bad("stream %s: %d shards, write 1 to 1024", c.Name, c.Shards)
	case c.Retention < 0:
		return bad("stream %s: retention %v is negative", c.Name, c.Retention)
	case c.MaxBytes != 0 && c.MaxBytes < MinMaxBytes:
		return bad("stream %s: %d bytes at most, write at least %d", c.Name, c.MaxBytes, MinMaxBytes)
	}
	return nil
}

func (c Config) withDefaults(e Engine) Config {
	c.Shards = max(c.Shards, 1)
	if c.GroupBytes <= 0 {
		c.GroupBytes = DefaultGroupBytes
	}
	c.GroupBytes = min(c.GroupBytes, c.maxMessage(e))
	if c.MaxPending <= 0 {
		c.MaxPending = DefaultMaxPending
	}
	if c.TailBytes <= 0 {
		c.TailBytes = DefaultTailBytes
	}
	if c.MaxRequests <= 0 {
		c.MaxRequests = DefaultMaxRequests
	}
	if c.CommitTimeout <= 0 {
		c.CommitTimeout = DefaultCommitTimeout
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.AgeClock == nil {
		c.AgeClock = c.Clock
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// maxMessage returns the size of the largest message. A log bounded in size must hold more than
// one.
func (c Config) maxMessage(e Engine) int {
	if c.MaxBytes > 0 {
		return int(min(int64(e.MaxMessage()), c.MaxBytes/4))
	}
	return e.MaxMessage()
}

// Stream is an open stream. It is safe for concurrent use.
type Stream struct {
	cfg        Config
	maxMessage int
	exclusive  bool
	shards     []*shard
	pending    pending

	ctx  context.Context
	stop context.CancelFunc
	done sync.WaitGroup
}

// Open opens the stream, creating what is missing, and returns when it takes appends. The caller
// closes it before the engine.
func Open(ctx context.Context, e Engine, cfg Config) (*Stream, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults(e)
	logs, err := e.Logs(ctx)
	if err != nil {
		return nil, fmt.Errorf("stream %s: list logs: %w", cfg.Name, err)
	}
	n := max(cfg.Shards, len(cfg.Floors))
	for _, l := range logs {
		if l.Stream == cfg.Name {
			n = max(n, l.Shard+1)
		}
	}
	s := &Stream{cfg: cfg, maxMessage: cfg.maxMessage(e), exclusive: e.Exclusive(), shards: make([]*shard, n)}
	s.pending.limit = cfg.MaxPending
	s.ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	errs := make(chan error, n)
	for i := range s.shards {
		go func() {
			sh, err := openShard(ctx, s, e, i)
			s.shards[i] = sh
			errs <- err
		}()
	}
	for range s.shards {
		if e := <-errs; e != nil && err == nil {
			err = e
		}
	}
	if err != nil {
		s.stop()
		return nil, fmt.Errorf("stream %s: %w", cfg.Name, err)
	}
	for _, sh := range s.shards {
		s.done.Go(sh.run)
		s.done.Go(sh.learnRequests)
	}
	if cfg.Retention > 0 {
		s.done.Go(s.retain)
	}
	return s, nil
}

// floor returns the least offset that the next record of a shard may have.
func (c Config) floor(shard int) uint64 {
	if shard < len(c.Floors) {
		return c.Floors[shard]
	}
	return 0
}

// Name returns the name of the stream.
func (s *Stream) Name() string { return s.cfg.Name }

// Shards returns the number of shards: the configured one, or the larger one the stream was
// created with, because records may still be read from all of them.
func (s *Stream) Shards() int { return len(s.shards) }

// MaxMessage returns the size in bytes of the largest message: a segment is split beyond it, see
// record.SegmentSize.
func (s *Stream) MaxMessage() int { return s.maxMessage }

// Pending returns the bytes accepted and not yet durable, which MaxPending bounds.
func (s *Stream) Pending() int64 { return s.pending.bytes.Load() }

// Close ends the stream: appends that are under way finish or fail with CodeUnavailable, readers
// end with it. It waits for everything the stream runs.
func (s *Stream) Close() error {
	for _, sh := range s.shards {
		sh.close()
	}
	s.stop()
	s.done.Wait()
	return nil
}

// Ack says where the records of an append are.
type Ack struct {
	First, Last tarn.Position
	Count       int
	Duplicate   bool // they were there already, from an earlier request with that key
}

// Append adds the records of a segment to a shard and returns when they are durable (I1).
// Concurrent appends share messages. Nothing of seg is retained.
//
// With an idempotency key, a repeat within RequestWindow adds nothing and returns the positions of
// the first; a repeat while the first is under way waits for it.
//
// Errors are *tarn.Error: CodeBusy at once when MaxPending bytes are waiting (I8), CodeTooLarge
// when a record fits no message, CodeUnavailable when the log fails, CodeCanceled when ctx ends
// first. After the last two the records may be in the stream or not: a producer that repeats the
// request with its key gets them exactly once.
//
// A segment larger than a message of the log is split, unless it brings its own Request: that is
// CodeTooLarge. Its records then have several runs of offsets between First and Last.
func (s *Stream) Append(ctx context.Context, shard int, seg record.Segment, idempotencyKey string) (Ack, error) {
	if err := s.check(shard, &seg); err != nil {
		return Ack{}, err
	}
	return s.shards[shard].append(ctx, seg, idempotencyKey)
}

// Begin is Append without the wait, for a segment that fits a message: when it returns, the segment has
// its place behind all those begun before, and nothing of it is retained; wait returns when it is
// durable (I1). The segment may bring its own Request instead of a key; readers find it in the log.
// Errors are those of Append.
func (s *Stream) Begin(ctx context.Context, shard int, seg record.Segment) (wait func(context.Context) (Ack, error), err error) {
	if err := s.check(shard, &seg); err != nil {
		return nil, err
	}
	return s.shards[shard].begin(ctx, seg)
}

// check refuses an append that cannot be, and gives the segment an arrival time.
func (s *Stream) check(shard int, seg *record.Segment) error {
	if shard < 0 || shard >= len(s.shards) {
		return &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("stream %s has no shard %d", s.cfg.Name, shard)}
	}
	if seg.Count == 0 {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "an append needs at least one record"}
	}
	if seg.Arrival.IsZero() {
		seg.Arrival = s.cfg.Clock().UTC()
	}
	return nil
}
