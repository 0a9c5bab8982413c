package cleaned_test

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/delivery/cleaned"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

func TestMain(m *testing.M) {
	_ = flag.Set("rapid.checks", "8") // each takes fsyncs; the command line overrides it
	os.Exit(m.Run())
}

// TestModel commits, ends sessions at any moment of a commit, begins new ones and lets objects expire:
// every committed record is in one live object until it expires, and behind a sweep the lake has no object
// that no row knows.
func TestModel(t *testing.T) {
	ctx := context.Background()
	rapid.Check(t, func(rt *rapid.T) {
		check := func(err error) {
			if err != nil {
				rt.Fatal(err)
			}
		}
		dir, err := os.MkdirTemp(t.TempDir(), "")
		check(err)
		bucket, err := fs.Open(filepath.Join(dir, "lake"))
		check(err)
		db, err := metadb.Open(ctx, filepath.Join(dir, "meta.db"), metadb.Options{})
		check(err)
		defer db.Close()
		a := cleaned.Open(db, bucket, "events")
		want := map[string]time.Time{} // record to arrival of the last one in its object
		next, now := uint64(0), noon
		// put makes and announces the objects of the next records, and returns what they hold.
		put := func(a *cleaned.Archive) ([]cleaned.Object, map[string]time.Time, uint64) {
			w := a.NewWriter("events", dir)
			defer w.Close()
			made, offset := map[string]time.Time{}, next
			for range rapid.IntRange(0, 20).Draw(rt, "records") {
				now = now.Add(time.Duration(rapid.IntRange(-100, 120).Draw(rt, "minutes")) * time.Minute)
				offset += uint64(rapid.IntRange(1, 3).Draw(rt, "gap"))
				line := fmt.Sprintf(`{"n":%d}`, offset)
				check(w.Add(0, offset, now, []byte(line)))
				made[line] = now
			}
			objects, err := w.Put(ctx)
			check(err)
			return objects, made, offset + 1
		}
		rt.Repeat(map[string]func(*rapid.T){
			"commit": func(*rapid.T) {
				objects, made, after := put(a)
				check(db.Tx(ctx, func(tx *metadb.Tx) error { return a.Register(ctx, tx, objects) }))
				for line := range made {
					want[line] = made[line]
				}
				next = after
			},
			"crash": func(*rapid.T) {
				put(a)
				check(a.Sweep(ctx)) // of the next session
			},
			"taken over": func(*rapid.T) {
				objects, _, _ := put(rapid.SampledFrom([]*cleaned.Archive{a, a.Retrying()}).Draw(rt, "by"))
				check(a.Sweep(ctx))
				if err := db.Tx(ctx, func(tx *metadb.Tx) error { return a.Register(ctx, tx, objects) }); (err == nil) != (len(objects) == 0) {
					rt.Fatalf("a session that was taken over registers: %v", err)
				}
			},
			"retry": func(*rapid.T) { // of records that the delivery has passed, while it ends and begins
				retry, gone := a.Retrying(), next
				objects, made, after := put(retry)
				if swept := rapid.Bool().Draw(rt, "swept"); swept && len(objects) > 0 {
					check(a.Sweep(ctx))
					if err := db.Tx(ctx, func(tx *metadb.Tx) error { return retry.Register(ctx, tx, objects) }); err == nil {
						rt.Fatal("swept objects are registered")
					}
					next = gone
					objects, made, after = put(retry)
				}
				check(db.Tx(ctx, func(tx *metadb.Tx) error { return retry.Register(ctx, tx, objects) }))
				maps.Copy(want, made)
				next = after
			},
			"expire": func(*rapid.T) {
				limit := now.Add(-time.Duration(rapid.IntRange(0, 300).Draw(rt, "age")) * time.Minute)
				objects, err := a.Objects(ctx)
				check(err)
				for _, o := range objects {
					if o.LastArrival.Before(limit) {
						for _, line := range lines(rt, a.URL(o)) {
							delete(want, line)
						}
					}
				}
				_, err = a.Expire(ctx, limit)
				check(err)
			},
			"": func(*rapid.T) {
				objects, err := a.Objects(ctx)
				check(err)
				var got, all []string
				for _, o := range objects {
					held := lines(rt, a.URL(o))
					got = append(got, held...)
					if int64(len(held)) != o.Records || held[0] != fmt.Sprintf(`{"n":%d}`, o.First) || held[len(held)-1] != fmt.Sprintf(`{"n":%d}`, o.Last) ||
						!strings.Contains(o.Key, want[held[0]].Format("/year=2006/month=01/day=02/hour=15/")) {
						rt.Fatalf("%+v holds %q", o, held)
					}
				}
				for line := range want {
					all = append(all, line)
				}
				slices.Sort(got)
				slices.Sort(all)
				if !slices.Equal(got, all) {
					rt.Fatalf("got  %q\nwant %q", got, all)
				}
				check(a.Verify(ctx, func(o cleaned.Object, why string) { rt.Fatalf("%s: %s", o.Key, why) }))
			},
		})
		if done, err := a.RemoveOrphans(ctx, time.Now().Add(time.Hour)); err != nil || done.Objects > 0 {
			rt.Fatalf("%+v %v", done, err)
		}
	})
}

func lines(rt *rapid.T, path string) []string {
	b, err := os.ReadFile(path)
	if err != nil {
		rt.Fatal(err)
	}
	dec, err := zstd.NewReader(nil)
	if err != nil {
		rt.Fatal(err)
	}
	defer dec.Close()
	text, err := dec.DecodeAll(b, nil)
	if err != nil {
		rt.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// Many hours at once keep few files open, and each record is there once all the same.
func TestManyHours(t *testing.T) {
	dir := t.TempDir()
	bucket, err := fs.Open(filepath.Join(dir, "lake"))
	if err != nil {
		t.Fatal(err)
	}
	db, err := metadb.Open(t.Context(), filepath.Join(dir, "meta.db"), metadb.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	w := cleaned.Open(db, bucket, "events").NewWriter("events", dir)
	defer w.Close()
	for i := range uint64(600) {
		if err := w.Add(int(i%2), i, noon.Add(time.Duration(i%30)*time.Hour), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := w.Put(t.Context())
	var records int64
	for _, o := range objects {
		records += o.Records
	}
	if err != nil || records != 600 {
		t.Errorf("%d objects with %d records: %v", len(objects), records, err)
	}
}
