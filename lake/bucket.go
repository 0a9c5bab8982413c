package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// ErrNotFound says that no object has the key. It matches fs.ErrNotExist too.
var ErrNotFound = fmt.Errorf("object not found: %w", fs.ErrNotExist)

// ErrKey says that a key is not well-formed; see CheckKey.
var ErrKey = errors.New("malformed object key")

// Info describes one object.
type Info struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

// Object is an open object. It is not safe for concurrent use, except ReadAt.
type Object interface {
	io.Reader
	io.ReaderAt
	io.Seeker
	io.Closer
	Size() int64 // bytes
}

// Bucket holds objects by key. All methods are safe for concurrent use.
//
// Durability: when Put or PutFile returns nil the object survives a power cut, name and content
// both (I4). When it returns an error the object may or may not exist, but never in part.
//
// Atomicity: a reader sees an object whole or not at all. Put to an existing key replaces it; a
// reader that opened the old object keeps reading the old bytes.
//
// Keys are slash-separated relative paths (CheckKey); another key gives ErrKey. A missing object
// gives ErrNotFound from Open and Stat, and no error from Delete.
type Bucket interface {
	// Put stores all of r under key.
	Put(ctx context.Context, key string, r io.Reader) error
	// PutFile moves the finished local file at path under key; path is gone afterwards. A path
	// that already is the object's own place is made durable where it is.
	PutFile(ctx context.Context, key, path string) error
	// Open opens the object for reading.
	Open(ctx context.Context, key string) (Object, error)
	// Stat describes the object.
	Stat(ctx context.Context, key string) (Info, error)
	// List yields the objects whose key starts with prefix, in order of their keys. The prefix
	// need not end at a slash. Objects put or deleted meanwhile may or may not appear. The first
	// error ends the iteration.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
	// Delete removes the object.
	Delete(ctx context.Context, key string) error
	// URL names the object for DuckDB and other engines: an absolute path for local files.
	URL(key string) string
	// Key is the inverse of URL; false when the URL lies outside the bucket.
	Key(url string) (string, bool)
}

// CheckKey reports whether key is well-formed: a slash-separated relative path of at most 1,024
// bytes without empty elements, elements that begin with a dot, control characters or backslashes.
// The error is ErrKey.
func CheckKey(key string) error {
	if key == "" || len(key) > 1024 {
		return fmt.Errorf("%w: %q: it must have 1 to 1024 bytes", ErrKey, key)
	}
	for elem := range strings.SplitSeq(key, "/") {
		if elem == "" || elem[0] == '.' {
			return fmt.Errorf("%w: %q: its parts must not be empty or begin with a dot", ErrKey, key)
		}
	}
	for i := range len(key) {
		if c := key[i]; c < 0x20 || c == 0x7f || c == '\\' {
			return fmt.Errorf("%w: %q: it holds a control character or backslash", ErrKey, key)
		}
	}
	return nil
}

// ReadAll returns the object's bytes.
func ReadAll(ctx context.Context, b Bucket, key string) ([]byte, error) {
	o, err := b.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	buf := make([]byte, o.Size())
	if _, err := io.ReadFull(o, buf); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return buf, nil
}

// Local names a finished local file and the key it is to have.
type Local struct{ Key, Path string }

// PutFiles puts files, several at a time so that they share fsyncs. On error some may be stored.
func PutFiles(ctx context.Context, b Bucket, files []Local) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for _, f := range files {
		g.Go(func() error { return b.PutFile(ctx, f.Key, f.Path) })
	}
	return g.Wait()
}
