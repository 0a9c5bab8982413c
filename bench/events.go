package bench

import (
	"bufio"
	"fmt"
	"os"
	"time"

	"github.com/tarn-data/tarn/internal/fleet"
)

// batch is the number of events of one request, as the benchmark is defined.
const batch = 500

// firstEvent is the ts of event 0. The events of a run of the default size spread over a day, so the
// table has 24 hourly partitions.
var firstEvent = time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)

const spacing = 24 * time.Hour / DefaultEvents

// events is a file of NDJSON made once before anything is measured, so that the load costs a copy from
// the page cache, and so that the floor reads the very bytes that the server is sent.
type events struct {
	path    string
	count   int64
	bytes   int64
	file    *os.File
	offsets []int64 // of every batch-th event, and the end
	gen     *fleet.Generator
}

// makeEvents writes count events to path.
func makeEvents(path string, count int64) (*events, error) {
	gen, err := fleet.New(fleet.Options{Seed: 1, Start: firstEvent, Spacing: spacing})
	if err != nil {
		return nil, err
	}
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	e := &events{path: path, count: count, file: f, gen: gen}
	w := bufio.NewWriterSize(f, 1<<20)
	var buf []byte
	for from := int64(0); from < count; from += batch {
		buf = gen.AppendNDJSON(buf[:0], from, int(min(batch, count-from)))
		e.offsets = append(e.offsets, e.bytes)
		e.bytes += int64(len(buf))
		if _, err := w.Write(buf); err != nil {
			return nil, err
		}
	}
	e.offsets = append(e.offsets, e.bytes)
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return e, nil
}

func (e *events) close() { _ = e.file.Close() }

// appendBatch appends whole batches read from the file: it is what load.Options.Append wants. from
// must be the first event of a batch.
func (e *events) appendBatch(dst []byte, from int64, n int) []byte {
	first := from / batch
	last := (from + int64(n) + batch - 1) / batch
	start, size := e.offsets[first], int(e.offsets[last]-e.offsets[first])
	at := len(dst)
	if cap(dst)-at < size {
		dst = append(make([]byte, 0, at+size+size/8), dst...)
	}
	dst = dst[:at+size]
	if _, err := e.file.ReadAt(dst[at:], start); err != nil {
		panic(fmt.Sprintf("the event file, which this process wrote, can not be read: %v", err))
	}
	return dst
}
