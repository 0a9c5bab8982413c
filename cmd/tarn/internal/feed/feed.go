package feed

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
)

// Batch is one request's worth of records.
type Batch struct {
	Body  []byte // NDJSON
	Lines []int  // line of each record in File
	File  string
}

// Options bound batches. Zero fields take the defaults.
type Options struct {
	Records int           // per batch, 0 means 10,000
	Bytes   int           // per batch, 0 means 4 MiB; one record may be larger
	Linger  time.Duration // how long a record from a slow pipe waits for others, 0 means 200 ms
}

func (o Options) withDefaults() Options {
	if o.Records <= 0 {
		o.Records = 10_000
	}
	if o.Bytes <= 0 {
		o.Bytes = 4 << 20
	}
	if o.Linger <= 0 {
		o.Linger = 200 * time.Millisecond
	}
	return o
}

// Read reads r, named file in the batches, to its end and passes the batches to send in order. It
// stops at the first error: of r, of send, or of ctx. Send owns the batch.
func Read(ctx context.Context, file string, r io.Reader, o Options, send func(Batch) error) error {
	o = o.withDefaults()
	plain, err := decompress(r)
	if err != nil {
		return named(file, err)
	}
	defer plain.Close()
	b := &batcher{o: o, file: file, send: send}
	s := newSplitter(b.add)
	chunks, stop := readAhead(plain)
	defer stop()
	linger := time.NewTimer(o.Linger)
	defer linger.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-linger.C:
			b.flush()
		case c := <-chunks:
			linger.Reset(o.Linger)
			if len(c.data) > 0 {
				err = s.write(c.data)
			}
			if err == nil && c.err == io.EOF {
				err = s.end()
				b.flush()
			} else if err == nil {
				err = c.err
			}
			if b.err != nil {
				return b.err
			}
			if err != nil {
				b.flush() // what came before the fault is good
				return named(file, err)
			}
			if c.err == io.EOF {
				return nil
			}
			c.done()
		}
		if b.err != nil {
			return b.err
		}
	}
}

func named(file string, err error) error {
	var e *tarn.Error
	if errors.As(err, &e) {
		return &tarn.Error{Code: e.Code, Detail: file + ": " + e.Detail, Hint: e.Hint, Err: e.Err}
	}
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: fmt.Sprintf("%s: %v", file, err)}
}

// batcher gathers records.
type batcher struct {
	o    Options
	file string
	send func(Batch) error
	now  Batch
	err  error
}

func (b *batcher) add(rec []byte, line int) {
	if len(b.now.Lines) > 0 && (len(b.now.Lines) >= b.o.Records || len(b.now.Body)+len(rec)+1 > b.o.Bytes) {
		b.flush()
	}
	if b.now.Body == nil {
		b.now = Batch{File: b.file, Body: make([]byte, 0, min(b.o.Bytes, 64<<10)), Lines: make([]int, 0, min(b.o.Records, 256))}
	}
	b.now.Body = append(append(b.now.Body, rec...), '\n')
	b.now.Lines = append(b.now.Lines, line)
}

func (b *batcher) flush() {
	if len(b.now.Lines) == 0 || b.err != nil {
		return
	}
	b.err = b.send(b.now)
	b.now = Batch{}
}

type chunk struct {
	data []byte
	err  error
	done func() // gives the chunk's memory back to the reader
}

// readAhead reads r on a goroutine of its own, two chunks ahead, so that a pipe that pauses does
// not hold back what came before. Stop does not wait for a read that blocks: nobody can interrupt
// it, and it ends with the process.
func readAhead(r io.Reader) (<-chan chunk, func()) {
	const size = 256 << 10
	out := make(chan chunk)
	free := make(chan []byte, 2)
	free <- make([]byte, size)
	free <- make([]byte, size)
	quit := make(chan struct{})
	go func() {
		for {
			var buf []byte
			select {
			case buf = <-free:
			case <-quit:
				return
			}
			n, err := r.Read(buf)
			c := chunk{data: buf[:n], err: err, done: func() { free <- buf }}
			select {
			case out <- c:
			case <-quit:
				return
			}
			if err != nil {
				return
			}
		}
	}()
	return out, func() { close(quit) }
}

// decompress looks at the first bytes of r, not at a name, for gzip and zstd.
func decompress(r io.Reader) (io.ReadCloser, error) {
	br := bufio.NewReaderSize(r, 64<<10)
	magic, err := br.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case len(magic) >= 2 && magic[0] == 0x1f && magic[1] == 0x8b:
		return gzip.NewReader(br)
	case string(magic) == "\x28\xb5\x2f\xfd":
		d, err := zstd.NewReader(br)
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(br), nil
}
