package extract

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// place is a request to a stream: a piece of an announcement's rows, in a shard.
type place struct {
	number uint32
	shard  int
}

// requestPrefix is how many bytes of a request's id all of an announcement share; the number follows.
const requestPrefix = 12

// request is one append to the stream.
type request struct {
	shard   int
	segment record.Segment
}

// frame divides a piece of an announcement's rows among shards. The same piece gives the same requests.
func (s *StreamSink) frame(a *announcement, number uint32, body []byte) ([]request, error) {
	id, err := hex.DecodeString(a.Request)
	if err != nil || len(id) != requestPrefix {
		return nil, fmt.Errorf("the announcement of %s has no request id", s.o.Delivery)
	}
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
		p.Segment.Request = record.RequestID(binary.BigEndian.AppendUint32(id[:requestPrefix:requestPrefix], number))
		out = append(out, request{p.Shard, p.Segment})
	}
	return out, nil
}

// send appends the rows that an announcement has kept, but for the requests in have. The next request
// is made while the one before becomes durable.
func (s *StreamSink) send(ctx context.Context, a *announcement, have map[place]bool) error {
	requests := make(chan request, 1)
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer close(requests)
		return s.requests(ctx, a, have, requests)
	})
	g.Go(func() error {
		for r := range requests {
			if err := s.appendPatiently(ctx, r.shard, r.segment); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// requests sends the requests of kept rows to a channel.
func (s *StreamSink) requests(ctx context.Context, a *announcement, have map[place]bool, to chan<- request) error {
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
		framed, err := s.frame(a, number, body)
		if err != nil {
			return err
		}
		for _, r := range framed {
			if have[place{number, r.shard}] {
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

// appendPatiently makes a segment durable (I1), waiting while the stream is busy or the disk is full
// (I8).
func (s *StreamSink) appendPatiently(ctx context.Context, shard int, seg record.Segment) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := s.o.Admit()
		if err == nil {
			if _, err = s.o.To.Append(ctx, shard, seg, ""); err == nil || tarn.CodeOf(err) != tarn.CodeBusy {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

// present finds out which requests of an announcement are in the stream, by reading it from the ends
// that were noted.
func (s *StreamSink) present(ctx context.Context, a *announcement) (map[place]bool, error) {
	prefix, err := hex.DecodeString(a.Request)
	if err != nil {
		return nil, err
	}
	found := map[place]bool{}
	for shard, c := range a.Cursors {
		if shard >= s.o.To.Shards() {
			break
		}
		if err := s.presentIn(ctx, shard, c, prefix, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func (s *StreamSink) presentIn(ctx context.Context, shard int, c stream.Cursor, prefix []byte, found map[place]bool) error {
	end, err := s.o.To.Latest(ctx, shard)
	if err != nil || end.Offset <= c.Offset {
		return err
	}
	r, err := s.o.To.Reader(ctx, shard, c)
	if err != nil {
		return err
	}
	defer r.Close()
	r.KeepReferences()
	for r.Cursor().Offset < end.Offset {
		e, ok, err := r.Poll(ctx)
		var damaged *stream.DamagedError
		if errors.As(err, &damaged) {
			s.o.Logger.Warn("the stream lacks records of the time of an announcement; rows that were among them are appended again", "error", err)
			continue
		}
		if err != nil || !ok {
			return err
		}
		for i := range e.Batch.Segments {
			if id := e.Batch.Segments[i].Request; bytes.Equal(id[:requestPrefix], prefix) {
				found[place{binary.BigEndian.Uint32(id[requestPrefix:]), shard}] = true
			}
		}
	}
	if n := r.Expired(); n > 0 {
		s.o.Logger.Warn("retention has taken records of the time of an announcement; rows that were among them are appended again", "records", n)
	}
	return nil
}
