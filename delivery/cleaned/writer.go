package cleaned

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/google/uuid"
	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn/lake"
)

// maxOpen bounds the objects that are written at once, each with a compressor of some megabytes (I8).
const maxOpen = 8

// window is how far back the compressor looks. It bounds its memory, and that of whoever reads.
const window = 1 << 20

// Writer makes the objects of one commit. It belongs to one goroutine.
type Writer struct {
	archive *Archive
	stream  string
	dir     string
	files   int
	open    map[place]*object
	done    []*object
}

// place is what decides the object a record goes to.
type place struct {
	shard int
	hour  time.Time
}

// object is one on its way to the lake.
type object struct {
	Object
	path string
	file *os.File
	zip  *zstd.Encoder
	w    *bufio.Writer
	used int // number of the record added last
}

// NewWriter begins a commit. Local files are made in dir.
func (a *Archive) NewWriter(stream, dir string) *Writer {
	return &Writer{archive: a, stream: stream, dir: dir, open: map[place]*object{}}
}

// prefix is where the objects of a name are.
func prefix(name string) string { return "cleaned/" + name + "/" }

// key names an object from its positions. The numbers are padded to sort as text.
func (a *Archive) key(o Object) string {
	again := ""
	if a.retry {
		again = "-" + uuid.NewString()
	}
	return fmt.Sprintf("%s%s/%04d-%020d-%020d%s.ndjson.zst", prefix(a.name), o.FirstArrival.UTC().Format("year=2006/month=01/day=02/hour=15"), o.Shard, o.First, o.Last, again)
}

// Add writes one record, which is one line of JSON without its newline. Offsets of a shard rise.
func (w *Writer) Add(shard int, offset uint64, arrival time.Time, line []byte) error {
	p := place{shard, arrival.UTC().Truncate(time.Hour)}
	o := w.open[p]
	if o == nil {
		var err error
		if o, err = w.create(p, offset, arrival); err != nil {
			return err
		}
	}
	w.files++
	o.used = w.files
	o.Last = offset
	o.Records++
	o.RawBytes += int64(len(line)) + 1
	if arrival.Before(o.FirstArrival) {
		o.FirstArrival = arrival
	}
	if arrival.After(o.LastArrival) {
		o.LastArrival = arrival
	}
	_, err := o.w.Write(line)
	return errors.Join(err, o.w.WriteByte('\n'))
}

// create begins an object, and ends the one used longest ago when too many are open.
func (w *Writer) create(p place, offset uint64, arrival time.Time) (*object, error) {
	if len(w.open) == maxOpen {
		var oldest place
		for q, o := range w.open {
			if before := w.open[oldest]; before == nil || o.used < before.used {
				oldest = q
			}
		}
		if err := w.finish(oldest); err != nil {
			return nil, err
		}
	}
	w.files++
	o := &object{Object: Object{Stream: w.stream, Shard: p.shard, First: offset, FirstArrival: arrival, LastArrival: arrival},
		path: filepath.Join(w.dir, fmt.Sprintf("cleaned-%d.zst", w.files))}
	var err error
	if o.file, err = os.Create(o.path); err != nil {
		return nil, err
	}
	w.open[p] = o
	o.zip, err = zstd.NewWriter(o.file, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return nil, err
	}
	o.w = bufio.NewWriterSize(o.zip, 64<<10)
	return o, nil
}

// finish closes an open object.
func (w *Writer) finish(p place) error {
	o := w.open[p]
	delete(w.open, p)
	w.done = append(w.done, o)
	err := errors.Join(o.w.Flush(), o.zip.Close())
	info, statErr := o.file.Stat()
	if err = errors.Join(err, statErr, o.file.Close()); err != nil {
		return err
	}
	o.Bytes, o.Key = info.Size(), w.archive.key(o.Object)
	return nil
}

// Put announces the objects and makes them durable in the lake (I4). They are to be registered then.
func (w *Writer) Put(ctx context.Context) ([]Object, error) {
	for p := range w.open {
		if err := w.finish(p); err != nil {
			return nil, err
		}
	}
	if len(w.done) == 0 {
		return nil, nil
	}
	objects := make([]Object, len(w.done))
	files := make([]lake.Local, len(w.done))
	for i, o := range w.done {
		objects[i] = o.Object
		files[i] = lake.Local{Key: o.Key, Path: o.path}
	}
	if err := w.archive.Announce(ctx, objects); err != nil {
		return nil, fmt.Errorf("announce objects of cleaned.%s: %w", w.archive.name, err)
	}
	return objects, lake.PutFiles(ctx, w.archive.bucket, files)
}

// Close removes what is left of local files. It may be called after Put.
func (w *Writer) Close() {
	for p := range w.open {
		_ = w.finish(p)
	}
	for _, o := range w.done {
		_ = os.Remove(o.path)
	}
}
