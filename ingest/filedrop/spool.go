package filedrop

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// hashDigits is how many hexadecimal digits of the SHA-256 name a file.
const hashDigits = 32

// syncBytes is how much of a copy is written before the disk is told to keep it. Waiting for the disk
// while more is copied takes a fraction of the time of one wait at the end.
const syncBytes = 16 << 20

// spooled is a copy of a file that the door owns, on its way to the zone raw.
type spooled struct {
	path string
	hash string
	size int64
}

// remove removes a copy that was not moved to the zone raw.
func (s spooled) remove() { _ = os.Remove(s.path) }

// spool writes a body to a file, hashing it on the way: files are larger than memory (I8).
func (d *Door) spool(ctx context.Context, body io.Reader) (spooled, error) {
	h := sha256.New()
	return d.write(h, func(f *os.File) (int64, error) {
		to := io.MultiWriter(h, admitted{f, d.o.Admit})
		return io.CopyBuffer(struct{ io.Writer }{to}, reading{ctx, body}, make([]byte, 256<<10))
	})
}

// copyOf copies an open file and hashes it at the same time. The kernel makes the copy, which costs
// nothing where the filesystem can share blocks.
func (d *Door) copyOf(ctx context.Context, src *os.File) (spooled, error) {
	info, err := src.Stat()
	if err != nil {
		return spooled{}, err
	}
	h := sha256.New()
	return d.write(h, func(f *os.File) (int64, error) {
		var hashing sync.WaitGroup
		var hashed int64
		var herr error
		hashing.Go(func() {
			hashed, herr = io.CopyBuffer(struct{ io.Writer }{h}, reading{ctx, io.NewSectionReader(src, 0, info.Size())}, make([]byte, min(info.Size()+1, 256<<10)))
		})
		copied, err := d.copyPieces(ctx, f, src, info.Size())
		hashing.Wait()
		if err == nil && herr == nil && (hashed != info.Size() || copied != info.Size()) {
			err = errChanged
		}
		return copied, errors.Join(err, herr)
	})
}

// copyPieces copies src to its end, or past the size at which it should have ended.
func (d *Door) copyPieces(ctx context.Context, dst, src *os.File, size int64) (copied int64, err error) {
	for copied <= size {
		if err := errors.Join(d.o.Admit(), ctx.Err()); err != nil {
			return copied, err
		}
		n, err := io.CopyN(dst, src, syncBytes)
		copied += n
		if err == io.EOF {
			return copied, nil
		}
		if err != nil {
			return copied, err
		}
	}
	return copied, nil
}

// write makes a file in the spool folder that fill fills. h has then seen its content.
func (d *Door) write(h hash.Hash, fill func(*os.File) (int64, error)) (s spooled, err error) {
	if err := os.MkdirAll(d.o.Spool, 0o755); err != nil {
		return s, err
	}
	s.path = filepath.Join(d.o.Spool, rand.Text())
	f, err := os.Create(s.path)
	if err != nil {
		return s, err
	}
	stop := keepSyncing(f)
	s.size, err = fill(f)
	if err = errors.Join(err, stop(), f.Close()); err != nil {
		s.remove()
		return s, err
	}
	s.hash = hex.EncodeToString(h.Sum(nil))[:hashDigits]
	return s, nil
}

// keepSyncing writes a growing file through to the disk until stop is called, whenever syncBytes have
// come since the last time.
func keepSyncing(f *os.File) (stop func() error) {
	quit, ended := make(chan struct{}), make(chan struct{})
	var failed error
	go func() {
		defer close(ended)
		for synced := int64(0); ; {
			select {
			case <-quit:
				return
			case <-time.After(2 * time.Millisecond):
			}
			info, err := f.Stat()
			if err == nil && info.Size()-synced < syncBytes {
				continue
			}
			if err == nil {
				err = f.Sync()
			}
			if err != nil {
				failed = err
				return
			}
			synced = info.Size()
		}
	}()
	return func() error {
		close(quit)
		<-ended
		return failed
	}
}

// reading ends with its context.
type reading struct {
	ctx context.Context
	r   io.Reader
}

// Read implements io.Reader.
func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// admitted stops writing when the disk gets full.
type admitted struct {
	w     io.Writer
	admit func() error
}

// Write implements io.Writer.
func (a admitted) Write(p []byte) (int, error) {
	if err := a.admit(); err != nil {
		return 0, err
	}
	return a.w.Write(p)
}
