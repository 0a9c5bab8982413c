package delivery

import (
	"context"

	"github.com/tarn-data/tarn/stream"
	"github.com/tarn-data/tarn/table"
)

// Source is where a worker reads records: a stream, or what a replay reads in its place. A source other
// than a stream may leave positions out, which are passed over and count as expired.
type Source interface {
	// Name is the stream of the positions.
	Name() string
	// Shards is how many shards the stream has.
	Shards() int
	// Reader begins at the cursor, or behind it when that record is not there.
	Reader(ctx context.Context, shard int, c stream.Cursor) (Reader, error)
	// State needs First and Next only: what Flush waits for.
	State(ctx context.Context, shard int) (stream.ShardState, error)
}

// Reader reads one shard in order, see stream.Reader. An entry without segments says that everything
// before its base is passed over.
type Reader interface {
	Poll(ctx context.Context) (stream.Entry, bool, error)
	Close()
}

// Live is a stream as a source.
func Live(s *stream.Stream) Source { return live{s} }

type live struct{ *stream.Stream }

// Reader implements Source.
func (l live) Reader(ctx context.Context, shard int, c stream.Cursor) (Reader, error) {
	r, err := l.Stream.Reader(ctx, shard, c)
	if err != nil {
		return nil, err // not a nil *stream.Reader, which would be a Reader
	}
	return r, nil
}

// Store is where a worker commits: the tables of a lake, or what stands between them and a replay.
// The methods are those of table.Store.
type Store interface {
	State(ctx context.Context, name string) (*table.State, error)
	Documents(ctx context.Context, name string) (map[string][]byte, error)
	Progress(ctx context.Context, name string) ([]table.ProgressRow, error)
	Ensure(ctx context.Context, def table.Definition) (*table.State, error)
	Evolve(ctx context.Context, name string, change table.Change, rewrite table.Rewriter) (*table.State, error)
	Commit(ctx context.Context, name string, c table.Commit) (*table.State, error)
	Acquire(ctx context.Context, name string, at *table.AsOf) (*table.State, func(), error)
}

// Drain delivers what the source has now, commits it and returns. An error ends it, unlike Run; what was
// committed before stays. A worker runs once, so the next attempt takes another one.
func (w *Worker) Drain(ctx context.Context) error {
	defer w.end()
	w.draining = true
	work, stop := context.WithCancel(ctx)
	flushed := make(chan error, 1)
	go func() {
		flushed <- w.Flush(work)
		stop()
	}()
	err := w.session(work)
	w.tail.clear()
	stop()
	if flushErr := <-flushed; err == nil {
		err = flushErr
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
