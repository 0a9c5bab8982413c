package govern

import (
	"crypto/sha256"
	"sync"
	"time"
)

// cache remembers verified tokens by their hash until they end. It holds at most max of them (I8), and no
// token: what leaks from memory cannot be sent.
type cache struct {
	mu      sync.RWMutex
	max     int
	entries map[[sha256.Size]byte]*Principal
}

func newCache(max int) *cache {
	return &cache{max: max, entries: make(map[[sha256.Size]byte]*Principal)}
}

// get returns the principal of a token that has not ended.
func (c *cache) get(hash [sha256.Size]byte, now time.Time) *Principal {
	c.mu.RLock()
	p := c.entries[hash]
	c.mu.RUnlock()
	if p == nil || now.After(p.Expires.Add(leeway)) {
		return nil
	}
	return p
}

func (c *cache) put(hash [sha256.Size]byte, p *Principal, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= c.max {
		c.makeRoom(now)
	}
	c.entries[hash] = p
}

// makeRoom forgets what has ended, or else some entries: Go's order of a map is random.
func (c *cache) makeRoom(now time.Time) {
	for h, p := range c.entries {
		if now.After(p.Expires.Add(leeway)) {
			delete(c.entries, h)
		}
	}
	for h := range c.entries {
		if len(c.entries) <= c.max*7/8 {
			return
		}
		delete(c.entries, h)
	}
}

// clear forgets everything.
func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.entries)
}
