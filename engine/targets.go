package engine

import (
	"os"
	"path/filepath"
	"sync"

	"github.com/tarn-data/tarn/delivery"
	"github.com/tarn-data/tarn/delivery/cleaned"
	"github.com/tarn-data/tarn/delivery/database"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/project"
)

// orderedSQL is what all deliveries share that need the order of the records.
type orderedSQL struct {
	mu sync.Mutex
	db *duck.DB // opened when first needed
}

// orderedMemory bounds it (I8). Most of it is counted and not used: each reader of records counts 32 MiB, of
// which it fills what a chunk has.
const orderedMemory = 256 << 20

// orderedSQL returns an SQL engine of one thread, which keeps the order of rows. It is as fast as the
// databases are that rows go to.
func (e *Engine) orderedSQL() (*duck.DB, error) {
	o := &e.ordered
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.db != nil {
		return o.db, nil
	}
	spill := e.path("staging", "spill", "ordered")
	if err := os.MkdirAll(spill, 0o755); err != nil {
		return nil, err
	}
	var err error
	o.db, err = duck.Open(duck.Options{MemoryBytes: orderedMemory, Threads: 1, TempDir: spill, AllowedDirs: []string{e.path("staging"), e.path(extractsFolder), e.bucket.URL(tableZone)}, Logger: e.log})
	return o.db, err
}

// close ends the engine, if it was opened.
func (o *orderedSQL) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.db == nil {
		return nil
	}
	return o.db.Close()
}

// addTarget says where rows go instead of a table of the lake.
func (e *Engine) addTarget(cfg *delivery.Config, d project.Delivery) error {
	if d.Table != "" {
		return nil
	}
	var err error
	if cfg.Ordered, err = e.orderedSQL(); err != nil {
		return err
	}
	cfg.Ledger = e.store
	if d.Cleaned != "" {
		cfg.Cleaned = cleaned.Open(e.db, e.bucket, d.Cleaned)
		return nil
	}
	url, err := d.Database.URL.Reveal(os.LookupEnv)
	if err != nil {
		return err
	}
	if d.Database.URL.Scheme() == "" && !filepath.IsAbs(url) {
		url = filepath.Join(e.opts.Project, url)
	}
	lake, err := e.store.Identity(e.ctx)
	if err != nil {
		return err
	}
	cfg.Database, err = database.New(database.Options{URL: url, Table: d.Database.Table, Delivery: lake + "/" + d.Name,
		Key: d.Database.Key, Upsert: d.Database.Mode == project.Upsert})
	return err
}
