package filedrop

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestNames drops files whose names are unusual; each row says the name as it is.
func TestNames(t *testing.T) {
	s := newSite(t, 1).open()
	var want []string
	for i, name := range []string{"with blanks and 'quotes'.csv", "größe-大-🚃.csv", "-rf.csv", "a\nb.csv", "a\\b\tc.csv", "%2e%2e.csv", "two..dots..csv", strings.Repeat("n", 240) + ".csv"} {
		s.drop(name, fmt.Sprintf("a\n%d\n", i))
		s.until("done/" + name)
		want = append(want, fmt.Sprintf("%s:2 %d", name, i))
	}
	s.drop("bad\xff.csv", "a\n9\n") // no UTF-8
	s.until("done/bad\xff.csv")
	want = append(want, "bad\uFFFD.csv:2 9")
	slices.Sort(want)
	s.want(want...)
	if n := len(s.originals()); n != len(want) {
		t.Errorf("%d originals of %d files", n, len(want))
	}
}

// TestNotFiles puts things into the landing folder that are no files of it.
func TestNotFiles(t *testing.T) {
	s := newSite(t, 1).open()
	outside := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(outside, []byte("a\nsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.o.Folder, "folder.csv"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.Symlink(outside, filepath.Join(s.o.Folder, "link.csv")),
		os.Symlink("nowhere", filepath.Join(s.o.Folder, "dangling.csv")),
		os.Symlink(".", filepath.Join(s.o.Folder, "loop.csv")),
		syscall.Mkfifo(filepath.Join(s.o.Folder, "pipe.csv"), 0o644),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.drop("good.csv", "a\n1\n")
	s.until("done/good.csv")
	time.Sleep(3 * settle)
	s.want("good.csv:2 1")
	for _, name := range []string{"link.csv", "dangling.csv", "loop.csv", "pipe.csv", "folder.csv"} {
		if !exists(s.door.landing(name)) {
			t.Errorf("%s was moved", name)
		}
	}
}

// TestSwapped puts a link or a pipe in the place of a file between the look at it and its opening.
func TestSwapped(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.csv")
	if err := os.WriteFile(outside, []byte("a\nsecret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, swap := range map[string]func(path string) error{
		"link": func(path string) error { return os.Symlink(outside, path) },
		"pipe": func(path string) error { return syscall.Mkfifo(path, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			s.drop("f.csv", "a\n1\n")
			d, err := New(s.o)
			if err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(d.landing("f.csv"))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(d.landing("f.csv")); err != nil {
				t.Fatal(err)
			}
			if err := swap(d.landing("f.csv")); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- d.drop(t.Context(), info) }()
			select {
			case err := <-ended:
				if err == nil {
					t.Error("it was taken")
				}
			case <-time.After(5 * time.Second):
				t.Fatal("the door hangs")
			}
			s.want()
		})
	}
}

// TestFolderRemoved removes the landing folder under a running door, and files from the future come.
func TestFolderRemoved(t *testing.T) {
	s := newSite(t, 1).open()
	s.drop("a.csv", "a\n1\n")
	s.until("done/a.csv")
	if err := os.RemoveAll(s.o.Folder); err != nil {
		t.Fatal(err)
	}
	time.Sleep(3 * settle)
	s.drop("b.csv", "a\n2\n")
	s.until("done/b.csv")
	s.drop("c.csv", "a\n3\n")
	for _, at := range []time.Time{time.Now().AddDate(200, 0, 0), time.Unix(-1<<33, 0)} {
		if err := os.Chtimes(s.door.landing("c.csv"), at, at); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	s.until("done/c.csv")
	s.want("a.csv:2 1", "b.csv:2 2", "c.csv:2 3")
}

// TestManyFiles drops more files than are looked at once in a moment: the time goes into taking them.
func TestManyFiles(t *testing.T) {
	s := newSite(t, 1)
	const files = 300
	var want []string
	for i := range files {
		s.drop(fmt.Sprintf("f%03d.csv", i), fmt.Sprintf("a\n%d\n", i))
		want = append(want, fmt.Sprintf("f%03d.csv:2 %d", i, i))
	}
	s.open()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if entries, _ := os.ReadDir(filepath.Join(s.o.Folder, doneFolder)); len(entries) == files {
			break
		}
	}
	slices.Sort(want)
	s.want(want...)
}
