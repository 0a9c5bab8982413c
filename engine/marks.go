package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"sync"

	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/stream"
)

// marks are the ends of shards as they were last seen, kept outside the streams. A stream whose storage
// was damaged may come back shorter than it was, and nothing in it tells; its mark does (I3). Marks are
// written every few seconds, so records acknowledged just before a crash may lie beyond them.
type marks struct {
	bucket *fs.Bucket // of the folder meta

	mu    sync.Mutex
	next  map[string]uint64 // "stream/shard" → next offset; never lowered
	saved map[string]uint64
}

const marksKey = "marks.json"

func markOf(stream string, shard int) string { return fmt.Sprintf("%s/%d", stream, shard) }

// openMarks reads the marks of earlier runs.
func openMarks(ctx context.Context, dir string) (*marks, error) {
	b, err := fs.Open(dir)
	if err != nil {
		return nil, err
	}
	m := &marks{bucket: b, next: map[string]uint64{}}
	doc, err := lake.ReadAll(ctx, b, marksKey)
	if errors.Is(err, iofs.ErrNotExist) {
		return m, nil
	}
	if err == nil {
		err = json.Unmarshal(doc, &m.next)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", marksKey, err), b.Close())
	}
	m.saved = maps.Clone(m.next)
	return m, nil
}

// see notes the end of a shard and returns the furthest it has ever been seen at.
func (m *marks) see(stream string, shard int, next uint64) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := markOf(stream, shard)
	m.next[k] = max(m.next[k], next)
	return m.next[k]
}

// save makes the marks durable when they have moved.
func (m *marks) save(ctx context.Context) error {
	m.mu.Lock()
	now := maps.Clone(m.next)
	same := maps.Equal(now, m.saved)
	m.mu.Unlock()
	if same {
		return nil
	}
	doc, err := json.Marshal(now)
	if err != nil {
		return err
	}
	if err := m.bucket.Put(ctx, marksKey, bytes.NewReader(doc)); err != nil {
		return err
	}
	m.mu.Lock()
	m.saved = now
	m.mu.Unlock()
	return nil
}

// checkMarks reports shards of a stream that are shorter than they have been.
func (e *Engine) checkMarks(ctx context.Context, s *stream.Stream) error {
	for i := range s.Shards() {
		st, err := s.State(ctx, i)
		if err != nil {
			return err
		}
		if was := e.marks.see(s.Name(), i, st.Next); was > st.Next {
			e.log.Error("the storage of a stream has lost records that were acknowledged; tarn verify names them",
				"stream", s.Name(), "shard", i, "first_lost", st.Next, "acknowledged_up_to", was)
		}
	}
	return nil
}

// saveMarks notes the ends of all shards.
func (e *Engine) saveMarks(ctx context.Context) error {
	for _, p := range e.pipes() {
		for i := range p.stream.Shards() {
			st, err := p.stream.State(ctx, i)
			if err != nil {
				return err
			}
			e.marks.see(p.stream.Name(), i, st.Next)
		}
	}
	return e.marks.save(ctx)
}
