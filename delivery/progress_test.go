package delivery_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery"
)

// TestFailuresBeforeTheTable: records that fail before any has fitted are committed as failed.
func TestFailuresBeforeTheTable(t *testing.T) {
	w := newWorld(t, 1)
	cfg := w.config()
	id, _ := tarn.ParseType("BIGINT")
	cfg.Declared, cfg.Policy = &tarn.Schema{Fields: []tarn.Field{{Name: "id", Type: id}}}, delivery.Fail
	r := w.run(cfg)
	w.put(0, `{"id":"x","new":1}`)
	w.flush(r)
	w.balance(0, 1, 0, 1, 0)
	w.put(0, `{"id":2}`)
	w.want(r, "SELECT id FROM t", "2")
}

// TestShardsTakeTurns: a busy shard does not keep a quiet one from delivery, also when chunks hold the
// records of one shard only.
func TestShardsTakeTurns(t *testing.T) {
	w := newWorld(t, 2)
	cfg := w.config()
	cfg.Transform = sqlSteps("SELECT * FROM records WHERE id >= 0")
	r := w.run(cfg)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				w.put(0, fmt.Sprintf(`{"id":%d,"shard":0}`, i))
			}
		}
	})
	time.Sleep(200 * time.Millisecond)
	w.put(1, `{"id":1,"shard":1}`)
	w.want(r, "SELECT count(*) FROM t WHERE shard = 1", "1")
	close(stop)
	wg.Wait()
	w.flush(r)
	w.balance(1, 1, 1, 0, 0)
}

// TestLongTail: many small segments are merged level by level.
func TestLongTail(t *testing.T) {
	w := newWorld(t, 1)
	r := w.run(w.config())
	for i := range 300 {
		w.put(0, fmt.Sprintf(`{"id":%d}`, i))
		if i%20 == 0 {
			w.want(r, "SELECT count(*), count(DISTINCT id) FROM t", fmt.Sprintf("%d %[1]d", i+1))
		}
	}
	w.want(r, "SELECT count(*), count(DISTINCT id) FROM t", "300 300")
	if s := r.Status(); s.TailFiles > 48 {
		t.Errorf("%d files in the tail", s.TailFiles)
	}
	w.flush(r)
	w.balance(0, 300, 300, 0, 0)
}
