package fs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/tarn-data/tarn/lake"
)

// tempDir holds files being written. Its name begins with a dot, so that no key can reach it.
const tempDir = ".tmp"

// staleAfter is the age at which Open takes a temporary file for the rest of a crash.
const staleAfter = time.Hour

// Bucket is a lake.Bucket over a local folder. It is safe for concurrent use, also by several
// processes.
type Bucket struct {
	root    string // absolute
	sys     System
	durable sync.Map // folders whose names are known to be fsynced in their parents
}

var _ lake.Bucket = (*Bucket)(nil)

// Open opens the folder at root, creating it when missing, and removes what a crash left half
// written more than an hour ago.
func Open(root string) (*Bucket, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(abs, 0o755); err != nil {
		return nil, err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return nil, err
	}
	sys, err := OS(abs)
	if err != nil {
		return nil, err
	}
	return OpenSystem(abs, sys)
}

// OpenSystem is Open with another System; root must exist and be absolute.
func OpenSystem(root string, sys System) (*Bucket, error) {
	b := &Bucket{root: root, sys: sys}
	b.durable.Store(".", true)
	if err := sys.Mkdir(tempDir); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, errors.Join(fmt.Errorf("open lake folder %s: %w", root, err), sys.Close())
	}
	if entries, err := sys.ReadDir(tempDir); err == nil {
		for _, e := range entries {
			if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > staleAfter {
				_ = sys.Remove(tempDir + "/" + e.Name())
			}
		}
	}
	return b, nil
}

// Close releases the folder. Open objects stay readable.
func (b *Bucket) Close() error { return b.sys.Close() }

// Put implements lake.Bucket.
func (b *Bucket) Put(ctx context.Context, key string, r io.Reader) (err error) {
	if err := check(ctx, key); err != nil {
		return err
	}
	temp := tempDir + "/" + rand.Text()
	f, err := b.sys.Create(temp)
	if err != nil {
		return fmt.Errorf("put %s: %w", key, err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("put %s: %w", key, err)
			_ = b.sys.Remove(temp)
		}
	}()
	_, err = io.Copy(f, r)
	if err == nil {
		err = f.Sync() // I4: content first
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return err
	}
	return b.settle(key, func() error { return b.sys.Rename(temp, key) })
}

// PutFile implements lake.Bucket. A file on another device is copied.
func (b *Bucket) PutFile(ctx context.Context, key, local string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	abs, err := filepath.Abs(local)
	if err != nil {
		return err
	}
	if err := b.sys.SyncLocal(abs); err != nil { // I4: content first
		return fmt.Errorf("put file %s: %w", key, err)
	}
	if abs == b.URL(key) { // written in place: only the names are left to make durable
		return b.settle(key, func() error { return nil })
	}
	err = b.settle(key, func() error { return b.sys.Adopt(abs, key) })
	if errors.Is(err, syscall.EXDEV) {
		err = b.copyFile(ctx, key, abs)
	}
	if err != nil {
		return fmt.Errorf("put file %s: %w", key, err)
	}
	return nil
}

func (b *Bucket) copyFile(ctx context.Context, key, local string) error {
	f, err := os.Open(local)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := b.Put(ctx, key, f); err != nil {
		return err
	}
	return os.Remove(local)
}

// settle runs rename, which gives a synced file its name, inside a durable folder and fsyncs that
// folder. A folder that was removed behind our back is made again once.
func (b *Bucket) settle(key string, rename func() error) error {
	dir := path.Dir(key)
	if err := b.ensureDir(dir); err != nil {
		return err
	}
	err := rename()
	if errors.Is(err, fs.ErrNotExist) {
		b.forget(dir)
		if err = b.ensureDir(dir); err == nil {
			err = rename()
		}
	}
	if err != nil {
		return err
	}
	return b.sys.SyncDir(dir) // I4: then the name
}

// ensureDir makes dir and its parents and fsyncs every new name. A folder that exists but is not
// known is fsynced all the same: another writer may have made it and not have come that far.
func (b *Bucket) ensureDir(dir string) error {
	if _, ok := b.durable.Load(dir); ok {
		return nil
	}
	parent := path.Dir(dir)
	if err := b.ensureDir(parent); err != nil {
		return err
	}
	if err := b.sys.Mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := b.sys.SyncDir(parent); err != nil {
		return err
	}
	b.durable.Store(dir, true)
	return nil
}

func (b *Bucket) forget(dir string) {
	for ; dir != "."; dir = path.Dir(dir) {
		b.durable.Delete(dir)
	}
}

type object struct {
	File
	size int64
}

func (o object) Size() int64 { return o.size }

// Open implements lake.Bucket.
func (b *Bucket) Open(ctx context.Context, key string) (lake.Object, error) {
	if err := check(ctx, key); err != nil {
		return nil, err
	}
	f, err := b.sys.Open(key)
	if err != nil {
		return nil, missing(key, err)
	}
	fi, err := f.Stat()
	if err == nil && fi.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return nil, errors.Join(missing(key, err), f.Close())
	}
	return object{f, fi.Size()}, nil
}

// Stat implements lake.Bucket.
func (b *Bucket) Stat(ctx context.Context, key string) (lake.Info, error) {
	if err := check(ctx, key); err != nil {
		return lake.Info{}, err
	}
	fi, err := b.sys.Stat(key)
	if err == nil && fi.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		return lake.Info{}, missing(key, err)
	}
	return lake.Info{Key: key, Size: fi.Size(), Modified: fi.ModTime()}, nil
}

// Delete implements lake.Bucket. Folders stay, and the removal is not fsynced: an object that comes
// back after a power cut is an orphan, not a loss.
func (b *Bucket) Delete(ctx context.Context, key string) error {
	if err := check(ctx, key); err != nil {
		return err
	}
	if err := b.sys.Remove(key); err != nil && !isMissing(err) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// List implements lake.Bucket.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[lake.Info, error] {
	return func(yield func(lake.Info, error) bool) {
		dir := "."
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir = prefix[:i]
			if err := lake.CheckKey(dir); err != nil {
				yield(lake.Info{}, err)
				return
			}
		}
		b.walk(ctx, dir, prefix, yield)
	}
}

// walk yields the objects below dir in key order and reports whether to go on.
func (b *Bucket) walk(ctx context.Context, dir, prefix string, yield func(lake.Info, error) bool) bool {
	if err := ctx.Err(); err != nil {
		return yield(lake.Info{}, err) && false
	}
	entries, err := b.sys.ReadDir(dir)
	if err != nil {
		if isMissing(err) {
			return true
		}
		return yield(lake.Info{}, err) && false
	}
	for _, e := range inKeyOrder(entries) {
		if e.Name()[0] == '.' {
			continue
		}
		key := path.Join(dir, e.Name())
		if e.IsDir() {
			if strings.HasPrefix(key+"/", prefix) || strings.HasPrefix(prefix, key+"/") {
				if !b.walk(ctx, key, prefix, yield) {
					return false
				}
			}
			continue
		}
		if !strings.HasPrefix(key, prefix) || !e.Type().IsRegular() {
			continue
		}
		fi, err := e.Info()
		if isMissing(err) {
			continue
		}
		if err != nil {
			return yield(lake.Info{}, err) && false
		}
		if !yield(lake.Info{Key: key, Size: fi.Size(), Modified: fi.ModTime()}, nil) {
			return false
		}
	}
	return true
}

// URL implements lake.Bucket: a plain absolute path, which DuckDB, iceberg-go and Spark all open.
func (b *Bucket) URL(key string) string { return filepath.Join(b.root, filepath.FromSlash(key)) }

// Key implements lake.Bucket. It takes file:// URLs too.
func (b *Bucket) Key(url string) (string, bool) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(url, "file://"), b.root+string(filepath.Separator))
	if !ok {
		return "", false
	}
	key := filepath.ToSlash(rest)
	return key, lake.CheckKey(key) == nil
}
