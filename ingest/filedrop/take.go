package filedrop

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/ingest/filedrop/decode"
	"github.com/tarn-data/tarn/lake"
)

// arrival is a file that has come and may be taken.
type arrival struct {
	spooled
	name     string
	modified time.Time
	hints    decode.Hints
	again    bool // take it also when the same bytes were taken
}

// errChanged: the file is not what it was when it was hashed.
var errChanged = errors.New("the file changed while it was read")

// take brings a file to its end, whatever became of it before. The caller has claimed its hash. A fault
// of the file is in the outcome; an error means that it has to be tried again.
func (d *Door) take(ctx context.Context, a arrival) (*taken, error) {
	t, err := d.find(ctx, a.hash)
	if err != nil {
		return nil, err
	}
	switch {
	case t != nil && t.state == done && !a.again:
		t.outcome.Duplicate = true
		t.outcome.TakenAs, t.outcome.File = t.name, a.name
		return t, nil
	case t != nil && t.state == taking:
		return t, d.finish(ctx, t)
	case t != nil && t.state == failed && !a.again && (t.outcome.Accepted > 0 || t.outcome.Fault.Code == tarn.CodeConflict):
		// Some of it is in the stream, or may be: go on by the same plan, so that nothing is there twice.
		if err := d.restore(ctx, t, a); err != nil {
			return nil, err
		}
		t.state = taking
		return t, d.finish(ctx, t)
	}
	next := &taken{id: id{hash: a.hash}, algorithm: a.algorithm, name: a.name, size: a.size, modified: a.modified, state: taking, takenAt: d.o.Clock()}
	if t != nil {
		next.take = t.take
		if t.state == done || a.again {
			next.take++
		}
	}
	next.outcome = Outcome{File: a.name, Hash: a.hash, Bytes: a.size, Take: next.take}
	if err := d.keep(ctx, next, a); err != nil {
		return nil, err
	}
	if err := d.plan(ctx, next, a); err != nil {
		var bad *fileError
		if !errors.As(err, &bad) {
			return nil, err
		}
		next.state, next.outcome.Fault = failed, &bad.fault
		if err := d.insert(ctx, next); err != nil {
			return nil, err
		}
		return next, d.saveEnd(ctx, next)
	}
	if err := d.insert(ctx, next); err != nil {
		return nil, err
	}
	return next, d.finish(ctx, next)
}

// keep makes the copy of a file durable, before any of its records is appended (I5).
func (d *Door) keep(ctx context.Context, t *taken, a arrival) error {
	key := d.key(t)
	if info, err := d.o.Bucket.Stat(ctx, key); err == nil && info.Size == a.size {
		return nil
	} else if err != nil && !errors.Is(err, lake.ErrNotFound) {
		return err
	}
	return d.o.Bucket.PutFile(ctx, key, a.path)
}

// restore makes the copy of a file anew that its lifecycle removed.
func (d *Door) restore(ctx context.Context, t *taken, a arrival) error {
	if err := d.keep(ctx, t, a); err != nil {
		return err
	}
	_, err := d.o.DB.Exec(ctx, "UPDATE taken_files SET original_gone = 0 WHERE pipeline = ? AND hash = ? AND take = ?", d.o.Pipeline, t.hash, t.take)
	return err
}

// key is where the copy of a file is.
func (d *Door) key(t *taken) string {
	return original{pipeline: d.o.Pipeline, hash: t.hash, name: t.name}.key()
}

// safeName makes a name that an object key can hold.
func safeName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\\' || r == '/' {
			return '_'
		}
		return r
	}, name)
	if len(name) > 255 {
		name = strings.ToValidUTF8(name[:255], "_")
	}
	if name == "" || name[0] == '.' {
		name = "_" + name
	}
	return name
}

// plan finds out how to read the file and for whom, and where the stream is now.
func (d *Door) plan(ctx context.Context, t *taken, a arrival) (err error) {
	o, err := d.o.Bucket.Open(ctx, d.key(t))
	if err != nil {
		return err
	}
	defer o.Close()
	p := &t.plan
	p.Version, p.Shards, p.KeyPath, p.Depth = planVersion, d.o.Shards, d.o.KeyPath, d.o.Limits.Depth
	p.ChunkBytes = min(d.chunk, d.o.Stream.MaxMessage()-(8<<10)) // the rest is for what goes before the records
	if p.Read, err = decode.Look(decode.Input{Name: t.name, Size: t.size, Data: o}, a.hints, d.o.Limits.RecordBytes); err != nil {
		return faulty(err, 0)
	}
	t.outcome.Format = string(p.Read.Format)
	if p.Refer = p.Read.Seekable() && p.KeyPath == "" && t.size >= d.refers; p.Refer {
		p.Stream = d.o.Stream.Name()
	}
	open := func() (decode.Records, error) { return d.open(ctx, t) }
	if err = d.route(ctx, p, t.name, t.size, open); err != nil {
		return err
	}
	t.note.Cursors, err = d.o.Stream.Cursors(ctx)
	return err
}

// open reads the copy of a file by its plan.
func (d *Door) open(ctx context.Context, t *taken) (decode.Records, error) {
	key := d.key(t)
	if t.plan.Read.Format == decode.Parquet {
		db, err := d.o.SQL()
		if err != nil {
			return nil, err
		}
		return openParquet(ctx, db, d.o.Bucket.URL(key))
	}
	o, err := d.o.Bucket.Open(ctx, key)
	if errors.Is(err, lake.ErrNotFound) {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "the copy of the file in the zone raw is gone", Hint: "drop the file again", Err: err}
	}
	if err != nil {
		return nil, err
	}
	r, err := decode.Open(decode.Input{Name: t.name, Size: t.size, Data: o}, t.plan.Read)
	if err != nil {
		_ = o.Close()
		return nil, err
	}
	return closing{r, o}, nil
}

// closing closes the object with the records read from it.
type closing struct {
	decode.Records
	object io.Closer
}

// Close implements decode.Records.
func (c closing) Close() error { return errors.Join(c.Records.Close(), c.object.Close()) }

// finish brings the records of a file that was taken into the stream and stores the outcome.
func (d *Door) finish(ctx context.Context, t *taken) error {
	list := &rejectList{}
	if d.o.Folder != "" {
		list.path = filepath.Join(d.o.Folder, doneFolder, "."+t.hash+".rejected.tmp")
	}
	defer list.drop()
	t.outcome.Duplicate = false
	records, err := d.open(ctx, t)
	if err == nil {
		err = d.fill(ctx, t, records, list)
		_ = records.Close()
	}
	err = faulty(err, 0)
	var bad *fileError
	switch {
	case errors.As(err, &bad):
		t.state, t.outcome.Fault = failed, &bad.fault
	case err != nil:
		return err
	case t.outcome.Accepted == 0 && t.outcome.Rejected > 0:
		first := t.outcome.Rejects[0]
		t.state, t.outcome.Fault = failed, &Fault{Code: first.Code, Line: first.Line,
			Detail: "none of its records is good (" + strconv.FormatInt(t.outcome.Rejected, 10) + "); the first: " + first.Detail, Hint: "mend the file, or say what it is with format: in the pipeline's source"}
	default:
		t.state = done
	}
	if err := list.keep(d.beside(t, ".rejected.ndjson")); err != nil {
		return err
	}
	if err := d.saveEnd(ctx, t); err != nil {
		return err
	}
	d.o.Count(t.outcome.Accepted, t.outcome.Rejected, t.size)
	return nil
}

// resume brings to their end the files that a stop left halfway.
func (d *Door) resume() {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 10*time.Second) {
		files, err := d.unfinished(d.life)
		for _, t := range files {
			if e := d.resumeOne(t); e != nil {
				err = e
			}
		}
		if err == nil || d.life.Err() != nil {
			return
		}
		d.o.Logger.Warn("files that were being taken cannot be brought to their end yet; trying again", "error", err)
		select {
		case <-time.After(wait):
		case <-d.life.Done():
			return
		}
	}
}

func (d *Door) resumeOne(t *taken) error {
	if err := d.o.Slots.Acquire(d.life, slots(t.size)); err != nil {
		return err
	}
	defer d.o.Slots.Release(slots(t.size))
	release, err := d.claim(d.life, t.hash)
	if err != nil {
		return err
	}
	defer release()
	now, err := d.find(d.life, t.hash)
	if err != nil || now == nil || now.state != taking {
		return err
	}
	if err := d.finish(d.life, now); err != nil {
		return err
	}
	d.report(now, "file taken up again")
	return nil
}

// report logs the end of a file.
func (d *Door) report(t *taken, what string) {
	o := &t.outcome
	if o.Fault != nil {
		d.o.Logger.Error("file failed", "file", o.File, "hash", o.Hash, "code", o.Fault.Code, "why", o.Fault.Detail, "line", o.Fault.Line, "accepted", o.Accepted)
		return
	}
	d.o.Logger.Info(what, "file", o.File, "hash", o.Hash, "format", o.Format, "accepted", o.Accepted, "rejected", o.Rejected, "duplicate", o.Duplicate)
}

// asError is the error of a file that failed, nil for one that did not.
func (o *Outcome) asError() error {
	if o.Fault == nil {
		return nil
	}
	detail := o.File + ": " + o.Fault.Detail
	return &tarn.Error{Code: o.Fault.Code, Detail: detail, Hint: o.Fault.Hint}
}

// exists reports whether there is something at the path.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
