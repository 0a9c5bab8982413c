package twin

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
)

// Component is a component with metrics in order of name.
type Component struct {
	Component string
	Type      string    // the one its newest value names
	At        time.Time // of its newest value
	Metrics   []Metric
}

// Get returns the newest value of a metric. CodeNotFound when there is none, it was removed, or it has
// expired.
func (t *Twin) Get(ctx context.Context, k Key) (Metric, error) {
	e, a := t.cache.get(k)
	if a == unknown {
		entries, err := t.fetch(ctx, k.Component)
		if err != nil {
			return Metric{}, err
		}
		c := component{entries}
		if i, ok := c.find(k.Metric); ok {
			e, a = entries[i], present
		}
	}
	if a == present {
		if m, ok := t.view().show(k.Component, &e); ok {
			return m, nil
		}
	}
	return Metric{}, noMetric(k)
}

func noMetric(k Key) error {
	return &tarn.Error{Code: tarn.CodeNotFound, Detail: "the component " + strconv.Quote(clip(k.Component)) + " has no metric " + strconv.Quote(clip(k.Metric)), Hint: "ask for the component to see its metrics"}
}

func noComponent(id string) error {
	return &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no component " + strconv.Quote(clip(id)), Hint: "it has sent nothing yet, or all of it has expired"}
}

// fetch reads a component that is not in memory, and remembers it.
func (t *Twin) fetch(ctx context.Context, component string) ([]entry, error) {
	puts := t.cache.puts.Load()
	entries, err := t.readComponent(ctx, component)
	if err == nil {
		t.cache.put(component, slices.Clone(entries), puts)
	}
	return entries, err
}

// Component returns a component with all its metrics. CodeNotFound when it has none.
func (t *Twin) Component(ctx context.Context, id string) (Component, error) {
	entries, a := t.cache.component(id)
	if a == unknown {
		var err error
		if entries, err = t.fetch(ctx, id); err != nil {
			return Component{}, err
		}
	}
	v := t.view()
	var metrics []Metric
	for i := range entries {
		if m, ok := v.show(id, &entries[i]); ok {
			metrics = append(metrics, m)
		}
	}
	if len(metrics) == 0 {
		return Component{}, noComponent(id)
	}
	return summarize(id, metrics), nil
}

// summarize makes a component of all its metrics.
func summarize(id string, metrics []Metric) Component {
	c := Component{Component: id, Metrics: metrics}
	var typed *Metric
	for i := range metrics {
		m := &metrics[i]
		if m.At.After(c.At) || i == 0 {
			c.At = m.At
		}
		if m.Type != "" && (typed == nil || m.compare(typed) > 0) {
			typed = m
		}
	}
	if typed != nil {
		c.Type = typed.Type
	}
	return c
}

// compare orders values as updates are: by time, position and content; then by name.
func (m *Metric) compare(o *Metric) int {
	a := order{m.At.UnixMicro(), m.Position.Stream, int32(m.Position.Shard), m.Position.Offset, m.hash}
	b := order{o.At.UnixMicro(), o.Position.Stream, int32(o.Position.Shard), o.Position.Offset, o.hash}
	if c := a.compare(b); c != 0 {
		return c
	}
	return strings.Compare(m.Metric, o.Metric)
}

// Filter selects components, and of those the metrics. Zero values select all.
type Filter struct {
	Prefix string // of the id
	Type   string // of the component
	// A component is listed when one of its metrics fits all of these, with those that fit.
	Metric    string
	Min, Max  *float64      // a number within, both included
	Value     *Value        // exactly this
	OlderThan time.Duration // nothing newer has come for so long
	NewerThan time.Duration

	After string // components behind this id: the next page
	Limit int    // of components; default 100, at most 1000
}

// Page is a part of a list.
type Page struct {
	Components []Component
	// Next is what Filter.After is for the next page, empty at the end. A page may hold fewer than
	// Limit, even none, before the end: filters that select little read much.
	Next string
}

// MaxLimit is the greatest Filter.Limit.
const MaxLimit = 1000

// maxScanned is how many values one page looks at, about.
const maxScanned = 20_000

func (f *Filter) limit() int {
	if f.Limit <= 0 {
		return 100
	}
	return min(f.Limit, MaxLimit)
}

// pick returns the metrics that fit.
func (f *Filter) pick(metrics []Metric, now time.Time) []Metric {
	var out []Metric
	for _, m := range metrics {
		age := now.Sub(m.At)
		switch {
		case f.Metric != "" && m.Metric != f.Metric,
			f.Min != nil && (m.Value.kind != Number || m.Value.number < *f.Min),
			f.Max != nil && (m.Value.kind != Number || m.Value.number > *f.Max),
			f.Value != nil && m.Value != *f.Value,
			f.OlderThan > 0 && age < f.OlderThan,
			f.NewerThan > 0 && age >= f.NewerThan:
			continue
		}
		out = append(out, m)
	}
	return out
}

// List returns the components that a filter selects, in order of their ids' bytes.
func (t *Twin) List(ctx context.Context, f Filter) (Page, error) {
	var p Page
	from, to := []byte(f.Prefix), successor(f.Prefix)
	if f.After >= f.Prefix && f.After != "" {
		from = []byte(f.After + "\x01")
	}
	now, v := t.s.o.Clock(), t.view()
	for scanned := 0; ; {
		rows, end, err := t.chunk(ctx, from, to)
		if err != nil {
			return Page{}, err
		}
		scanned += len(rows)
		for i := 0; i < len(rows); {
			id := rows[i].component
			var metrics []Metric
			for ; i < len(rows) && rows[i].component == id; i++ {
				if m, ok := v.show(id, &rows[i].entry); ok {
					metrics = append(metrics, m)
				}
			}
			if c := summarize(id, metrics); f.Type == "" || c.Type == f.Type {
				if c.Metrics = f.pick(metrics, now); len(c.Metrics) > 0 {
					p.Components = append(p.Components, c)
				}
			}
			if len(p.Components) == f.limit() && (i < len(rows) || !end) {
				p.Next = id
				return p, nil
			}
		}
		if end {
			return p, nil
		}
		last := rows[len(rows)-1].component
		if from = []byte(last + "\x01"); scanned >= maxScanned {
			p.Next = last
			return p, nil
		}
	}
}

// successor returns the first bytes behind everything that begins with prefix; nil for no end.
func successor(prefix string) []byte {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return b[:i+1]
		}
	}
	return nil
}

// Scan calls f with every component of the twin in order of id, as one moment after another has it. f
// must not keep the slice.
func (t *Twin) Scan(ctx context.Context, f func(Component) error) error {
	v := t.view()
	from := []byte{}
	for {
		rows, end, err := t.chunk(ctx, from, nil)
		if err != nil {
			return err
		}
		var metrics []Metric
		for i := 0; i < len(rows); {
			id := rows[i].component
			for metrics = metrics[:0]; i < len(rows) && rows[i].component == id; i++ {
				if m, ok := v.show(id, &rows[i].entry); ok {
					metrics = append(metrics, m)
				}
			}
			if len(metrics) == 0 {
				continue
			}
			if err := f(summarize(id, metrics)); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
		from = []byte(rows[len(rows)-1].component + "\x01")
	}
}

// Status is how a twin is doing.
type Status struct {
	Version    int64 // grows with every change
	Components int   // in memory, with those that have expired and are not deleted yet
	Metrics    int
	Complete   bool // everything is in memory
	Watchers   int
}

// Status returns how the twin is doing.
func (t *Twin) Status() Status {
	c, m := t.cache.count()
	t.feed.mu.Lock()
	defer t.feed.mu.Unlock()
	st := Status{Version: t.feed.floor, Components: c, Metrics: m, Complete: t.cache.coverage.Load().all, Watchers: int(t.watching.Load())}
	for _, b := range t.feed.batches {
		st.Version = max(st.Version, b.version)
	}
	return st
}
