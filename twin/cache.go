package twin

import (
	"hash/maphash"
	"math"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

// cache holds the newest values of one twin in memory, whole components only: a component that is
// there has all its metrics. Readers wait for no writer longer than one component takes to merge.
//
// What is not there does not exist when covered says so, and may be in the database otherwise. The
// cache is changed under Twin.write, but for put, which brings what a reader has found in the database.
type cache struct {
	shards   [64]cacheShard
	seed     maphash.Seed
	used     *atomic.Int64 // bytes of all twins of a store
	limit    int64
	coverage atomic.Pointer[coverage]
	puts     atomic.Uint64 // counts merges, for put
	hand     atomic.Uint64 // the shard that shrinks next
}

type cacheShard struct {
	mu         sync.RWMutex
	components map[string]*component
}

// component is the metrics of one component in order of name.
type component struct{ metrics []entry }

// coverage says which components the cache answers for: all, or those up to a name.
type coverage struct {
	all  bool
	upTo string
}

func (c *coverage) has(component string) bool { return c.all || component <= c.upTo }

// What a component costs besides its entries: the slot in the map, its header, the id.
const (
	componentBytes = 112
	entryBytes     = int(unsafe.Sizeof(entry{}))
)

func newCache(used *atomic.Int64, limit int64) *cache {
	c := &cache{seed: maphash.MakeSeed(), used: used, limit: limit}
	for i := range c.shards {
		c.shards[i].components = map[string]*component{}
	}
	c.coverage.Store(&coverage{})
	return c
}

func (c *cache) shard(component string) *cacheShard {
	return &c.shards[maphash.String(c.seed, component)%uint64(len(c.shards))]
}

// find returns the place of a metric, and whether it is there.
func (c *component) find(metric string) (int, bool) {
	return slices.BinarySearchFunc(c.metrics, metric, func(e entry, m string) int { return strings.Compare(e.metric.Value(), m) })
}

// answer says what the cache knows.
type answer int

const (
	unknown answer = iota // ask the database
	absent
	present
)

// get returns the entry of a metric.
func (c *cache) get(k Key) (e entry, a answer) {
	before := c.coverage.Load()
	s := c.shard(k.Component)
	s.mu.RLock()
	if comp := s.components[k.Component]; comp != nil {
		a = absent
		if i, ok := comp.find(k.Metric); ok {
			e, a = comp.metrics[i], present
		}
	}
	s.mu.RUnlock()
	if a == unknown && before.has(k.Component) && c.coverage.Load().has(k.Component) {
		a = absent // looked for while the cache answered for it, before and after
	}
	return e, a
}

// component returns a copy of all metrics of a component.
func (c *cache) component(name string) (metrics []entry, a answer) {
	before := c.coverage.Load()
	s := c.shard(name)
	s.mu.RLock()
	if comp := s.components[name]; comp != nil {
		metrics, a = slices.Clone(comp.metrics), present
	}
	s.mu.RUnlock()
	if a == unknown && before.has(name) && c.coverage.Load().has(name) {
		a = absent
	}
	return metrics, a
}

// merge brings newer values of one component into the cache, where it answers for the component; it
// may change the order of news. The caller holds Twin.write.
func (c *cache) merge(name string, news []entry) {
	c.puts.Add(1)
	covered := c.coverage.Load().has(name)
	s := c.shard(name)
	s.mu.Lock()
	defer s.mu.Unlock()
	comp, had := s.components[name], int64(0)
	switch {
	case comp != nil:
		had = comp.bytes()
	case !covered:
		return
	default:
		comp = &component{metrics: make([]entry, 0, len(news))}
		s.components[strings.Clone(name)] = comp
		c.used.Add(int64(componentBytes + len(name)))
	}
	for i := range news {
		comp.add(&news[i])
	}
	c.used.Add(comp.bytes() - had)
}

// add puts an entry in its place unless a newer one is there.
func (c *component) add(e *entry) {
	i, ok := c.find(e.metric.Value())
	switch {
	case !ok:
		c.metrics = slices.Insert(c.metrics, i, *e)
	case e.newer(&c.metrics[i]):
		c.metrics[i] = *e
	}
}

// bytes is what the entries of a component take.
func (c *component) bytes() int64 {
	n := cap(c.metrics) * entryBytes
	for i := range c.metrics {
		n += len(c.metrics[i].text)
	}
	return int64(n)
}

// put remembers a component that a reader has read from the database, unless anything was written
// since the count of merges was as given: it might be missing there.
func (c *cache) put(name string, metrics []entry, puts uint64) {
	s := c.shard(name)
	s.mu.Lock()
	if c.puts.Load() == puts && s.components[name] == nil && len(metrics) > 0 {
		comp := &component{metrics: metrics}
		s.components[strings.Clone(name)] = comp
		c.used.Add(comp.bytes() + int64(componentBytes+len(name)))
	}
	s.mu.Unlock()
	c.shrink()
}

// shrink forgets components while all twins together hold more than the limit (I8). From the first on
// the cache answers only for what it holds.
func (c *cache) shrink() {
	if c.used.Load() <= c.limit {
		return
	}
	c.coverage.Store(&coverage{}) // before anything goes; see get
	for range c.shards {
		s := &c.shards[c.hand.Add(1)%uint64(len(c.shards))]
		s.mu.Lock()
		for name, comp := range s.components {
			if c.used.Load() <= c.limit*9/10 {
				break
			}
			delete(s.components, name) // in the random order of maps
			c.used.Add(-comp.bytes() - int64(componentBytes+len(name)))
		}
		s.mu.Unlock()
	}
}

// reset forgets everything.
func (c *cache) reset() {
	c.coverage.Store(&coverage{})
	c.puts.Add(1)
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for name, comp := range s.components {
			c.used.Add(-comp.bytes() - int64(componentBytes+len(name)))
		}
		s.components = map[string]*component{}
		s.mu.Unlock()
	}
}

// expired returns the entries whose time is not after the horizon.
func (c *cache) expired(horizon int64) (gone []change) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		for name, comp := range s.components {
			for _, e := range comp.metrics {
				if e.at <= horizon {
					gone = append(gone, change{name, e})
				}
			}
		}
		s.mu.RUnlock()
	}
	return gone
}

// drop forgets the entries whose time is not after the horizon, and components that have no others.
// The caller holds Twin.write.
func (c *cache) drop(horizon int64) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for name, comp := range s.components {
			had := comp.bytes()
			comp.metrics = slices.DeleteFunc(comp.metrics, func(e entry) bool { return e.at <= horizon })
			c.used.Add(comp.bytes() - had)
			if len(comp.metrics) == 0 {
				delete(s.components, name)
				c.used.Add(-comp.bytes() - int64(componentBytes+len(name)))
			}
		}
		s.mu.Unlock()
	}
}

// count returns how many components and entries are in memory.
func (c *cache) count() (components, metrics int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		components += len(s.components)
		for _, comp := range s.components {
			metrics += len(comp.metrics)
		}
		s.mu.RUnlock()
	}
	return components, metrics
}

// size returns how many values readers see, what the entries take, and the time of the newest value.
func (c *cache) size(v view) (values, bytes, newest int64) {
	newest = math.MinInt64
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		for name, comp := range s.components {
			bytes += comp.bytes() + int64(componentBytes+len(name))
			for k := range comp.metrics {
				if e := &comp.metrics[k]; v.shows(e) {
					values, newest = values+1, max(newest, e.at)
				}
			}
		}
		s.mu.RUnlock()
	}
	return values, bytes, newest
}

// fill brings whole components from the database into the cache; the caller holds Twin.write and then
// widens the coverage. What is there already is at least as new.
func (c *cache) fill(rows []row) {
	for i := 0; i < len(rows); {
		name, end := rows[i].component, i
		for end < len(rows) && rows[end].component == name {
			end++
		}
		s := c.shard(name)
		s.mu.Lock()
		if s.components[name] == nil {
			comp := &component{metrics: make([]entry, 0, end-i)}
			for ; i < end; i++ {
				comp.metrics = append(comp.metrics, rows[i].entry)
			}
			s.components[strings.Clone(name)] = comp
			c.used.Add(comp.bytes() + int64(componentBytes+len(name)))
		}
		s.mu.Unlock()
		i = end
	}
}
