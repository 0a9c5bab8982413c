package raw

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/duck"
)

// CacheConfig describes a Cache. Fields without a default are required.
type CacheConfig struct {
	Dir      string // of this cache alone; emptied by NewCache
	MaxBytes int64  // of the Parquet files; default 4 GiB
	Duck     *duck.DB
	Heavy    *semaphore.Weighted // shared with the deliveries, see delivery.Config.Heavy; default its own
}

// Cache keeps Parquet files made from raw objects, those used last, up to a size on disk. It is
// safe for concurrent use.
type Cache struct {
	cfg CacheConfig

	mu      sync.Mutex
	entries map[string]*entry
	bytes   int64
	clock   uint64 // counts uses
	serial  int    // of files
}

// entry is one file, there or in the making.
type entry struct {
	ready chan struct{} // closed when File or err is set
	File
	err  error
	refs int
	used uint64
}

// job is a file that is wanted: its name in the cache, and how it is made at a path.
type job struct {
	key   string
	build func(ctx context.Context, path string) (bytes int64, err error)
}

// NewCache empties the folder and returns a cache.
func NewCache(cfg CacheConfig) (*Cache, error) {
	if cfg.Dir == "" || cfg.Duck == nil {
		return nil, errors.New("raw cache: dir and duck are required")
	}
	if cfg.MaxBytes <= 0 {
		cfg.MaxBytes = 4 << 30
	}
	if cfg.Heavy == nil {
		cfg.Heavy = semaphore.NewWeighted(1)
	}
	if err := os.RemoveAll(cfg.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, err
	}
	return &Cache{cfg: cfg, entries: map[string]*entry{}}, nil
}

func (c *Cache) tooLarge(stream string, bytes int64) error {
	return &tarn.Error{Code: tarn.CodeTooLarge, Detail: fmt.Sprintf("the statement reads %.1f MiB of the raw backup of %s at once, the cache for it has %.1f MiB", mebi(bytes), stream, mebi(c.cfg.MaxBytes)),
		Hint: "narrow it by arrival, shard or record_offset"}
}

func mebi(bytes int64) float64 { return float64(bytes) / (1 << 20) }

// files returns the files of the jobs in their order. They stay until release.
func (c *Cache) files(ctx context.Context, stream string, jobs []job) (files []File, release func(), err error) {
	held := make([]*entry, len(jobs))
	release = func() {
		for _, e := range held {
			if e != nil {
				c.drop(e)
			}
		}
	}
	var mu sync.Mutex
	var total int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2) // one reads while the other converts
	for i, j := range jobs {
		g.Go(func() error {
			e, err := c.get(ctx, j)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			held[i] = e
			if total += e.Bytes; total > c.cfg.MaxBytes {
				return c.tooLarge(stream, total)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		release()
		return nil, nil, err
	}
	for _, e := range held {
		files = append(files, e.File)
	}
	return files, release, nil
}

// get returns the entry of a job, held by the caller. One that is being made is waited for.
func (c *Cache) get(ctx context.Context, j job) (*entry, error) {
	for {
		c.mu.Lock()
		e, found := c.entries[j.key]
		if !found {
			e = &entry{ready: make(chan struct{})}
			c.entries[j.key] = e
			c.serial++
			e.Path = filepath.Join(c.cfg.Dir, strconv.Itoa(c.serial)+".parquet")
		}
		e.refs++
		c.clock++
		e.used = c.clock
		c.mu.Unlock()
		if !found {
			c.fill(ctx, j, e)
		}
		select {
		case <-e.ready:
		case <-ctx.Done():
			c.drop(e)
			return nil, ctx.Err()
		}
		if e.err == nil {
			return e, nil
		}
		c.drop(e)
		if found && ctx.Err() == nil && tarn.CodeOf(e.err) == tarn.CodeCanceled {
			continue // whoever made it has gone; we have not
		}
		return nil, e.err
	}
}

// fill builds the file of an entry.
func (c *Cache) fill(ctx context.Context, j job, e *entry) {
	bytes, err := j.build(ctx, e.Path)
	if err != nil {
		_ = os.Remove(e.Path)
		if ctx.Err() != nil {
			err = &tarn.Error{Code: tarn.CodeCanceled, Detail: "the statement was cancelled", Err: err}
		}
	}
	c.mu.Lock()
	e.Bytes, e.err = bytes, err
	if err != nil {
		e.Bytes = 0
		delete(c.entries, j.key)
	}
	c.bytes += e.Bytes
	c.evict()
	c.mu.Unlock()
	close(e.ready)
}

// drop gives up a hold.
func (c *Cache) drop(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e.refs--
	c.evict()
}

// evict deletes the files used longest ago that nobody holds, until the rest fits; the caller holds
// mu. Files in the making are held by their maker.
func (c *Cache) evict() {
	for c.bytes > c.cfg.MaxBytes {
		var oldest string
		for k, e := range c.entries {
			if e.refs == 0 && (oldest == "" || e.used < c.entries[oldest].used) {
				oldest = k
			}
		}
		if oldest == "" {
			return
		}
		e := c.entries[oldest]
		delete(c.entries, oldest)
		c.bytes -= e.Bytes
		_ = os.Remove(e.Path)
	}
}
