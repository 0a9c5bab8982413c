package filedrop

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/metadb"
)

// originals lists what lies below raw/files.
func (s *site) originals() []string {
	s.t.Helper()
	keys := []string{}
	for info, err := range s.bucket.List(context.Background(), originalsPrefix) {
		if err != nil {
			s.t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// TestExpire pushes files, lets time pass and applies the lifecycle in a random order. The originals are
// those that the rules leave, no other file is touched, and what was taken stays known.
func TestExpire(t *testing.T) {
	base := newSite(t, 1)
	var run atomic.Int64
	rapid.Check(t, func(rt *rapid.T) {
		s := *base
		s.o.Folder = ""
		s.o.Pipeline = fmt.Sprintf("p%d", run.Add(1)) // the stores are shared
		now := time.Now().Add(time.Duration(run.Load()) * 1000 * time.Hour)
		s.o.Clock = func() time.Time { return now }
		d, err := New(s.o)
		if err != nil {
			rt.Fatal(err)
		}
		defer d.end()
		model := map[string]time.Time{} // original → when it was taken last
		names := map[string]string{}    // original → name
		takes := map[string]int{}       // content → how often it was taken
		for range rapid.IntRange(1, 30).Draw(rt, "steps") {
			now = now.Add(time.Minute)
			switch rapid.SampledFrom([]string{"push", "push", "push", "again", "expire", "versions", "wait", "orphans"}).Draw(rt, "step") {
			case "wait":
				now = now.Add(time.Hour)
			case "push", "again":
				name, content := rapid.SampledFrom([]string{"a.csv", "b.csv", "b\tc.csv", "b_c.csv"}).Draw(rt, "name"), rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "content")
				again := rapid.Bool().Draw(rt, "again")
				out, err := d.Push(context.Background(), name, strings.NewReader("a\n"+content+"\n"), PushOptions{Again: again})
				if err != nil {
					rt.Fatal(err)
				}
				if known := takes[content] > 0; out.Duplicate != (known && !again) || out.Accepted != 1 {
					rt.Fatalf("taken %d times, again %v: %+v", takes[content], again, out)
				}
				if !out.Duplicate {
					x := original{pipeline: s.o.Pipeline, hash: out.Hash, name: name}
					takes[content]++
					model[x.hash+"\x00"+name], names[x.hash+"\x00"+name] = now, x.key()
				}
			case "expire":
				age := time.Duration(rapid.IntRange(0, 3).Draw(rt, "hours")) * time.Hour
				if _, err := s.all(d).Expire(context.Background(), now.Add(-age), 0); err != nil {
					rt.Fatal(err)
				}
				maps.DeleteFunc(model, func(_ string, at time.Time) bool { return at.Before(now.Add(-age)) })
			case "versions":
				keep := rapid.IntRange(1, 3).Draw(rt, "versions")
				if _, err := s.all(d).Expire(context.Background(), time.Time{}, keep); err != nil {
					rt.Fatal(err)
				}
				rank := func(id string) (newer int) {
					_, name, _ := strings.Cut(id, "\x00")
					for other, at := range model {
						if strings.HasSuffix(other, "\x00"+name) && at.After(model[id]) {
							newer++
						}
					}
					return newer
				}
				var old []string
				for id := range model {
					if rank(id) >= keep {
						old = append(old, id)
					}
				}
				for _, id := range old {
					delete(model, id)
				}
			case "orphans":
				if removed, err := s.all(d).RemoveOrphans(context.Background(), time.Now().Add(time.Hour)); err != nil || removed.Objects > 0 {
					rt.Fatalf("%v %v", removed, err)
				}
			}
			want := map[string]bool{}
			for id := range model {
				want[names[id]] = true
			}
			var got []string
			for _, key := range s.originals() {
				if strings.HasPrefix(key, originalsPrefix+s.o.Pipeline+"/") {
					got = append(got, key)
				}
			}
			if diff := cmp.Diff(slices.Sorted(maps.Keys(want)), got); diff != "" && len(want)+len(got) > 0 {
				rt.Fatalf("originals (-want +got):\n%s", diff)
			}
		}
		if removed, err := s.all(d).Expire(context.Background(), now.Add(time.Hour), 0); err != nil {
			rt.Fatalf("%v %v", removed, err)
		}
	})
}

// all are the originals that a door shares.
func (s *site) all(d *Door) *Originals { return d.o.Originals }

// A file that failed half way, whose original has been removed since, is brought to its end when it is
// dropped again.
func TestFailedBehindItsOriginal(t *testing.T) {
	s := newSite(t, 1)
	s.o.Folder = ""
	s.open()
	out, err := s.door.Push(t.Context(), "f.json", strings.NewReader("[{\"a\":1},{\"a\":2},"), PushOptions{Format: "json"})
	if err == nil || out.Accepted != 2 {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := s.all(s.door).Expire(t.Context(), time.Now().Add(time.Hour), 0); err != nil || len(s.originals()) > 0 {
		t.Fatalf("%v %v", s.originals(), err)
	}
	again, err := s.door.Push(t.Context(), "f.json", strings.NewReader("[{\"a\":1},{\"a\":2},"), PushOptions{Format: "json"})
	if err == nil || again.Accepted != 2 || strings.Contains(err.Error(), "gone") || again.Shards[0].First != out.Shards[0].First {
		t.Errorf("%+v, before %+v: %v", again, out, err)
	}
	if len(s.originals()) != 1 {
		t.Errorf("originals: %v", s.originals())
	}
	s.want("f.json:1 1", "f.json:2 2")
}

// TestOriginalsOrphans removes what no row names, and nothing else.
func TestOriginalsOrphans(t *testing.T) {
	s := newSite(t, 1)
	s.o.Folder = ""
	s.open()
	if _, err := s.door.Push(t.Context(), "f.csv", strings.NewReader("a\n1\n"), PushOptions{}); err != nil {
		t.Fatal(err)
	}
	kept := s.originals()
	hash := strings.Repeat("0a", hashDigits/2)
	orphan, mine := originalsPrefix+"users/"+hash+"/f.csv", originalsPrefix+"users/notes.txt"
	for _, key := range []string{orphan, mine} {
		if err := s.bucket.Put(t.Context(), key, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
	}
	if removed, err := s.all(s.door).RemoveOrphans(t.Context(), time.Now().Add(-time.Hour)); err != nil || removed.Objects > 0 {
		t.Errorf("young: %+v %v", removed, err)
	}
	release, _ := s.all(s.door).tryClaim("users", hash)
	if removed, err := s.all(s.door).RemoveOrphans(t.Context(), time.Now().Add(time.Hour)); err != nil || removed.Objects > 0 {
		t.Errorf("under way: %+v %v", removed, err)
	}
	release()
	if removed, err := s.all(s.door).RemoveOrphans(t.Context(), time.Now().Add(time.Hour)); err != nil || removed != (Removed{1, 1}) {
		t.Errorf("%+v %v", removed, err)
	}
	if got := s.originals(); !slices.Equal(got, append(kept, mine)) {
		t.Errorf("left: %v", got)
	}
}

// TestExpireCrash: the rows are first. What a crash leaves behind them is an orphan.
func TestExpireCrash(t *testing.T) {
	s := newSite(t, 1)
	s.o.Folder = ""
	s.open()
	for i := range 5 {
		if _, err := s.door.Push(t.Context(), "f.csv", strings.NewReader(fmt.Sprintf("a\n%d\n", i)), PushOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	o := NewOriginals(s.o.DB, undeletable{s.bucket})
	if _, err := o.Expire(t.Context(), time.Now().Add(time.Hour), 0); err == nil {
		t.Fatal("nothing fails")
	}
	var known int
	if err := s.o.DB.QueryRow(t.Context(), "SELECT count(*) FROM taken_files WHERE original_gone > ?", metadb.Micros(time.Now().Add(-time.Hour))).Scan(&known); err != nil || known != 5 {
		t.Errorf("%d rows, %v", known, err)
	}
	removed, err := s.all(s.door).RemoveOrphans(t.Context(), time.Now().Add(time.Hour))
	if err != nil || removed.Objects != 5 || len(s.originals()) > 0 {
		t.Errorf("%+v %v", removed, err)
	}
	if err := s.all(s.door).Each(t.Context(), func(f TakenFile) error {
		if f.Original != "" || f.State != "done" || f.Accepted != 1 || f.Format != "csv" || f.FinishedAt.IsZero() {
			t.Errorf("%+v", f)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
}

// undeletable is a bucket that is read-only by now.
type undeletable struct{ *fs.Bucket }

func (undeletable) Delete(context.Context, string) error { return os.ErrPermission }
