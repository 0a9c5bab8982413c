package twin

import (
	"context"
	"strings"
	"sync"

	"github.com/tarn-data/tarn"
)

// Event is a change of one metric.
type Event struct {
	Metric Metric // of a removed metric, what removed it; of an expired one, what it was
	// Removed says that the metric is gone, Expired that it went because of its age.
	Removed, Expired bool
	// ID, when not 0, resumes behind this event and all before it. Changes that committed together
	// have one, at the last: resuming in between repeats them.
	ID int64
}

// feed is the latest changes of a twin, for those who watch. Its memory is bounded by the number of
// changes (I8); who falls behind that is told that he missed some.
type feed struct {
	mu      sync.Mutex
	batches []feedBatch // oldest first
	events  int         // in batches
	most    int
	floor   int64         // changes up to this version are not in batches
	next    uint64        // number of the next batch
	changed chan struct{} // closed at the next change
	closed  bool
}

// feedBatch is what committed together.
type feedBatch struct {
	version int64
	changes []change
	expired bool
}

func newFeed(version int64, most int) *feed {
	return &feed{most: most, floor: version, changed: make(chan struct{})}
}

// add appends changes that committed as a version.
func (f *feed) add(version int64, changes []change) {
	f.append(feedBatch{version: version, changes: changes})
}

// expire appends what has expired, which has no version.
func (f *feed) expire(gone []change) {
	if len(gone) > 0 {
		f.append(feedBatch{changes: gone, expired: true})
	}
}

func (f *feed) append(b feedBatch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, b)
	f.events += len(b.changes)
	f.next++
	drop := 0
	for f.events > f.most && drop < len(f.batches) {
		f.events -= len(f.batches[drop].changes)
		f.floor = max(f.floor, f.batches[drop].version)
		f.batches[drop] = feedBatch{}
		drop++
	}
	f.batches = f.batches[drop:]
	f.wake()
}

// gap forgets everything, and up to a version: changes may have been missed, or what was read before looks different now.
func (f *feed) gap(version int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.floor = max(f.floor, version)
	for _, b := range f.batches {
		f.floor = max(f.floor, b.version)
	}
	f.batches, f.events = nil, 0
	f.next++ // past everybody who waits for it
	f.wake()
}

func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.closed = true
		f.wake()
	}
}

// wake tells the watchers. The caller holds mu.
func (f *feed) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// WatchFilter selects changes. Zero values select all.
type WatchFilter struct {
	Prefix     string   // of the component's id
	Components []string // these only
	Type       string
	Metrics    []string
}

func (f *WatchFilter) match(c *change) bool {
	return strings.HasPrefix(c.component, f.Prefix) && (f.Type == "" || c.entry.labels.Value().kind == f.Type) &&
		oneOf(f.Components, c.component) && oneOf(f.Metrics, c.entry.metric.Value())
}

// oneOf reports whether a list that selects holds s; an empty one selects all.
func oneOf(list []string, s string) bool {
	if len(list) == 0 {
		return true
	}
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// Watcher reads the changes of a twin. It belongs to one goroutine; Close it.
type Watcher struct {
	t       *Twin
	filter  WatchFilter
	next    uint64 // number of the batch to read next
	missed  bool
	stopped bool
	last    int64 // the version read last
}

// Watch begins to read changes: those behind an event's ID, or those from now on for after < 0.
// CodeBusy when too many watch already.
func (t *Twin) Watch(filter WatchFilter, after int64) (*Watcher, error) {
	if t.s.watchers.Add(1) > int64(t.s.o.Watchers) {
		t.s.watchers.Add(-1)
		return nil, &tarn.Error{Code: tarn.CodeBusy, Detail: "too many connections watch twins already", Hint: "try again in a moment"}
	}
	t.watching.Add(1)
	f := t.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	w := &Watcher{t: t, filter: filter, next: f.next, last: f.floor}
	if n := len(f.batches); n > 0 {
		w.last = max(w.last, f.batches[n-1].version)
	}
	if after < 0 {
		return w, nil
	}
	w.missed = after < f.floor || after > w.last // the latter: an id of another twin, or of a database that was put back
	for i := len(f.batches) - 1; i >= 0 && (f.batches[i].version > after || f.batches[i].version == 0); i-- {
		w.next--
	}
	w.last = max(after, f.floor)
	return w, nil
}

// Last returns the ID to resume with when nothing else comes.
func (w *Watcher) Last() int64 { return w.last }

// Close ends the watcher.
func (w *Watcher) Close() {
	if !w.stopped {
		w.stopped = true
		w.t.watching.Add(-1)
		w.t.s.watchers.Add(-1)
	}
}

// Changes is what a watcher has read.
type Changes struct {
	// Missed says that changes before these are lost: read what you show anew. It stands alone.
	Missed bool
	Events []Event
}

// Next waits for changes that the filter selects. Errors: ctx's; CodeUnavailable when the twin ends.
func (w *Watcher) Next(ctx context.Context) (Changes, error) {
	for {
		c, changed, err := w.poll()
		if err != nil || c.Missed || len(c.Events) > 0 {
			return c, err
		}
		if changed == nil {
			continue // a batch of which the filter selected nothing
		}
		select {
		case <-ctx.Done():
			return Changes{}, ctx.Err()
		case <-changed:
		}
	}
}

// poll reads one batch, or returns the channel that the next closes.
func (w *Watcher) poll() (c Changes, changed chan struct{}, err error) {
	f := w.t.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	first := f.next - uint64(len(f.batches))
	switch {
	case w.missed || w.next < first:
		w.missed, w.next = false, max(w.next, first)
		w.last = max(w.last, f.floor)
		return Changes{Missed: true}, nil, nil
	case f.closed:
		return c, nil, &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the twin " + w.t.name + " stopped", Hint: "connect again, with the id of the last event"}
	case w.next == f.next:
		return c, f.changed, nil
	}
	b := f.batches[w.next-first]
	w.next++
	w.last = max(w.last, b.version)
	for i := range b.changes {
		if ch := &b.changes[i]; w.filter.match(ch) {
			c.Events = append(c.Events, Event{Metric: ch.entry.show(ch.component), Removed: b.expired || ch.entry.kind == Removed, Expired: b.expired})
		}
	}
	if n := len(c.Events); n > 0 {
		c.Events[n-1].ID = b.version
	}
	return c, nil, nil
}
