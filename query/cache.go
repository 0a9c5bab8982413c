package query

import (
	"container/list"
	"sync"
)

// cache keeps the values used last. It is safe for concurrent use.
type cache[K comparable, V any] struct {
	mu    sync.Mutex
	size  int
	order *list.List // of *cacheEntry, last used in front
	items map[K]*list.Element
}

type cacheEntry[K comparable, V any] struct {
	key   K
	value V
}

func newCache[K comparable, V any](size int) *cache[K, V] {
	return &cache[K, V]{size: size, order: list.New(), items: map[K]*list.Element{}}
}

func (c *cache[K, V]) get(k K) (v V, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.items[k]
	if !ok {
		return v, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cacheEntry[K, V]).value, true
}

func (c *cache[K, V]) put(k K, v V) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.items[k]; ok {
		e.Value.(*cacheEntry[K, V]).value = v
		return
	}
	c.items[k] = c.order.PushFront(&cacheEntry[K, V]{k, v})
	for len(c.items) > c.size {
		last := c.order.Back()
		delete(c.items, c.order.Remove(last).(*cacheEntry[K, V]).key)
	}
}
