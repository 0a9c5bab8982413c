package table

import (
	"container/list"
	"sync"
)

// cache holds the entries of recently used manifests, up to a number of entries (I8). Manifests
// never change, so nothing in it goes stale. Safe for concurrent use.
type cache struct {
	mu    sync.Mutex
	limit int
	size  int
	order *list.List // of *cached, most recent first
	byKey map[string]*list.Element
}

type cached struct {
	path    string
	entries []entry
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), byKey: map[string]*list.Element{}}
}

func (c *cache) get(path string) ([]entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.byKey[path]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(el)
	return el.Value.(*cached).entries, true
}

func (c *cache) put(path string, entries []entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[path]; ok || len(entries) > c.limit {
		return // one manifest over the limit is read again rather than kept
	}
	c.byKey[path] = c.order.PushFront(&cached{path, entries})
	c.size += len(entries)
	for c.size > c.limit {
		c.drop(c.order.Back())
	}
}

// forget drops a manifest that no current snapshot names any more.
func (c *cache) forget(path string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.byKey[path]; ok {
		c.drop(el)
	}
}

func (c *cache) drop(el *list.Element) {
	v := c.order.Remove(el).(*cached)
	delete(c.byKey, v.path)
	c.size -= len(v.entries)
}
