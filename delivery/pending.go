package delivery

import (
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tarn-data/tarn/table"
)

// segment is a Parquet file of the hot tail. Its file is removed when the last of its holders (the
// worker, and queries reading it) lets go.
type segment struct {
	file table.DataFile // Path is a local path until the file is final
	refs atomic.Int32
}

func newSegment(f table.DataFile) *segment {
	s := &segment{file: f}
	s.refs.Store(1)
	return s
}

func (s *segment) release(final bool) {
	if s.refs.Add(-1) == 0 && !final {
		_ = os.Remove(s.file.Path)
	}
}

// item is a converted run of records waiting for a commit. Items are kept in the order of their
// positions, and a commit always takes a prefix of them.
type item struct {
	segs   []*segment
	final  bool // the files are in their place in the lake and need no merge
	level  int  // how often its segments have been merged in the tail
	spans  []tally
	failed []table.FailedRecord
	rows   int64
	bytes  int64 // of the records as they were read
	oldest time.Time

	failedBytes int64 // of the records in failed
	schemaID    int   // of the table when final files were written
	kept        *kept // where the records are needed until the commit
}

// kept is the lines that an item was made of, with the plan they were converted by.
type kept struct {
	*chunk
	plan    *plan
	passing []int // the lines that go on; nil for all of them
}

// keep takes the file of a chunk away from whoever made it.
func (it *item) keep(c *chunk, p *plan) error {
	mine := *c
	mine.path = c.path + ".kept"
	it.kept = &kept{chunk: &mine, plan: p}
	return os.Rename(c.path, mine.path)
}

// tally is a span with the counts that are committed with it.
type tally struct {
	span
	rows, failed, dropped uint64
}

// merge makes one item of consecutive ones. Segments are replaced by segs.
func mergeItems(items []*item, segs []*segment, final bool) *item {
	m := &item{segs: segs, final: final, oldest: items[0].oldest}
	for _, it := range items {
		m.level = max(m.level, it.level+1)
		m.rows += it.rows
		m.bytes += it.bytes
		m.failed = append(m.failed, it.failed...)
		m.failedBytes += it.failedBytes
		if it.oldest.Before(m.oldest) {
			m.oldest = it.oldest
		}
		if m.spans == nil {
			m.spans = append([]tally(nil), it.spans...)
			continue
		}
		for i, t := range it.spans {
			s := &m.spans[i]
			s.next, s.nextSeq = t.next, t.nextSeq
			s.expired += t.expired
			s.lost += t.lost
			s.left += t.left
			s.rows += t.rows
			s.failed += t.failed
			s.dropped += t.dropped
		}
	}
	return m
}

// tail is the ordered list of items not committed yet. The lock also orders commits against views:
// a commit swaps table state and tail under the write lock, so that a view sees each row once.
type tail struct {
	mu    sync.RWMutex
	items []*item
}

func (t *tail) add(it *item) {
	t.mu.Lock()
	t.items = append(t.items, it)
	t.mu.Unlock()
}

// replace puts merged in the place of run, which are consecutive items of the tail.
func (t *tail) replace(run []*item, merged *item) {
	t.mu.Lock()
	at := slices.Index(t.items, run[0])
	t.items = slices.Concat(t.items[:at], []*item{merged}, t.items[at+len(run):])
	t.mu.Unlock()
	for _, it := range run {
		it.letGo()
	}
}

func (it *item) letGo() {
	for _, s := range it.segs {
		s.release(it.final)
	}
	if it.kept != nil {
		it.kept.discard()
	}
}

// totals is what waits for a commit.
type totals struct {
	bytes, rows, failedBytes int64
	failed, files            int
	oldest                   time.Time // arrival; zero when nothing waits
}

// over reports whether so much waits that no more should be converted.
func (n totals) over(bufferBytes int64) bool {
	return n.bytes > 4*bufferBytes || n.failed > 4*maxFailedWaiting || n.failedBytes > 4*maxFailedBytes
}

func (t *tail) totals() (n totals) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, it := range t.items {
		n.bytes += it.bytes
		n.rows += it.rows
		n.failed += len(it.failed)
		n.failedBytes += it.failedBytes
		n.files += len(it.segs)
		if n.oldest.IsZero() || !it.oldest.IsZero() && it.oldest.Before(n.oldest) {
			n.oldest = it.oldest
		}
	}
	return n
}

// clear forgets everything, for a restart from the committed progress.
func (t *tail) clear() {
	t.mu.Lock()
	items := t.items
	t.items = nil
	t.mu.Unlock()
	for _, it := range items {
		it.letGo()
	}
}
