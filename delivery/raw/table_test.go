package raw_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/delivery/raw"
	"github.com/tarn-data/tarn/duck"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// table is raw.events with a cache of some size.
func (w *world) table(t *testing.T, maxBytes int64) *raw.Table {
	t.Helper()
	db := must(duck.Open(duck.Options{AllowedDirs: []string{w.dir}, Unordered: true}))
	t.Cleanup(func() { _ = db.Close() })
	c := must(raw.NewCache(raw.CacheConfig{Dir: filepath.Join(w.dir, "cache"), MaxBytes: maxBytes, Duck: db}))
	return raw.NewTable(w.archive(), c)
}

// rows reads all runs that pick chooses, in order of position.
func rows(t *testing.T, w *world, tab *raw.Table, pick func(raw.Run) bool) ([][]any, error) {
	t.Helper()
	v := must(tab.View(t.Context()))
	var runs []raw.Run
	for _, r := range v.Runs {
		if pick == nil || pick(r) {
			runs = append(runs, r)
		}
	}
	files, release, err := tab.Parquet(t.Context(), v, runs)
	if err != nil {
		return nil, err
	}
	defer release()
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	db := must(duck.Open(duck.Options{AllowedDirs: []string{w.dir}}))
	defer db.Close()
	return must(db.Values(t.Context(), "SELECT position, shard, record_offset, arrival, partition_key, record FROM "+duck.ReadParquet(paths, v.Schema)+" ORDER BY shard, record_offset")), nil
}

func TestTable(t *testing.T) {
	for _, opaque := range []bool{false, true} {
		t.Run(fmt.Sprintf("opaque %t", opaque), func(t *testing.T) {
			w := newWorld(t, stream.Config{Shards: 2})
			tab := w.table(t, 0)
			r := start(w.config())
			defer r.stop()
			if got, err := rows(t, w, tab, nil); err != nil || len(got) != 0 {
				t.Fatalf("before the first: %v %v", got, err)
			}
			var want []kept
			for i, rec := range append(hostile, "{\"del\":\"\x7f\"}") {
				want = append(want, w.put(t, i/6, segment(record.JSON, noon.Add(time.Duration(i)*time.Second), []string{"", "a\"\\\n", "ü\u0000x"}[i%3], rec))...)
				if i%3 == 0 {
					flush(t, r)
					must(tab.View(t.Context()))
				}
			}
			if opaque {
				want = append(want, w.put(t, 1, segment(record.Opaque, noon, "", "\x00\xff\n"))...)
			}
			flush(t, r)
			got, err := rows(t, w, tab, nil)
			if err != nil || len(got) != len(want) {
				t.Fatalf("%d rows, want %d: %v", len(got), len(want), err)
			}
			for i, g := range got {
				k := want[i]
				key, _ := g[4].(string)
				if g[0] != k.at.String() || fmt.Sprint(g[1]) != fmt.Sprint(k.at.Shard) || fmt.Sprint(g[2]) != fmt.Sprint(k.at.Offset) ||
					!g[3].(time.Time).Equal(k.arrival) || key != k.key || text(g[5]) != k.bytes {
					t.Errorf("row %d is %q\nwant %+v", i, g, k)
				}
			}
			kind := tarn.String
			if opaque {
				kind = tarn.Binary
			}
			if v := must(tab.View(t.Context())); v.Schema.Lookup("record").Type.Kind != kind || len(v.Runs) != 2 {
				t.Errorf("%+v", v)
			}
		})
	}
}

// TestTableAfterExpiry: a table follows the lifecycle of its archive.
func TestTableAfterExpiry(t *testing.T) {
	w := newWorld(t, stream.Config{})
	tab := w.table(t, 0)
	r := start(w.config())
	defer r.stop()
	for i := range 5 {
		w.put(t, 0, segment(record.JSON, noon.Add(time.Duration(i)*time.Minute), "", `{}`))
		flush(t, r)
		must(tab.View(t.Context()))
	}
	if got := must(w.archive().Expire(t.Context(), noon.Add(2*time.Minute))); got.Objects != 2 {
		t.Errorf("%+v", got)
	}
	got, err := rows(t, w, tab, nil)
	if err != nil || len(got) != 3 || got[0][0] != "0:2" {
		t.Errorf("%v %v", got, err)
	}
	whole(t, w.archive())
}

// TestCache: files are made once, the bound on disk holds, and a failing object is named.
func TestCache(t *testing.T) {
	w := newWorld(t, stream.Config{})
	r := start(w.config())
	defer r.stop()
	pad := strings.Repeat("0123456789", 2000)
	for i := range 70 { // two runs
		w.put(t, 0, segment(record.JSON, noon, "", fmt.Sprintf(`{"i":%d,"pad":"%d%s"}`, i, i, pad)))
		flush(t, r)
	}
	tab := w.table(t, 0)
	v := must(tab.View(t.Context()))
	if len(v.Runs) != 2 || v.Runs[0].Objects != 64 {
		t.Fatalf("%+v", v.Runs)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got, err := rows(t, w, tab, nil); err != nil || len(got) != 70 {
				t.Errorf("%d rows, %v", len(got), err)
			}
		})
	}
	wg.Wait()
	files := must(os.ReadDir(filepath.Join(w.dir, "cache")))
	if len(files) != 2 {
		t.Errorf("%d files in the cache", len(files))
	}
	largest := max(must(files[0].Info()).Size(), must(files[1].Info()).Size(), v.Runs[0].Bytes, v.Runs[1].Bytes)
	small := w.table(t, largest*5/4)
	for range 2 {
		for i := range v.Runs {
			if got, err := rows(t, w, small, func(r raw.Run) bool { return r.First == v.Runs[i].First }); err != nil || len(got) != int(v.Runs[i].Records) {
				t.Errorf("%d rows, %v", len(got), err)
			}
		}
	}
	tiny := w.table(t, 1000)
	if _, err := rows(t, w, tiny, nil); tarn.CodeOf(err) != tarn.CodeTooLarge {
		t.Errorf("over the bound: %v", err)
	}
	o := objects(t, w.archive())[3]
	if err := os.Remove(w.bucket.URL(o.Key)); err != nil {
		t.Fatal(err)
	}
	_, err := rows(t, w, w.table(t, 0), nil)
	var e *tarn.Error
	if !errors.As(err, &e) || !strings.Contains(e.Detail, o.Key) {
		t.Errorf("a missing object: %v", err)
	}
}

func TestBounds(t *testing.T) {
	for _, c := range []struct{ first, next uint64 }{{0, 1}, {5, 12}, {99, 1001}, {100, 200}, {9, 10}} {
		lower, upper := raw.Run{Shard: 3, First: c.first, Next: c.next}.Bounds()
		for at := c.first; at < c.next; at++ {
			if p := (tarn.Position{Shard: 3, Offset: at}).String(); p < lower || p > upper {
				t.Errorf("%s is not within %s to %s", p, lower, upper)
			}
		}
	}
}

// text is a record as SQL gives it, VARCHAR or BLOB.
func text(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return v.(string)
}
