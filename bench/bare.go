package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// ServeBare answers GET requests from a Go map with nothing but net/http, until in ends: the floor of
// reading twins, in a process of its own as the server is. The map has the paths of so many metrics, and
// every body is of so many bytes. It writes the address to out, and a newline.
func ServeBare(metrics, bodyBytes int, in io.Reader, out io.Writer) error {
	body := bytes.Repeat([]byte("x"), bodyBytes)
	bodies := make(map[string][]byte, metrics)
	for i := range metrics {
		bodies[string(appendMetricPath(nil, i))] = body
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, ok := bodies[r.URL.Path]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(b) // a client that is gone needs no answer
	})}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, in)
		_ = srv.Close()
	}()
	fmt.Fprintln(out, l.Addr())
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-done
	return nil
}

// bareServer is ServeBare in a process.
type bareServer struct {
	base string
	cmd  *exec.Cmd
	in   io.Closer
}

func (s *session) startBare(ctx context.Context, metrics, bodyBytes int) (*bareServer, error) {
	cmd := exec.CommandContext(ctx, s.Binary, "bench", "bare-handler", strconv.Itoa(metrics), strconv.Itoa(bodyBytes))
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	b := &bareServer{cmd: cmd, in: in}
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.stop()
		return nil, fmt.Errorf("the bare handler does not start: %w", err)
	}
	b.base = "http://" + strings.TrimSpace(address)
	return b, nil
}

func (b *bareServer) stop() {
	_ = b.in.Close()
	_ = b.cmd.Wait()
}

// componentMetrics is how many metrics a component of the twin has.
const componentMetrics = 20

// appendMetricPath appends the path of the metric of a number.
func appendMetricPath(dst []byte, i int) []byte {
	dst = append(dst, "/v1/twins/fleet/components/"...)
	dst = appendComponent(dst, i/componentMetrics)
	dst = append(dst, "/metrics/"...)
	return appendMetric(dst, i%componentMetrics)
}

func appendComponent(dst []byte, i int) []byte {
	return strconv.AppendInt(append(dst, "wagon-"...), 100_000+int64(i), 10)
}

func appendMetric(dst []byte, i int) []byte {
	return strconv.AppendInt(append(dst, "metric_"...), 10+int64(i), 10)
}
