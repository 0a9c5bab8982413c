package delivery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/function"
	"github.com/tarn-data/tarn/function/firehose"
	"github.com/tarn-data/tarn/record"
	"github.com/tarn-data/tarn/stream"
)

// Function is a function that every record goes through before anything else is done with it.
type Function struct {
	Name        string
	Host        *function.Host
	Concurrency int           // events on their way at once; default 1
	Records     int           // of one event at most; default 500
	Bytes       int64         // of the records of one event; default 4 MiB
	Wait        time.Duration // how long an event may wait for more records; default 100 ms
	Retries     int           // of an event whose invocation failed
}

func (f Function) withDefaults() Function {
	if f.Concurrency <= 0 {
		f.Concurrency = 1
	}
	if f.Records <= 0 {
		f.Records = 500
	}
	if f.Bytes <= 0 {
		f.Bytes = 4 << 20
	}
	if f.Wait <= 0 {
		f.Wait = 100 * time.Millisecond
	}
	return f
}

// called is a run of one shard's records that has been, or is being, sent through the functions. With
// damage it has no records and stands for some that cannot be read.
type called struct {
	base    uint64 // offset of the first record
	seq     uint64 // of the message that holds the last one
	records []firehose.Record
	skip    []bool // records that are not routed to this delivery; nil for none
	bytes   int64
	begun   time.Time
	damage  *stream.DamagedError

	done chan struct{} // closed when out and err are there
	out  []result
	err  error // why the session cannot go on
}

// result is what the functions made of one record.
type result struct {
	firehose.Result
	data   []byte // with firehose.Ok
	code   tarn.Code
	reason string // with firehose.Failed
}

// caller sends the records of one shard through functions, some events ahead of the gatherer, and hands
// the results out in the order of the records. It belongs to the gatherer's goroutine.
type caller struct {
	w      *Worker
	shard  int
	reader Reader
	next   uint64  // first offset not read yet; what lies before in a message is passed over
	filled *called // being filled
	queue  []*called
	stop   context.CancelFunc
	ctx    context.Context // of the calls; ends with the session
}

func newCaller(w *Worker, shard int, r Reader, next uint64) *caller {
	c := &caller{w: w, shard: shard, reader: r, next: next}
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c
}

// close waits for the calls on their way, whose results nobody wants any more.
func (c *caller) close() {
	c.stop()
	for _, e := range c.queue {
		<-e.done
	}
}

// pollWait bounds how long poll waits for the functions.
const pollWait = 10 * time.Millisecond

// poll returns the next records with their results, or false when there are none yet.
func (c *caller) poll(ctx context.Context) (*called, bool, error) {
	if err := c.read(ctx); err != nil {
		return nil, false, err
	}
	if len(c.queue) == 0 {
		return nil, false, nil
	}
	head := c.queue[0]
	select {
	case <-head.done:
	case <-ctx.Done():
		return nil, false, nil
	case <-time.After(pollWait):
		return nil, false, nil
	}
	c.queue = c.queue[1:]
	return head, true, head.err
}

// read takes messages until enough events are on their way.
func (c *caller) read(ctx context.Context) error {
	first := c.w.cfg.Functions[0]
	for len(c.queue) <= first.Concurrency {
		e, ok, err := c.reader.Poll(ctx)
		var damaged *stream.DamagedError
		if errors.As(err, &damaged) {
			c.send()
			lost := &called{damage: damaged, done: make(chan struct{})}
			close(lost.done)
			c.queue = append(c.queue, lost)
			c.next = max(c.next, damaged.Next)
			continue
		}
		if err != nil {
			return readError{fmt.Errorf("read shard %d: %w", c.shard, err)}
		}
		if !ok {
			if c.filled != nil && time.Since(c.filled.begun) >= first.Wait {
				c.send()
			}
			return nil
		}
		c.take(e, first)
	}
	return nil
}

// take puts the records of a message into events.
func (c *caller) take(e stream.Entry, first Function) {
	at := e.Batch.Base
	if at > c.next { // a gap: the gatherer counts it between two events
		c.send()
		if c.next = at; len(e.Batch.Segments) == 0 {
			passed := &called{base: at, seq: e.Seq, done: make(chan struct{})}
			close(passed.done)
			c.queue = append(c.queue, passed)
		}
	}
	for i := range e.Batch.Segments {
		seg := &e.Batch.Segments[i]
		skipped := !c.w.routed(seg)
		for k, rec := range seg.Records() {
			offset := at + uint64(k)
			if offset < c.next {
				continue
			}
			if f := c.filled; f != nil && (len(f.records) >= first.Records || f.bytes+int64(len(rec)) > first.Bytes) {
				c.send()
			}
			c.add(offset, e.Seq, seg, rec, skipped)
		}
		at += uint64(seg.Count)
	}
	if f := c.filled; f != nil && len(f.records) >= first.Records {
		c.send()
	}
}

func (c *caller) add(offset, seq uint64, seg *record.Segment, rec []byte, skipped bool) {
	if c.filled == nil {
		c.filled = &called{base: offset, begun: time.Now(), done: make(chan struct{})}
	}
	f := c.filled
	f.seq, c.next = seq, offset+1
	if skipped {
		f.skip = append(f.skip, make([]bool, len(f.records)+1-len(f.skip))...)
		f.skip[len(f.records)] = true
	} else {
		f.bytes += int64(len(rec))
	}
	f.records = append(f.records, firehose.Record{Position: tarn.Position{Shard: c.shard, Offset: offset},
		Arrival: seg.Arrival, PartitionKey: seg.Key, Data: clone(rec)})
}

func (e *called) skipped(i int) bool { return i < len(e.skip) && e.skip[i] }

// send starts to call the functions on what has been filled.
func (c *caller) send() {
	e := c.filled
	if e == nil {
		return
	}
	c.filled = nil
	c.queue = append(c.queue, e)
	go func() {
		defer close(e.done)
		e.out, e.err = c.w.call(c.ctx, e)
	}()
}

// call sends records through all functions, one after the other. An error means that the functions
// cannot run at all; what they refuse is in the results.
func (w *Worker) call(ctx context.Context, e *called) ([]result, error) {
	out := make([]result, len(e.records))
	var going []int // records that go on to the next function
	for i := range e.records {
		if e.skipped(i) {
			out[i].Result = firehose.Dropped
			continue
		}
		out[i] = result{Result: firehose.Ok, data: e.records[i].Data}
		going = append(going, i)
	}
	for _, f := range w.cfg.Functions {
		batch := make([]firehose.Record, len(going))
		for k, i := range going {
			batch[k] = e.records[i]
			batch[k].Data = out[i].data
		}
		results, err := w.invoke(ctx, f, batch, f.Retries)
		if err != nil {
			return nil, err
		}
		next := going[:0]
		for k, i := range going {
			if out[i] = results[k]; out[i].Result == firehose.Ok {
				next = append(next, i)
			}
		}
		going = next
	}
	for _, i := range going {
		out[i].data = bytes.TrimSpace(out[i].data)
		if _, err := record.Shape(out[i].data); err != nil {
			out[i] = result{code: tarn.CodeInvalidJSON, reason: "what the function returned is not one JSON object: " + detail(err)}
		}
	}
	return out, nil
}

// retryPause is the pause before the first repeat of an invocation; it doubles with each.
const retryPause = 200 * time.Millisecond

// invoke calls one function on records, as many events as that takes. An invocation that fails is
// repeated; one that goes on failing is halved, so that one record that the code cannot bear does not
// take the others with it, unless the function ran out of time, which halves would do as well.
func (w *Worker) invoke(ctx context.Context, f Function, records []firehose.Record, retries int) ([]result, error) {
	h := firehose.Header{InvocationID: uuid.NewString(), Stream: w.cfg.Source.Name(), Kinesis: true}
	var out []result
	for len(records) > 0 {
		n, size := firehose.Fit(h, records)
		if n == 0 {
			out = append(out, result{code: tarn.CodeTooLarge, reason: fmt.Sprintf("the record has %d bytes, more than an event can carry", len(records[0].Data))})
			records = records[1:]
			continue
		}
		results, err := w.event(ctx, f, h, records[:n], size, retries)
		if err != nil {
			return nil, err
		}
		out, records = append(out, results...), records[n:]
	}
	return out, nil
}

// exchange is memory for one event and its answer, at most 6 MiB each, kept from one invocation to the
// next.
type exchange struct{ event, answer []byte }

// event invokes a function on the records of one event.
func (w *Worker) event(ctx context.Context, f Function, h firehose.Header, records []firehose.Record, size, retries int) ([]result, error) {
	m, ok := w.exchanges.Get().(*exchange)
	if !ok {
		m = &exchange{}
	}
	defer w.exchanges.Put(m)
	m.event = firehose.AppendEvent(slices.Grow(m.event[:0], size), h, records)
	var err error
	for attempt := range retries + 1 {
		if attempt > 0 {
			select {
			case <-ctx.Done():
				return nil, ctx.Err()
			case <-time.After(retryPause << min(attempt-1, 6)):
			}
		}
		var answer []byte
		if answer, err = f.Host.Invoke(ctx, function.Invocation{Payload: m.event, Answer: m.answer, Pipeline: w.cfg.Pipeline}); err == nil {
			m.answer = answer
			var d firehose.Decoder
			var outcomes []firehose.Outcome
			if outcomes, err = d.Decode(answer, records); err == nil {
				return results(outcomes), nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !blamesEvent(err) {
			return nil, err
		}
	}
	var late *function.TimeoutError
	if len(records) == 1 || errors.As(err, &late) {
		return refused(records, err), nil
	}
	mid := len(records) / 2
	a, err := w.invoke(ctx, f, records[:mid], 0)
	if err != nil {
		return nil, err
	}
	b, err := w.invoke(ctx, f, records[mid:], 0)
	return append(a, b...), err
}

// blamesEvent reports whether an invocation failed by what it was given rather than because the
// function cannot run at all, in which case its records wait.
func blamesEvent(err error) bool {
	var start *function.InitError
	switch {
	case errors.As(err, &start), errors.Is(err, function.ErrClosed):
		return false
	}
	switch tarn.CodeOf(err) {
	case tarn.CodeForbidden, tarn.CodeUnavailable, tarn.CodeInternal:
		return false
	}
	return true
}

func results(outcomes []firehose.Outcome) []result {
	out := make([]result, len(outcomes))
	for i, o := range outcomes {
		out[i] = result{Result: o.Result, data: withKeys(o.Data, o.PartitionKeys), code: function.CodeFailed, reason: o.Reason}
	}
	return out
}

// withKeys adds the partition keys that a function gave a record as members of the record, where it
// has no member of that name itself. What is not a JSON object is returned as it is.
func withKeys(data []byte, keys []firehose.PartitionKey) []byte {
	if len(keys) == 0 {
		return data
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil || members == nil {
		return data
	}
	out := bytes.TrimSpace(data)
	out = out[: len(out)-1 : len(out)-1] // without its brace; what follows is copied
	for _, k := range keys {
		if _, ok := members[k.Name]; ok {
			continue
		}
		if len(members) > 0 {
			out = append(out, ',')
		}
		member, _ := json.Marshal(map[string]string{k.Name: k.Value}) // texts only: cannot fail
		out = append(out, member[1:len(member)-1]...)
		members[k.Name] = nil
	}
	return append(out, '}')
}

// refused are the results of records whose invocation failed for good.
func refused(records []firehose.Record, err error) []result {
	reason := detail(err)
	var said *function.FunctionError
	var ended *function.ExitError
	if errors.As(err, &said) {
		reason += ": " + said.Error()
	} else if errors.As(err, &ended) {
		reason += ": " + ended.Status
	}
	out := make([]result, len(records))
	for i := range out {
		out[i] = result{code: tarn.CodeOf(err), reason: reason}
	}
	return out
}
