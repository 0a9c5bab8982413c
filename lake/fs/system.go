package fs

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// System is what the bucket asks of the operating system. Names are slash-separated and relative
// to the bucket's folder, "." being the folder itself. A new file or name may vanish in a power
// cut until File.Sync (its content) and SyncDir of its folder (its name) have returned.
type System interface {
	Create(name string) (File, error) // fails when it exists
	Open(name string) (File, error)
	Mkdir(name string) error
	Rename(from, to string) error
	Adopt(path, to string) error // renames a local file into the folder
	SyncLocal(path string) error // fsyncs the content of a local file, by absolute path
	Remove(name string) error
	SyncDir(name string) error
	Stat(name string) (fs.FileInfo, error)
	ReadDir(name string) ([]fs.DirEntry, error) // sorted by name
	Close() error
}

// File is an open file of a System.
type File interface {
	io.Reader
	io.ReaderAt
	io.Writer
	io.Seeker
	io.Closer
	Stat() (fs.FileInfo, error)
	Sync() error
}

// osSystem is the real one. os.Root refuses every path, also by symbolic links, out of the folder.
type osSystem struct{ root *os.Root }

// OS returns the System of a folder, which must exist.
func OS(folder string) (System, error) {
	r, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	return osSystem{r}, nil
}

func (s osSystem) Create(name string) (File, error) {
	f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s osSystem) Open(name string) (File, error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s osSystem) Mkdir(name string) error               { return s.root.Mkdir(name, 0o755) }
func (s osSystem) Rename(from, to string) error          { return s.root.Rename(from, to) }
func (s osSystem) Remove(name string) error              { return s.root.Remove(name) }
func (s osSystem) Stat(name string) (fs.FileInfo, error) { return s.root.Stat(name) }
func (s osSystem) Close() error                          { return s.root.Close() }

func (s osSystem) Adopt(path, to string) error {
	// The folder is opened through the root first: a link that leads out of it fails here.
	if _, err := s.root.Stat(filepath.ToSlash(filepath.Dir(to))); err != nil {
		return err
	}
	return os.Rename(path, filepath.Join(s.root.Name(), filepath.FromSlash(to)))
}

func (s osSystem) SyncLocal(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	err = f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func (s osSystem) SyncDir(name string) error {
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

func (s osSystem) ReadDir(name string) ([]fs.DirEntry, error) {
	return fs.ReadDir(s.root.FS(), name)
}
