package filedrop

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tarn-data/tarn/lake"
)

// TestHalfWritten writes a file in pieces, with pauses shorter than the settle time.
func TestHalfWritten(t *testing.T) {
	s := newSite(t, 1).open()
	if err := os.MkdirAll(s.o.Folder, 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(s.o.Folder, "slow.ndjson"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 10 {
		fmt.Fprintf(f, "{\"a\":")
		time.Sleep(settle / 3)
		fmt.Fprintf(f, "%d}\n", i)
		want = append(want, fmt.Sprintf("slow.ndjson:%d %d", i+1, i))
	}
	_ = f.Close()
	s.until("done/slow.ndjson")
	slices.Sort(want)
	s.want(want...)
}

// meddling is a bucket before whose puts something happens: the file has been copied then.
type meddling struct {
	lake.Bucket
	before func(key string)
}

func (m meddling) PutFile(ctx context.Context, key, path string) error {
	m.before(key)
	return m.Bucket.PutFile(ctx, key, path)
}

// TestMeddled replaces, renames and appends to files while they are read.
func TestMeddled(t *testing.T) {
	for name, c := range map[string]struct {
		meddle func(s *site, path string)
		done   string
		want   []string
	}{
		"replaced": {func(s *site, path string) { s.drop("f.csv", "a\n2\n") }, "f.csv", []string{"f.csv:2 2"}},
		"renamed": {func(s *site, path string) {
			if err := os.Rename(path, filepath.Join(s.o.Folder, "g.csv")); err != nil {
				s.t.Error(err)
			}
		}, "g.csv", []string{"g.csv:2 1"}},
		"appended": {func(s *site, path string) {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				s.t.Error(err)
			}
			fmt.Fprintln(f, "3")
			_ = f.Close()
		}, "f.csv", []string{"f.csv:2 1", "f.csv:3 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			var once sync.Once
			s.o.Admit = func() error { // which is asked while the file is copied
				once.Do(func() { c.meddle(s, filepath.Join(s.o.Folder, "f.csv")) })
				return nil
			}
			s.open()
			s.drop("f.csv", "a\n1\n")
			s.until("done/" + c.done)
			s.want(c.want...)
			if n := len(s.files()); n != 1 {
				t.Error(s.files())
			}
		})
	}
}

// TestWrittenLate appends to a file when its records are in the stream already: that cannot be taken
// back, and is told.
func TestWrittenLate(t *testing.T) {
	s := newSite(t, 1)
	s.o.Bucket = meddling{s.bucket, func(string) {
		f, err := os.OpenFile(filepath.Join(s.o.Folder, "f.csv"), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		fmt.Fprintln(f, "2")
		_ = f.Close()
	}}
	s.open()
	s.drop("f.csv", "a\n1\n")
	if got := s.until("failed/f.csv.error.json"); !strings.Contains(got, "written to after it was taken") {
		t.Error(got)
	}
	if got := s.until("failed/f.csv"); got != "a\n1\n2\n" {
		t.Errorf("%q", got)
	}
	s.want("f.csv:2 1")
}

func TestUnreadable(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root reads everything")
	}
	s := newSite(t, 1).open()
	s.drop("f.csv", "a\n1\n")
	if err := os.Chmod(filepath.Join(s.o.Folder, "f.csv"), 0); err != nil {
		t.Fatal(err)
	}
	if got := s.until("failed/f.csv.error.json"); !strings.Contains(got, "may not be read") {
		t.Error(got)
	}
}

// TestDamagedInTheMiddle: what comes before the damage stays, and dropping the same bytes again does
// not double it.
func TestDamagedInTheMiddle(t *testing.T) {
	s := newSite(t, 1).open()
	whole := gzipped(strings.Repeat("{\"a\":1}\n", 500_000) + "{\"a\":2}\n")
	cut := whole[:len(whole)-20]
	s.drop("f.ndjson.gz", string(cut))
	var doc errorDoc
	if err := json.Unmarshal([]byte(s.until("failed/f.ndjson.gz.error.json")), &doc); err != nil || doc.Accepted == 0 || doc.Line == 0 || !strings.Contains(doc.Detail, "cut short") {
		t.Errorf("%v %+v", err, doc)
	}
	s.until("failed/f.ndjson.gz")
	before, _ := s.records()
	s.drop("again.ndjson.gz", string(cut))
	s.until("failed/again.ndjson.gz")
	after, _ := s.records()
	if int64(len(before)) != doc.Accepted || len(after) != len(before) {
		t.Errorf("%d records are said, there are %d, then %d", doc.Accepted, len(before), len(after))
	}
	s.drop("f.ndjson.gz", string(whole))
	s.until("done/f.ndjson.gz")
}

// TestTold: a file in a folder that was quiet is noticed long before the folder is looked at again.
func TestTold(t *testing.T) {
	s := newSite(t, 1).open()
	s.drop("a.csv", "a\n1\n")
	s.until("done/a.csv")
	time.Sleep(4 * settle) // nothing is left to wait for
	began := time.Now()
	s.drop("b.csv", "a\n2\n")
	s.until("done/b.csv")
	if took := time.Since(began); took > quietScan/2 {
		t.Errorf("it took %s", took)
	}
}
