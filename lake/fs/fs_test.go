package fs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/lake/fs"
	"github.com/tarn-data/tarn/lake/laketest"
)

func open(t *testing.T, dir string) *fs.Bucket {
	t.Helper()
	b, err := fs.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

func TestConformance(t *testing.T) {
	laketest.Run(t, func(t *testing.T) lake.Bucket { return open(t, t.TempDir()) })
}

func TestConformanceOfTheWrappers(t *testing.T) {
	laketest.Run(t, func(t *testing.T) lake.Bucket { return laketest.Wrap(open(t, t.TempDir()), nil, nil) })
	laketest.Run(t, func(t *testing.T) lake.Bucket {
		b, _ := cuttable(t, t.TempDir())
		return b
	})
}

func TestSymbolicLinksDoNotLeadOut(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	b := open(t, dir)
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Open(t.Context(), "link/secret"); err == nil {
		t.Error("read through a link that leads out")
	}
	if err := b.Put(t.Context(), "link/new", strings.NewReader("x")); err == nil {
		t.Error("wrote through a link that leads out")
	}
	local := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(local, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := b.PutFile(t.Context(), "link/new", local); err == nil {
		t.Error("moved a file through a link that leads out")
	}
	if entries, _ := os.ReadDir(outside); len(entries) != 1 {
		t.Errorf("outside holds %v", entries)
	}
}

func TestOpenRemovesWhatACrashLeft(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	stale, fresh := filepath.Join(dir, ".tmp", "stale"), filepath.Join(dir, ".tmp", "fresh")
	for _, f := range []string{stale, fresh} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * time.Hour)
	if err := os.Chtimes(stale, old, old); err != nil {
		t.Fatal(err)
	}
	open(t, dir)
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Error("the stale temporary file is still there")
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Error("a temporary file that may be in use is gone")
	}
}

func TestFolderRemovedBehindOurBack(t *testing.T) {
	dir := t.TempDir()
	b := open(t, dir)
	for range 2 {
		if err := b.Put(t.Context(), "a/b/k", strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
			t.Fatal(err)
		}
	}
}

func cuttable(t *testing.T, dir string) (*fs.Bucket, *laketest.PowerCut) {
	t.Helper()
	cut, err := laketest.NewPowerCut(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := fs.OpenSystem(dir, cut)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b, cut
}

// What Put and PutFile have confirmed survives a power cut, in folders old and new (I4).
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	b, cut := cuttable(t, dir)
	local := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(local, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, put := range map[string]func() error{
		"x/deep/er/bytes": func() error { return b.Put(t.Context(), "x/deep/er/bytes", strings.NewReader("bytes")) },
		"y/deep/er/file":  func() error { return b.PutFile(t.Context(), "y/deep/er/file", local) },
	} {
		if err := put(); err != nil {
			t.Fatal(err)
		}
		if err := cut.Cut(); err != nil {
			t.Fatal(err)
		}
		want := key[strings.LastIndexByte(key, '/')+1:]
		if got, err := lake.ReadAll(t.Context(), b, key); err != nil || string(got) != want {
			t.Errorf("after the power cut %s holds %q, %v", key, got, err)
		}
	}
}

// A file system that lies about fsync loses objects: the power cut is a real one.
func TestPowerCutForgets(t *testing.T) {
	dir := t.TempDir()
	b, cut := cuttable(t, dir)
	cut.Careful = false
	if err := b.Put(t.Context(), "a/k", strings.NewReader("x")); err != nil {
		t.Fatal(err)
	}
	if err := cut.Cut(); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Stat(t.Context(), "a/k"); !errors.Is(err, lake.ErrNotFound) {
		t.Errorf("Stat = %v, want ErrNotFound", err)
	}
}

// Whatever the key: it is refused, or the object lies inside the folder and is read back whole.
func FuzzKey(f *testing.F) {
	for _, k := range []string{"a", "a/b", "../a", "a/../b", "/a", "a//b", ".a", "a/.b", "a\x00", "year=2026/x y.parquet", "ü/%2F", "a/", `a\b`, "\xff"} {
		f.Add(k)
	}
	dir := f.TempDir()
	b, err := fs.Open(filepath.Join(dir, "lake"))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, key string) {
		err := b.Put(t.Context(), key, strings.NewReader(key))
		if err != nil {
			return // refused here or, for names too long, by the file system
		}
		got, err := lake.ReadAll(t.Context(), b, key)
		if err != nil || string(got) != key {
			t.Errorf("%q holds %q, %v", key, got, err)
		}
		if back, ok := b.Key(b.URL(key)); !ok || back != key {
			t.Errorf("Key(URL(%q)) = %q, %t", key, back, ok)
		}
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
			t.Errorf("%q left the folder: %v", key, entries)
		}
		if err := b.Delete(t.Context(), key); err != nil {
			t.Error(err)
		}
	})
}
