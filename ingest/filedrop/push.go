package filedrop

import (
	"context"
	"io"

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
	f, err := d.spool(ctx, body)
	if err != nil {
		return Outcome{}, err
	}
	defer f.remove()
	if f.size == 0 {
		return Outcome{}, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the file is empty"}
	}
	// From here on the client is not needed any more.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(d.life, cancel)()
	t, err := d.pushed(ctx, name, f, o)
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

func (d *Door) pushed(ctx context.Context, name string, f spooled, o PushOptions) (*taken, error) {
	if err := d.o.Slots.Acquire(ctx, slots(f.size)); err != nil {
		return nil, err
	}
	defer d.o.Slots.Release(slots(f.size))
	f, err := d.named(ctx, f)
	if err != nil {
		return nil, err
	}
	release, err := d.claim(ctx, f.hash)
	if err != nil {
		return nil, err
	}
	defer release()
	hints := d.o.Hints
	if o.Format != "" {
		hints.Format = o.Format
	}
	return d.take(ctx, arrival{spooled: f, name: name, modified: d.o.Clock(), hints: hints, again: o.Again})
}
