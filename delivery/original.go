package delivery

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/stream"
)

// Original reads one record from its source again, and when it was accepted.
func Original(ctx context.Context, s Source, p tarn.Position) (rec []byte, arrival time.Time, err error) {
	return new(originals).record(ctx, s, p)
}

// Again returns Original for one source and many records: it keeps the message that was read last, for those
// beside the record. It is safe for concurrent use.
func Again(s Source) func(ctx context.Context, p tarn.Position) (rec []byte, arrival time.Time, err error) {
	var o originals
	return func(ctx context.Context, p tarn.Position) ([]byte, time.Time, error) { return o.record(ctx, s, p) }
}

// originals are records that were read from a source again: those of one message, since it costs no more to
// read all of them than to read one, and where one fails others do. The zero value is ready, and safe for
// concurrent use.
type originals struct {
	mu       sync.Mutex
	shard    int
	base     uint64   // offset of the first
	records  [][]byte // nil when none are known
	arrivals []time.Time
}

// record returns a copy of one record, and when it was accepted.
func (o *originals) record(ctx context.Context, s Source, p tarn.Position) (rec []byte, arrival time.Time, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.Shard != o.shard || p.Offset < o.base || p.Offset-o.base >= uint64(len(o.records)) {
		if err := o.read(ctx, s, p); err != nil {
			return nil, arrival, err
		}
	}
	at := p.Offset - o.base
	return clone(o.records[at]), o.arrivals[at], nil
}

// forget frees the memory.
func (o *originals) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.records, o.arrivals = nil, nil
}

// read reads the message that holds the record.
func (o *originals) read(ctx context.Context, s Source, p tarn.Position) error {
	o.records, o.arrivals = nil, nil
	r, err := s.Reader(ctx, p.Shard, stream.Cursor{Offset: p.Offset})
	if err != nil {
		return err
	}
	defer r.Close()
	e, ok, err := r.Poll(ctx)
	if err != nil {
		return err
	}
	if !ok || p.Offset < e.Batch.Base || p.Offset-e.Batch.Base >= uint64(e.Batch.Count()) {
		return fmt.Errorf("record %s is not in the stream any more", p)
	}
	o.shard, o.base = p.Shard, e.Batch.Base
	for _, seg := range e.Batch.Segments {
		for _, rec := range seg.Records() {
			o.records, o.arrivals = append(o.records, rec), append(o.arrivals, seg.Arrival)
		}
	}
	return nil
}
