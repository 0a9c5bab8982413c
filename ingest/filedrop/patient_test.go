package filedrop

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestPatient: a client that sends a byte now and then is not waited for longer than one that sends nothing, and one that
// sends is, however long Tarn takes in between.
func TestPatient(t *testing.T) { synctest.Test(t, testPatient) } // by a clock of its own: a busy machine is no slow client

func testPatient(t *testing.T) {
	body := func(pause time.Duration, piece int) *patient {
		server, client := net.Pipe()
		t.Cleanup(func() { server.Close(); client.Close() })
		go func() {
			for range 20 {
				if _, err := client.Write(make([]byte, piece)); err != nil {
					return
				}
				time.Sleep(pause)
			}
			client.Close()
		}()
		return &patient{body: server, rc: server, idle: 200 * time.Millisecond}
	}
	began := time.Now()
	n, err := io.Copy(io.Discard, body(50*time.Millisecond, 1))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n >= 20 || time.Since(began) > 5*time.Second {
		t.Errorf("byte by byte: %d bytes, %v after %v", n, err, time.Since(began))
	}
	if n, err := io.Copy(io.Discard, body(50*time.Millisecond, bodyBytesPerSec)); err != nil || n != 20*bodyBytesPerSec {
		t.Errorf("slowly: %d bytes, %v", n, err)
	}
	slow := body(0, 100)
	for got := 0; got < 2000; {
		n, err := slow.Read(make([]byte, 500))
		if err != nil {
			t.Fatalf("%v after %d bytes", err, got)
		}
		got += n
		time.Sleep(30 * time.Millisecond)
	}
}
