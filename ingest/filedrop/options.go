package filedrop

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// DefaultSlots is how many small files the doors of one process read at once. A large one takes half of the
// slots.
const DefaultSlots = 16

// smallBytes is the size up to which a file is small: it takes little memory, and waits for the disk most of
// its time.
const smallBytes = 64 << 10

// slots is how many slots a file of that size takes.
func slots(size int64) int64 {
	if size <= smallBytes {
		return 1
	}
	return DefaultSlots / 2
}

// Options make a Door.
type Options struct {
	Pipeline string
	Stream   *stream.Stream
	Shards   int           // that records are spread over; 0 means all of the stream
	KeyPath  string        // dotted path of the partition key within a record, may be empty
	Limits   record.Limits // zero fields take the defaults of package record
	Routes   []Route       // the pipeline's deliveries; see Route

	DB     *metadb.DB
	Bucket lake.Bucket
	// Originals are shared by the doors of one process. nil means of its own.
	Originals *Originals
	// Spool is a folder for pushed files on their way, best on the disk of the lake. It is made when
	// missing.
	Spool string
	// SQL gives an engine that may read the files of the lake, one thread wide so that rows keep their
	// order. It is asked only for Parquet files and for conditions.
	SQL func() (*duck.DB, error)
	// Slots bounds the files that are read at once, over all doors that share it. It has DefaultSlots; nil
	// means some of its own.
	Slots *semaphore.Weighted
	// Admit is asked before records are appended; its error makes the door wait. nil admits always.
	Admit func() error

	// Folder is the landing folder, an absolute path; empty watches nothing. It is made when missing.
	Folder string
	Match  string        // a glob over names, see path.Match; empty matches all
	Settle time.Duration // a file that has not changed for so long is finished; 0 means 2 s
	Hints  decode.Hints  // what the pipeline says about its files

	// Count is told what a file that was brought to its end added. nil counts nothing.
	Count  func(accepted, rejected, bytes int64)
	Logger *slog.Logger
	Clock  func() time.Time
}

// Validate returns what is wrong with o, or nil.
func (o Options) Validate() error {
	if o.Pipeline == "" || o.Stream == nil || o.DB == nil || o.Bucket == nil || o.Spool == "" || o.SQL == nil {
		return errors.New("filedrop: Pipeline, Stream, DB, Bucket, Spool and SQL are required")
	}
	if _, err := path.Match(o.Match, ""); err != nil {
		return &tarn.Error{Code: tarn.CodeInvalid, Detail: "match: " + o.Match + " is not a pattern", Hint: `write one like "*.csv"`}
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.Shards <= 0 || o.Shards > o.Stream.Shards() {
		o.Shards = o.Stream.Shards()
	}
	if o.Limits.RecordBytes <= 0 {
		o.Limits.RecordBytes = record.DefaultRecordBytes
	}
	if o.Slots == nil {
		o.Slots = semaphore.NewWeighted(DefaultSlots)
	}
	if o.Originals == nil {
		o.Originals = NewOriginals(o.DB, o.Bucket)
	}
	if o.Admit == nil {
		o.Admit = func() error { return nil }
	}
	if o.Count == nil {
		o.Count = func(int64, int64, int64) {}
	}
	if o.Settle <= 0 {
		o.Settle = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	o.Logger = o.Logger.With("pipeline", o.Pipeline)
	return o
}

// Door takes files for one pipeline. Push may be called from any goroutine while Run runs.
type Door struct {
	o           Options
	chunk       int // bytes of a chunk at most
	refers      int64
	chunkRefers int // bytes from which files, and chunks of them, are referred to
	hashes      algorithm

	life context.Context // ends with Run; ends pushes too
	end  context.CancelFunc
	work sync.WaitGroup // pushes and files under way

	referring *semaphore.Weighted // of one: see alone

	mu     sync.Mutex
	closed bool
}

// New returns a door. It has no effects.
func New(o Options) (*Door, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	d := &Door{o: o.withDefaults(), chunk: chunkBytes, refers: referBytes, chunkRefers: referChunkBytes, hashes: byBLAKE3, referring: semaphore.NewWeighted(1)}
	d.life, d.end = context.WithCancel(context.Background())
	return d, nil
}

// Prepare makes the landing folder: files may be dropped as soon as the pipeline is said to run. What keeps it
// from that, Run finds again and says.
func (d *Door) Prepare() {
	if d.o.Folder != "" {
		_ = os.MkdirAll(d.o.Folder, 0o755)
	}
}

// Run brings files that a stop left halfway to their end, then watches the folder, until ctx ends. It
// returns when nothing is under way any more; the door takes no more pushes then.
func (d *Door) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, d.end)
	defer stop()
	var resuming sync.WaitGroup
	resuming.Go(d.resume)
	if d.o.Folder != "" {
		d.watch()
	}
	<-d.life.Done()
	resuming.Wait()
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.work.Wait()
	return ctx.Err()
}

// enter counts one piece of work, or reports that the door is closed.
func (d *Door) enter() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.life.Err() != nil {
		return false
	}
	d.work.Add(1)
	return true
}

// claim makes the caller the only one that works on the file of that hash, until it calls release.
func (d *Door) claim(ctx context.Context, hash string) (release func(), err error) {
	return d.o.Originals.claim(ctx, d.o.Pipeline, hash)
}
