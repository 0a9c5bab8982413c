package httpdoor

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
	"unsafe"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/tarn-data/tarn"
)

// Time a body may take: a base, and more for each byte announced, so that a slow line may still
// send a large body while nobody holds memory for ever.
const (
	bodyBase        = 20 * time.Second
	bodyBytesPerSec = 128 << 10
)

func (h *Handler) bodyTimeout(length int64) time.Duration {
	return h.bodyBase + time.Duration(max(length, 0)/bodyBytesPerSec)*time.Second
}

// maxDeflateRatio is the most that a byte of deflate can become.
const maxDeflateRatio = 1032

var (
	errBusy = &tarn.Error{Code: tarn.CodeBusy, Detail: "the memory for request bodies is in use", Hint: "send again after the time in Retry-After, with fewer requests at once"}
	errSlow = &tarn.Error{Code: tarn.CodeTimeout, Detail: "the body did not arrive in time", Hint: "send smaller bodies"}
)

func errBodyTooLarge(limit int) error {
	return &tarn.Error{Code: tarn.CodeTooLarge, Detail: "the body is over the limit of " + strconv.Itoa(limit) + " bytes", Hint: "split it into several requests, or raise limits.body in tarn.yaml"}
}

// read returns the body of r, at most limit bytes, as it came. Here and in decode the buffer has
// room for one more byte, the newline that endLine adds.
func (h *Handler) read(w http.ResponseWriter, r *http.Request, limit int) (*buffer, error) {
	if r.ContentLength > int64(limit) {
		return nil, errBodyTooLarge(limit)
	}
	size := 64 << 10 // unknown length: begin small
	if r.ContentLength >= 0 {
		size = int(r.ContentLength)
	}
	buf := h.buffers.lend(size + 1) // I8: before a byte is read
	if buf == nil {
		return nil, errBusy
	}
	rc := http.NewResponseController(w)
	deadline := rc.SetReadDeadline(time.Now().Add(h.bodyTimeout(r.ContentLength))) == nil // false only under tests without a connection
	var err error
	if r.ContentLength >= 0 {
		buf.b = buf.b[:size]
		_, err = io.ReadFull(r.Body, buf.b)
	} else {
		buf, err = h.readAll(buf, r.Body, limit)
	}
	if err != nil {
		h.buffers.release(buf)
		return nil, bodyError(err)
	}
	if deadline {
		_ = rc.SetReadDeadline(time.Time{}) // the wait for fsync has no part in it
	}
	return buf, nil
}

// readAll reads src to its end into buf, growing it within the budget. It always returns the
// buffer that is still lent.
func (h *Handler) readAll(buf *buffer, src io.Reader, limit int) (*buffer, error) {
	for {
		if len(buf.b) == cap(buf.b) {
			if len(buf.b) > limit {
				return buf, errBodyTooLarge(limit)
			}
			next := h.buffers.grow(buf, 2*cap(buf.b))
			if next == nil {
				return buf, errBusy
			}
			buf = next
		}
		n, err := src.Read(buf.b[len(buf.b):cap(buf.b)])
		buf.b = buf.b[:len(buf.b)+n]
		if len(buf.b) > limit {
			return buf, errBodyTooLarge(limit)
		}
		if err == io.EOF {
			return buf, nil
		}
		if err != nil {
			return buf, err
		}
	}
}

// bodyError says what went wrong while reading from the connection.
func bodyError(err error) error {
	var known *tarn.Error
	var timeout net.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return errSlow
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.Is(err, context.Canceled):
		return &tarn.Error{Code: tarn.CodeCanceled, Detail: "the body ended before its announced length", Err: err}
	}
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the body could not be read", Hint: "check the transfer encoding", Err: err}
}

// decode returns the content of buf and releases buf when that is another buffer. On error buf is
// released too.
func (h *Handler) decode(buf *buffer, c coding, limit int) (*buffer, error) {
	var out *buffer
	var err error
	switch c {
	case codingIdentity:
		return buf, nil
	case codingGzip:
		out, err = h.gunzip(buf.b, limit)
	case codingZstd:
		out, err = h.unzstd(buf.b, limit)
	}
	h.buffers.release(buf)
	if err != nil {
		h.buffers.release(out)
		return nil, err
	}
	return out, nil
}

func errCorrupt(name string, err error) error {
	return &tarn.Error{Code: tarn.CodeInvalid, Detail: "the body is not valid " + name, Hint: "send it whole and compressed once, or without Content-Encoding", Err: err}
}

// gunzip decompresses src. The size it believes in at first is the one in src's trailer, as far as
// deflate can reach it.
func (h *Handler) gunzip(src []byte, limit int) (*buffer, error) {
	zr, _ := h.gzips.Get().(*gzip.Reader)
	if zr == nil {
		zr = new(gzip.Reader)
	}
	defer h.gzips.Put(zr)
	if err := zr.Reset(bytes.NewReader(src)); err != nil {
		return nil, errCorrupt("gzip", err)
	}
	size := 64 << 10
	if len(src) >= 18 { // a header, a block and a trailer
		told := int(binary.LittleEndian.Uint32(src[len(src)-4:]))
		size = min(told, len(src)*maxDeflateRatio, limit) + 1 // one more also finds the end without growing
	}
	out := h.buffers.lend(size)
	if out == nil {
		return nil, errBusy
	}
	out, err := h.readAll(out, zr, limit)
	var known *tarn.Error
	if err != nil && !errors.As(err, &known) {
		err = errCorrupt("gzip", err)
	}
	return out, err
}

// zstdBlock is the most that a block of zstd holds.
const zstdBlock = 128 << 10

// unzstd decompresses src without a window of its own, so that nothing but the output counts. A
// body that does not tell its size is tried with growing outputs, at most a third more work.
func (h *Handler) unzstd(src []byte, limit int) (*buffer, error) {
	size := min(max(4*len(src), 64<<10), limit)
	var header zstd.Header
	if header.Decode(src) == nil && header.HasFCS {
		if header.FrameContentSize > uint64(limit) {
			return nil, errBodyTooLarge(limit)
		}
		size = int(header.FrameContentSize) // of the first frame; there may be more
	}
	for {
		out := h.buffers.lend(size + 1)
		if out == nil {
			return nil, errBusy
		}
		b, err := h.zstd.DecodeAll(src, out.b[:0:cap(out.b)]) // not past cap: WithDecodeAllCapLimit
		switch room := cap(out.b) - len(b); {
		case len(b) > limit:
			return out, errBodyTooLarge(limit)
		case err == nil:
			out.b = out.b[:len(b)]
			if unsafe.SliceData(b) != unsafe.SliceData(out.b) {
				copy(out.b, b)
			}
			return out, nil
		case errors.Is(err, zstd.ErrDecoderSizeExceeded) && cap(out.b) >= limit: // the next frame tells a size over it
			return out, errBodyTooLarge(limit)
		case !errors.Is(err, zstd.ErrDecoderSizeExceeded) && room >= zstdBlock: // the next block would have fitted
			return out, errCorrupt("zstd", err)
		}
		size = min(4*cap(out.b), limit+zstdBlock)
		h.buffers.release(out)
	}
}
