package function

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Bounds on what one worker may take of the host (I8).
const (
	maxConnections  = 64 // at once; further ones wait
	maxHeadBytes    = 1 << 20
	readBufferBytes = 64 << 10
	acceptPause     = 50 * time.Millisecond // after a failure to accept, such as too many open files
	hearAtMost      = 100 * time.Millisecond
)

// server answers a worker's connections to its Runtime API.
type server struct {
	w        *worker
	listener net.Listener
	room     chan struct{} // holds one element a connection
	running  sync.WaitGroup

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// serve starts to answer connections until close.
func (w *worker) serve(l net.Listener) *server {
	s := &server{w: w, listener: l, room: make(chan struct{}, maxConnections), open: map[net.Conn]struct{}{}}
	s.running.Go(s.accept)
	return s
}

func (s *server) accept() {
	for {
		conn, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			time.Sleep(acceptPause)
			continue
		}
		select {
		case s.room <- struct{}{}:
		case <-s.w.ctx.Done():
			_ = conn.Close()
			return
		}
		if !s.add(conn) {
			return
		}
		s.running.Go(func() {
			newConnection(s.w, conn).run()
			s.remove(conn)
			<-s.room
		})
	}
}

// add reports false after close.
func (s *server) add(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = conn.Close()
		return false
	}
	s.open[conn] = struct{}{}
	return true
}

func (s *server) remove(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, conn)
}

// hear waits until the worker's connections end by themselves, but not for long: the answer that a process
// wrote before it ended can still be read.
func (s *server) hear() {
	for until := time.Now().Add(hearAtMost); time.Now().Before(until); time.Sleep(hearAtMost / 100) {
		s.mu.Lock()
		open := len(s.open)
		s.mu.Unlock()
		if open == 0 {
			return
		}
	}
}

// close hangs up and returns when no connection is served any more: events and answers are not touched
// after it. The worker's context has ended.
func (s *server) close() {
	_ = s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for conn := range s.open {
		_ = conn.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
}

// connection is one connection of a worker. It speaks HTTP/1.1 (RFC 9112) with one request at a time,
// as net/http's server does, without that server's second reader for each request and small buffers:
// see docs/adr/0016. One goroutine uses it.
type connection struct {
	w     *worker
	conn  net.Conn
	limit io.LimitedReader // of conn; bounds the head of a request
	in    *bufio.Reader    // of limit
	head  []byte           // of an answer; reused
	usual int              // length of the last answer of the function
	sent  *call            // the last invocation that was sent to it, or nil
}

func newConnection(w *worker, conn net.Conn) *connection {
	c := &connection{w: w, conn: conn}
	c.limit.R = conn
	c.in = bufio.NewReaderSize(&c.limit, readBufferBytes)
	return c
}

// run answers requests until either side hangs up.
func (c *connection) run() {
	for {
		c.limit.N = maxHeadBytes
		r, err := http.ReadRequest(c.in)
		if err != nil {
			switch {
			case wasReset(c.conn, err): // by a kernel that had bytes for nobody: RFC 1122, 4.2.2.13
				c.w.missed(c.sent)
			case err != io.EOF:
				_ = c.refuse(http.StatusBadRequest, errorPath, "this is not an HTTP request")
			}
			return
		}
		c.limit.N = math.MaxInt64
		if strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
			if _, err := io.WriteString(c.conn, "HTTP/1.1 100 Continue\r\n\r\n"); err != nil {
				return
			}
		}
		if c.serve(r) != nil || r.Close || !passed(r) {
			return
		}
	}
}

// passed reads what is left of a request and reports whether another one can follow.
func passed(r *http.Request) bool {
	_, err := io.CopyN(io.Discard, r.Body, discardAtMost)
	return err == io.EOF
}

// write sends an answer with a JSON body and headers, names and values in turn. Head and body leave in
// one system call, where the socket has room for them.
func (c *connection) write(status int, body []byte, headers ...string) error {
	c.head = append(c.head[:0], "HTTP/1.1 "...)
	c.head = strconv.AppendInt(c.head, int64(status), 10)
	c.head = append(append(c.head, ' '), http.StatusText(status)...)
	c.head = append(c.head, "\r\nContent-Type: application/json\r\nContent-Length: "...)
	c.head = strconv.AppendInt(c.head, int64(len(body)), 10)
	for i := 0; i+1 < len(headers); i += 2 {
		c.head = append(append(append(append(c.head, "\r\n"...), headers[i]...), ": "...), headers[i+1]...)
	}
	c.head = append(c.head, "\r\n\r\n"...)
	buffers := net.Buffers{c.head, body}
	_, err := buffers.WriteTo(c.conn)
	return err
}

// refuse answers with an error as the real service words it.
func (c *connection) refuse(status int, kind, message string) error {
	doc, _ := json.Marshal(map[string]string{"errorType": kind, "errorMessage": message}) // strings only: cannot fail
	return c.write(status, doc)
}

// take waits for the call that the worker shall run. It returns nil when the worker or the connection
// ends first.
func (c *connection) take() *call {
	if call := c.w.pool.next(c.w); call != nil {
		return call
	}
	ctx, stop := c.watch()
	defer stop()
	return c.w.take(ctx)
}

// watch returns a context that ends when the worker hangs up. Nothing else may read until stop returns.
func (c *connection) watch() (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancel(c.w.ctx)
	ended := make(chan struct{})
	go func() { // ends before stop returns
		defer close(ended)
		if _, err := c.in.Peek(1); err != nil {
			cancel()
		}
	}()
	return ctx, func() {
		_ = c.conn.SetReadDeadline(time.Unix(1, 0))
		<-ended
		_ = c.conn.SetReadDeadline(time.Time{})
		cancel()
	}
}
