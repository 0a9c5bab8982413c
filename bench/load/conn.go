package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Conn is one keep-alive connection. It is not safe for concurrent use.
type Conn struct {
	host   string
	head   []byte // request line and fixed headers of a POST
	nc     net.Conn
	r      *bufio.Reader
	buf    []byte
	stop   func() bool
	header []byte
}

// Dial connects to the server at base, for example http://127.0.0.1:8080, for POST requests to path.
// The end of ctx closes the connection under a running request.
func Dial(ctx context.Context, base, path, contentType string) (*Conn, error) {
	c, err := connect(ctx, base)
	if err == nil {
		c.head = fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: ", path, c.host, contentType)
	}
	return c, err
}

func connect(ctx context.Context, base string) (*Conn, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%s is not an http:// address", base)
	}
	host := u.Host
	if u.Port() == "" {
		host = net.JoinHostPort(u.Hostname(), "80")
	}
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	c := &Conn{host: u.Host, nc: nc, r: bufio.NewReaderSize(nc, 4<<10)}
	c.stop = context.AfterFunc(ctx, func() { _ = nc.Close() })
	return c, nil
}

// Close closes the connection.
func (c *Conn) Close() {
	c.stop()
	_ = c.nc.Close()
}

// Post sends one request and returns the status and body of its answer; the body is valid until the
// next call. After an error, or when the server announces it, the connection is done.
func (c *Conn) Post(body []byte) (status int, answer []byte, err error) {
	c.header = append(c.header[:0], c.head...)
	c.header = strconv.AppendInt(c.header, int64(len(body)), 10)
	c.header = append(c.header, "\r\n\r\n"...)
	return c.ask(net.Buffers{c.header, body})
}

// get sends a GET request; what it returns is that of Post.
func (c *Conn) get(path []byte) (status int, answer []byte, err error) {
	c.header = append(append(c.header[:0], "GET "...), path...)
	c.header = append(append(append(c.header, " HTTP/1.1\r\nHost: "...), c.host...), "\r\n\r\n"...)
	return c.ask(net.Buffers{c.header})
}

// ask sends a request and reads its answer.
func (c *Conn) ask(parts net.Buffers) (status int, answer []byte, err error) {
	if _, err := parts.WriteTo(c.nc); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	if c.buf, err = appendAll(c.buf[:0], resp.Body); err != nil {
		return 0, nil, err
	}
	if resp.Close {
		_ = c.nc.Close()
	}
	return resp.StatusCode, c.buf, nil
}

// MustPost is Post where every answer but 200 is an error.
func (c *Conn) MustPost(body []byte) error {
	status, answer, err := c.Post(body)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("HTTP status %d: %.500s", status, answer)
	}
	return err
}

func appendAll(dst []byte, r io.Reader) ([]byte, error) {
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := r.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// pause sleeps for d unless ctx ends first.
func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
