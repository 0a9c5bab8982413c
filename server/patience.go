package server

import (
	"net/http"
	"time"
)

// defaultPatience is how long a client may take to send a body. To take an answer it has sendPatience times that:
// people page through results.
const (
	defaultPatience = 20 * time.Second
	sendPatience    = 3
)

// clientBytesPerSec is the rate below which a client is too slow for what is large.
const clientBytesPerSec = 64 << 10

// receive bounds the time of a body, so that nobody holds a connection by sending a byte now and then. net/http lifts the
// bound at the end of the body; a handler with another bound sets its own.
func (s *Server) receive(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	until := time.Now().Add(s.opts.Patience + time.Duration(min(max(r.ContentLength, 0), maxBounded)/clientBytesPerSec)*time.Second)
	_ = http.NewResponseController(w).SetReadDeadline(until) // an error means there is no connection to wait for
}

// maxBounded is the length from which a longer body gets no more time.
const maxBounded = 1 << 40

// send bounds the time of a write of n bytes: a client that takes nothing holds what the answer holds. Writes
// that follow at once share a bound.
func (w *recorder) send(n int) {
	now := time.Now()
	if now.Sub(w.bounded) < w.patience/20 && n < clientBytesPerSec {
		return
	}
	w.bounded = now
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(now.Add(w.patience + time.Duration(n/clientBytesPerSec)*time.Second)) // the same
}
