package httpdoor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"pgregory.net/rapid"

	"github.com/tarn-data/tarn"
	"github.com/tarn-data/tarn/internal/telemetry"
)

type noStreams struct{}

func (noStreams) Lookup(string) (Target, bool) { return Target{}, false }

func newHandler(t testing.TB, memory int64) *Handler {
	h, err := New(Options{Streams: noStreams{}, Problem: func(http.ResponseWriter, *http.Request, error) {}, Metrics: telemetry.New(telemetry.NewRegistry()), MemoryBytes: memory})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func compress(c coding, text []byte) []byte {
	var out bytes.Buffer
	switch c {
	case codingGzip:
		w := gzip.NewWriter(&out)
		_, _ = w.Write(text)
		_ = w.Close()
	case codingZstd:
		w, _ := zstd.NewWriter(&out)
		_, _ = w.Write(text)
		_ = w.Close()
	default:
		out.Write(text)
	}
	return out.Bytes()
}

// FuzzDecode holds that a compressed body, whatever it is, yields its content or a *tarn.Error,
// never more than the limit, and gives all memory back.
func FuzzDecode(f *testing.F) {
	for _, text := range []string{"", "{}\n", string(bytes.Repeat([]byte("{\"a\":1}\n"), 500))} {
		f.Add(compress(codingGzip, []byte(text)), true, 1000)
		f.Add(compress(codingZstd, []byte(text)), false, 1000)
		enc, _ := zstd.NewWriter(nil)
		f.Add(enc.EncodeAll([]byte(text), nil), false, 100_000)
	}
	h := newHandler(f, 64<<20)
	f.Fuzz(func(t *testing.T, body []byte, gz bool, limit int) {
		limit = 1 + (limit%(1<<20)+1<<20)%(1<<20)
		c := codingZstd
		if gz {
			c = codingGzip
		}
		in := h.buffers.lend(len(body))
		in.b = append(in.b, body...)
		out, err := h.decode(in, c, limit)
		if err != nil {
			var known *tarn.Error
			if !errors.As(err, &known) {
				t.Fatalf("%T %v", err, err)
			}
		} else {
			if len(out.b) > limit {
				t.Fatalf("%d bytes over the limit of %d", len(out.b), limit)
			}
			if cap(out.b) == len(out.b) && len(out.b) > 0 {
				t.Fatal("no room for a last newline")
			}
			h.buffers.release(out)
		}
		if n := h.BodyBytes(); n != 0 {
			t.Fatalf("%d bytes are still reserved", n)
		}
	})
}

// TestDecodeRandom compresses random content in every coding, and cuts, doubles and damages it.
func TestDecodeRandom(t *testing.T) {
	h := newHandler(t, 64<<20)
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		text := make([]byte, rapid.SampledFrom([]int{0, 1, 4095, 4096, 65_535, 65_536, 300_000, 1 << 20}).Draw(t, "size"))
		for i := range text {
			text[i] = byte(r.Uint32()&r.Uint32()) & 0x0f // compresses, but not to nothing
		}
		c := coding(rapid.IntRange(int(codingIdentity), int(codingZstd)).Draw(t, "coding"))
		limit := rapid.SampledFrom([]int{len(text), len(text) + 1, max(1, len(text)-1), 4 << 20}).Draw(t, "limit")
		body := compress(c, text)
		in := h.buffers.lend(len(body) + 1)
		in.b = append(in.b, body...)
		out, err := h.decode(in, c, limit)
		switch {
		case c == codingIdentity: // its limit is checked while reading
		case len(text) > limit:
			if tarn.CodeOf(err) != tarn.CodeTooLarge {
				t.Fatalf("%d bytes with the limit %d: %v", len(text), limit, err)
			}
		case err != nil:
			t.Fatal(err)
		}
		if err == nil {
			if !bytes.Equal(out.b, text) {
				t.Fatal("the content differs")
			}
			h.buffers.release(out)
		}
		if n := h.BodyBytes(); n != 0 {
			t.Fatalf("%d bytes are still reserved", n)
		}
	})
}

// TestBudget runs random loans against a model.
func TestBudget(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := &buffers{budget: budget{limit: 1 << 20}}
		var lent []*buffer
		held := int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"lend": func(t *rapid.T) {
				n := rapid.IntRange(0, 1<<19).Draw(t, "n")
				b := s.lend(n)
				if b == nil {
					if size := int64(max(4096, n)); held+2*size <= s.budget.limit {
						t.Fatalf("refused %d with %d of %d held", n, held, s.budget.limit)
					}
					return
				}
				if cap(b.b) < n || len(b.b) != 0 {
					t.Fatalf("wanted %d, got len %d cap %d", n, len(b.b), cap(b.b))
				}
				lent, held = append(lent, b), held+int64(cap(b.b))
			},
			"release": func(t *rapid.T) {
				if len(lent) == 0 {
					t.Skip()
				}
				i := rapid.IntRange(0, len(lent)-1).Draw(t, "i")
				held -= int64(cap(lent[i].b))
				s.release(lent[i])
				lent = append(lent[:i], lent[i+1:]...)
			},
			"": func(t *rapid.T) {
				if s.budget.used.Load() != held || held > s.budget.limit {
					t.Fatalf("%d reserved, %d held, limit %d", s.budget.used.Load(), held, s.budget.limit)
				}
			},
		})
	})
}

// TestAnswersBounded fills the memory of first answers and wants the oldest gone.
func TestAnswersBounded(t *testing.T) {
	var a answers
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	big := make([]byte, 1<<20)
	for i := range 100 {
		e, first, err := a.begin(context.Background(), fmt.Sprint(i), 1, clock)
		if !first || err != nil {
			t.Fatal(i, err)
		}
		a.finish(e, big)
		if a.size > maxAnswerSize+len(big)+10 {
			t.Fatalf("%d bytes remembered", a.size)
		}
	}
	if _, first, _ := a.begin(context.Background(), "99", 1, clock); first {
		t.Error("the newest is forgotten")
	}
	if _, first, _ := a.begin(context.Background(), "0", 1, clock); !first {
		t.Error("the oldest is remembered")
	}
	now = now.Add(answerWindow)
	if _, first, _ := a.begin(context.Background(), "99", 1, clock); !first {
		t.Error("remembered after the window")
	}
}

// TestFailedFirst lets the first of two requests under one key fail: the waiting one takes over.
func TestFailedFirst(t *testing.T) {
	var a answers
	e, _, _ := a.begin(t.Context(), "k", 1, time.Now)
	second := make(chan bool)
	go func() {
		e, first, err := a.begin(t.Context(), "k", 1, time.Now)
		second <- first && err == nil
		a.finish(e, []byte("ok"))
	}()
	time.Sleep(5 * time.Millisecond)
	a.finish(e, nil)
	if !<-second {
		t.Error("the second request did not take over")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	e, first, _ := a.begin(t.Context(), "gone", 1, time.Now)
	if _, _, err := a.begin(ctx, "gone", 1, time.Now); !first || !errors.Is(err, context.Canceled) {
		t.Errorf("a repeat whose client is gone waits: %v", err)
	}
	a.finish(e, nil)
}

// TestSlowBody wants an end to a body that stops arriving, and its memory back.
func TestSlowBody(t *testing.T) {
	got := make(chan error, 1)
	h, err := New(Options{Streams: anyStream{}, Metrics: telemetry.New(telemetry.NewRegistry()), Problem: func(w http.ResponseWriter, _ *http.Request, err error) {
		w.WriteHeader(http.StatusGatewayTimeout)
		got <- err
	}})
	if err != nil {
		t.Fatal(err)
	}
	h.bodyBase = 30 * time.Millisecond
	srv := httptest.NewServer(h)
	defer srv.Close()
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
	select {
	case err := <-got:
		if tarn.CodeOf(err) != tarn.CodeTimeout {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the door waits for the rest of the body")
	}
	if n := h.BodyBytes(); n != 0 {
		t.Errorf("%d bytes are still reserved", n)
	}
}

type anyStream struct{}

func (anyStream) Lookup(string) (Target, bool) { return Target{Shards: 1}, true }
