package httpdoor

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/internal/telemetry"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// Streams finds the streams that the door serves. It is asked on every request, concurrently.
type Streams interface {
	Lookup(name string) (Target, bool)
}

// Target is one stream as the door sees it.
type Target struct {
	Stream  *stream.Stream
	Shards  int           // that records are spread over; 0 means all of the stream
	Records Records       // what the pipeline takes
	KeyPath string        // dotted path of the partition key within a record, may be empty
	Limits  record.Limits // zero fields take the defaults of package record
}

// Records says what records a stream takes.
type Records uint8

// The kinds of records.
const (
	RecordsAny    Records = iota // what the content type says
	RecordsJSON                  // JSON objects; a body of something else is refused
	RecordsOpaque                // every body is one opaque record, whatever its type
)

// Options make a Handler.
type Options struct {
	Streams Streams // required
	// Problem answers a request with an error. Required: package server has the one mapping of
	// codes to statuses.
	Problem func(http.ResponseWriter, *http.Request, error)
	Metrics *telemetry.Metrics // required
	// MemoryBytes bounds what all bodies in flight hold together (I8). 0 means 256 MiB.
	MemoryBytes int64
	// Admit is asked before every request; its error is the answer. nil admits all.
	Admit func() error
	// Now is the clock of arrival times and of the idempotency window. nil means time.Now.
	Now func() time.Time
}

// Handler answers POST /v1/streams/{stream}/records; the mux provides the path value. It is safe
// for concurrent use and holds nothing to close.
type Handler struct {
	o       Options
	buffers buffers
	gzips   sync.Pool // *gzip.Reader
	zstd    *zstd.Decoder
	answers answers
	seed    maphash.Seed

	bodyBase time.Duration
	perName  sync.Map // stream name → *door
}

// door is what the handler keeps per stream.
type door struct {
	metrics *telemetry.Ingest
	turn    atomic.Uint32 // shard of the next request without a key
}

// New returns the handler. It starts nothing.
func New(o Options) (*Handler, error) {
	if o.Streams == nil || o.Problem == nil || o.Metrics == nil {
		return nil, errors.New("httpdoor: Streams, Problem and Metrics are required")
	}
	if o.MemoryBytes == 0 {
		o.MemoryBytes = 256 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderConcurrency(0))
	if err != nil {
		return nil, err
	}
	h := &Handler{o: o, zstd: dec, seed: maphash.MakeSeed(), bodyBase: bodyBase}
	h.buffers.budget.limit = o.MemoryBytes
	return h, nil
}

// BodyBytes returns the bytes that bodies in flight hold now.
func (h *Handler) BodyBytes() int64 { return h.buffers.budget.used.Load() }

// ServeHTTP answers one request. The answer 200 is written only when every accepted record is
// durable (I1).
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := h.o.Now()
	name := r.PathValue("stream")
	if r.Header.Get("Expect") != "" && r.Body != nil {
		body := r.Body
		r = r.WithContext(r.Context()) // a copy: net/http looks at the body of its own
		r.Body = &lazyBody{ReadCloser: body}
	}
	target, ok := h.o.Streams.Lookup(name)
	if ok && target.Shards == 0 {
		target.Shards = target.Stream.Shards()
	}
	if !ok {
		h.refuse(w, r, &tarn.Error{Code: tarn.CodeNotFound, Detail: "there is no stream " + strconv.Quote(clip(name)), Hint: "GET /v1/streams lists them"})
		return
	}
	d := h.door(name)
	done, err := h.accept(w, r, name, target, d, start)
	if err != nil {
		d.metrics.Refused(string(tarn.CodeOf(err)), done.rejected)
		h.refuse(w, r, err)
		return
	}
	d.metrics.Accepted(done.accepted, done.rejected, done.bytes, h.o.Now().Sub(start))
}

func (h *Handler) door(name string) *door {
	if d, ok := h.perName.Load(name); ok {
		return d.(*door)
	}
	d, _ := h.perName.LoadOrStore(name, &door{metrics: h.o.Metrics.Ingest(name)})
	return d.(*door)
}

// outcome is what one request added, for the metrics. A replayed answer added nothing.
type outcome struct{ accepted, rejected, bytes int }

func (h *Handler) accept(w http.ResponseWriter, r *http.Request, name string, t Target, d *door, now time.Time) (outcome, error) {
	if h.o.Admit != nil {
		if err := h.o.Admit(); err != nil {
			return outcome{}, err
		}
	}
	env, err := readEnvelope(r, t.Records)
	if err != nil {
		return outcome{}, err
	}
	limit := t.Limits.BodyBytes
	if limit <= 0 {
		limit = record.DefaultBodyBytes
	}
	body, err := h.read(w, r, limit)
	if err != nil {
		return outcome{}, err
	}
	if body, err = h.decode(body, env.coding, limit); err != nil {
		return outcome{}, err
	}
	defer func() {
		h.buffers.release(body)
		h.o.Metrics.IngestBodyBytes.Set(float64(h.BodyBytes()))
	}()
	h.o.Metrics.IngestBodyBytes.Set(float64(h.BodyBytes()))
	if env.idempotency == "" {
		a, done, err := h.store(r.Context(), t, d, env, body, now)
		if err == nil {
			writeAnswer(w, a, false)
		}
		return done, err
	}
	return h.storeOnce(w, r, name, t, d, env, body, now)
}

// storeOnce stores the body unless the same key did before, and answers what that answered.
func (h *Handler) storeOnce(w http.ResponseWriter, r *http.Request, name string, t Target, d *door, env envelope, body *buffer, now time.Time) (outcome, error) {
	e, first, err := h.answers.begin(r.Context(), name+"\x00"+env.idempotency, fingerprint(h.seed, env, body.b), h.o.Now)
	if err != nil {
		return outcome{}, err
	}
	if !first {
		writeAnswer(w, e.answer, true)
		return outcome{}, nil
	}
	var a []byte
	defer func() { h.answers.finish(e, a) }() // also when a panic passes, or repeats would wait for ever
	a, done, err := h.store(r.Context(), t, d, env, body, now)
	if err == nil {
		writeAnswer(w, a, false)
	}
	return done, err
}

// store frames the body, appends it and returns the answer.
func (h *Handler) store(ctx context.Context, t Target, d *door, env envelope, body *buffer, now time.Time) ([]byte, outcome, error) {
	kind, err := kindOf(env.content, t.Records, body.b)
	if err != nil {
		return nil, outcome{}, err
	}
	limits := t.Limits
	if kind != record.KindOpaque {
		limits.BodyBytes = endLine(body, limits.BodyBytes)
	}
	if n := copied(kind, t, env.key, body.b); n > 0 {
		if !h.buffers.budget.take(n) { // I8
			return nil, outcome{}, errBusy
		}
		defer h.buffers.budget.give(n)
	}
	framed, err := record.Frame(body.b, kind, record.FrameOptions{
		Limits: limits, Shards: t.Shards, Shard: h.shard(t, d, env.idempotency), Key: env.key, KeyPath: t.KeyPath,
		Arrival: now.UTC().Truncate(time.Microsecond),
	})
	if err != nil {
		return nil, outcome{}, err
	}
	if framed.Accepted == 0 {
		return nil, outcome{rejected: framed.RejectedTotal}, nothingAccepted(&framed)
	}
	acks, err := appendParts(ctx, t.Stream, framed.Parts, env.idempotency)
	if err != nil {
		return nil, outcome{}, err
	}
	done := outcome{accepted: framed.Accepted, rejected: framed.RejectedTotal, bytes: len(body.b)}
	return encodeAnswer(&framed, acks), done, nil
}

// shard is where records without a key go: all of a request to one shard, requests in turn. An
// idempotent request must find the shard again that it went to at first.
func (h *Handler) shard(t Target, d *door, idempotency string) int {
	switch {
	case t.Shards <= 1:
		return 0
	case idempotency != "":
		return record.ShardOf(idempotency, t.Shards)
	}
	return int(d.turn.Add(1) % uint32(t.Shards))
}

// kindOf says how to frame a body.
func kindOf(c content, takes Records, body []byte) (record.Kind, error) {
	switch c {
	case contentOpaque:
		return record.KindOpaque, nil
	case contentLines:
		return record.KindNDJSON, nil
	case contentJSON:
		return record.KindAuto, nil
	}
	first := firstByte(body)
	switch {
	case first == '{' || first == '[' || first == 0 || takes == RecordsJSON:
		return record.KindAuto, nil
	case c == contentText:
		return record.KindOpaque, nil
	}
	return 0, &tarn.Error{Code: tarn.CodeUnsupported, Detail: "the body does not look like JSON and has no content type that says what it is", Hint: typesHint}
}

// copied returns how many bytes framing will need for a copy of the records: none where their lines
// stay as they are in the body.
func copied(k record.Kind, t Target, key string, body []byte) int64 {
	switch {
	case k == record.KindOpaque, t.Shards > 1 && t.KeyPath != "" && key == "", firstByte(body) == '[':
		return int64(len(body))
	}
	return 0
}

// firstByte returns the first byte of a body that is not blank, 0 when there is none.
func firstByte(body []byte) byte {
	if len(body) >= 3 && body[0] == 0xef && body[1] == 0xbb && body[2] == 0xbf {
		body = body[3:]
	}
	for _, c := range body {
		if c != ' ' && c != '\n' && c != '\r' && c != '\t' {
			return c
		}
	}
	return 0
}

// endLine ends the body with a newline, which spares framing a copy of it, and returns the body
// limit that allows for it.
func endLine(body *buffer, limit int) int {
	if n := len(body.b); n > 0 && body.b[n-1] != '\n' && n < cap(body.b) {
		body.b = append(body.b, '\n')
	}
	if limit <= 0 {
		limit = record.DefaultBodyBytes
	}
	return limit + 1
}

// appendParts makes all parts durable, each in its shard, at the same time. It returns only when
// no shard reads the body any more. ctx does not cancel it: a request that reached the streams is
// finished, so that a repeat with the same key finds it.
func appendParts(ctx context.Context, s *stream.Stream, parts []record.Part, idempotency string) ([]stream.Ack, error) {
	ctx = context.WithoutCancel(ctx)
	acks := make([]stream.Ack, len(parts))
	if len(parts) == 1 {
		var err error
		acks[0], err = s.Append(ctx, parts[0].Shard, parts[0].Segment, idempotency) // I1
		return acks, err
	}
	errs := make([]error, len(parts))
	var wg sync.WaitGroup
	for i := range parts {
		wg.Go(func() { acks[i], errs[i] = s.Append(ctx, parts[i].Shard, parts[i].Segment, idempotency) }) // I1
	}
	wg.Wait()
	return acks, partial(errs, idempotency)
}

// partial is the error of a request that some shards may have stored and others have not.
func partial(errs []error, idempotency string) error {
	failed := 0
	var first error
	for _, err := range errs {
		if err != nil {
			failed++
			first = cmpError(first, err)
		}
	}
	if failed == 0 || failed == len(errs) {
		return first
	}
	hint := "repeat the request; those shards will store its records again, which an Idempotency-Key would prevent"
	if idempotency != "" {
		hint = "repeat the request with the same Idempotency-Key; nothing is stored twice"
	}
	var e *tarn.Error
	if !errors.As(first, &e) {
		e = &tarn.Error{Code: tarn.CodeUnavailable, Detail: "a shard is not available"}
	}
	return &tarn.Error{Code: e.Code, Detail: fmt.Sprintf("%d of %d shards did not store their records: %s", failed, len(errs), e.Detail), Hint: hint, Err: first}
}

func cmpError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
