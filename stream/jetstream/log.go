package jetstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tarn-data/tarn/stream"
)

// log is one JetStream stream. It has two subjects, so that keyed messages can be found without
// reading the others.
type log struct {
	e       *Engine
	name    string
	subject string // of messages without key
	keyed   string

	dir   string        // of the message files of an embedded server, or ""
	acked atomic.Uint64 // last sequence that is known to be durable
	first atomic.Uint64 // first sequence, as far as is known
}

// streamConfig is the part of a JetStream stream's configuration that Tarn sets.
type streamConfig struct {
	Name        string        `json:"name"`
	Subjects    []string      `json:"subjects"`
	Retention   string        `json:"retention"`
	Storage     string        `json:"storage"`
	Discard     string        `json:"discard"`
	MaxBytes    int64         `json:"max_bytes"`
	MaxMsgs     int64         `json:"max_msgs"`
	MaxMsgSize  int           `json:"max_msg_size"`
	Replicas    int           `json:"num_replicas"`
	Duplicates  time.Duration `json:"duplicate_window"`
	AllowDirect bool          `json:"allow_direct"`
	DenyDelete  bool          `json:"deny_delete"`
}

// Open implements stream.Engine.
func (e *Engine) Open(ctx context.Context, cfg stream.LogConfig) (stream.Log, error) {
	l := &log{e: e, name: e.name(cfg.LogID)}
	l.subject = fmt.Sprintf("%s.%s.%d.records", e.prefix, cfg.Stream, cfg.Shard)
	l.keyed = fmt.Sprintf("%s.%s.%d.keyed", e.prefix, cfg.Stream, cfg.Shard)
	want := streamConfig{
		Name: l.name, Subjects: []string{l.subject, l.keyed},
		Retention: "limits", Storage: "file", Discard: "old",
		MaxBytes: -1, MaxMsgs: -1, MaxMsgSize: -1,
		Replicas: e.replicas, Duplicates: duplicateWindow,
		AllowDirect: true, DenyDelete: true,
	}
	if cfg.MaxBytes > 0 {
		want.MaxBytes = cfg.MaxBytes
	}
	err := e.api(ctx, "STREAM.CREATE."+l.name, want, nil)
	if isAPIError(err, codeNameInUse) {
		err = e.api(ctx, "STREAM.UPDATE."+l.name, want, nil)
	}
	if err != nil {
		return nil, fmt.Errorf("open log %s: %w", l.name, err)
	}
	if e.server != nil {
		st, err := l.State(ctx)
		if err != nil {
			return nil, fmt.Errorf("open log %s: %w", l.name, err)
		}
		l.acked.Store(st.LastSeq)
		l.dir = filepath.Join(e.server.StoreDir(), server.DEFAULT_GLOBAL_ACCOUNT, "streams", l.name, "msgs")
	}
	return l, nil
}

// Append implements stream.Log.
func (l *log) Append(msg []byte, expectLast uint64, keyed bool) <-chan stream.AppendResult {
	subject := l.subject
	if keyed {
		subject = l.keyed
	}
	reply, out := l.e.acks.expect(l.e.ackTimeout, &l.acked)
	err := l.e.writes.PublishMsg(&nats.Msg{
		Subject: subject, Reply: reply, Data: msg,
		Header: nats.Header{"Nats-Expected-Last-Sequence": []string{strconv.FormatUint(expectLast, 10)}},
	})
	if errors.Is(err, nats.ErrMaxPayload) {
		err = fmt.Errorf("%w: %w", stream.ErrRefused, err)
	}
	if err != nil {
		l.e.acks.resolve(reply, stream.AppendResult{Err: err})
	}
	return out
}

// Get implements stream.Log. A direct get is answered by any replica, which may be behind; the
// other request only by the leader.
func (l *log) Get(ctx context.Context, seq uint64) (stream.Message, error) {
	if l.e.replicas == 1 {
		return l.direct(ctx, fmt.Appendf(nil, `{"seq":%d}`, seq))
	}
	var r struct {
		Message struct {
			Seq  uint64
			Time time.Time
			Data []byte
		}
	}
	err := l.e.api(ctx, "STREAM.MSG.GET."+l.name, map[string]any{"seq": seq}, &r)
	if isAPIError(err, codeNoMessage) {
		err = stream.ErrNotFound
	}
	return stream.Message{Seq: r.Message.Seq, Time: r.Message.Time, Data: r.Message.Data}, err
}

// direct asks for one message with a direct get.
func (l *log) direct(ctx context.Context, request []byte) (stream.Message, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, apiTimeout)
		defer cancel()
	}
	for {
		msg, err := l.e.reads.RequestWithContext(ctx, "$JS.API.DIRECT.GET."+l.name, request)
		if err == nil {
			return directMessage(msg)
		}
		if ctx.Err() != nil || l.e.server != nil {
			return stream.Message{}, fmt.Errorf("jetstream: get from %s: %w", l.name, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// directMessage reads the answer to a direct get.
func directMessage(msg *nats.Msg) (stream.Message, error) {
	if status := msg.Header.Get("Status"); status != "" {
		if status == strconv.Itoa(http.StatusNotFound) {
			return stream.Message{}, stream.ErrNotFound
		}
		return stream.Message{}, fmt.Errorf("jetstream: direct get: %s %s", status, msg.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return stream.Message{}, fmt.Errorf("jetstream: direct get: %w", err)
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Nats-Time-Stamp"))
	return stream.Message{Seq: seq, Time: at, Data: msg.Data}, err
}

// Last implements stream.Log.
func (l *log) Last(ctx context.Context) (stream.Message, error) {
	for {
		st, err := l.State(ctx)
		if err != nil {
			return stream.Message{}, err
		}
		if st.Messages == 0 {
			return stream.Message{}, stream.ErrNotFound
		}
		msg, err := l.Get(ctx, st.LastSeq)
		if !errors.Is(err, stream.ErrNotFound) {
			return msg, err
		}
		// Retention by size may have dropped it for one that is newer.
		if now, err := l.State(ctx); err != nil || now.LastSeq == st.LastSeq {
			return stream.Message{Seq: st.LastSeq}, err
		}
	}
}

// SeqAt implements stream.Log.
func (l *log) SeqAt(ctx context.Context, t time.Time) (uint64, error) {
	msg, err := l.direct(ctx, fmt.Appendf(nil, `{"start_time":%q,"next_by_subj":">"}`, t.UTC().Format(time.RFC3339Nano)))
	return msg.Seq, err
}

// State implements stream.Log.
func (l *log) State(ctx context.Context) (stream.LogState, error) {
	var r struct {
		State struct {
			Messages  uint64
			Bytes     uint64
			FirstSeq  uint64    `json:"first_seq"`
			FirstTime time.Time `json:"first_ts"`
			LastSeq   uint64    `json:"last_seq"`
			LastTime  time.Time `json:"last_ts"`
		}
	}
	if err := l.e.api(ctx, "STREAM.INFO."+l.name, struct{}{}, &r); err != nil {
		return stream.LogState{}, err
	}
	s := r.State
	out := stream.LogState{
		FirstSeq: s.FirstSeq, LastSeq: s.LastSeq, Messages: s.Messages, Bytes: s.Bytes,
		FirstTime: s.FirstTime, LastTime: s.LastTime,
	}
	if out.Messages == 0 {
		out.FirstSeq = out.LastSeq + 1
	}
	raise(&l.first, out.FirstSeq)
	return out, nil
}

// Purge implements stream.Log.
func (l *log) Purge(ctx context.Context, seq uint64) error {
	st, err := l.State(ctx)
	if err != nil {
		return err
	}
	if seq = min(seq, st.LastSeq); seq <= st.FirstSeq {
		return nil
	}
	if err := l.e.api(ctx, "STREAM.PURGE."+l.name, map[string]any{"seq": seq}, nil); err != nil {
		return err
	}
	raise(&l.first, seq)
	return nil
}

// raise sets v to at least n.
func raise(v *atomic.Uint64, n uint64) {
	for old := v.Load(); n > old && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}
