package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/tarn-data/tarn/catalog"
	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/govern"
	"github.com/tarn-data/tarn/govern/authority"
	"github.com/tarn-data/tarn/ingest/filedrop"
	"github.com/tarn-data/tarn/ingest/httpdoor"
	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
	"github.com/tarn-data/tarn/project"
	"github.com/tarn-data/tarn/query"
	"github.com/tarn-data/tarn/server"
	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
	"github.com/tarn-data/tarn/twin"
)

// Engine is one lake. Start it once, Close it once; the other methods may be called in between from
// any goroutine.
type Engine struct {
	opts    Options
	log     *slog.Logger
	started time.Time

	lock     *lock
	db       *metadb.DB
	bucket   *fs.Bucket
	store    *table.Store
	catalog  *catalog.Catalog
	streams  stream.Engine
	convert  *duck.DB
	queries  *query.Service
	registry *prometheus.Registry
	metrics  *telemetry.Metrics
	budget   budget
	limits   project.Limits
	network  net.Listener
	address  string // of network
	scheme   string // http or https

	reload   sync.Mutex // one change of what runs at a time
	running  atomic.Pointer[running]
	reason   atomic.Pointer[string] // why requests are not served; nil when ready
	views    views
	archives archives
	replays  replays
	settling sync.Mutex // failed records of one delivery that is no table of the lake at a time; discarding
	disk     disk
	marks    *marks
	ages     *ages
	crawls   crawls

	twins      *twin.Store
	guard      *govern.Guard      // nil when nobody is asked for a token
	inForce    project.Project    // its settings are those that run; the rest is in running
	distrust   context.CancelFunc // ends following the issuer elsewhere
	twinDB     *metadb.DB         // nil where the twins lie in db
	twinCopies twinCopies

	functions functions

	dropped     dropped
	ordered     orderedSQL
	extracts    extractStore
	heavy       *semaphore.Weighted // see delivery.Config.Heavy
	paused      sync.Map            // names of pipelines that are paused
	workers     atomic.Uint64       // ever started, for their folders
	maintenance sync.Mutex          // one task at a time
	hangUp      context.CancelFunc
	served      chan struct{} // closed when the HTTP server has drained

	closing sync.Once
	closed  error

	ctx  context.Context // ends when the engine stops
	stop context.CancelFunc
	done sync.WaitGroup
}

// running is what a project has become. It is immutable.
type running struct {
	project  *project.Project
	pipes    []*pipe // in order of name
	byName   map[string]*pipe
	streams  map[string]*pipe
	extracts []*extraction // in the order of what they read
	short    []shortfall   // what does not run as the project says
}

// New checks the options. It has no effects.
func New(opts Options) (*Engine, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	e := &Engine{opts: opts, log: opts.Logger, heavy: semaphore.NewWeighted(delivery.HeavySlots)}
	e.dropped.slots = semaphore.NewWeighted(filedrop.DefaultSlots)
	e.setReason("starting")
	e.running.Store(&running{byName: map[string]*pipe{}, streams: map[string]*pipe{}})
	return e, nil
}

// Start opens the data folder and runs the project; it returns when requests are answered. After an
// error the engine is closed.
func (e *Engine) Start(ctx context.Context) (err error) {
	e.started = time.Now().UTC()
	defer func() {
		if err != nil {
			_ = e.Close()
		}
	}()
	e.ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	p, err := e.load()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(e.opts.Data, 0o755); err != nil {
		return e.noDataFolder(err)
	}
	if e.lock, err = takeLock(e.opts.Data); err != nil {
		return err
	}
	if err := e.openStores(ctx, p); err != nil {
		return err
	}
	e.lookAtDisk()
	if err := e.listen(ctx, p); err != nil {
		return err
	}
	if _, short, err := e.apply(ctx, p); err != nil || stopped(short) != nil {
		return errors.Join(err, stopped(short))
	}
	if err := e.resumeReplays(ctx); err != nil {
		return err
	}
	e.done.Go(e.maintain)
	e.done.Go(e.measure)
	e.done.Go(e.keepMarks)
	e.done.Go(e.watchDisk)
	e.done.Go(e.crawlOnTime)
	e.done.Go(func() { e.twins.Run(e.ctx) })
	e.done.Go(e.watchMemory)
	if e.opts.Watch {
		e.done.Go(e.watch)
	}
	if err := e.announce(); err != nil {
		return err
	}
	e.reason.Store(nil)
	return nil
}

// openStores opens everything below the pipelines, the slow parts beside each other.
func (e *Engine) openStores(ctx context.Context, p *project.Project) error {
	shards := 0
	for _, l := range pipelineSpecs(p) {
		shards += l.Stream.Shards
	}
	var err error
	if e.budget, err = newBudget(p.Limits, shards, len(p.Twins) > 0); err != nil {
		return err
	}
	e.limits = p.Limits

	staging := e.path("staging")
	if err := os.RemoveAll(staging); err != nil {
		return err
	}
	// One folder for each SQL engine: they give their spill files the same names.
	spillConvert, spillQuery := e.path("staging", "spill", "convert"), e.path("staging", "spill", "query")
	for _, d := range []string{spillConvert, spillQuery, e.path("meta"), e.path("streams")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	lakeDir, err := e.lakeFolder(p)
	if err != nil {
		return err
	}
	if e.bucket, err = fs.Open(lakeDir); err != nil {
		return fmt.Errorf("lake: %w", err)
	}
	if e.marks, err = openMarks(ctx, e.path("meta"), e.log); err != nil {
		return err
	}
	e.ages = realAges(e.marks.noted, e.log)
	e.registry = telemetry.NewRegistry()
	e.metrics = telemetry.New(e.registry)

	return together(
		func() (err error) {
			if e.db, err = e.openMetadata(ctx, p); err != nil {
				return err
			}
			e.dropped.originals = filedrop.NewOriginals(e.db, e.bucket)
			e.dropped.originals.Held = e.refersTo
			e.store = table.Open(e.db, e.bucket, table.Options{Logger: e.log, CachedFiles: e.budget.files})
			if err := e.openTwins(ctx); err != nil {
				return err
			}
			return e.openCatalog()
		},
		func() (err error) {
			// Conversions run HeavySlots at a time: one thread of each costs less than sharing all.
			e.convert, err = duck.Open(duck.Options{MemoryBytes: e.budget.delivery, Threads: max(1, threads()/delivery.HeavySlots), TempDir: spillConvert,
				AllowedDirs: []string{staging, lakeDir}, Unordered: true, Logger: e.log})
			return err
		},
		func() (err error) {
			e.queries, err = query.New(query.Options{Source: source{e}, System: system{e}, MemoryBytes: e.budget.query, Threads: threads(),
				TempDir: spillQuery, AllowedDirs: []string{staging, lakeDir, e.path(converted)}, Timeout: p.Limits.QueryTimeout, Logger: e.log,
				MaxResidentBytes: p.Limits.MemoryBytes / 4 * 5, OnQuery: e.onQuery,
				Reach: func(ctx context.Context) ([]string, error) { return e.catalog.Locations(ctx) }})
			return err
		},
		func() (err error) {
			e.streams, err = e.openStreams(ctx, p)
			return err
		},
	)
}

// together runs the functions beside each other and returns the first error.
func together(funcs ...func() error) error {
	errs := make(chan error, len(funcs))
	for _, f := range funcs {
		go func() { errs <- f() }()
	}
	var first error
	for range funcs {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// listen begins to answer HTTP; until the engine is ready most answers say so.
func (e *Engine) listen(ctx context.Context, p *project.Project) error {
	door, err := httpdoor.New(httpdoor.Options{Streams: doors{e}, Problem: server.Problems{Logger: e.log}.Write, Metrics: e.metrics, MemoryBytes: e.budget.bodies, Admit: e.admit})
	if err != nil {
		return err
	}
	if err := e.openListener(ctx, p); err != nil {
		return err
	}
	who, err := e.openAccess(ctx, p)
	if err != nil {
		return errors.Join(err, e.network.Close())
	}
	e.guard, e.inForce = who.guard, *p
	h, err := server.New(server.Options{Version: e.opts.Version, Logger: e.log, Metrics: e.metrics, Gatherer: e.registry,
		Ingest: door, Runs: e.runs(), Query: e.queries, Twins: e.twins, Stream: e.stream, Control: e.control(),
		Guard: who.guard, Authority: who.authority, AuthorityPaths: authority.Paths, PublicURL: who.url, AnyHost: p.Auth.Guarded(), PipelineStream: e.pipelineStream})
	if err != nil {
		return errors.Join(err, e.network.Close())
	}
	for _, follow := range who.follow {
		e.done.Go(func() { follow(e.ctx) })
	}
	serving, hangUp := context.WithCancel(context.WithoutCancel(ctx))
	e.hangUp, e.served = hangUp, make(chan struct{})
	go func() {
		defer close(e.served)
		if err := server.Serve(serving, e.network, h, requestDrain, e.log); err != nil {
			e.log.Error("the HTTP server ended", "error", err)
		}
	}()
	return nil
}

// requestDrain is how long requests under way may take to end.
const requestDrain = 10 * time.Second

// announce writes the address for other processes of this machine.
func (e *Engine) announce() error {
	tmp := e.path("address.tmp")
	if err := os.WriteFile(tmp, []byte(e.Address()+"\n"), 0o644); err != nil {
		return err
	}
	return os.Rename(tmp, e.path("address"))
}

// Address is the URL of the HTTP interface, from this machine.
func (e *Engine) Address() string {
	ap, err := netip.ParseAddrPort(e.address)
	if err != nil || !ap.Addr().IsUnspecified() {
		return e.scheme + "://" + e.address
	}
	return e.scheme + "://" + net.JoinHostPort("127.0.0.1", strconv.Itoa(int(ap.Port())))
}

// HeapBytes is the share of the memory that the project grants the Go heap (I8). The limit of the Go
// runtime is the process's, so whoever runs the engine sets it.
func (e *Engine) HeapBytes() int64 { return e.budget.heap }

// DataDir is the data folder.
func (e *Engine) DataDir() string { return e.opts.Data }

func (e *Engine) path(elem ...string) string {
	return filepath.Join(append([]string{e.opts.Data}, elem...)...)
}

func (e *Engine) setReason(s string) { e.reason.Store(&s) }

// Close drains and ends the engine: requests under way are answered, deliveries come to the end of their
// streams, if they can for now, and commit what they have read, stores close. It works on a half-started
// engine, and more than once.
func (e *Engine) Close() error {
	e.closing.Do(func() { e.closed = e.close() })
	return e.closed
}

func (e *Engine) close() error {
	e.setReason("draining")
	var errs []error
	if e.hangUp != nil {
		e.hangUp()
		<-e.served
	}
	e.catchUp()
	if e.stop != nil {
		e.stop()
	}
	e.done.Wait() // a reload under way ends first; later ones are refused
	e.reload.Lock()
	defer e.reload.Unlock()
	stopExtracts(e.running.Load().extracts)
	stopAll(e.pipes())
	e.dropFunctions(nil)
	if e.marks != nil {
		errs = append(errs, e.saveMarks(context.Background()), e.marks.bucket.Close())
	}
	for _, p := range e.pipes() {
		errs = append(errs, p.stream.Close())
	}
	e.running.Store(&running{byName: map[string]*pipe{}, streams: map[string]*pipe{}})
	errs = append(errs, e.closeFiles(), e.ordered.close(), e.extracts.close())
	if e.queries != nil {
		errs = append(errs, e.queries.Close())
	}
	if e.convert != nil {
		errs = append(errs, e.convert.Close())
	}
	if e.streams != nil {
		errs = append(errs, e.streams.Close())
	}
	if e.twinDB != nil {
		errs = append(errs, e.twinDB.Close())
	}
	if e.db != nil {
		errs = append(errs, e.db.Close())
	}
	if e.bucket != nil {
		errs = append(errs, e.bucket.Close())
	}
	if e.lock != nil {
		_ = os.Remove(e.path("address"))
		e.lock.release()
	}
	return errors.Join(errs...)
}
