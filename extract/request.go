package extract

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// request is one append to the stream.
type request struct {
	shard   int
	segment record.Segment
}

// frame divides a piece of an announcement's rows among shards. The same piece gives the same requests.
func (s *StreamSink) frame(a *announcement, ids stream.Series, number uint32, body []byte) ([]request, error) {
	framed, err := record.Frame(body, record.KindNDJSON, record.FrameOptions{Shards: a.Shards, Shard: int(number), KeyPath: a.KeyPath, Arrival: a.Arrival,
		Limits: record.Limits{RecordBytes: s.o.To.MaxMessage() / 2, BodyBytes: len(body) + 1}})
	if err != nil {
		return nil, err
	}
	if framed.RejectedTotal > 0 {
		s.o.Logger.Error("rows fit no record of the stream and are left out", "rows", framed.RejectedTotal, "first", framed.Rejected[0].Detail)
	}
	var out []request
	for _, p := range framed.Parts {
		p.Segment.Request = ids.Request(number)
		out = append(out, request{p.Shard, p.Segment})
	}
	return out, nil
}

// send appends the rows that an announcement has kept, but for the requests in have. The next request
// is made while the one before becomes durable (I1).
func (s *StreamSink) send(ctx context.Context, a *announcement, ids stream.Series, have stream.Found) error {
	requests := make(chan request, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(requests)
		return s.requests(ctx, a, ids, have, requests)
	})
	g.Go(func() error {
		for r := range requests {
			err := stream.Patiently(ctx, s.o.Admit, func() error {
				_, err := s.o.To.Append(ctx, r.shard, r.segment, "")
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// requests sends the requests of kept rows to a channel.
func (s *StreamSink) requests(ctx context.Context, a *announcement, ids stream.Series, have stream.Found, to chan<- request) error {
	kept := &keptRows{ctx: ctx, state: s.o.State, keys: a.Keys}
	defer kept.close()
	lines := bufio.NewReaderSize(kept, 256<<10)
	var bodies [3][]byte // one is made, one waits in the channel, one is being appended
	for number := uint32(0); ; number++ {
		body, err := piece(lines, bodies[number%3][:0], a.Bytes)
		if err != nil {
			return fmt.Errorf("the rows announced for %s: %w", s.o.Delivery, err)
		}
		bodies[number%3] = body
		if len(body) == 0 {
			return nil
		}
		framed, err := s.frame(a, ids, number, body)
		if err != nil {
			return err
		}
		for _, r := range framed {
			if _, ok := have.At[stream.Place{Number: number, Shard: r.shard}]; ok {
				continue
			}
			select {
			case to <- r:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
}

// keptRows reads objects one behind the other.
type keptRows struct {
	ctx   context.Context // of the reads, which last as long as the value
	state lake.Bucket
	keys  []string // not opened yet
	cur   lake.Object
}

// Read implements io.Reader.
func (k *keptRows) Read(p []byte) (int, error) {
	for {
		if k.cur == nil {
			if len(k.keys) == 0 {
				return 0, io.EOF
			}
			var err error
			if k.cur, err = k.state.Open(k.ctx, k.keys[0]); err != nil {
				return 0, err
			}
			k.keys = k.keys[1:]
		}
		n, err := k.cur.Read(p)
		if err != io.EOF {
			return n, err
		}
		k.close()
		if n > 0 {
			return n, nil
		}
	}
}

func (k *keptRows) close() {
	if k.cur != nil {
		_ = k.cur.Close()
		k.cur = nil
	}
}

// piece appends whole lines to body until it has about so many bytes.
func piece(lines *bufio.Reader, body []byte, size int) ([]byte, error) {
	for len(body) < size {
		line, err := lines.ReadSlice('\n')
		body = append(body, line...)
		switch {
		case err == io.EOF:
			return body, nil
		case err == bufio.ErrBufferFull: // the rest of the line comes next
			for err == bufio.ErrBufferFull {
				line, err = lines.ReadSlice('\n')
				body = append(body, line...)
			}
			if err == io.EOF {
				return body, nil
			}
		}
		if err != nil {
			return nil, err
		}
	}
	return body, nil
}

// present finds out which requests of an announcement are in the stream. Rows among records that the stream
// no longer holds are appended again.
func (s *StreamSink) present(ctx context.Context, a *announcement, ids stream.Series) (stream.Found, error) {
	found, err := s.o.To.Find(ctx, ids, a.Cursors)
	for _, g := range found.Gaps {
		s.o.Logger.Warn("the stream lacks records of the time of an announcement; rows that were among them are appended again", "shard", g.Shard, "error", g.Err)
	}
	return found, err
}
