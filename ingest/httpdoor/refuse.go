package httpdoor

import (
	"io"
	"net/http"
	"time"
)

// Bounds on what is read of a refused body, to be thrown away.
const (
	drainBytes = 32 << 20
	drainTime  = 2 * time.Second
)

// lazyBody is the body of a client that sends it only when told to (Expect: 100-continue), which the
// first read does.
type lazyBody struct {
	io.ReadCloser
	begun bool
}

// Read implements io.Reader.
func (b *lazyBody) Read(p []byte) (int, error) {
	b.begun = true
	return b.ReadCloser.Read(p)
}

// refuse answers with err, which may come before the body was read. Most clients write all of a
// body before they look for an answer, and a connection that is closed while they write is reset:
// the answer is lost. So it is sent, and what still comes of the body is read for a while and thrown
// away. That holds no memory of the budget: everything that was lent is given back by now (I8).
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	rest := r.Body != nil && r.Body != http.NoBody
	if lazy, ok := r.Body.(*lazyBody); ok {
		rest = lazy.begun
	}
	if rest && r.ContentLength > drainBytes {
		w.Header().Set("Connection", "close") // its end will not be seen
	}
	rc := http.NewResponseController(w)
	deadline := rest && rc.SetReadDeadline(time.Now().Add(drainTime)) == nil
	if deadline {
		_ = rc.EnableFullDuplex() // HTTP/1: do not wait for the body before the answer
	}
	h.o.Problem(w, r, err)
	if !deadline {
		return // a test without a connection
	}
	_ = rc.Flush()
	n, derr := io.CopyN(io.Discard, r.Body, drainBytes)
	if n < drainBytes && derr == io.EOF {
		_ = rc.SetReadDeadline(time.Time{}) // the next request has its own time
	}
}
