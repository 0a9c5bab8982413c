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

	"github.com/tarn-data/tarn"
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

// send appends the rows of an announcement, but for the requests in have. The same announcement gives
// the same requests.
func (s *StreamSink) send(ctx context.Context, a *announcement, have map[place]bool) error {
	prefix, err := hex.DecodeString(a.Request)
	if err != nil || len(prefix) != requestPrefix {
		return fmt.Errorf("the announcement of %s has no request id", s.o.Delivery)
	}
	o, err := s.o.State.Open(ctx, a.Key)
	if err != nil {
		return fmt.Errorf("the rows announced for %s: %w", s.o.Delivery, err)
	}
	defer o.Close()
	lines := bufio.NewReaderSize(o, 256<<10)
	var body []byte
	for number := uint32(0); ; number++ {
		body, err = piece(lines, body[:0], a.Bytes)
		if err != nil {
			return err
		}
		if len(body) == 0 {
			return nil
		}
		framed, err := record.Frame(body, record.KindNDJSON, record.FrameOptions{Shards: a.Shards, Shard: int(number), KeyPath: a.KeyPath, Arrival: a.Arrival,
			Limits: record.Limits{RecordBytes: s.o.To.MaxMessage() / 2, BodyBytes: len(body) + 1}})
		if err != nil {
			return err
		}
		if framed.RejectedTotal > 0 {
			s.o.Logger.Error("rows fit no record of the stream and are left out", "rows", framed.RejectedTotal, "first", framed.Rejected[0].Detail)
		}
		for _, p := range framed.Parts {
			if have[place{number, p.Shard}] {
				continue
			}
			seg := p.Segment
			seg.Request = record.RequestID(binary.BigEndian.AppendUint32(prefix[:requestPrefix:requestPrefix], number))
			if err := s.appendPatiently(ctx, p.Shard, seg); err != nil {
				return err
			}
		}
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
