package table

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/metadb"
)

const (
	// maxAttempts bounds how often a change is built anew because another writer was first.
	maxAttempts = 100
	maxBackoff  = 50 * time.Millisecond
)

// errRaced says that the pointer moved between reading it and moving it.
var errRaced = errors.New("another commit was first")

// draft is a change that has been built on a state and waits to be published.
type draft struct {
	meta      *metadata // nil when the metadata stays as it is
	manifests []*manifest
	entries   map[string][]entry // of new manifests, by path
	objects   []object
	removed   []removedFile
	also      func(context.Context, *metadb.Tx) error // statements of the same transaction, may be nil
}

// removedFile is a file that metadata from sequence number seq on does not name.
type removedFile struct {
	url string
	seq int64
}

// change runs build on the current state and publishes what it returns, again from the start when
// another writer was first. A nil draft ends it without a change. Changes of one table by one Store
// wait for each other; build may do I/O.
func (s *Store) change(ctx context.Context, name string, build func(context.Context, *State) (*draft, error)) (*State, error) {
	h := s.handle(name)
	h.commit.Lock()
	defer h.commit.Unlock()
	for attempt := range maxAttempts {
		cur, err := s.State(ctx, name)
		if err != nil {
			return nil, err
		}
		d, err := build(ctx, cur)
		if errors.Is(err, lake.ErrNotFound) && s.movedOn(ctx, cur) {
			continue // another process retired a metadata file while it was being read
		}
		if err != nil {
			return nil, err
		}
		if d == nil {
			return cur, nil
		}
		next, err := s.publish(ctx, h, cur, d)
		if err == nil {
			h.advance(next)
			s.retire(ctx, cur, next)
			return next, nil
		}
		if !errors.Is(err, errRaced) && !metadb.IsBusy(err) {
			return nil, err
		}
		s.opts.Logger.Debug("commit again", "table", name, "attempt", attempt+1, "because", err)
		limit := min(time.Millisecond<<min(attempt, 10), maxBackoff)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(rand.N(limit)):
		}
	}
	return nil, &tarn.Error{Code: tarn.CodeConflict, Detail: fmt.Sprintf("table %s: %d attempts to commit were overtaken by other writers", name, maxAttempts), Hint: "try again"}
}

// movedOn reports whether the table has a newer version than cur.
func (s *Store) movedOn(ctx context.Context, cur *State) bool {
	p, err := s.pointer(ctx, cur.Name)
	return err == nil && (p.uuid != cur.UUID || p.version != cur.Version)
}

// publish makes the new metadata files durable, then moves the pointer and everything that goes
// with it in one transaction.
func (s *Store) publish(ctx context.Context, h *handle, cur *State, d *draft) (*State, error) {
	if d.meta == nil {
		return cur, s.db.Tx(ctx, func(tx *metadb.Tx) error {
			// The same fence as for a move: what build found in cur still holds.
			n, err := tx.Exec(ctx, "UPDATE tables SET updated_at = ? WHERE name = ? AND uuid = ? AND version = ?",
				metadb.Micros(s.opts.Clock()), cur.Name, cur.UUID, cur.Version)
			if err != nil {
				return err
			}
			if n != 1 {
				return errRaced
			}
			return d.also(ctx, tx)
		})
	}
	data, err := d.meta.encode(h.text[:0])
	if err != nil {
		return nil, err
	}
	h.text = data
	key := fmt.Sprintf("%s/metadata/%05d-%s.metadata.json", cur.Prefix, cur.Version+1, uuid.NewString())
	next, err := s.newState(cur.Name, cur.Prefix, key, cur.Version+1, d.meta, cur)
	if err != nil {
		return nil, err
	}
	objects := append(d.objects, object{key, data})
	if err := s.putAll(ctx, objects); err != nil { // I4: durable before the pointer names them
		s.discard(ctx, objects)
		return nil, err
	}
	err = s.db.Tx(ctx, func(tx *metadb.Tx) error { return s.move(ctx, tx, cur, key, d) })
	if errors.Is(err, metadb.ErrCommitUnknown) {
		err = s.settle(ctx, cur, key, err)
	}
	if err != nil {
		if !errors.Is(err, metadb.ErrCommitUnknown) {
			s.discard(ctx, objects)
		}
		return nil, err
	}
	for _, r := range d.removed {
		s.cache.forget(r.url)
	}
	for path, entries := range d.entries {
		s.cache.put(path, entries)
	}
	if d.manifests != nil {
		next.manifests.Store(&d.manifests)
	} else if next.SnapshotID == cur.SnapshotID {
		next.manifests.Store(cur.manifests.Load())
		next.files.Store(cur.files.Load())
	}
	return next, nil
}

// move is the transaction of I2.
func (s *Store) move(ctx context.Context, tx *metadb.Tx, cur *State, key string, d *draft) error {
	now := metadb.Micros(s.opts.Clock())
	n, err := tx.Exec(ctx, "UPDATE tables SET metadata_location = ?, version = version + 1, updated_at = ? WHERE name = ? AND uuid = ? AND version = ?",
		key, now, cur.Name, cur.UUID, cur.Version)
	if err != nil {
		return err
	}
	if n != 1 {
		return errRaced
	}
	for rows := range slices.Chunk(d.removed, sweepBatch) {
		args := make([]any, 0, 4*len(rows))
		for _, r := range rows {
			args = append(args, cur.UUID, r.url, r.seq, now)
		}
		if _, err := tx.Exec(ctx, "INSERT INTO removed_files (table_uuid, path, removed_seq, removed_at) VALUES (?, ?, ?, ?)"+
			strings.Repeat(", (?, ?, ?, ?)", len(rows)-1)+" ON CONFLICT (table_uuid, path) DO NOTHING", args...); err != nil {
			return err
		}
	}
	if d.also == nil {
		return nil
	}
	return d.also(ctx, tx)
}

// settle finds out whether a transaction whose COMMIT failed stands. It returns nil when it does,
// another error than ErrCommitUnknown when it surely does not, and unknown as it is otherwise.
func (s *Store) settle(ctx context.Context, cur *State, key string, unknown error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	p, err := s.pointer(ctx, cur.Name)
	switch {
	case err != nil || p.uuid != cur.UUID || p.version > cur.Version && p.metadata != key:
		return &tarn.Error{Code: tarn.CodeUnavailable, Detail: fmt.Sprintf("table %s: it is not known whether the commit stands", cur.Name),
			Hint: "read the table's progress before trying again", Err: unknown}
	case p.metadata == key:
		return nil
	}
	return &tarn.Error{Code: tarn.CodeUnavailable, Detail: fmt.Sprintf("table %s: the commit did not go through", cur.Name), Hint: "try again",
		Err: errors.New(unknown.Error())} // not wrapped: the outcome is known now
}

// putAll stores objects side by side, so that they share fsyncs.
func (s *Store) putAll(ctx context.Context, objects []object) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, o := range objects {
		g.Go(func() error { return s.bucket.Put(ctx, o.key, bytes.NewReader(o.data)) })
	}
	return g.Wait()
}

// discard deletes metadata files that no pointer ever named. What fails stays an orphan.
func (s *Store) discard(ctx context.Context, objects []object) {
	for _, o := range objects {
		if err := s.bucket.Delete(context.WithoutCancel(ctx), o.key); err != nil {
			s.opts.Logger.Debug("orphan stays", "key", o.key, "error", err)
		}
	}
}

// retire deletes the metadata files that fell out of the metadata log.
func (s *Store) retire(ctx context.Context, old, next *State) {
	if old.meta == next.meta {
		return
	}
	kept := map[string]bool{}
	for _, e := range next.meta.log {
		kept[e.File] = true
	}
	for _, e := range old.meta.log {
		if key, ok := s.bucket.Key(e.File); ok && !kept[e.File] {
			if err := s.bucket.Delete(context.WithoutCancel(ctx), key); err != nil {
				s.opts.Logger.Warn("superseded metadata stays", "key", key, "error", err)
			}
		}
	}
}
