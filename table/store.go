package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

// Store is the tables of one lake. It is safe for concurrent use. Several Stores, also in several
// processes, may share a metadata database and bucket; their commits exclude each other by
// compare-and-swap. Leases hold within one Store only.
type Store struct {
	db     *metadb.DB
	bucket lake.Bucket
	opts   Options
	cache  *cache
	leases leases

	mu     sync.Mutex
	tables map[string]*handle
}

// handle is what the Store remembers of one table.
type handle struct {
	commit sync.Mutex            // held by the one change under way
	text   []byte                // a metadata file being written, kept for the next; guarded by commit
	cur    atomic.Pointer[State] // newest state seen; readers never wait for writers
}

// Open returns the tables kept in db and bucket. It does no I/O.
func Open(db *metadb.DB, bucket lake.Bucket, opts Options) *Store {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.CachedFiles <= 0 {
		opts.CachedFiles = 50_000
	}
	if opts.PreviousMetadata <= 0 {
		opts.PreviousMetadata = 20
	}
	return &Store{db: db, bucket: bucket, opts: opts, cache: newCache(opts.CachedFiles), tables: map[string]*handle{}}
}

func (s *Store) handle(name string) *handle {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.tables[name]
	if h == nil {
		h = &handle{}
		s.tables[name] = h
	}
	return h
}

// Names returns the names of all tables, sorted.
func (s *Store) Names(ctx context.Context) ([]string, error) {
	return metadb.Column[string](s.db.Query(ctx, "SELECT name FROM tables ORDER BY name"))
}

// State returns the current state. CodeNotFound when there is no such table.
func (s *Store) State(ctx context.Context, name string) (*State, error) {
	p, err := s.pointer(ctx, name)
	if err != nil {
		return nil, err
	}
	h := s.handle(name)
	cur := h.cur.Load()
	if cur != nil && cur.UUID == p.uuid && cur.Version == p.version {
		return cur, nil
	}
	st, err := s.open(ctx, name, p, cur)
	if err != nil {
		return nil, err
	}
	h.advance(st)
	return st, nil
}

// advance remembers st unless a newer version of the same table is known.
func (h *handle) advance(st *State) {
	for {
		cur := h.cur.Load()
		if cur != nil && cur.UUID == st.UUID && cur.Version >= st.Version || h.cur.CompareAndSwap(cur, st) {
			return
		}
	}
}

// pointer is the row of a table.
type pointer struct {
	uuid, prefix, metadata string // the last two are bucket keys
	version                int64
}

func (s *Store) pointer(ctx context.Context, name string) (pointer, error) {
	var p pointer
	err := s.db.QueryRow(ctx, "SELECT uuid, location, metadata_location, version FROM tables WHERE name = ?", name).
		Scan(&p.uuid, &p.prefix, &p.metadata, &p.version)
	if errors.Is(err, sql.ErrNoRows) {
		return p, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("there is no table %q", name)}
	}
	return p, err
}

// open reads the metadata a pointer names.
func (s *Store) open(ctx context.Context, name string, p pointer, like *State) (*State, error) {
	data, err := lake.ReadAll(ctx, s.bucket, p.metadata)
	if errors.Is(err, lake.ErrNotFound) {
		// Another commit may have moved the pointer on and retired this file in the meantime.
		if now, perr := s.pointer(ctx, name); perr == nil && now != p {
			return s.open(ctx, name, now, like)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("metadata of table %s: %w", name, err)
	}
	m, err := decodeMetadata(data)
	if err != nil {
		return nil, fmt.Errorf("metadata of table %s in %s: %w", name, p.metadata, err)
	}
	if m.uuid != p.uuid {
		return nil, fmt.Errorf("metadata of table %s in %s belongs to table %s", name, p.metadata, m.uuid)
	}
	if m.location != s.bucket.URL(p.prefix) {
		return nil, &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("table %s was made at %s and now lies at %s", name, m.location, s.bucket.URL(p.prefix)),
			Hint: "Iceberg metadata names files by absolute path: move the data folder back"}
	}
	return s.newState(name, p.prefix, p.metadata, p.version, m, like)
}

// StateAt returns the state of a moment of the past, with the schema of then. CodeNotFound, with
// the first available time in the hint, when nothing as old is retained.
func (s *Store) StateAt(ctx context.Context, name string, at AsOf) (*State, error) {
	st, err := s.State(ctx, name)
	if err != nil {
		return nil, err
	}
	return st.asOf(at)
}

func (st *State) asOf(at AsOf) (*State, error) {
	snaps := st.meta.snapshots
	if len(snaps) == 0 {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("table %s has no snapshot yet", st.Name), Hint: "query it without a time"}
	}
	first := time.UnixMilli(snaps[0].TimestampMS).UTC().Format("2006-01-02T15:04:05.000Z")
	if at.Snapshot != 0 {
		if snap := st.meta.snapshot(at.Snapshot); snap != nil {
			return st.at(snap)
		}
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("table %s retains no snapshot %d", st.Name, at.Snapshot), Hint: "the first retained one is of " + first}
	}
	for i := len(snaps) - 1; i >= 0; i-- {
		if snaps[i].TimestampMS <= at.Time.UnixMilli() {
			return st.at(snaps[i])
		}
	}
	return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: fmt.Sprintf("table %s retains nothing as old as %s", st.Name, at.Time.UTC().Format(time.RFC3339Nano)),
		Hint: "the first available time is " + first}
}
