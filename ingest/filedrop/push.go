package filedrop

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
)

// PushOptions say how a pushed file is taken.
type PushOptions struct {
	Format decode.Format // empty is what the pipeline says, for files of another source auto
	Again  bool          // take it also when the same bytes were taken
}

// Push takes a file that a client sends. It returns when every record is durable in the stream (I1), or
// with the outcome of an earlier push or drop of the same bytes. Errors: the fault of the file, CodeInvalid
// for a body without a byte, CodeUnavailable while the door is closing; after the last the file is
// brought to its end by the next start, if it had come that far, and may be pushed again either way.
func (d *Door) Push(ctx context.Context, name string, body io.Reader, o PushOptions) (Outcome, error) {
	if !d.enter() {
		return Outcome{}, errClosing
	}
	defer d.work.Done()
	spool, hash, size, err := d.spool(ctx, body)
	if err != nil {
		return Outcome{}, err
	}
	defer os.Remove(spool)
	if size == 0 {
		return Outcome{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the file is empty"}
	}
	// From here on the client is not needed any more.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	t, err := d.pushed(ctx, name, spool, hash, size, o)
	switch {
	case err != nil && d.life.Err() != nil:
		return Outcome{}, errClosing
	case err != nil:
		return Outcome{}, err
	}
	d.report(t, "file pushed")
	return t.outcome, t.outcome.asError()
}

var errClosing = &tarn.Error{Code: tarn.CodeUnavailable, Detail: "the pipeline is stopping or being changed", Hint: "push the file again; what of it was taken is not taken twice"}

func (d *Door) pushed(ctx context.Context, name, spool, hash string, size int64, o PushOptions) (*taken, error) {
	if err := d.o.Slots.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	defer d.o.Slots.Release(1)
	release, err := d.claim(ctx, hash)
	if err != nil {
		return nil, err
	}
	defer release()
	hints := d.o.Hints
	if o.Format != "" {
		hints.Format = o.Format
	}
	return d.take(ctx, arrival{name: name, hash: hash, size: size, modified: d.o.Clock(), hints: hints, again: o.Again,
		store: func(ctx context.Context, key string) error { return d.o.Bucket.PutFile(ctx, key, spool) }})
}

// spool writes the body to a file of its own, hashing it on the way: files are larger than memory.
func (d *Door) spool(ctx context.Context, body io.Reader) (path, hash string, size int64, err error) {
	if err := os.MkdirAll(d.o.Spool, 0o755); err != nil {
		return "", "", 0, err
	}
	path = filepath.Join(d.o.Spool, rand.Text())
	f, err := os.Create(path)
	if err != nil {
		return "", "", 0, err
	}
	hash, size, err = hashOf(ctx, io.TeeReader(body, admitted{f, d.o.Admit}))
	if err = errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return "", "", 0, err
	}
	return path, hash, size, nil
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
