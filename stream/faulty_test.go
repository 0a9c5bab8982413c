package stream_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tarn-data/tarn/stream"
)

var (
	errLost    = errors.New("the message was lost on its way")
	errUnknown = errors.New("no acknowledgement in time")
)

// faultyEngine wraps a real engine: its logs lose messages, lose acknowledgements of messages that
// were written, write some of them late, and fail to read.
type faultyEngine struct {
	stream.Engine
	shared bool // Exclusive reports false

	mu    sync.Mutex
	rng   *rand.Rand // nil: no faults
	held  chan struct{}
	late  sync.WaitGroup
	count map[string]int
}

func (e *faultyEngine) Exclusive() bool { return !e.shared && e.Engine.Exclusive() }

// hold keeps all appends until letGo.
func (e *faultyEngine) hold() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held = make(chan struct{})
}

func (e *faultyEngine) letGo() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.held)
	e.held = nil
}

// pick returns the fault of the next call of that kind, "" for none.
func (e *faultyEngine) pick(chance float64, faults ...string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.rng == nil || e.rng.Float64() >= chance {
		return ""
	}
	f := faults[e.rng.IntN(len(faults))]
	if e.count == nil {
		e.count = map[string]int{}
	}
	e.count[f]++
	return f
}

func (e *faultyEngine) Open(ctx context.Context, cfg stream.LogConfig) (stream.Log, error) {
	l, err := e.Engine.Open(ctx, cfg)
	return &faultyLog{Log: l, e: e}, err
}

type faultyLog struct {
	stream.Log
	e *faultyEngine
}

func (l *faultyLog) Append(msg []byte, expect uint64, keyed bool) <-chan stream.AppendResult {
	out := make(chan stream.AppendResult, 1)
	l.e.mu.Lock()
	held := l.e.held
	l.e.mu.Unlock()
	if held != nil {
		msg = append([]byte(nil), msg...)
		go func() {
			<-held
			out <- <-l.Log.Append(msg, expect, keyed)
		}()
		return out
	}
	switch l.e.pick(0.3, "lost", "lost", "unknown", "unknown", "late", "conflict") {
	case "lost":
		out <- stream.AppendResult{Err: errLost}
	case "unknown":
		<-l.Log.Append(msg, expect, keyed)
		out <- stream.AppendResult{Err: errUnknown}
	case "late":
		msg = append([]byte(nil), msg...)
		l.e.late.Go(func() {
			time.Sleep(time.Duration(rand.IntN(30)) * time.Millisecond)
			<-l.Log.Append(msg, expect, keyed)
		})
		out <- stream.AppendResult{Err: errUnknown}
	case "conflict":
		out <- stream.AppendResult{Err: stream.ErrConflict}
	default:
		return l.Log.Append(msg, expect, keyed)
	}
	return out
}

func (l *faultyLog) Get(ctx context.Context, seq uint64) (stream.Message, error) {
	if l.e.pick(0.1, "get") != "" {
		return stream.Message{}, errUnknown
	}
	return l.Log.Get(ctx, seq)
}

func (l *faultyLog) Last(ctx context.Context) (stream.Message, error) {
	if l.e.pick(0.1, "last") != "" {
		return stream.Message{}, errUnknown
	}
	return l.Log.Last(ctx)
}
