package jetstream

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tarn-data/tarn/stream"
)

const (
	// A scan asks for this many messages or bytes at a time. The answer to one request is used
	// while that to the next is on its way, so it holds twice that, and one message (I8).
	scanMessages = 256
	scanBytes    = 2 << 20
	scanTimeout  = 5 * time.Second
	// scanCheckBytes are read from files before retention is looked at again.
	scanCheckBytes = 8 << 20
)

// scanner reads a log with batched direct gets, an embedded one from its files while that works.
type scanner struct {
	l         *log
	files     *blocks // or nil
	unchecked int     // bytes to read until the state of the log is looked at again
	filter    string
	from      uint64 // first sequence to ask for next

	sub     *nats.Subscription
	in      chan *nats.Msg
	inbox   string
	number  int
	reply   string // subject of the request under way, "" if none
	asked   time.Time
	backlog []stream.Message
	ended   bool // the last request came to the end of the log
	checked time.Time
}

// Scan implements stream.Log.
func (l *log) Scan(from uint64, o stream.ScanOptions) stream.Scanner {
	s := &scanner{l: l, from: max(from, 1)}
	if o.Keyed {
		s.filter = l.keyed
	} else if l.dir != "" {
		s.files = &blocks{dir: l.dir}
	}
	return s
}

// Next implements stream.Scanner.
func (s *scanner) Next(ctx context.Context) (stream.Message, bool, error) {
	if s.files != nil && s.reply == "" && len(s.backlog) == 0 {
		if msg, ok, err := s.fromFile(ctx); ok || err != nil {
			return msg, ok, err
		}
	}
	asked := false
	for len(s.backlog) == 0 {
		if s.reply == "" {
			if asked {
				return s.hole(ctx)
			}
			if err := s.ask(); err != nil {
				return stream.Message{}, false, err
			}
			asked = true
		}
		if err := s.receive(ctx); err != nil {
			return stream.Message{}, false, err
		}
	}
	msg := s.backlog[0]
	s.backlog[0] = stream.Message{}
	s.backlog = s.backlog[1:]
	s.drain()
	if s.reply == "" && !s.ended && len(s.backlog) < scanMessages/2 && s.files == nil {
		if err := s.ask(); err != nil {
			return stream.Message{}, false, err
		}
	}
	return msg, true, nil
}

// fromFile reads the next message from the files, if it is durable and retention has not dropped
// it: the files still hold what was purged for a while.
func (s *scanner) fromFile(ctx context.Context) (stream.Message, bool, error) {
	if s.unchecked <= 0 {
		if _, err := s.l.State(ctx); err != nil {
			return stream.Message{}, false, err
		}
		s.unchecked = scanCheckBytes
	}
	if s.from < s.l.first.Load() || s.from > s.l.acked.Load() {
		return stream.Message{}, false, nil
	}
	msg, ok := s.files.get(s.from)
	if ok {
		s.from++
		s.unchecked -= len(msg.Data)
	}
	return msg, ok, nil
}

// ask requests the messages from s.from on.
func (s *scanner) ask() error {
	if s.sub == nil {
		s.inbox = s.l.e.reads.NewInbox() + "."
		s.in = make(chan *nats.Msg, 2*scanMessages+16)
		sub, err := s.l.e.reads.ChanSubscribe(s.inbox+"*", s.in)
		if err != nil {
			return fmt.Errorf("jetstream: scan %s: %w", s.l.name, err)
		}
		s.sub = sub
	}
	s.number++
	s.reply = s.inbox + strconv.Itoa(s.number)
	request := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d`, s.from, scanMessages, scanBytes)
	if s.filter != "" {
		request = fmt.Appendf(request, `,"next_by_subj":%q`, s.filter)
	}
	s.asked = time.Now()
	if err := s.l.e.reads.PublishRequest("$JS.API.DIRECT.GET."+s.l.name, s.reply, append(request, '}')); err != nil {
		s.reply = ""
		return fmt.Errorf("jetstream: scan %s: %w", s.l.name, err)
	}
	return nil
}

// receive waits for one answer.
func (s *scanner) receive(ctx context.Context) error {
	timeout := time.NewTimer(scanTimeout - time.Since(s.asked))
	defer timeout.Stop()
	select {
	case m, ok := <-s.in:
		if !ok {
			return fmt.Errorf("jetstream: scan %s: %w", s.l.name, nats.ErrConnectionClosed)
		}
		return s.accept(m)
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		s.reply = ""
		return fmt.Errorf("jetstream: scan %s: no answer within %v", s.l.name, scanTimeout)
	}
}

// drain takes the answers that are there.
func (s *scanner) drain() {
	for {
		select {
		case m, ok := <-s.in:
			if !ok || s.accept(m) != nil {
				return
			}
		default:
			return
		}
	}
}

// accept takes one answer: a message, or the end of the batch.
func (s *scanner) accept(m *nats.Msg) error {
	if m.Subject != s.reply {
		return nil // of a request that was given up
	}
	switch m.Header.Get("Status") {
	case "":
	case "204": // end of batch
		pending, _ := strconv.ParseUint(m.Header.Get("Nats-Num-Pending"), 10, 64)
		s.reply, s.ended = "", pending == 0
		return nil
	case "404":
		s.reply, s.ended = "", true
		return nil
	default:
		s.reply = ""
		if m.Header.Get("Status") == "503" {
			return fmt.Errorf("jetstream: scan %s: no server answers", s.l.name)
		}
		return fmt.Errorf("jetstream: scan %s: %s %s", s.l.name, m.Header.Get("Status"), m.Header.Get("Description"))
	}
	msg, err := directMessage(m)
	if err != nil {
		s.reply = ""
		return err
	}
	if msg.Seq < s.from {
		return nil
	}
	s.from = msg.Seq + 1
	s.backlog = append(s.backlog, msg)
	return nil
}

// hole tells the end of the log from a message in it that cannot be read.
func (s *scanner) hole(ctx context.Context) (stream.Message, bool, error) {
	if s.filter != "" || time.Since(s.checked) < time.Second {
		return stream.Message{}, false, nil
	}
	s.checked = time.Now()
	st, err := s.l.State(ctx)
	if err != nil {
		return stream.Message{}, false, err
	}
	if s.from > st.LastSeq {
		return stream.Message{}, false, nil
	}
	at := max(s.from, st.FirstSeq)
	if _, err := s.l.Get(ctx, at); errors.Is(err, stream.ErrNotFound) {
		return stream.Message{Seq: at}, false, stream.ErrNotFound
	}
	// It was appended after the request, or the replica that answered is behind.
	return stream.Message{}, false, nil
}

// Skip implements stream.Scanner.
func (s *scanner) Skip(seq uint64) {
	for len(s.backlog) > 0 && s.backlog[0].Seq <= seq {
		s.backlog = s.backlog[1:]
	}
	if s.from <= seq {
		s.from, s.reply = seq+1, ""
	}
}

// Close implements stream.Scanner.
func (s *scanner) Close() {
	if s.files != nil {
		s.files.close()
	}
	if s.sub != nil {
		s.sub.Unsubscribe() // fails only when the connection is closed
		s.sub = nil
	}
}
