package crashtest

import (
	"context"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/internal/child"
)

// moment is a way to choose when to kill.
type moment struct {
	name string
	// wait returns at the moment. The server is starting; ready is closed once it is ready.
	wait func(w watch)
}

// watch is what a moment may look at.
type watch struct {
	ctx    context.Context // ends with the round's patience
	ready  <-chan struct{}
	data   string
	client func() *child.Client // valid once ready is closed
	rng    *rand.Rand
}

func (w watch) sleep(most time.Duration) {
	select {
	case <-time.After(time.Duration(w.rng.Int64N(int64(most)))):
	case <-w.ctx.Done():
	}
}

func (w watch) untilReady() {
	select {
	case <-w.ready:
	case <-w.ctx.Done():
	}
}

// moments are taken in turn, so that twenty rounds hit each several times.
var moments = []moment{
	{"under load", func(w watch) {
		w.untilReady()
		w.sleep(1500 * time.Millisecond)
	}},
	{"during recovery", func(w watch) { w.sleep(400 * time.Millisecond) }},
	{"while a data file is written", func(w watch) {
		w.untilReady()
		w.sleep(500 * time.Millisecond)
		w.newFile(".parquet")
		w.sleep(3 * time.Millisecond)
	}},
	{"in a commit", func(w watch) {
		w.untilReady()
		w.sleep(500 * time.Millisecond)
		w.newFile(".metadata.json", ".avro")
		w.sleep(3 * time.Millisecond)
	}},
	{"in compaction and expiry", func(w watch) {
		w.untilReady()
		w.sleep(1500 * time.Millisecond)
		go w.maintain()
		w.sleep(120 * time.Millisecond)
	}},
}

// newFile returns when a file with one of the suffixes appears in the data folder.
func (w watch) newFile(suffixes ...string) {
	known := map[string]bool{}
	for first := true; w.ctx.Err() == nil; first = false {
		found, started := false, time.Now()
		_ = filepath.WalkDir(w.data, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return nil // files come and go under the walk
			}
			for _, s := range suffixes {
				// Temporary names count: they are what a write in progress looks like.
				if strings.Contains(d.Name(), s) && !known[path] {
					known[path] = true
					found = true
				}
			}
			return nil
		})
		if found && !first {
			return
		}
		time.Sleep(500*time.Microsecond + 2*time.Since(started)) // leave the machine to the server
	}
}

// maintain asks for all maintenance of both tables; the server may die under it.
func (w watch) maintain() {
	c := w.client()
	if c == nil {
		return
	}
	for _, table := range []string{"curated.events", "curated.orders"} {
		_, _ = c.Do(w.ctx, http.MethodPost, "/v1/tables/"+table+"/maintenance", map[string]string{"Content-Type": "application/json"},
			[]byte(`{"tasks":["compact","expire","manifests","orphans"]}`))
	}
}

// watchQueries asks both tables again and again while they are written, flushed and compacted: no
// query may ever see an id twice. It returns when stop is closed.
func watchQueries(ctx context.Context, t *testing.T, s *site, stop <-chan struct{}) (answered int) {
	for {
		for _, table := range []string{"curated.events", "curated.orders"} {
			select {
			case <-stop:
				return answered
			case <-time.After(30 * time.Millisecond):
			}
			c := s.client.Load()
			if c == nil {
				continue
			}
			rows, err := c.Rows(ctx, "SELECT count(*), count(DISTINCT id) FROM "+table)
			if err != nil {
				continue // down, or the table does not exist yet; the end of the test sees every row
			}
			answered++
			if len(rows) != 1 || rows[0][0] != rows[0][1] {
				t.Errorf("%s: a query sees records twice: rows and distinct ids are %v", table, rows)
				return answered
			}
		}
	}
}
