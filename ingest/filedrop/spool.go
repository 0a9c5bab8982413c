package filedrop

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"hash"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/tarn-data/tarn"
)

// tellBytes is how much of a copy is written before the disk is told to begin with it.
const tellBytes = 4 << 20

// pieceBytes is how much is read, written and hashed at a time. Larger pieces take more time of the processor: Linux
// looks for larger pages to cache them in.
const pieceBytes = 64 << 10

// pieces is how many may wait to be written.
const pieces = 8

// spooled is a copy of a file that the door owns, on its way to the zone raw.
type spooled struct {
	path      string
	hash      string
	algorithm algorithm
	size      int64
}

// remove removes a copy that was not moved to the zone raw.
func (s spooled) remove() { _ = os.Remove(s.path) }

// spool writes a pushed body to a file and hashes it on the way: files are larger than memory (I8).
func (d *Door) spool(ctx context.Context, body io.Reader) (spooled, error) {
	return d.write(func(f *os.File, h hash.Hash) (int64, error) {
		return pour(admitted{&written{f: f}, d.o.Admit}, h, reading{ctx, body}, pieceBytes)
	})
}

// copyOf copies an open file of that size and hashes the copy. Of a file that got longer, some of what is
// behind the size is copied too.
func (d *Door) copyOf(ctx context.Context, src *os.File, size int64) (spooled, error) {
	return d.write(func(f *os.File, h hash.Hash) (int64, error) {
		if size > pieceBytes && clone(f, src) == nil { // nothing was copied; later writes to src leave f as it is
			return io.CopyBuffer(h, reading{ctx, f}, make([]byte, pieceBytes))
		}
		return pour(admitted{&written{f: f}, d.o.Admit}, h, reading{ctx, io.LimitReader(src, size+1)}, int(min(size+1, pieceBytes)))
	})
}

// write makes a file in the spool folder that fill fills and hashes.
func (d *Door) write(fill func(*os.File, hash.Hash) (int64, error)) (s spooled, err error) {
	if err := os.MkdirAll(d.o.Spool, 0o755); err != nil {
		return s, err
	}
	s.path = filepath.Join(d.o.Spool, rand.Text())
	f, err := os.Create(s.path)
	if err != nil {
		return s, err
	}
	s.algorithm = d.hashes
	h := s.algorithm.new()
	s.size, err = fill(f, h)
	if err = errors.Join(err, f.Close()); err != nil {
		s.remove()
		return s, err
	}
	s.hash = digits(h)
	return s, nil
}

// pour copies src to dst in pieces, and reads and hashes one while others are written. What was read once is what is
// kept and what is hashed, so that the hash is that of the copy whoever writes to src (I5).
func pour(dst io.Writer, h hash.Hash, src io.Reader, piece int) (copied int64, err error) {
	free, full := make(chan []byte, pieces), make(chan []byte, pieces)
	for range pieces {
		free <- make([]byte, piece)
	}
	var failed error
	stopped := make(chan struct{}) // writing
	go func() {
		defer close(stopped)
		for b := range full {
			if _, failed = dst.Write(b); failed != nil {
				return
			}
			free <- b[:piece]
		}
	}()
	for err == nil {
		select {
		case <-stopped:
			err = failed
		case b := <-free:
			var n int
			n, err = io.ReadFull(src, b)
			full <- b[:n] // there is room: it takes as many as there are
			_, _ = h.Write(b[:n])
			copied += int64(n)
		}
	}
	close(full)
	<-stopped
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return copied, cmp.Or(failed, err)
}

// written tells the disk of what is written to a file while more comes, so that little is left to wait for
// when the file has to be durable.
type written struct {
	f        *os.File
	at, told int64
}

// Write implements io.Writer.
func (w *written) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	if w.at += int64(n); w.at-w.told >= tellBytes {
		startWriting(w.f, w.told, w.at-w.told)
		w.told = w.at
	}
	if errors.Is(err, syscall.ENOSPC) { // it filled up since the disk was looked at
		err = &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the disk of the data folder is full", Hint: "make room; nothing of the file was taken", Err: err}
	}
	return n, err
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
