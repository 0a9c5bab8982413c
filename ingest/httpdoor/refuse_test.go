package httpdoor_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// dial connects to the door without any HTTP library.
func (f *fixture) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	return conn
}

// TestRefusedClientsReadTheAnswer: a client that writes its whole body before it reads gets the
// refusal, not a reset connection, and can send its next request on it.
func TestRefusedClientsReadTheAnswer(t *testing.T) {
	f := open(t, 1<<20)
	body := strings.Repeat("{\"a\":1}\n", 17<<20/8)
	chunked := fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(body), body)
	sized := fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(body), body)
	for name, c := range map[string]struct {
		path, rest string
		status     int
	}{
		"over the limit":          {"large/records", sized, 413},
		"over the limit, chunked": {"events/records", chunked, 413},
		"no memory":               {"large/records", fmt.Sprintf("Content-Length: %d\r\n\r\n%s", 15<<20, body[:15<<20]), 429},
		"no such stream":          {"nosuch/records", sized, 404},
		"a type it does not take": {"large/records", "Content-Type: text/csv\r\n" + sized, 415},
	} {
		t.Run(name, func(t *testing.T) {
			conn := f.dial(t)
			if _, err := io.WriteString(conn, "POST /v1/streams/"+c.path+" HTTP/1.1\r\nHost: localhost\r\n"+c.rest); err != nil {
				t.Fatalf("writing: %v", err)
			}
			in := bufio.NewReader(conn)
			want := c.status
			for range 2 {
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				text, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != want {
					t.Fatalf("%d %s, %v; want %d", resp.StatusCode, text, err, want)
				}
				want = 200
				_, _ = io.WriteString(conn, "POST /v1/streams/events/records HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}")
			}
		})
	}
}

// TestRefusalIsAtOnce: the answer does not wait for the body, holds no memory while the rest is
// awaited, and the wait has an end.
func TestRefusalIsAtOnce(t *testing.T) {
	f := open(t, 0)
	for name, head := range map[string]string{
		"a body that never comes":  "Content-Length: 18000000\r\n\r\n{",
		"a body that is asked for": "Expect: 100-continue\r\nContent-Length: 18000000\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, began := f.dial(t), time.Now()
			_, _ = io.WriteString(conn, "POST /v1/streams/large/records HTTP/1.1\r\nHost: localhost\r\n"+head)
			in := bufio.NewReader(conn)
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 413 || time.Since(began) > time.Second {
				t.Fatalf("%v, %v after %s", resp, err, time.Since(began))
			}
			if n := f.door.BodyBytes(); n != 0 {
				t.Errorf("%d bytes are held", n)
			}
			if _, err := io.Copy(io.Discard, in); err != nil || time.Since(began) > 5*time.Second {
				t.Errorf("the connection ended after %s: %v", time.Since(began), err)
			}
		})
	}
}
