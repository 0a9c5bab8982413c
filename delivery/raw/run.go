package raw

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn/lake"
	"github.com/tarn-data/tarn/stream"
)

// The bounds on what waits for a commit. Beyond them everything is registered, however small (I8).
const (
	maxHeldBytes = 32 << 20 // of memory, over all shards
	maxWaiting   = 200      // ranges
)

// idlePoll is how late new records are noticed.
const idlePoll = 50 * time.Millisecond

// run is one session at work. One goroutine owns it.
type run struct {
	w       *Writer
	session *session
	enc     *zstd.Encoder
	comp    []byte
	shards  []*shard
	files   int
}

// shard is what has been read of one shard and is not registered.
type shard struct {
	id      int
	reader  *stream.Reader
	done    uint64 // committed
	next    uint64 // read
	nextSeq uint64
	began   time.Time // when the first of it was read
	ended   []Object  // ranges before the open object
	paths   []string  // the local files of ended, "" for a gap
	raw     int64     // bytes of records in ended
	open    *open
}

func (r *run) openShard(ctx context.Context, id int, progress []Progress) error {
	s := &shard{id: id}
	var seq uint64
	for _, p := range progress {
		if p.Shard == id {
			s.done, s.next, seq = p.Next, p.Next, p.NextSeq
		}
	}
	var err error
	s.reader, err = r.w.cfg.Stream.Reader(ctx, id, stream.Cursor{Offset: s.next, Seq: seq})
	if err != nil {
		return fmt.Errorf("read shard %d at offset %d: %w", id, s.next, err)
	}
	s.nextSeq = seq
	r.shards = append(r.shards, s)
	return nil
}

// close frees what the session holds; its files stay in the folder, which the next one empties.
func (r *run) close() {
	for _, s := range r.shards {
		s.reader.Close()
		if s.open != nil {
			_ = s.open.file.Close()
		}
	}
	_ = r.enc.Close()
}

// run reads and registers until ctx is done, then registers what was read. work lives longer than ctx.
func (r *run) run(ctx, work context.Context) error {
	for ctx.Err() == nil {
		found, err := r.fill(ctx)
		if err != nil && ctx.Err() == nil {
			return err
		}
		if due := r.due(); len(due) > 0 {
			if err := r.flush(work, due); err != nil {
				return err
			}
		}
		if !found {
			select {
			case <-ctx.Done():
			case <-r.w.wake:
			case <-time.After(idlePoll):
			}
		}
	}
	return r.flush(work, r.shards)
}

// fill reads one message of every shard.
func (r *run) fill(ctx context.Context) (found bool, err error) {
	for _, s := range r.shards {
		e, ok, err := s.reader.Poll(ctx)
		if damage := (*stream.DamagedError)(nil); errors.As(err, &damage) {
			found = true
			r.w.cfg.Logger.Error("records of the stream are damaged and missing from the raw backup", "shard", s.id, "from", damage.From, "next", damage.Next, "error", err)
			if err := r.gap(s, Damaged, damage.Next); err != nil {
				return found, err
			}
			continue
		}
		if err != nil {
			return found, fmt.Errorf("read shard %d: %w", s.id, err)
		}
		if !ok {
			continue
		}
		found = true
		if err := r.take(s, e); err != nil {
			return found, err
		}
	}
	return found, nil
}

// take adds the records of one message from the shard's next offset on.
func (r *run) take(s *shard, e stream.Entry) error {
	at := e.Batch.Base
	if at > s.next {
		r.w.cfg.Logger.Error("retention removed records before they were backed up", "shard", s.id, "records", at-s.next, "from", s.next)
		if err := r.gap(s, Expired, at); err != nil {
			return err
		}
	}
	for i := range e.Batch.Segments {
		seg := &e.Batch.Segments[i]
		end := at + uint64(seg.Count)
		if end > s.next {
			if s.open != nil && !s.open.takes(seg, r.w.cfg.FlushBytes) {
				if err := r.endObject(s); err != nil {
					return err
				}
			}
			if s.open == nil {
				r.files++
				var err error
				path := filepath.Join(r.w.cfg.Dir, strconv.Itoa(r.files)+".zst")
				if s.open, err = create(path, r.enc, &r.comp, s.id, s.next, seg, r.w.cfg.Clock()); err != nil {
					return err
				}
				s.start(s.open.began)
			}
			if err := s.open.add(seg, int(s.next-at)); err != nil {
				return err
			}
			s.next = end
		}
		at = end
	}
	s.nextSeq = e.Seq
	return nil
}

// gap notes that the offsets up to next are not to be had.
func (r *run) gap(s *shard, form Form, next uint64) error {
	if next <= s.next {
		return nil
	}
	if err := r.endObject(s); err != nil {
		return err
	}
	s.start(r.w.cfg.Clock())
	s.ended = append(s.ended, Object{Shard: s.id, First: s.next, Next: next, Form: form})
	s.paths = append(s.paths, "")
	s.next = next
	return nil
}

func (s *shard) start(now time.Time) {
	if s.began.IsZero() {
		s.began = now
	}
}

// endObject closes the open object, if there is one.
func (r *run) endObject(s *shard) error {
	if s.open == nil {
		return nil
	}
	o := s.open
	s.open = nil
	if err := o.close(r.w.archive.stream); err != nil {
		return err
	}
	s.ended = append(s.ended, o.Object)
	s.paths = append(s.paths, o.path)
	s.raw += o.RawBytes
	return nil
}

// due returns the shards that should be registered now.
func (r *run) due() []*shard {
	var due []*shard
	held, ranges := 0, 0
	var waiting int64
	for _, s := range r.shards {
		bytes := s.raw
		if s.open != nil {
			bytes += s.open.RawBytes + int64(len(s.open.buf))
			held += s.open.held()
		}
		waiting += bytes
		ranges += len(s.ended)
		if s.next == s.done {
			continue
		}
		if bytes >= r.w.cfg.FlushBytes || r.w.cfg.Clock().Sub(s.began) >= r.w.cfg.FlushInterval || r.w.wanted(s.id, s.done, s.next) {
			due = append(due, s)
		}
	}
	r.w.waiting(waiting)
	if held > maxHeldBytes || ranges > maxWaiting {
		return r.shards
	}
	return due
}

// flush makes the objects of shards durable, then registers them.
func (r *run) flush(ctx context.Context, shards []*shard) error {
	began := time.Now()
	var moves []advance
	var objects []Object
	var files []lake.Local
	for _, s := range shards {
		if err := r.endObject(s); err != nil {
			return err
		}
		if len(s.ended) == 0 {
			continue
		}
		moves = append(moves, advance{shard: s.id, nextSeq: s.nextSeq, ranges: s.ended})
		for i, o := range s.ended {
			if !o.Gap() {
				objects = append(objects, o)
				files = append(files, lake.Local{Key: o.Key, Path: s.paths[i]})
			}
		}
	}
	if len(moves) == 0 {
		return nil
	}
	if len(files) > 0 {
		if err := r.session.claim(ctx, objects); err != nil {
			return fmt.Errorf("announce raw objects: %w", err)
		}
		if err := lake.PutFiles(ctx, r.w.cfg.Bucket, files); err != nil { // I4: durable before a row names them
			return fmt.Errorf("store raw objects: %w", err)
		}
	}
	if err := r.session.register(ctx, moves); err != nil {
		return fmt.Errorf("register raw objects: %w", err)
	}
	r.registered(shards, moves, objects, time.Since(began))
	return nil
}

// registered notes a commit.
func (r *run) registered(shards []*shard, moves []advance, objects []Object, took time.Duration) {
	for _, s := range shards {
		s.done, s.began, s.ended, s.paths, s.raw = s.next, time.Time{}, nil, nil, 0
	}
	var records, rawBytes, bytes int64
	for _, o := range objects {
		records, rawBytes, bytes = records+o.Records, rawBytes+o.RawBytes, bytes+o.Bytes
	}
	r.w.flushed(r.shards, len(objects), bytes)
	m := r.w.cfg.Metrics
	if m.Written != nil && len(objects) > 0 {
		m.Written(len(objects), records, rawBytes, bytes, took)
	}
	for _, move := range moves {
		for _, o := range move.ranges {
			if m.Lost != nil && o.Gap() {
				m.Lost(o.Form, o.Next-o.First)
			}
		}
	}
	r.w.cfg.Logger.Debug("raw objects registered", "objects", len(objects), "records", records, "bytes", bytes, "took", took)
}
