package server

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// TailDoc is one line of GET /v1/streams/{name}/records. Exactly one of Record, RecordBase64 and
// Damaged is set.
type TailDoc struct {
	Position     tarn.Position   `json:"position"`
	Arrival      time.Time       `json:"arrival"`
	Key          string          `json:"key,omitempty" doc:"The partition key the producer gave"`
	Record       json.RawMessage `json:"record,omitempty" doc:"The record, when it is JSON"`
	RecordBase64 string          `json:"record_base64,omitempty" doc:"The record's bytes, when it is not"`
	Damaged      string          `json:"damaged,omitempty" doc:"Says which records from this position on cannot be read"`
}

// tailRequest is what the query string asks for.
type tailRequest struct {
	shard  int    // -1 means all
	from   string // earliest, latest, "" with at, back or offset set
	at     time.Time
	back   uint64 // so many records before the end
	offset *uint64
	limit  int // 0 means no limit
	follow bool
}

const fromHint = "write earliest, latest, a time such as 2026-11-20T03:00:00Z, a position such as 0:1842, or -10 for ten records before the end"

func parseTail(q url.Values) (tailRequest, error) {
	t := tailRequest{shard: -1, limit: 100}
	bad := func(name, hint string) (tailRequest, error) {
		return t, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter " + name + "=" + strconv.Quote(clip(q.Get(name))) + " is not usable", Hint: hint}
	}
	for name := range q {
		if !slices.Contains([]string{"shard", "from", "limit", "follow"}, name) {
			return t, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the parameter " + strconv.Quote(clip(name)) + " is not known here", Hint: "there are shard, from, limit and follow"}
		}
	}
	var err error
	if v := q.Get("shard"); v != "" {
		if t.shard, err = strconv.Atoi(v); err != nil || t.shard < 0 {
			return bad("shard", "write the number of a shard, from 0")
		}
	}
	if v := q.Get("limit"); v != "" {
		if t.limit, err = strconv.Atoi(v); err != nil || t.limit < 0 {
			return bad("limit", "write how many records at most, 0 for no limit")
		}
	}
	if v := q.Get("follow"); v != "" {
		if t.follow, err = strconv.ParseBool(v); err != nil {
			return bad("follow", "write true or false")
		}
	}
	from := q.Get("from")
	switch {
	case from == "":
		t.from = "earliest"
	case from == "earliest" || from == "latest":
		t.from = from
	case from[0] == '-':
		if t.back, err = strconv.ParseUint(from[1:], 10, 32); err != nil {
			return bad("from", fromHint)
		}
	default:
		if p, perr := tarn.ParsePosition(from); perr == nil {
			if t.shard >= 0 && t.shard != p.Shard {
				return bad("from", "the position is in another shard than shard="+q.Get("shard"))
			}
			t.shard, t.offset = p.Shard, &p.Offset
		} else if t.at, err = time.Parse(time.RFC3339Nano, from); err != nil {
			return bad("from", fromHint)
		}
	}
	return t, nil
}

func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

// tail streams records of a stream as NDJSON.
func (s *Server) tail(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	st, ok := s.opts.Stream(name)
	if !ok {
		s.problems.Write(w, r, NotFound("stream", clip(name), nil))
		return
	}
	req, err := parseTail(r.URL.Query())
	var readers []*tailReader
	if err == nil {
		readers, err = openTail(r.Context(), st, req)
	}
	if err != nil {
		s.problems.Write(w, r, err)
		return
	}
	defer func() {
		for _, t := range readers {
			t.r.Close()
		}
	}()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := &tailWriter{w: w, left: req.limit, unlimited: req.limit == 0}
	if req.follow {
		err = follow(r.Context(), out, readers)
	} else {
		err = readAll(r.Context(), out, readers)
	}
	if err != nil && !errors.Is(err, errTailDone) && r.Context().Err() == nil {
		s.opts.Logger.Warn("a tail broke off", "stream", name, "err", err)
		panic(http.ErrAbortHandler) // the client must see that this is not the end
	}
}

// tailReader reads one shard.
type tailReader struct {
	shard int
	r     *stream.Reader
	from  uint64 // records before it are skipped
	end   uint64 // offset after the last record there was at the beginning
}

func openTail(ctx context.Context, st *stream.Stream, req tailRequest) (readers []*tailReader, err error) {
	defer func() {
		if err != nil {
			for _, t := range readers {
				t.r.Close()
			}
		}
	}()
	if req.shard >= st.Shards() {
		return nil, &tarn.Error{Code: tarn.CodeNotFound, Detail: "stream " + st.Name() + " has no shard " + strconv.Itoa(req.shard), Hint: "its shards are 0 to " + strconv.Itoa(st.Shards()-1)}
	}
	for shard := range st.Shards() {
		if req.shard >= 0 && shard != req.shard {
			continue
		}
		from, end, err := req.cursor(ctx, st, shard)
		if err != nil {
			return readers, err
		}
		r, err := st.Reader(ctx, shard, from)
		if err != nil {
			return readers, err
		}
		readers = append(readers, &tailReader{shard: shard, r: r, from: from.Offset, end: end})
	}
	return readers, nil
}

// cursor returns where to begin in a shard, and where it ends now.
func (t tailRequest) cursor(ctx context.Context, st *stream.Stream, shard int) (from stream.Cursor, end uint64, err error) {
	last, err := st.Latest(ctx, shard)
	if err != nil {
		return from, 0, err
	}
	switch {
	case t.from == "latest":
		return last, last.Offset, nil
	case t.offset != nil:
		if *t.offset > last.Offset {
			return from, 0, &tarn.Error{Code: tarn.CodeInvalid, Detail: "the position " + tarn.Position{Shard: shard, Offset: *t.offset}.String() + " is past the end",
				Hint: "the next record will be at " + tarn.Position{Shard: shard, Offset: last.Offset}.String()}
		}
		return stream.Cursor{Offset: *t.offset}, last.Offset, nil
	case t.at.Year() > 2200: // nothing is that late, and nanoseconds since 1970 do not reach it
		return last, last.Offset, nil
	case t.at.Year() > 1970:
		from, err = st.Seek(ctx, shard, t.at)
		return from, last.Offset, err
	}
	first, err := st.Earliest(ctx, shard)
	if err != nil || t.from == "earliest" || !t.at.IsZero() {
		return first, last.Offset, err
	}
	return stream.Cursor{Offset: max(first.Offset, last.Offset-min(t.back, last.Offset))}, last.Offset, nil
}

// readAll writes what the shards hold now, one after the other.
func readAll(ctx context.Context, out *tailWriter, readers []*tailReader) error {
	for _, t := range readers {
		for t.r.Cursor().Offset < t.end {
			e, ok, err := t.r.Poll(ctx)
			if err == nil && !ok {
				break
			}
			if err = out.entry(t, e, err); err != nil {
				return err
			}
		}
	}
	return out.flush()
}

// follow writes what the shards hold and what comes, until the limit, the client or the server ends it.
func follow(ctx context.Context, out *tailWriter, readers []*tailReader) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	out.push = true
	if err := out.flush(); err != nil { // the header, so that the client knows it is connected
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-draining(ctx):
			stop(errTailDone)
		case <-ctx.Done():
		}
	})
	for _, t := range readers {
		wg.Go(func() {
			for {
				e, err := t.r.Next(ctx)
				if err = out.entry(t, e, err); err != nil {
					stop(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// errTailDone ends a tail at its limit, and with the server.
var errTailDone = errors.New("the tail is done")

// tailWriter encodes entries. It is safe for concurrent use.
type tailWriter struct {
	mu        sync.Mutex
	w         http.ResponseWriter
	buf       []byte
	left      int
	unlimited bool
	push      bool // flush after every entry
}

// entry writes the records of e, or what err says when records are damaged.
func (o *tailWriter) entry(t *tailReader, e stream.Entry, err error) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	var damaged *stream.DamagedError
	if errors.As(err, &damaged) {
		o.line(TailDoc{Position: tarn.Position{Shard: t.shard, Offset: damaged.From}, Damaged: strconv.FormatUint(damaged.Next-damaged.From, 10) + " records cannot be read"})
		return o.write()
	}
	if err != nil {
		return err
	}
	offset := e.Batch.Base
	for i := range e.Batch.Segments {
		seg := &e.Batch.Segments[i]
		if offset+uint64(seg.Count) <= t.from {
			offset += uint64(seg.Count)
			continue
		}
		for _, rec := range seg.Records() {
			if offset >= t.from {
				if !o.unlimited {
					if o.left == 0 {
						break
					}
					o.left--
				}
				o.record(tarn.Position{Shard: t.shard, Offset: offset}, seg, rec)
			}
			offset++
		}
	}
	if err := o.write(); err != nil {
		return err
	}
	if !o.unlimited && o.left == 0 {
		if err := o.flushLocked(); err != nil {
			return err
		}
		return errTailDone
	}
	return nil
}

// record appends one line without decoding the record.
func (o *tailWriter) record(p tarn.Position, seg *record.Segment, rec []byte) {
	b := append(o.buf, `{"position":"`...)
	b = append(b, p.String()...)
	b = append(b, `","arrival":"`...)
	b = seg.Arrival.UTC().AppendFormat(b, time.RFC3339Nano)
	b = append(b, '"')
	if seg.Key != "" {
		key, _ := json.Marshal(seg.Key) // strings always marshal
		b = append(append(b, `,"key":`...), key...)
	}
	if seg.Format == record.JSON {
		b = append(b, `,"record":`...)
		b = record.AppendNDJSON(b, rec)
		b = append(b[:len(b)-1], '}', '\n')
	} else {
		b = append(b, `,"record_base64":"`...)
		b = base64.StdEncoding.AppendEncode(b, rec)
		b = append(b, '"', '}', '\n')
	}
	o.buf = b
	if len(o.buf) >= 256<<10 {
		_ = o.write() // the error comes back with the next write
	}
}

func (o *tailWriter) line(d TailDoc) {
	b, _ := json.Marshal(d) // has nothing that does not marshal
	o.buf = append(append(o.buf, b...), '\n')
}

func (o *tailWriter) write() error {
	_, err := o.w.Write(o.buf)
	o.buf = o.buf[:0]
	if err == nil && o.push {
		err = o.flushLocked()
	}
	return err
}

func (o *tailWriter) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushLocked()
}

func (o *tailWriter) flushLocked() error { return http.NewResponseController(o.w).Flush() }
