package twin

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/metadb"
)

// Options configures Open. The zero value is safe.
type Options struct {
	MemoryBytes int64         // values kept in memory, of all twins; default 256 MiB (I8)
	Events      int           // changes kept for resuming, per twin; default 16384
	Watchers    int           // who may watch at once; default 1000
	Refresh     time.Duration // how often other nodes' writes are looked for while the database does not tell of them; default 200 ms
	// Shared says that other processes write to the database. It is always so on PostgreSQL.
	Shared bool
	// Query runs SQL over the lake, for twins with a history: the names of the columns, and the rows as
	// encoding/json decodes them, with json.Number for numbers.
	Query func(ctx context.Context, sql string, params []any) (columns []string, rows []map[string]any, err error)
	// Applied is told what became of each batch that committed. Default: nobody is.
	Applied func(twin string, r Result)
	Clock   func() time.Time // default time.Now
	Logger  *slog.Logger     // default discards
}

// WALBytes is metadb.Options.WALBytes of a database that only a Store writes to.
const WALBytes = 64 << 20

// Store is the twins of one lake. It is safe for concurrent use. Several processes may share a
// database on PostgreSQL, or with Options.Shared.
type Store struct {
	db       *metadb.DB
	o        Options
	used     atomic.Int64
	watchers atomic.Int64
	wake     chan struct{} // Run has work
	node     string        // names this store to others
	told     atomic.Bool   // the database tells of others' writes

	mu    sync.RWMutex
	twins map[string]*Twin
}

// Open returns a store without twins. It does no I/O. db may be one that only the store uses: updates
// at a high rate keep other writers of an SQLite file waiting.
func Open(db *metadb.DB, o Options) *Store {
	if o.MemoryBytes <= 0 {
		o.MemoryBytes = 256 << 20
	}
	if o.Events <= 0 {
		o.Events = 16384
	}
	if o.Watchers <= 0 {
		o.Watchers = 1000
	}
	if o.Refresh <= 0 {
		o.Refresh = 200 * time.Millisecond
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Shared = o.Shared || db.Postgres()
	return &Store{db: db, o: o, wake: make(chan struct{}, 1), node: rand.Text(), twins: map[string]*Twin{}}
}

// DB is the database that Batch.Tx writes to.
func (s *Store) DB() *metadb.DB { return s.db }

// Configure makes the twins of the store those of a project. A twin that is not among them any more
// ends its watchers; its values stay in the database, and are there when it comes back.
func (s *Store) Configure(ctx context.Context, specs []Spec) error {
	next := map[string]*Twin{}
	s.mu.RLock()
	for i := range specs {
		next[specs[i].Name] = s.twins[specs[i].Name]
	}
	s.mu.RUnlock()
	for i := range specs {
		spec := &specs[i]
		t := next[spec.Name]
		if t == nil {
			var err error
			if t, err = s.open(ctx, spec.Name); err != nil {
				return fmt.Errorf("twin %s: %w", spec.Name, err)
			}
			next[spec.Name] = t
		}
		if was := t.spec.Swap(spec); was != nil && !was.same(spec) {
			t.feed.gap(0) // who watches reads anew what the schema shows now
		}
	}
	s.mu.Lock()
	old := s.twins
	s.twins = next
	s.mu.Unlock()
	for name, t := range old {
		if next[name] == nil {
			t.feed.close()
			t.write.Lock()
			t.cache.reset()
			t.write.Unlock()
		}
	}
	s.nudge()
	return nil
}

// open finds or makes the row of a twin.
func (s *Store) open(ctx context.Context, name string) (*Twin, error) {
	t := &Twin{s: s, name: name, cache: newCache(&s.used, s.o.MemoryBytes)}
	find := func() error {
		return s.db.QueryRow(ctx, "SELECT id, version, generation FROM twins WHERE name = ?", name).Scan(&t.id, &t.version, &t.generation)
	}
	err := find()
	if errors.Is(err, sql.ErrNoRows) {
		_, err = s.db.Exec(ctx, "INSERT INTO twins (name, version, generation) VALUES (?, 0, ?) ON CONFLICT (name) DO NOTHING", name, rand.Text())
		err = errors.Join(err, find())
	}
	t.feed = newFeed(t.version, s.o.Events)
	return t, err
}

// Twin returns a twin. CodeNotFound when the project has none of that name.
func (s *Store) Twin(name string) (*Twin, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if t := s.twins[name]; t != nil {
		return t, nil
	}
	hint := "declare it in twins/" + clip(name) + ".yaml"
	if have := s.names(); len(have) > 0 && len(have) <= 20 {
		hint = "there is " + strings.Join(have, ", ")
	}
	return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no twin %q", clip(name)), Hint: hint}
}

// names returns the names of the twins in order. The caller holds mu.
func (s *Store) names() []string {
	var out []string
	for name := range s.twins {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Twins returns all twins in order of name.
func (s *Store) Twins() []*Twin {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*Twin
	for _, name := range s.names() {
		out = append(out, s.twins[name])
	}
	return out
}

// MemoryBytes is about what the values in memory take.
func (s *Store) MemoryBytes() int64 { return s.used.Load() }

func (s *Store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Run loads values into memory, sees what other nodes write, and deletes what has expired, until ctx
// ends. Reads and writes work without it. Then all watchers end.
func (s *Store) Run(ctx context.Context) {
	defer func() {
		for _, t := range s.Twins() {
			t.feed.close()
		}
	}()
	if s.db.Postgres() {
		var listening sync.WaitGroup
		defer listening.Wait()
		listening.Go(func() { s.listen(ctx) })
	}
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		busy := false
		for _, t := range s.Twins() {
			more, err := t.tend(ctx)
			if err != nil && ctx.Err() == nil {
				s.o.Logger.Warn("a twin cannot be tended now; it is tried again", "twin", t.name, "error", err)
			}
			busy = busy || more
		}
		if busy && ctx.Err() == nil {
			continue
		}
		tick.Reset(s.interval())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.wake:
		}
	}
}

// Twin is one twin. It is safe for concurrent use.
type Twin struct {
	s    *Store
	id   int64
	name string

	generation string

	spec  atomic.Pointer[Spec]
	cache *cache
	feed  *feed

	watching atomic.Int64 // Watchers

	write   sync.Mutex // one writer at a time in this process; those of others wait in the database
	version int64      // the newest that cache and feed know
	stopped bool       // loading: the memory is not enough
	swept   time.Time

	sweepFrom []byte // how far the sweep through the rows has come; empty when it is over
}

// Name returns the name of the twin.
func (t *Twin) Name() string { return t.name }

// Spec returns what the project says of it now.
func (t *Twin) Spec() *Spec { return t.spec.Load() }

// horizon is the time in microseconds up to which values have expired.
func (t *Twin) horizon() int64 {
	d := t.spec.Load().ExpireAfter
	if d <= 0 {
		return metadb.Micros(firstTime) - 1
	}
	return metadb.Micros(t.s.o.Clock().Add(-d))
}
