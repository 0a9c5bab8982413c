package filedrop

import (
	"context"
	"errors"
	"fmt"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/stream"
)

// place is a chunk in a shard.
type place struct {
	number uint32
	shard  int
}

// span is where the records of a chunk are in a shard.
type span struct {
	first uint64
	count int
}

// present finds out which chunks of a file are in the stream already, by reading it from the note on.
// The window in which the stream itself knows repeats is too short for a process that was down.
func (d *Door) present(ctx context.Context, t *taken) (map[place]span, error) {
	ids := requestsOf(d.o.Pipeline, t.id)
	found := map[place]span{}
	for shard, c := range t.note.Cursors {
		if shard >= d.o.Stream.Shards() {
			break
		}
		if err := d.presentIn(ctx, shard, c, ids, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (d *Door) presentIn(ctx context.Context, shard int, c stream.Cursor, ids requests, found map[place]span) error {
	end, err := d.o.Stream.Latest(ctx, shard)
	if err != nil || end.Offset == c.Offset {
		return err
	}
	if end.Offset < c.Offset {
		return forgotten(shard, nil)
	}
	r, err := d.o.Stream.Reader(ctx, shard, c)
	if err != nil {
		return err
	}
	defer r.Close()
	r.KeepReferences()
	for r.Cursor().Offset < end.Offset {
		e, ok, err := r.Poll(ctx)
		var damaged *stream.DamagedError
		if errors.As(err, &damaged) {
			return forgotten(shard, damaged)
		}
		if err != nil {
			return err
		}
		if r.Expired() > 0 {
			return forgotten(shard, nil)
		}
		if !ok {
			return nil
		}
		first := e.Batch.Base
		for i := range e.Batch.Segments {
			seg := &e.Batch.Segments[i]
			if n, ours := ids.number(seg.Request); ours {
				found[place{n, shard}] = span{first, seg.Count}
			}
			first += uint64(seg.Count)
		}
	}
	return nil
}

// forgotten is the fault of a file that was half taken when the stream lost sight of that time.
func forgotten(shard int, cause error) error {
	return &fileError{Fault{Code: tarn.CodeConflict,
		Detail: fmt.Sprintf("the file was being taken when the process stopped, and shard %d of the stream no longer holds the records of that time: which of the file's records are in it cannot be told", shard),
		Hint:   "compare with the rows that have its _file_hash; tarn run --again takes the whole file once more"}, cause}
}
